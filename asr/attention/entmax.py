"""1.5-entmax (Peters et al. 2019, "Sparse Sequence-to-Sequence Models", algorithm 2).

    weights = max(scores / 2 - tau, 0)^2

Half-way between softmax (alpha = 1) and sparsemax (alpha = 2): exact zeros like
sparsemax, but the weights rise smoothly out of zero, so that a frame just left out
can find its way back in training.
"""

import torch
from torch import Tensor

from asr.attention.masks import hide, somewhere
from asr.attention.scored import Shared


def entmax15(scores: Tensor) -> Tensor:
    """(..., sources) to weights that sum to one, many of them zero."""
    halves = scores / 2
    halves = halves - halves.amax(-1, keepdim=True).detach()
    root = threshold(halves.detach())
    # One Newton step from the root: it stays where it is, but now autograd knows how tau depends on the scores.
    above = (halves - root).relu()
    tau = root + (above.square().sum(-1, keepdim=True) - 1) / (2 * above.detach().sum(-1, keepdim=True))
    return (halves - tau).relu().square()


def threshold(halves: Tensor) -> Tensor:
    """The tau at which the weights sum to one, (..., 1); the largest of halves must be 0."""
    ranked = halves.sort(-1, descending=True).values.clamp(min=-1)  # tau >= -1: what is below gets nothing
    count = torch.arange(1, halves.shape[-1] + 1, device=halves.device)
    mean = ranked.cumsum(-1) / count
    spread = ranked.square().cumsum(-1) - count * mean.square()
    tau = mean - ((1 - spread) / count).relu().sqrt()  # if just the first `count` were above it
    size = (tau <= ranked).sum(-1, keepdim=True)
    return tau.gather(-1, size - 1)


class Entmax(Shared):
    """Another mechanism's scores, shared out by 1.5-entmax."""

    def share(self, scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return entmax15(hide(scores, mask)), somewhere(mask)
