"""Self-attention: a sequence that reads itself (Vaswani et al. 2017, section 3.2.3).

The past need not be computed again: keys and values of earlier steps are the
state, an argument and a result. Nothing is kept on the module. A mechanism that
sums up its past itself (linear.py) keeps its own state, of a size that does not grow.

What stands where is for positions.py to say: `SelfAttention(..., Sinusoidal())`,
`SelfAttention(MultiHead(Rotary(ScaledDot()), dim, heads))`, and so on.
"""

import torch
from torch import Tensor

from asr.attention.mechanism import Attended, Mechanism, State
from asr.attention.multihead import MultiHead
from asr.attention.positions import Learned, Sinusoidal

KeyValue = tuple[Tensor, Tensor]  # each (batch, heads, past, dim / heads)


class SelfAttention(Mechanism):
    """Query, key and value are one sequence; the state is the keys and values seen so far."""

    steps = True

    def __init__(self, heads: MultiHead, position: Sinusoidal | Learned | None = None):
        super().__init__()
        if heads.carried and not heads.steps:
            name = type(heads.mechanism).__name__
            raise ValueError(f"{name} goes by where the target before looked; a sequence reads itself in no order")
        if heads.carried and position is not None:
            raise ValueError(f"{type(heads.mechanism).__name__} does not count its past: add positions before it")
        self.heads = heads
        self.position = position
        self.carried = heads.carried
        self.promise_what(heads)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        """As the contract, with sources = past + targets in mask and weights."""
        if self.heads.carried:
            return self.heads(query, key, value, mask, state)  # type: ignore[no-any-return]
        if self.position is not None:
            past = 0 if state is None else state[0].shape[-2]
            query, key, value = (self.position(x, past) for x in (query, key, value))
        new_key, new_value = self.heads.split(self.heads.key(key)), self.heads.split(self.heads.value(value))
        if state is not None:
            past_key, past_value = state
            new_key, new_value = torch.cat([past_key, new_key], -2), torch.cat([past_value, new_value], -2)
        context, weights, _ = self.heads.read(query, new_key, new_value, mask)
        return context, weights, (new_key, new_value)
