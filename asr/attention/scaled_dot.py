"""Scaled dot-product attention (Vaswani et al. 2017, "Attention Is All You Need", equation 1).

    context = softmax(Q K^T / sqrt(d)) V

Each target scores every source by a dot product, so it costs targets x sources.
Dividing by sqrt(d) keeps the scores' variance at one, so that the softmax stays
soft enough to learn from.
"""

import math

from torch import Tensor

from asr.attention.masks import masked_softmax
from asr.attention.mechanism import Attended, Mechanism, State


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Read from value where key matches query.

    query    (..., targets, dim)
    key      (..., sources, dim)
    value    (..., sources, dim_out)
    mask     broadcasts to (..., targets, sources); True where a target may look
    returns  context (..., targets, dim_out), weights (..., targets, sources)
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    weights, somewhere = masked_softmax(scores, mask)
    if somewhere is None:
        return weights @ value, weights
    return (weights @ value) * somewhere, weights * somewhere  # zeros where there is nowhere to look


class ScaledDot(Mechanism):
    """softmax(Q K^T / sqrt(d)) V, with nothing to learn."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        context, weights = attend(query, key, value, mask)
        return context, weights, None
