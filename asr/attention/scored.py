"""Soft attention in three moves, of which a mechanism says the first, the second, or both.

    scores  = score(Q, K)         how well each source answers each target
    weights = share(scores)       one unit of attention, shared out by the scores: softmax
    context = weights V           read: the mean of the values, so weighted

`ScaledDot` and its like say how to score; `Sparsemax(ScaledDot())` and its like
share out another mechanism's scores in their own way.
"""

from torch import Tensor

from asr.attention.masks import masked_softmax, read
from asr.attention.mechanism import Attended, Mechanism, State


class Scored(Mechanism):
    """A mechanism with a score for every target and source."""

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        """(..., targets, dim) and (..., sources, dim) to (..., targets, sources)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")

    def share(self, scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Scores to weights, and which targets may look at all, as `masked_softmax`."""
        return masked_softmax(scores, mask)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        weights, looks = self.share(self.score(query, key), mask)
        context, weights = read(weights, looks, value)
        return context, weights, None


class Shared(Scored):
    """The scores of another mechanism, shared out in a new way."""

    def __init__(self, mechanism: Scored):
        super().__init__()
        self.mechanism = mechanism
        self.promise_what(mechanism)

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        return self.mechanism.score(query, key)
