"""Sparsemax (Martins and Astudillo 2016, "From Softmax to Sparsemax", algorithm 1).

    weights = argmin_p |p - scores|^2 over distributions p  =  max(scores - tau, 0)

The distribution nearest to the scores. Softmax gives every frame a little; here all
but a few get exactly zero, so that a map shows where the model does not look. tau
comes of one sort: it is right for the largest set of scores that stay above it.
"""

import torch
from torch import Tensor

from asr.attention.masks import hide, somewhere
from asr.attention.scored import Shared


def sparsemax(scores: Tensor) -> Tensor:
    """(..., sources) to weights that sum to one, many of them zero."""
    scores = scores - scores.amax(-1, keepdim=True).detach()
    ranked = scores.sort(-1, descending=True).values.clamp(min=-1)  # tau >= -1: what is below gets nothing
    total = ranked.cumsum(-1)
    count = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    size = (1 + count * ranked > total).sum(-1, keepdim=True)
    tau = (total.gather(-1, size - 1) - 1) / size
    return (scores - tau).relu()


class Sparsemax(Shared):
    """Another mechanism's scores, shared out by sparsemax."""

    def share(self, scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return sparsemax(hide(scores, mask)), somewhere(mask)
