"""The moving alignment on a terminal: where the last tokens of a stream looked, as it grows.

A row for each token, time across, a higher block for more attention; what may still change is dim. Each row is as
bright as its own largest weight allows, so that a token which looked about is seen doing so.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from client.alignments import printable_label
from client.errors import MissingPackageError
from client.follow import Followed
from client.results import Row

try:
    from rich.cells import set_cell_size
    from rich.text import Text
except ImportError:
    raise MissingPackageError("rich", "showing an alignment", extra="client") from None

TOKENS = 12  # rows at most
LABEL = 12  # cells for a token's text
LEAD_S = 0.2  # of time before the first look that is seen
BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False)
class Look:
    """A row with its place in the stream."""

    row: Row
    start_s: float  # time of frame 0
    frame_hop_s: float

    @property
    def peak_s(self) -> float:
        return self.start_s + self.row.peak_frame * self.frame_hop_s


def drawn(known: Followed, width: int, tokens: int = TOKENS) -> Text:
    """The last tokens of a stream, in lines of `width` cells; empty where nothing is known."""
    looks = last_looks(known, tokens)
    if not looks:
        return Text()
    columns = max(1, width - LABEL - 1)
    begin_s = max(0.0, min(look.peak_s for look in looks) - LEAD_S)
    heard_s = max(segment.end_s for segment in (*known.segments[-1:], *known.interims))
    end_s = max(heard_s, *(look.peak_s + look.frame_hop_s for look in looks))
    lines = Text(no_wrap=True, overflow="crop")
    for look in looks:
        blocks = "".join(BLOCKS[level] for level in levels(look, begin_s, end_s, columns))
        lines.append(f"{_label(look.row)} {blocks}\n", "dim" if look.row.provisional else "")
    begin, end = f"{begin_s:.1f} s", f"{end_s:.1f} s"
    lines.append(" " * (LABEL + 1) + begin + end.rjust(columns - len(begin)), "dim")
    return lines


def last_looks(known: Followed, count: int) -> list[Look]:
    """Of the last tokens, in their order."""
    return list(islice(_looks_from_last(known), count))[::-1]


def _looks_from_last(known: Followed) -> Iterator[Look]:
    for segment in (*known.interims[::-1], *known.segments[::-1]):
        if segment.alignment is not None:
            for row in segment.alignment.rows[::-1]:
                yield Look(row, segment.alignment.start_s, segment.alignment.frame_hop_s)


def levels(look: Look, begin_s: float, end_s: float, columns: int) -> list[int]:
    """For each column the number of the block that shows the most of its frames: 0 to 8."""
    row = look.row
    if not row.weights.size or not row.weights.max() > 0:
        return [0] * columns
    weights: NDArray[np.float32] = np.zeros(int(row.frames[-1]) + 1, np.float32)
    weights[row.frames] = row.weights
    edges_s = np.linspace(begin_s, end_s, columns + 1)
    edges = (edges_s - look.start_s) / look.frame_hop_s + 1e-6  # in frames; an edge between two is in the later one
    highest = [_most(weights, math.floor(first), math.ceil(last - 2e-6)) for first, last in pairwise(edges)]
    brightness = np.sqrt(np.array(highest) / weights.max())  # what is weak but there shall be seen
    return [int(level) for level in np.ceil(brightness * (len(BLOCKS) - 1) - 0.5)]


def _most(weights: NDArray[np.float32], first: int, end: int) -> float:
    return float(weights[max(0, first) : max(0, end, first + 1)].max(initial=0.0))


def _label(row: Row) -> str:
    return set_cell_size(printable_label(row.piece, row.token_id), LABEL)
