"""The attention of a model's parts, as its config asks for it: by a name in MECHANISMS, or composed of parts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from asr.attention import MECHANISMS, Composition, MultiHead, SelfAttention
from asr.errors import FormatError, OptionError

AttentionChoice = str | Composition


def asked(option: str, value: Any, dim: int, heads: int, reads_itself: bool) -> AttentionChoice:
    """What a config may ask for, a table made a Composition. FormatError and OptionError say what there is."""
    if isinstance(value, str):
        known = [name for name in MECHANISMS if name.startswith("self") == reads_itself]
        if value not in known:
            raise FormatError(f"{option} is {value!r}; it can be {', '.join(known)}, or a table of parts")
        return value
    table = asdict(value) if isinstance(value, Composition) else value
    if not isinstance(table, Mapping):
        raise OptionError(f'{option} is {value!r}; it can be a name, or a table such as {{ score = "scaled_dot" }}')
    composition = Composition.read(option, table)
    composition.check(option, dim, heads, reads_itself)
    return composition


def self_attention(told: AttentionChoice, dim: int, heads: int) -> SelfAttention:
    mechanism = MECHANISMS[told](dim, heads) if isinstance(told, str) else told.self_attention(dim, heads)
    assert isinstance(mechanism, SelfAttention), "the config has checked the name"
    return mechanism


def cross_attention(told: AttentionChoice, dim: int, heads: int) -> MultiHead:
    """In heads of its own, or as a single one."""
    mechanism = MECHANISMS[told](dim, heads) if isinstance(told, str) else told.cross_attention(dim, heads)
    return mechanism if isinstance(mechanism, MultiHead) else MultiHead(mechanism, dim, heads=1)
