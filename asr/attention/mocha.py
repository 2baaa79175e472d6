"""Monotonic chunkwise attention, MoChA (Chiu and Raffel 2018, "Monotonic Chunkwise Attention").

    a      = weights of monotonic.py: where the target stops
    b_ij   = sum over stops s in j ... j + width - 1 of  a_is softmax(scores over s - width + 1 ... s)_j

Monotonic attention reads a single frame, but a sound is longer. Here it stops there
and looks back softly over the last few: still one pass over the source, and the
softmax is over `width` frames whatever the length.
"""

import torch
from torch import Tensor
from torch.nn import functional

from asr.attention.additive import Additive
from asr.attention.masks import masked_softmax
from asr.attention.mechanism import State
from asr.attention.monotonic import Monotonic


def look_back(stops: Tensor, scores: Tensor, mask: Tensor | None, width: int) -> Tensor:
    """Share out what stops at each frame over that frame and the width - 1 before it.

    A softmax for each chunk, not a quotient of running sums as in the paper: that one
    underflows where a chunk's scores lie far below the row's best.
    """
    seen = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    place = torch.arange(width, device=scores.device)
    span = torch.arange(scores.shape[-1], device=scores.device)[:, None] + place
    # (..., sources, width): for a stop at s what stands at s - width + 1 ... s; before the first frame, nothing
    chunk = functional.pad(scores, (width - 1, 0))[..., span]
    there = functional.pad(seen, (width - 1, 0))[..., span]
    share = masked_softmax(chunk, there)[0] * there * stops.unsqueeze(-1)
    # frame j is the last in the chunk of stop j, the last but one in that of stop j + 1, and so on
    return functional.pad(share, (0, 0, 0, width - 1))[..., span, width - 1 - place].sum(-1)


class Mocha(Monotonic):
    """Monotonic attention that looks softly over the last `width` frames."""

    def __init__(self, dim: int, width: int = 8, noise: float = 3.0):
        super().__init__(dim, noise)
        self.within = Additive(dim)
        self.width = width

    def clues(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.stack([super().clues(query, key), self.within.score(query, key)], -1)

    def look(self, clues: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        accept, scores = clues.unbind(-1)
        stops, state = super().look(accept, mask, state)
        return look_back(stops, scores, mask, self.width), state
