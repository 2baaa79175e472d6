"""Self-attention: a sequence that reads itself (Vaswani et al. 2017, section 3.2.3).

The past need not be computed again: keys and values of earlier steps are the
state, an argument and a result. Nothing is kept on the module.
"""

import torch
from torch import Tensor

from asr.attention.mechanism import Attended, Mechanism, State
from asr.attention.multihead import MultiHead

KeyValue = tuple[Tensor, Tensor]  # each (batch, heads, past, dim / heads)


class SelfAttention(Mechanism):
    """Query, key and value are one sequence; the state is the keys and values seen so far."""

    steps = True

    def __init__(self, heads: MultiHead):
        super().__init__()
        self.heads = heads

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        """As the contract, with sources = past + targets in mask and weights."""
        new_key, new_value = self.heads.split(self.heads.key(key)), self.heads.split(self.heads.value(value))
        if state is not None:
            past_key, past_value = state
            new_key, new_value = torch.cat([past_key, new_key], -2), torch.cat([past_value, new_value], -2)
        context, weights, _ = self.heads.read(query, new_key, new_value, mask)
        return context, weights, (new_key, new_value)
