"""Monotonic chunkwise attention, MoChA (Chiu and Raffel 2018, "Monotonic Chunkwise Attention", equations 10 to 14).

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
    sources = scores.shape[-1]
    seen = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand(scores.shape)
    # The last axis: how far back. Frame s holds at `by` what stands at s - by; before the first frame, nothing.
    back = range(width)
    chunk = torch.stack([functional.pad(scores, (by, 0))[..., :sources] for by in back], -1)
    there = torch.stack([functional.pad(seen, (by, 0))[..., :sources] for by in back], -1)
    share = masked_softmax(chunk, there)[0] * stops.unsqueeze(-1) * there
    return sum((functional.pad(share[..., by], (0, by))[..., by:] for by in back), torch.zeros_like(stops))


class Mocha(Monotonic):
    """Monotonic attention that looks softly over the last `width` frames."""

    def __init__(self, dim: int, width: int = 8, noise: float = 1.0):
        super().__init__(dim, noise)
        self.within = Additive(dim)
        self.width = width

    def clues(self, query: Tensor, key: Tensor) -> Tensor:
        return torch.stack([super().clues(query, key), self.within.score(query, key)], -1)

    def look(self, clues: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        accept, scores = clues.unbind(-1)
        stops, state = super().look(accept, mask, state)
        return look_back(stops, scores, mask, self.width), state
