"""Multiplicative attention, "dot" (Luong et al. 2015, "Effective Approaches to Attention-based NMT", section 3.1).

    score(q, k) = q . k

The plainest score: what points the same way answers. With d features of variance
one it has variance d, so for large d the softmax is a hard choice before anything
is learned, and passes hardly any gradient: scaled_dot.py divides by sqrt(d).
"""

from torch import Tensor

from asr.attention.scored import Scored


class Dot(Scored):
    """softmax(Q K^T) V, with nothing to learn."""

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1)
