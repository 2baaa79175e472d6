"""The contract that every attention mechanism keeps.

    context, weights, state = mechanism(query, key, value, mask, state)

query    (..., targets, dim)
key      (..., sources, dim)
value    (..., sources, dim_out)
mask     broadcasts to (..., targets, sources); True where a target may look; None: everywhere
state    what the mechanism carries from step to step; None at the start
context  (..., targets, dim_out)
weights  (..., targets, sources), or None where the mechanism has none

A target with nowhere to look gets zeros. What a mechanism promises beyond this
is said by the flags on its class; the contract test asks each only for what it promises.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

State = Any  # each mechanism names its own: None, a tensor, or a tuple of tensors

Attended = tuple[Tensor, Tensor | None, State]


class Mechanism(nn.Module):
    """Base of all mechanisms: the flags, and the signature of `forward`."""

    has_weights: ClassVar[bool] = True
    rows_sum_to_one: ClassVar[bool] = True  # where a target may look at all
    exact_gradient: ClassVar[bool] = True  # False where training estimates it (sampling)
    several_tokens: ClassVar[bool] = True  # many targets at once equal one by one
    steps: ClassVar[bool] = False  # carries state: past sources need not be given again

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        raise NotImplementedError(f"{type(self).__name__} does not say how it attends")
