"""Monotonic attention (Raffel et al. 2017, "Online and Linear-Time Attention by Enforcing Monotonic Alignments").

    p_ij    = sigmoid(energy(q_i, k_j)),   energy = g v^T / |v| tanh(W q + U k + b) + r

    in use        from the frame where the last target stopped, walk on to the first with p > 1/2, and read it
    in training   the expected alignment, if each frame on the way were accepted with probability p

Target i never looks behind target i - 1, so listening can go along with speaking.

The expectation in one line. Let R_ij be the probability that target i stopped at j or
before. It stops at j if its predecessor has come that far, it has not stopped before,
and j is accepted:

    weights_ij = p_ij (R_{i-1,j} - R_{i,j-1}),    so    R_ij = (1 - p_ij) R_{i,j-1} + p_ij R_{i-1,j}

The paper solves its recurrence by dividing by a running product of (1 - p), which must
be clipped and is wrong after a few dozen frames of p = 1/2; `stopped` needs only
products and sums of numbers between 0 and 1, log2(sources) passes of them.

What walks past the last frame reads nothing, then and ever after: rows sum to at most one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.attention.additive import Additive
from asr.attention.in_order import InOrder
from asr.attention.mechanism import SOURCES, Carried, State


def stopped(p: Tensor, before: Tensor) -> Tensor:
    """R_j = (1 - p_j) R_{j-1} + p_j before_j, for all j in parallel: (..., sources) each.

    Doubling: if R_j = pass_j R_{j-reach} + stop_j, the same holds at twice the reach.
    """
    passed, stop, reach = 1 - p, p * before, 1
    while reach < p.shape[-1]:
        stop = stop + passed * shifted(stop, reach)
        passed = passed * shifted(passed, reach)
        reach *= 2
    return stop


def first(accepted: Tensor) -> Tensor:
    """`stopped` for zeros and ones: one from the first one on."""
    return (accepted.cumsum(-1) > 0).to(accepted.dtype)


def shifted(x: Tensor, by: int) -> Tensor:
    """Each source gets what stood `by` before it, the first ones zero."""
    return functional.pad(x[..., :-by], (by, 0))


class Energy(Additive):
    """Additive energies of a learned scale and offset: a sigmoid, unlike a softmax, heeds both.

    offset: so low that a target walks past some twenty frames at first, and has something to learn from.
    gain: so high that a frame can be accepted for certain. The paper begins at 1 / sqrt(dim) and trains long; with
    that, a short training learns by faint expectations, and then accepts nothing in use.
    """

    def __init__(self, dim: int, offset: float = -3.0, gain: float = 1.0):
        super().__init__(dim)
        self.gain = nn.Parameter(torch.tensor(gain))
        self.offset = nn.Parameter(torch.tensor(offset))

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        energy: Tensor = self.gain * super().score(query, key) / self.energy.weight.norm() + self.offset
        return energy


class Monotonic(InOrder):
    """One pass over the source; the state is R of the last target, at first all one: it may stop anywhere."""

    rows_sum_to_one = False
    carried = (Carried("stopped", (1, SOURCES), 1.0),)

    def __init__(self, dim: int, noise: float = 3.0):
        """noise: its deviation, added to the energies in training, so that they learn to be far from zero: with little
        of it faint expectations carry all that is needed, and in use nothing is accepted (docs/experiments.md)."""
        super().__init__()
        self.accept = Energy(dim)
        self.noise = noise

    def clues(self, query: Tensor, key: Tensor) -> Tensor:
        return self.accept.score(query, key)

    def accepted(self, energy: Tensor) -> Tensor:
        """p in training, in use whether it is above 1/2."""
        if self.training:
            return (energy + self.noise * torch.randn_like(energy)).sigmoid()
        return (energy > 0).to(energy.dtype)

    def look(self, clues: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
        (before,) = state
        p = self.accepted(clues)
        p = p if mask is None else p * mask
        now = stopped(p, before) if self.training else first(p * before)
        weights = p * (before - shifted(now, 1)).relu()  # relu: rounding may take it below zero
        return weights, (now,)
