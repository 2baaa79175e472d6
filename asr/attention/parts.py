"""The parts that attention is composed of, by the names that recipes use; composition.py puts them together.

A new way to score, to share out scores or to tell places apart is one file and one row here. From then on a recipe
composes it with the parts of the other tables, and MECHANISMS has it ready by its name.
"""

from collections.abc import Callable

from asr.attention.additive import Additive
from asr.attention.concat import Concat
from asr.attention.dot import Dot
from asr.attention.entmax import Entmax
from asr.attention.general import General
from asr.attention.gumbel import Gumbel
from asr.attention.hard import Hard
from asr.attention.local import Local, LocalM, LocalP
from asr.attention.location_aware import LocationAware
from asr.attention.mechanism import Mechanism
from asr.attention.mocha import Mocha
from asr.attention.monotonic import Monotonic
from asr.attention.positions import Learned, Rotary, Shaw, Sinusoidal, TransformerXL
from asr.attention.scaled_dot import ScaledDot
from asr.attention.scored import Scored
from asr.attention.sparsemax import Sparsemax
from asr.attention.top_k import TopK
from asr.attention.uniform import Uniform

SCORES: dict[str, Callable[[int], Mechanism]] = {  # from the features that a head sees
    "uniform": lambda dim: Uniform(),
    "scaled_dot": lambda dim: ScaledDot(),
    "dot": lambda dim: Dot(),
    "general": General,
    "concat": Concat,
    "additive": Additive,
    "location_aware": LocationAware,
}

# How scores become weights, besides by softmax.
SPARSE: dict[str, Callable[[Scored], Mechanism]] = {
    "sparsemax": Sparsemax,
    "entmax": Entmax,
    "top_k": TopK,
}
CHOICES: dict[str, Callable[[Scored], Mechanism]] = {  # of one source
    "hard": Hard,
    "gumbel": Gumbel,
}
IN_ORDER: dict[str, Callable[[int], Mechanism]] = {  # by additive scores that they keep themselves
    "monotonic": Monotonic,
    "mocha": Mocha,
}

# What is hidden besides what the call's mask hides (padding, the future, other chunks).
WINDOWS: dict[str, Callable[[Mechanism], Mechanism]] = {  # of a sequence that reads itself
    "local": Local,
}
CROSS_WINDOWS: dict[str, Callable[[Mechanism, int], Mechanism]] = {  # of one that reads another
    "local": LocalP,
    "local_m": lambda mechanism, dim: LocalM(mechanism),
}

# What stands where, in a sequence that reads itself.
ADDED: dict[str, Callable[[int], Sinusoidal | Learned]] = {  # to what stands there
    "sinusoidal": lambda dim: Sinusoidal(),
    "learned": Learned,
}
RELATIVE: dict[str, Callable[[int, int], Scored]] = {  # (dim, heads): scaled dot products that tell distances
    "shaw": lambda dim, heads: Shaw(dim),
    "transformer_xl": TransformerXL,
}
TURNED: dict[str, Callable[[Mechanism], Mechanism]] = {  # queries and keys, around what multiplies them
    "rotary": Rotary,
}

PARTS: dict[str, tuple[str, ...]] = {  # every name that a recipe can say
    "score": tuple(SCORES),
    "weights": ("softmax", *SPARSE, *CHOICES, *IN_ORDER),
    "mask": ("global", *dict.fromkeys((*WINDOWS, *CROSS_WINDOWS))),
    "position": ("none", *ADDED, *RELATIVE, *TURNED),
}
