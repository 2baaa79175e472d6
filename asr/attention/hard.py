"""Hard attention, trained with REINFORCE (Xu et al. 2015, "Show, Attend and Tell", section 4.1; Williams 1992).

    in training   frame ~ softmax(scores),   context = V_frame
    in use        frame = argmax scores

One frame is read, not a mean of all. No gradient passes through a choice, so it is
estimated: a choice that turned out better than expected is made likelier,

    grad E[loss] = E[grad loss + (loss to come - baseline) grad log p(frame)]

The weights are one-hot, but their gradient is that of log p(frame). So training
needs nothing but what it has at hand:

    losses = surrogate(losses, weights, baseline)     # (batch, targets); the values stay what they were
    losses.sum().backward()
    baseline = expect(baseline, losses[real].detach())

The estimate is unbiased whatever the baseline, and noisy whatever the baseline;
gumbel.py is its opposite.
"""

import torch
from torch import Tensor

from asr.attention.masks import masked_softmax, read
from asr.attention.mechanism import Attended, State
from asr.attention.scored import Scored, Shared


def sample(probabilities: Tensor) -> Tensor:
    """A frame for each target: (..., targets, sources) to indices (..., targets)."""
    return probabilities.flatten(0, -2).multinomial(1).view(probabilities.shape[:-1])


def one_hot(index: Tensor, sources: int) -> Tensor:
    """(..., targets) to True at the index, (..., targets, sources)."""
    return torch.arange(sources, device=index.device) == index[..., None]


def surrogate(losses: Tensor, weights: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """Losses of the same values, whose gradient counts what the choice of frames did to them.

    losses    (batch, targets), each target's own, zero at padding
    weights   as Hard returned them: (batch, targets, sources), or with axes for layers or heads after the batch
    baseline  the loss that was to be expected, broadcasts to losses; zero it at padding, or it adds noise
    """
    batch, targets = losses.shape
    log_p = weights.sum(-1)  # one in value
    log_p = (log_p - log_p.detach()).reshape(batch, -1, targets).sum(1)
    to_come = (losses - baseline).detach().flip(-1).cumsum(-1).flip(-1)  # a choice also changes what follows it
    return losses + to_come * log_p


def mean_of_others(losses: Tensor, real: Tensor) -> Tensor:
    """A baseline that needs no memory: what a target of the batch's other rows lost on average, (batch, targets).

    A row's own choices have no part in it, so that the estimate stays unbiased.
    """
    losses = losses.detach()
    lost, count = losses.sum(-1, keepdim=True), real.sum(-1, keepdim=True)
    return (lost.sum() - lost) / (count.sum() - count).clamp(min=1) * real


def expect(baseline: float, losses: Tensor, keep: float = 0.9) -> float:
    """The next baseline: a moving average of losses seen."""
    return keep * baseline + (1 - keep) * float(losses.mean())


class Hard(Shared):
    """One frame of another mechanism's softmax for each target."""

    exact_gradient = False

    def __init__(self, mechanism: Scored):
        super().__init__(mechanism)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        scores = self.score(query, key)
        probabilities, looks = masked_softmax(scores, mask)
        frame = sample(probabilities.detach()) if self.training else probabilities.argmax(-1)
        chosen = one_hot(frame, scores.shape[-1]).to(scores.dtype)
        context, weights = read(chosen, looks, value)
        if self.training:
            p = (chosen * probabilities).sum(-1, keepdim=True)
            weights = weights * (p / p.detach())  # one in value, and its gradient is that of log p
        return context, weights, None
