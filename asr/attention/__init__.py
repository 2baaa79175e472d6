"""Attention mechanisms, one a file, under one contract (mechanism.py).

`MECHANISMS` maps the name a recipe uses to a ready composition; a recipe can also
compose its own (composition.py). A new part is one file that keeps the contract and
one row in parts.py; what is not made of parts has its row here.
"""

from collections.abc import Callable

from asr.attention.additive import Additive
from asr.attention.composition import ALONE, Composition
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
from asr.attention.parts import IN_ORDER, PARTS, SCORES, SPARSE
from asr.attention.positions import Learned, Rotary, Shaw, Sinusoidal, TransformerXL
from asr.attention.scaled_dot import ScaledDot
from asr.attention.self_attention import SelfAttention
from asr.attention.sparsemax import Sparsemax
from asr.attention.uniform import Uniform

MECHANISMS: dict[str, Callable[[int, int], Mechanism]] = {
    # name: (dim, heads) -> mechanism
    "none": lambda dim, heads: NoAttention(),
    # each score alone, by its name: uniform, scaled_dot, dot, general, concat, additive, location_aware
    **{name: Composition(score=name, heads=ALONE).cross_attention for name in SCORES},
    "multihead": Composition().cross_attention,
    # hard, and in order: monotonic, mocha
    "hard": Composition("general", "hard", heads=ALONE).cross_attention,
    "gumbel": Composition("general", "gumbel", heads=ALONE).cross_attention,
    **{name: Composition("additive", name, heads=ALONE).cross_attention for name in IN_ORDER},
    # windows; sparse weights by their names: sparsemax, entmax; linear
    "local": Composition("general", mask="local", heads=ALONE).cross_attention,
    "local_m": Composition("general", mask="local_m", heads=ALONE).cross_attention,
    **{name: Composition(weights=name).cross_attention for name in SPARSE},
    "linear": lambda dim, heads: MultiHead(LinearAttention(dim // heads), dim, heads),
    # a sequence that reads itself, and each kind of position and of sparse weights as self_NAME
    "self": Composition().self_attention,
    **{f"self_{name}": Composition(position=name).self_attention for name in PARTS["position"] if name != "none"},
    "self_local": Composition(mask="local").self_attention,
    **{f"self_{name}": Composition(weights=name).self_attention for name in SPARSE},
    "self_linear": lambda dim, heads: SelfAttention(MultiHead(LinearAttention(dim // heads), dim, heads)),
}

__all__ = [
    "MECHANISMS",
    "Additive",
    "Carried",
    "Composition",
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
