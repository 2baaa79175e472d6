"""Where things stand, written once. Attention itself does not know: its sources could come in any order.

    Sinusoidal, Learned    a vector for each place, added to what stands there
    Rotary                 turns queries and keys by an angle for each place: a score then depends on their distance
    Shaw, TransformerXL    scores of which a part depends on the distance

The first two say where, the others how far. In self-attention targets are the last of
the sources, so that the lengths alone tell the distances; a cached past changes nothing.
"""

import math

import torch
from torch import Tensor, nn

from asr.attention.dot import Dot
from asr.attention.mechanism import Attended, Mechanism, State
from asr.attention.scaled_dot import ScaledDot
from asr.attention.scored import Scored

SLOWEST_WAVE = 10_000.0  # Vaswani et al. 2017, section 3.5


def waves(places: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of dim / 2 wavelengths from 2 pi to SLOWEST_WAVE * 2 pi: (n,) to (n, dim)."""
    half = in_pairs(dim, least=4)
    rates = torch.exp(-math.log(SLOWEST_WAVE) / (half - 1) * torch.arange(half, device=places.device))
    angle = places[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def in_pairs(dim: int, least: int = 2) -> int:
    """How many pairs of features there are."""
    if dim % 2 or dim < least:
        raise ValueError(f"sines and cosines need an even dim of at least {least}, not {dim}")
    return dim // 2


def sinusoids(length: int, dim: int) -> Tensor:
    """The waves of the first `length` places: (length, dim)."""
    return waves(torch.arange(length), dim)


def distance(query: Tensor, key: Tensor) -> Tensor:
    """Source minus target, where the targets are the last of the sources: (targets, sources)."""
    targets, sources = query.shape[-2], key.shape[-2]
    target = torch.arange(targets, device=query.device) + (sources - targets)
    return torch.arange(sources, device=query.device) - target[:, None]


class Sinusoidal(nn.Module):
    """Adds waves (Vaswani et al. 2017, section 3.5): no parameters, any length."""

    def forward(self, x: Tensor, past: int = 0) -> Tensor:
        """x (..., length, dim), of which the first stands at `past`."""
        places = torch.arange(x.shape[-2], device=x.device) + past
        return x + waves(places, x.shape[-1]).to(x.dtype)


class Learned(nn.Module):
    """Adds a learned vector for each place (Gehring et al. 2017), up to max_length and no farther."""

    def __init__(self, dim: int, max_length: int = 2_000):
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, dim) * 0.02)

    def forward(self, x: Tensor, past: int = 0) -> Tensor:
        """x (..., length, dim), of which the first stands at `past`."""
        return x + self.table[torch.arange(x.shape[-2], device=x.device) + past]


class Rotary(Mechanism):
    """Rotary positions around a mechanism that scores by dot products (Su et al. 2021, "RoFormer", equation 34).

    Features i and i + dim / 2 are a point in the plane, turned by place * rate_i; the paper pairs
    neighbours, which is the same in another order.
    """

    def __init__(self, mechanism: Mechanism):
        super().__init__()
        if mechanism.carried:
            raise ValueError(f"{type(mechanism).__name__} carries a state, which does not say how many places it holds")
        if not isinstance(scores := scoring(mechanism), (Dot, ScaledDot)):
            raise ValueError(f"{type(scores).__name__} does not score by q . k, of which turns would make distances")
        self.mechanism = mechanism
        self.promise_what(mechanism)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        source = torch.arange(key.shape[-2], device=key.device)
        target = torch.arange(query.shape[-2], device=key.device) + (key.shape[-2] - query.shape[-2])
        context, weights, _ = self.mechanism(turned(query, target), turned(key, source), value, mask)
        return context, weights, None


def scoring(mechanism: Mechanism) -> Mechanism:
    """What scores, inside of what is composed around it."""
    while isinstance(inside := getattr(mechanism, "mechanism", None), Mechanism):
        mechanism = inside
    return mechanism


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Each row of x (..., length, dim) turned by its place (length,)."""
    half = in_pairs(x.shape[-1])
    rates = torch.exp(-math.log(SLOWEST_WAVE) / half * torch.arange(half, device=x.device))
    angle = (places[:, None] * rates).to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Relative(Scored):
    """Base of scores that depend on the distance."""

    def at_distance(self, scores: Tensor, query: Tensor, key: Tensor, nearest: int, farthest: int) -> Tensor:
        """Scores by distance, (..., targets, distances from nearest to farthest), to (..., targets, sources)."""
        index = distance(query, key).clamp(nearest, farthest) - nearest
        return scores.gather(-1, index.expand(*scores.shape[:-1], index.shape[-1]))


class Shaw(Relative):
    """Learned keys for distances (Shaw et al. 2018, "Self-Attention with Relative Position Representations").

        score_ij = q_i . (k_j + a_clip(j - i)) / sqrt(d)

    All beyond `reach` is equally far. The paper adds such vectors to the values too, and finds no gain in it.
    """

    def __init__(self, dim: int, reach: int = 16):
        super().__init__()
        self.reach = reach
        self.far = nn.Parameter(torch.randn(2 * reach + 1, dim) * dim**-0.5)

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        query = query / math.sqrt(query.shape[-1])
        by_distance = self.at_distance(query @ self.far.T, query, key, -self.reach, self.reach)
        return query @ key.transpose(-2, -1) + by_distance


class TransformerXL(Relative):
    """Waves of the distance (Dai et al. 2019, "Transformer-XL", section 3.3).

        score_ij = ((q_i + u) . k_j + (q_i + v) . W waves(j - i)) / sqrt(d)

    u asks for content and v for a distance whatever the query is, each head its own. No distance is too far.
    """

    def __init__(self, dim: int, heads: int = 1):
        super().__init__()
        in_pairs(dim, least=4)
        self.content = nn.Parameter(torch.zeros(heads, 1, dim))  # u
        self.place = nn.Parameter(torch.zeros(heads, 1, dim))  # v
        self.wave = nn.Linear(dim, dim, bias=False)  # W

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        scale = math.sqrt(query.shape[-1])
        nearest, farthest = 1 - key.shape[-2], query.shape[-2] - 1  # source minus target
        far = self.wave(
            waves(torch.arange(nearest, farthest + 1, device=query.device), query.shape[-1]).to(query.dtype)
        )
        by_distance = ((query + self.place) / scale) @ far.T
        content = ((query + self.content) / scale) @ key.transpose(-2, -1)
        return content + self.at_distance(by_distance, query, key, nearest, farthest)
