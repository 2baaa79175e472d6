"""Attention mechanisms, one a file, under one contract (mechanism.py).

`MECHANISMS` maps the name a recipe uses to a ready composition. A new mechanism
is one file that keeps the contract and one row here.
"""

from collections.abc import Callable

from asr.attention.additive import Additive
from asr.attention.concat import Concat
from asr.attention.dot import Dot
from asr.attention.entmax import Entmax
from asr.attention.general import General
from asr.attention.gumbel import Gumbel
from asr.attention.hard import Hard
from asr.attention.linear import LinearAttention
from asr.attention.local import Local, LocalM, LocalP
from asr.attention.location_aware import LocationAware
from asr.attention.mechanism import Carried, Mechanism
from asr.attention.mocha import Mocha
from asr.attention.monotonic import Monotonic
from asr.attention.multihead import MultiHead
from asr.attention.none import NoAttention
from asr.attention.positions import Learned, Rotary, Shaw, Sinusoidal, TransformerXL
from asr.attention.scaled_dot import ScaledDot
from asr.attention.self_attention import SelfAttention
from asr.attention.sparsemax import Sparsemax
from asr.attention.uniform import Uniform

MECHANISMS: dict[str, Callable[[int, int], Mechanism]] = {
    # name: (dim, heads) -> mechanism
    "none": lambda dim, heads: NoAttention(),
    "uniform": lambda dim, heads: Uniform(),
    # soft
    "scaled_dot": lambda dim, heads: ScaledDot(),
    "dot": lambda dim, heads: Dot(),
    "general": lambda dim, heads: General(dim),
    "concat": lambda dim, heads: Concat(dim),
    "additive": lambda dim, heads: Additive(dim),
    "location_aware": lambda dim, heads: LocationAware(dim),
    "multihead": lambda dim, heads: MultiHead(ScaledDot(), dim, heads),
    # hard, and in order
    "hard": lambda dim, heads: Hard(General(dim)),
    "gumbel": lambda dim, heads: Gumbel(General(dim)),
    "monotonic": lambda dim, heads: Monotonic(dim),
    "mocha": lambda dim, heads: Mocha(dim),
    # sparse, and linear
    "local": lambda dim, heads: LocalP(General(dim), dim),
    "local_m": lambda dim, heads: LocalM(General(dim)),
    "sparsemax": lambda dim, heads: MultiHead(Sparsemax(ScaledDot()), dim, heads),
    "entmax": lambda dim, heads: MultiHead(Entmax(ScaledDot()), dim, heads),
    "linear": lambda dim, heads: MultiHead(LinearAttention(dim // heads), dim, heads),
    # a sequence that reads itself
    "self": lambda dim, heads: SelfAttention(MultiHead(ScaledDot(), dim, heads)),
    "self_sinusoidal": lambda dim, heads: SelfAttention(MultiHead(ScaledDot(), dim, heads), Sinusoidal()),
    "self_learned": lambda dim, heads: SelfAttention(MultiHead(ScaledDot(), dim, heads), Learned(dim)),
    "self_shaw": lambda dim, heads: SelfAttention(MultiHead(Shaw(dim // heads), dim, heads)),
    "self_transformer_xl": lambda dim, heads: SelfAttention(MultiHead(TransformerXL(dim // heads, heads), dim, heads)),
    "self_rotary": lambda dim, heads: SelfAttention(MultiHead(Rotary(ScaledDot()), dim, heads)),
    "self_local": lambda dim, heads: SelfAttention(MultiHead(Local(ScaledDot()), dim, heads)),
    "self_sparsemax": lambda dim, heads: SelfAttention(MultiHead(Sparsemax(ScaledDot()), dim, heads)),
    "self_entmax": lambda dim, heads: SelfAttention(MultiHead(Entmax(ScaledDot()), dim, heads)),
    "self_linear": lambda dim, heads: SelfAttention(MultiHead(LinearAttention(dim // heads), dim, heads)),
}

__all__ = [
    "MECHANISMS",
    "Additive",
    "Carried",
    "Concat",
    "Dot",
    "Entmax",
    "General",
    "Gumbel",
    "Hard",
    "Learned",
    "LinearAttention",
    "Local",
    "LocalM",
    "LocalP",
    "LocationAware",
    "Mechanism",
    "Mocha",
    "Monotonic",
    "MultiHead",
    "NoAttention",
    "Rotary",
    "ScaledDot",
    "SelfAttention",
    "Shaw",
    "Sinusoidal",
    "Sparsemax",
    "TransformerXL",
    "Uniform",
]
