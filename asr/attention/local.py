"""Local attention: a window of the source for each target.

    weights_ij = 0 where |j - p_i| > reach

    Local    p_i = i                               self-attention: a frame and its neighbours
    LocalM   p_i = rate * i                        monotonic: as if speech ran evenly
    LocalP   p_i = length sigmoid(v^T tanh(W q_i)) predicted from the query, and the weights are besides
                                                   multiplied by a bell around it, exp(-(j - p_i)^2 / (2 s^2))

LocalM and LocalP are Luong et al. 2015, section 3.2 (there rate = 1; s = reach / 2);
windowed self-attention is Longformer's (Beltagy et al. 2020, section 3.1). Any
mechanism can be inside the window of Local or LocalM, any that scores in LocalP's.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.attention.masks import both, matrix, read
from asr.attention.mechanism import Attended, Carried, Mechanism, State
from asr.attention.positions import Relative, Rotary, distance
from asr.attention.scored import Scored


class Local(Mechanism):
    """A mechanism in self-attention that sees `reach` sources to each side.

    A mask over all sources says so while weights are wanted. weights=False computes the windows
    alone, so that time and memory grow with the length and not with its square.
    """

    rows_sum_to_one = False  # a window may lie where nothing may be seen: beyond a padded end

    def __init__(self, mechanism: Mechanism, reach: int = 16, weights: bool = True):
        super().__init__()
        refuse_state(mechanism)
        if not weights and any(isinstance(part, (Relative, Rotary)) for part in mechanism.modules()):
            raise ValueError("a window alone does not know where it stands: put Rotary around Local, not inside")
        self.mechanism = mechanism
        self.reach = reach
        self.promise_what(mechanism, has_weights=weights)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        if not self.has_weights and query.shape[-2] == key.shape[-2]:
            return self.in_blocks(query, key, value, mask), None, None
        window = distance(query, key).abs() <= self.reach
        context, weights, _ = self.mechanism(query, key, value, both(mask, window))
        return context, weights if self.has_weights else None, None

    def in_blocks(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Cut the targets into blocks of `reach`: each sees its own block and those beside it, nothing farther."""
        length, reach = query.shape[-2], self.reach
        blocks = (length + reach - 1) // reach  # not -(-length // reach): ONNX divides negative numbers towards zero
        place = torch.arange(3 * reach, device=query.device)
        beside = torch.arange(blocks, device=query.device)[:, None] * reach + place  # sources, after `reach` of padding
        after = blocks * reach - length
        query = cut(functional.pad(query, (0, 0, 0, after)), blocks)
        key = cut(functional.pad(key, (0, 0, reach, after + reach))[..., beside.flatten(), :], blocks)
        value = cut(functional.pad(value, (0, 0, reach, after + reach))[..., beside.flatten(), :], blocks)
        near = (place - reach - place[:reach, None]).abs() <= reach
        seen = both(mask_in_blocks(mask, length, beside, reach), near)
        context = cast(Tensor, self.mechanism(query, key, value, seen)[0])
        return context.flatten(-3, -2)[..., :length, :]


def refuse_state(mechanism: Mechanism) -> None:
    if mechanism.carried:
        raise ValueError(f"{type(mechanism).__name__} carries a state; a window can only hold what does not")


def cut(x: Tensor, blocks: int) -> Tensor:
    """(..., rows, columns) to (..., blocks, rows / blocks, columns)."""
    return x.reshape(*x.shape[:-2], blocks, x.shape[-2] // blocks, x.shape[-1])


def mask_in_blocks(mask: Tensor | None, length: int, beside: Tensor, reach: int) -> Tensor:
    """Of a mask what each block's targets may see of the sources beside it: (..., blocks, reach or 1, 3 reach)."""
    blocks, width = beside.shape
    mask = torch.ones(1, length, dtype=torch.bool, device=beside.device) if mask is None else matrix(mask)
    after = blocks * reach - length
    if mask.shape[-2] == 1:
        return functional.pad(mask[..., 0, :], (reach, after + reach))[..., beside].unsqueeze(-2)
    mask = cut(functional.pad(mask, (reach, after + reach, 0, after)), blocks)
    return mask.gather(-1, beside[:, None].expand(*mask.shape[:-1], width))


class LocalM(Mechanism):
    """A mechanism that sees `reach` sources around rate * i; the state counts the targets so far."""

    rows_sum_to_one = False  # as Local's
    carried = (Carried("count", (1, 1), 0.0),)

    def __init__(self, mechanism: Mechanism, reach: int = 16, rate: float = 1.0):
        super().__init__()
        refuse_state(mechanism)
        self.mechanism = mechanism
        self.reach = reach
        self.rate = rate
        self.promise_what(mechanism)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        (count,) = self.start(key) if state is None else state
        targets, sources = query.shape[-2], key.shape[-2]
        place = count + torch.arange(targets, device=query.device)[:, None]
        centre = torch.minimum(self.rate * place, lengths(mask, key) - 1)  # at the end it stays there
        window = (torch.arange(sources, device=query.device) - centre).abs() <= self.reach
        context, weights, _ = self.mechanism(query, key, value, both(mask, window))
        return context, weights, (count + targets,)


class LocalP(Mechanism):
    """A scored mechanism that sees `reach` sources around a place which it predicts."""

    rows_sum_to_one = False

    def __init__(self, mechanism: Mechanism, dim: int, reach: int = 16):
        super().__init__()
        refuse_state(mechanism)
        if not isinstance(mechanism, Scored) or type(mechanism).forward is not Scored.forward:
            raise ValueError(f"{type(mechanism).__name__} does more than share out scores; a bell can only follow that")
        self.mechanism = mechanism
        self.reach = reach
        self.hidden = nn.Linear(dim, dim, bias=False)
        self.place = nn.Linear(dim, 1, bias=False)
        self.promise_what(mechanism)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        centre = lengths(mask, key) * self.place(self.hidden(query).tanh()).sigmoid()
        away = torch.arange(key.shape[-2], device=query.device) - centre  # (..., targets, sources)
        bell = (-away.square() / (2 * (self.reach / 2) ** 2)).exp()
        window = both(mask, away.abs() <= self.reach)
        weights, looks = self.mechanism.share(self.mechanism.score(query, key), window)
        context, weights = read(weights * bell, looks, value)
        return context, weights, None


def lengths(mask: Tensor | None, key: Tensor) -> Tensor:
    """How many sources each target may see: (..., targets or 1, 1)."""
    everything = key.new_ones(1, key.shape[-2]) if mask is None else matrix(mask).to(key.dtype)
    return everything.sum(-1, keepdim=True)
