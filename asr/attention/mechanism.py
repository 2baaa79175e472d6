"""The contract that every attention mechanism keeps.

    context, weights, state = mechanism(query, key, value, mask, state)

query    (..., targets, dim)
key      (..., sources, dim)
value    (..., sources, dim_out)
mask     broadcasts to (..., targets, sources); True where a target may look; None: everywhere
state    what the mechanism carries from call to call, a tuple of tensors; None at the start
context  (..., targets, dim_out)
weights  (..., targets, sources), or None where the mechanism has none

A target with nowhere to look gets zeros. What a mechanism promises beyond this
is said by its flags; the contract test asks each only for what it promises.

In training (`train()`) a mechanism does what it learns by, in use (`eval()`) what
is exported: some sample or take expectations in the one and decide in the other.
"""

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

State = Any  # None, or a tuple of tensors: see Mechanism.carried

Attended = tuple[Tensor, Tensor | None, State]

SOURCES = "sources"  # in the shape of what is carried: one for each source


class Carried(NamedTuple):
    """One tensor of a state: its shape after the batch, and the value it starts with."""

    name: str
    shape: tuple[int | str, ...]
    init: float


class Mechanism(nn.Module):
    """Base of all mechanisms: the flags, and the signature of `forward`.

    The flags stand on the class; a composition lowers its own to what its part promises.
    """

    has_weights: ClassVar[bool] = True
    rows_sum_to_one: ClassVar[bool] = True  # where a target may look at all; else to one at most
    exact_gradient: ClassVar[bool] = True  # False where training estimates it (sampling)
    several_tokens: ClassVar[bool] = True  # the exported graph takes many targets at once; else one a call
    chooses: ClassVar[bool] = True  # where it looks depends on query and key
    steps: bool = False  # the state holds the past sources: they need not be given again
    carried: tuple[Carried, ...] = ()  # what the state holds, but for a self-attention's growing past

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        raise NotImplementedError(f"{type(self).__name__} does not say how it attends")

    def start(self, key: Tensor) -> State:
        """The state before the first target that reads key (..., sources, dim); None where nothing is carried."""
        return tuple(self._initial(key, one) for one in self.carried) or None

    def promise_what(self, part: "Mechanism", has_weights: bool = True) -> None:
        """A composition keeps no promise that its part does not keep."""
        for flag in ("has_weights", "rows_sum_to_one", "exact_gradient", "several_tokens", "chooses"):
            setattr(self, flag, getattr(self, flag) and getattr(part, flag) and (has_weights or flag != "has_weights"))

    @staticmethod
    def _initial(key: Tensor, one: Carried) -> Tensor:
        shape = [key.shape[-2] if isinstance(size, str) else size for size in one.shape]
        return key.new_full((*key.shape[:-2], *shape), one.init)
