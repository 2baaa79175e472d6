"""Location-aware attention (Chorowski et al. 2015, "Attention-Based Models for Speech Recognition").

    f       = F * weights_{i-1}                       a convolution over where the last target looked
    score_j = v^T tanh(W q_i + U k_j + L f_j + b)

Speech repeats itself: two frames of "ee" look alike wherever they stand. Knowing
where it looked last, the mechanism can learn to move on from there, not to begin
again at the first sound that fits. Without L it is additive.py.
"""

from torch import Tensor, nn

from asr.attention.additive import Additive
from asr.attention.in_order import InOrder
from asr.attention.masks import masked_softmax
from asr.attention.mechanism import SOURCES, Carried, State


class LocationAware(InOrder):
    """Additive attention that sees its last weights; the state is these weights, at first all zero."""

    carried = (Carried("looked", (1, SOURCES), 0.0),)

    def __init__(self, dim: int, filters: int = 16, width: int = 31):
        super().__init__()
        if width % 2 == 0:
            raise ValueError(f"width ({width}) must be odd, so that a filter has a middle")
        self.content = Additive(dim)
        self.surroundings = nn.Conv1d(1, filters, width, padding=width // 2, bias=False)
        self.location = nn.Linear(filters, dim, bias=False)

    def clues(self, query: Tensor, key: Tensor) -> Tensor:
        return self.content.pairs(query, key)

    def look(self, clues: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        (looked,) = state
        around = self.surroundings(looked.reshape(-1, 1, looked.shape[-1]))  # (rows, filters, sources)
        clues = clues + self.location(around.transpose(-2, -1)).view(clues.shape)
        weights, looks = masked_softmax(self.content.energy(clues.tanh()).squeeze(-1), mask)
        weights = weights if looks is None else weights * looks
        return weights, (weights,)
