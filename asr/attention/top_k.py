"""Top-k attention (Zhao et al. 2019, "Explicit Sparse Transformer", its masking function M(P, k)).

    weights = softmax(M),   M_j = scores_j where scores_j >= t, else -inf,   t = the k-th best of scores

Sparsemax and entmax find out how many sources a target reads; here it is said, and is the same after two seconds and
after thirty: however long the sound, no crowd of faint frames outweighs the few that answer. Nothing is learned, so
that a model trained with softmax may be read with this. What stands level with the k-th best is read too.
"""

from torch import Tensor
from torch.nn import functional

from asr.attention.masks import hide, somewhere
from asr.attention.scored import Scored, Shared


def of_the_best(scores: Tensor, k: int) -> Tensor:
    """(..., sources) to weights that sum to one, zero below the k best; softmax where there are no more than k."""
    lowest = float("-inf")
    best = functional.pad(scores, (0, k), value=lowest).topk(k).values  # padded: there are always k to choose from
    return scores.masked_fill(scores < best[..., -1:], lowest).softmax(-1)


class TopK(Shared):
    """Another mechanism's scores, of which each target reads the k best."""

    def __init__(self, mechanism: Scored, k: int = 8):
        super().__init__(mechanism)
        self.k = k

    def share(self, scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return of_the_best(hide(scores, mask), self.k), somewhere(mask)
