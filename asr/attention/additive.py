"""Additive attention (Bahdanau et al. 2015, "NMT by Jointly Learning to Align and Translate", section A.1.2).

    score(q, k) = v^T tanh(W q + U k + b)

The first attention: a small network learns its score, so that it needs no common
space of queries and keys, and no 1 / sqrt(d). It visits every feature of every
pair: dim times the memory of a dot product.
"""

from torch import Tensor, nn

from asr.attention.scored import Scored


class Additive(Scored):
    """softmax(v^T tanh(W q + U k + b)) V."""

    def __init__(self, dim: int):
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.energy = nn.Linear(dim, 1, bias=False)

    def pairs(self, query: Tensor, key: Tensor) -> Tensor:
        """W q + U k + b for every target and source: (..., targets, sources, dim)."""
        together: Tensor = self.query(query).unsqueeze(-2) + self.key(key).unsqueeze(-3)
        return together

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        energy: Tensor = self.energy(self.pairs(query, key).tanh())
        return energy.squeeze(-1)
