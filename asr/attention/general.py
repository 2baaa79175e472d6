"""Multiplicative attention, "general" (Luong et al. 2015, section 3.1).

    score(q, k) = q^T W k

W learns which features of the source answer which features of the target, so that
the two need not speak the same language, as dot.py demands.
"""

from torch import Tensor, nn

from asr.attention.scored import Scored


class General(Scored):
    """softmax(Q W K^T) V."""

    def __init__(self, dim: int):
        super().__init__()
        self.match = nn.Linear(dim, dim, bias=False)

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        scores: Tensor = self.match(query) @ key.transpose(-2, -1)
        return scores
