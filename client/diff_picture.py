"""Two alignments side by side, and what they differ by: a page for each segment of the first.

The rows are the tokens of both, in order: what only one of them says is a row that the other leaves empty. All three
maps share rows, time and, the first two, colours; the third is red where the second looked more, blue where less.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.alignments import AlignedSegment
from client.diff import Token, edit_pairs, tokens
from client.errors import MissingPackageError
from client.picture import COLORS, DPI, FAINT, FONT_SIZE, INK, file_of, font, piece_label

try:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.figure import Figure
except ImportError:
    raise MissingPackageError("matplotlib", "a picture", extra="picture") from None

EXTENSIONS = ("png", "svg")
DIFFERENCE = "RdBu_r"

# Inches.
WIDTH_PER_SECOND, MIN_WIDTH, MAX_WIDTH = 0.4, 2.5, 8.0
ROW_HEIGHT, MIN_HEIGHT = 0.15, 1.0
MARGIN, GAP, LABELS, TIME_AXIS, TITLE = 0.15, 0.15, 1.2, 0.45, 0.3

Pair = tuple[Token | None, Token | None]


def pages(one: Sequence[AlignedSegment], other: Sequence[AlignedSegment], extension: str) -> Iterator[bytes]:
    """The figure of each segment of the first alignment that has tokens."""
    for pairs in pairs_of_segments(one, other):
        if pairs:
            yield file_of(draw(pairs), extension)


def pairs_of_segments(one: Sequence[AlignedSegment], other: Sequence[AlignedSegment]) -> list[list[Pair]]:
    """For each segment of the first alignment its tokens beside the second's; others' go with the token before."""
    ours, theirs = tokens(one), tokens(other)
    segment_of = [number for number, segment in enumerate(one) for _ in segment.pieces]
    segments: list[list[Pair]] = [[] for _ in one]
    at = 0
    for a, b in edit_pairs([token.key for token in ours], [token.key for token in theirs]):
        at = segment_of[a] if a is not None else at
        first, second = None if a is None else ours[a], None if b is None else theirs[b]
        if not segments:
            break  # then there is no page to put it on
        if first and second and first.key != second.key:  # another in its place: a row for each
            segments[at] += [(first, None), (None, second)]
        else:
            segments[at].append((first, second))
    return segments


def draw(pairs: Sequence[Pair]) -> Figure:
    """The figure of a segment that has tokens."""
    both = [token for pair in pairs for token in pair if token is not None]
    hop_s = min(token.frame_hop_s for token in both)
    start_s = min(token.start_s for token in both)
    end_s = max(max(token.start_s + len(token.weights) * token.frame_hop_s for token in both), start_s + hop_s)
    times_s = start_s + (np.arange(round((end_s - start_s) / hop_s)) + 0.5) * hop_s
    first, second = (np.stack([_at(times_s, pair[side]) for pair in pairs]) for side in (0, 1))

    across = min(max((end_s - start_s) * WIDTH_PER_SECOND, MIN_WIDTH), MAX_WIDTH)
    down = max(MIN_HEIGHT, len(pairs) * ROW_HEIGHT)
    width, height = MARGIN + LABELS + 3 * (across + GAP) + MARGIN, TITLE + down + TIME_AXIS
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    strongest = max(float(first.max()), float(second.max()), 1 / 255)
    shared = COLORS, PowerNorm(0.5, 0, strongest)
    farthest = max(float(np.abs(second - first).max()), 1 / 255)
    apart = DIFFERENCE, Normalize(-farthest, farthest)
    maps = [("first", first, shared), ("second", second, shared), ("second - first", second - first, apart)]
    for column, (title, weights, (colours, norm)) in enumerate(maps):
        left = MARGIN + LABELS + column * (across + GAP)
        axes = figure.add_axes((left / width, TIME_AXIS / height, across / width, down / height))
        extent = (start_s, end_s, len(pairs), 0)
        axes.imshow(
            weights, aspect="auto", origin="upper", extent=extent, interpolation="nearest", cmap=colours, norm=norm
        )
        axes.set_title(title, fontsize=FONT_SIZE, color=FAINT, pad=4)
        axes.set_xlabel("seconds", fontsize=FONT_SIZE, color=FAINT)
        axes.tick_params(axis="x", labelsize=FONT_SIZE - 1, colors=FAINT, length=3)
        axes.tick_params(axis="y", length=0)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if column == 0:
            _label_rows(axes, pairs)
    return figure


def _label_rows(axes: Axes, pairs: Sequence[Pair]) -> None:
    """The text of each row; - before what only the first says, + before what only the second does."""
    labels = []
    for first, second in pairs:
        token = first or second
        assert token is not None
        sign = "" if first and second else "\N{MINUS SIGN} " if first else "+ "
        labels.append(sign + piece_label(token.piece, token.token_id))
    axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_parse_math(False)
        tick.set_fontproperties(font(label))
        tick.set_color(INK)


def _at(times_s: NDArray[Any], token: Token | None) -> NDArray[np.float32]:
    """The weight of the frame at each time, 0 beyond the frames."""
    if token is None or not token.weights.size:
        return np.zeros(len(times_s), np.float32)
    frames = np.floor((times_s - token.start_s) / token.frame_hop_s).astype(np.int64)
    inside = (frames >= 0) & (frames < len(token.weights))
    weights: NDArray[np.float32] = np.where(inside, token.weights[frames.clip(0, len(token.weights) - 1)], 0)
    return weights
