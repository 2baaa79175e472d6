"""Attention mechanisms, one a file, under one contract (mechanism.py).

`MECHANISMS` maps the name a recipe uses to a ready composition. A new mechanism
is one file that keeps the contract and one row here.
"""

from collections.abc import Callable

from asr.attention.mechanism import Mechanism
from asr.attention.multihead import MultiHead
from asr.attention.scaled_dot import ScaledDot
from asr.attention.self_attention import SelfAttention

MECHANISMS: dict[str, Callable[[int, int], Mechanism]] = {
    # name: (dim, heads) -> mechanism
    "scaled_dot": lambda dim, heads: ScaledDot(),
    "multihead": lambda dim, heads: MultiHead(ScaledDot(), dim, heads),
    "self": lambda dim, heads: SelfAttention(MultiHead(ScaledDot(), dim, heads)),
}

__all__ = ["MECHANISMS", "Mechanism", "MultiHead", "ScaledDot", "SelfAttention"]
