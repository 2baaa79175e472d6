"""Mechanisms whose next look depends on the last: targets are taken in order.

    weights_i, state_i = look(clues_i, state_{i-1})

All that does not depend on the targets before, the costly part, is computed for all
targets at once (`clues`); the loop does the rest. Exported, a call takes one target.
"""

import torch
from torch import Tensor

from asr.attention.masks import row
from asr.attention.mechanism import Attended, Mechanism, State


class InOrder(Mechanism):
    """Base of location_aware.py, monotonic.py and mocha.py."""

    several_tokens = False

    def clues(self, query: Tensor, key: Tensor) -> Tensor:
        """What a look goes by: (..., targets, sources), and further axes if need be."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it goes by")

    def look(self, clues: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The weights of one target, (..., 1, sources), and the next state."""
        raise NotImplementedError(f"{type(self).__name__} does not say where it looks")

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        state = self.start(key) if state is None else state
        clues, axis = self.clues(query, key), query.dim() - 2
        looks = []
        for target in range(query.shape[-2]):
            weights, state = self.look(clues.narrow(axis, target, 1), row(mask, target), state)
            looks.append(weights)
        together = torch.cat(looks, -2)
        return together @ value, together, state
