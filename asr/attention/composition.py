"""Attention composed of parts by their names, as a recipe says it in the place of a mechanism's name:

    cross_attention = { score = "additive", weights = "entmax", heads = 4 }
    encoder_attention = { mask = "local", position = "rotary" }

which are, from the inside to the outside,

    MultiHead(Entmax(Additive(dim / 4)), dim, 4)
    SelfAttention(MultiHead(Rotary(Local(ScaledDot())), dim, heads))

Where parts do not go together the class that cannot hold the other says why, as it does to who composes by hand. What
would go is not written down either: it is tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch

from asr.attention.hard import Hard
from asr.attention.mechanism import Mechanism
from asr.attention.multihead import MultiHead
from asr.attention.parts import (
    ADDED,
    CHOICES,
    CROSS_WINDOWS,
    IN_ORDER,
    PARTS,
    RELATIVE,
    SCORES,
    SPARSE,
    TURNED,
    WINDOWS,
)
from asr.attention.positions import in_pairs
from asr.attention.scored import Scored
from asr.attention.self_attention import SelfAttention
from asr.errors import OptionError

ALONE = 0  # heads: none, and no projections; the mechanism itself, over all features


@dataclass(frozen=True)
class Composition:
    """One part of each kind (parts.py); what is left out is as in a Transformer."""

    score: str = "scaled_dot"
    weights: str = "softmax"
    mask: str = "global"
    heads: int | None = None  # None: as many as the model has there
    position: str = "none"

    @classmethod
    def read(cls, option: str, values: Mapping[str, Any]) -> Self:
        """A table as TOML and JSON have it. OptionError names a part that there is not, and those there are."""
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in values if key not in known]:
            strange = ", ".join(f"{option}.{key}" for key in unknown)
            raise OptionError(f"unknown: {strange}; known are {', '.join(known)}")
        for part, names in PARTS.items():
            if part in values and values[part] not in names:
                raise OptionError(f"{option}.{part} is {values[part]!r}; it can be {', '.join(names)}")
        heads = values.get("heads")
        if heads is not None and (type(heads) is not int or heads < 1):
            raise OptionError(f"{option}.heads is {heads!r}; it can be a whole number from 1")
        return cls(**values)

    def check(self, option: str, dim: int, heads: int, reads_itself: bool) -> None:
        """OptionError where the parts do not go together: why, and which single change would mend it."""
        why = self.refusal(dim, heads, reads_itself)
        if why is None:
            return
        ways = {part: [name for name in names if name != getattr(self, part)] for part, names in PARTS.items()}
        changes: Mapping[str, list[Any]] = ways | {"heads": [n for n in range(1, dim + 1) if dim % n == 0]}
        would = []
        for part, values in changes.items():
            fits = [one for one in values if replace(self, **{part: one}).refusal(dim, heads, reads_itself) is None]
            if fits:
                would.append(f"{part} = {', '.join(map(str, fits))}")
        told = f"what goes with the rest: {'; '.join(would)}" if would else "no change of one part alone would mend it"
        raise OptionError(f"{option} = {self}: {why}; {told}")

    def refusal(self, dim: int, heads: int, reads_itself: bool) -> str | None:
        """Why the parts do not go together; None where they do. Chance is left as it was."""
        with torch.random.fork_rng(devices=[]):
            try:
                self.self_attention(dim, heads) if reads_itself else self.cross_attention(dim, heads)
            except ValueError as error:
                return str(error)
        return None

    def self_attention(self, dim: int, heads: int) -> SelfAttention:
        """A sequence that reads itself. ValueError says why parts do not go together."""
        heads = heads if self.heads is None else self.heads
        inside = self._weighed(size_of_head(dim, heads), heads)
        if isinstance(inside, Hard):
            raise ValueError("hard learns by what came of its choice, which is followed in the cross-attention alone")
        if self.mask in WINDOWS:
            inside = WINDOWS[self.mask](inside)
        elif self.mask != "global":
            raise ValueError(f"{self.mask} moves along another sequence than its own")
        if self.position in TURNED:
            in_pairs(dim // heads)
            inside = TURNED[self.position](inside)
        added = ADDED[self.position](dim) if self.position in ADDED else None
        return SelfAttention(MultiHead(inside, dim, heads), added)

    def cross_attention(self, dim: int, heads: int) -> Mechanism:
        """A sequence that reads another. ValueError says why parts do not go together."""
        if self.position != "none":
            raise ValueError(f"{self.position} positions are of a sequence that reads itself")
        heads = heads if self.heads is None else self.heads
        size = dim if heads == ALONE else size_of_head(dim, heads)
        inside = self._weighed(size, heads)
        if self.mask != "global":
            inside = CROSS_WINDOWS[self.mask](inside, size)
        return inside if heads == ALONE else MultiHead(inside, dim, heads)

    def _weighed(self, dim: int, heads: int) -> Mechanism:
        """The score and what makes weights of it, over the features of one head."""
        if self.weights in IN_ORDER:
            if self.score != "additive":
                raise ValueError(f"{self.weights} weighs by additive scores alone")
            return IN_ORDER[self.weights](dim)
        if self.position in RELATIVE and self.score != "scaled_dot":
            raise ValueError(f"{self.position} positions are made of scaled_dot scores")
        scored = RELATIVE[self.position](dim, heads) if self.position in RELATIVE else SCORES[self.score](dim)
        if self.weights == "softmax":
            return scored
        if not isinstance(scored, Scored):
            raise ValueError(f"{self.score} shares its scores out itself, by softmax")
        return (SPARSE | CHOICES)[self.weights](scored)

    def __str__(self) -> str:
        """As TOML has it, without what is left out."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        said = {part: value for part, value in told.items() if part == "score" or value != getattr(Composition, part)}
        quoted = (f"{part} = {value}" if part == "heads" else f'{part} = "{value}"' for part, value in said.items())
        return "{ " + ", ".join(quoted) + " }"


def size_of_head(dim: int, heads: int) -> int:
    if dim % heads:
        raise ValueError(f"dim ({dim}) must be a whole multiple of heads ({heads})")
    return dim // heads
