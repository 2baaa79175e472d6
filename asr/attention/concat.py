"""Attention by concatenation, "concat" (Luong et al. 2015, section 3.1).

    score(q, k) = v^T tanh(W [q; k])

It is additive.py's function written another way: W [q; k] = W_q q + W_k k. But that
one multiplies each query and each key once, this one each pair of them: the same
answer at many times the price. A test holds the two equal.
"""

import torch
from torch import Tensor, nn

from asr.attention.scored import Scored


class Concat(Scored):
    """softmax(v^T tanh(W [q; k])) V."""

    def __init__(self, dim: int):
        super().__init__()
        self.pair = nn.Linear(2 * dim, dim, bias=False)
        self.energy = nn.Linear(dim, 1, bias=False)

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        pairs = (*query.shape[:-1], key.shape[-2], query.shape[-1])  # (..., targets, sources, dim)
        both = torch.cat([query.unsqueeze(-2).expand(pairs), key.unsqueeze(-3).expand(pairs)], -1)
        energy: Tensor = self.energy(self.pair(both).tanh())
        return energy.squeeze(-1)
