"""Hard attention by Gumbel straight-through (Jang et al. 2017, "Categorical Reparameterization with Gumbel-Softmax").

    soft    = softmax((scores + g) / temperature),   g ~ Gumbel(0, 1)
    weights = one-hot(argmax soft) forward, soft backward

The argmax of scores + g is a sample of softmax(scores), as in hard.py. Forward that
one frame is read; backward we pretend that it was the soft mean. The gradient is
wrong by that pretence, but it needs no baseline and no change to the training loop.

On a case small enough to enumerate (tests/attention/test_hard.py), in lengths of the
exact gradient:      bias    noise of one estimate
    REINFORCE        0       3.5, with a baseline 1.5
    temperature 1    0.48    1.1
    temperature 0.2  0.11    3.3: less bias costs the calm for which one came
"""

import torch
from torch import Tensor

from asr.attention.hard import one_hot
from asr.attention.masks import masked_softmax
from asr.attention.scored import Scored, Shared


class Gumbel(Shared):
    """One frame of another mechanism's softmax for each target; in use the likeliest."""

    exact_gradient = False

    def __init__(self, mechanism: Scored, temperature: float = 1.0):
        super().__init__(mechanism)
        self.temperature = temperature

    def share(self, scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.training:
            noise = -torch.empty_like(scores).exponential_().log()  # minus the log of an exponential is Gumbel's
            scores = (scores + noise) / self.temperature
        soft, looks = masked_softmax(scores, mask)
        chosen = one_hot(soft.argmax(-1), scores.shape[-1]).to(scores.dtype)
        return chosen + (soft - soft.detach()) if self.training else chosen, looks
