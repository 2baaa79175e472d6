"""Scaled dot-product attention (Vaswani et al. 2017, "Attention Is All You Need", equation 1).

    context = softmax(Q K^T / sqrt(d)) V

Each target scores every source by a dot product, so it costs targets x sources.
Dividing by sqrt(d) keeps the scores' variance at one, so that the softmax stays
soft enough to learn from. Here is the score; scored.py does the rest.

Three words of four features that look at each other:

>>> import torch
>>> words = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
>>> score(words, words)  # Q K^T is [[2, 0, 2], [0, 8, 4], [2, 4, 4]], and sqrt(d) is 2
tensor([[1., 0., 1.],
        [0., 4., 2.],
        [1., 2., 2.]])
>>> context, weights, _ = ScaledDot()(words, words, words)
>>> print(weights.numpy().round(3))  # softmax of each row
[[0.422 0.155 0.422]
 [0.016 0.867 0.117]
 [0.155 0.422 0.422]]
>>> print(context.numpy().round(3))  # each row of weights takes its mean of the words
[[0.845 0.733 0.845 0.733]
 [0.133 1.851 0.133 1.851]
 [0.578 1.267 0.578 1.267]]
"""

import math

from torch import Tensor

from asr.attention.scored import Scored


def score(query: Tensor, key: Tensor) -> Tensor:
    """Q K^T / sqrt(d): (..., targets, dim) and (..., sources, dim) to (..., targets, sources)."""
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)


class ScaledDot(Scored):
    """softmax(Q K^T / sqrt(d)) V, with nothing to learn."""

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        return score(query, key)
