"""Where every head looked: a page for each segment, with a small map for each head of each layer.

Layers go down from the first, heads go across. Each map has the tokens of the segment as rows, the first on top, and
the time of the recording across; its colours reach from nothing to the largest weight of its own head, as one head
may look at a frame and its neighbour at everything. Heads that find words show a line that falls from left to right.
"""

import math
from collections.abc import Iterator, Sequence

from client.alignments import AlignedSegment
from client.errors import MissingPackageError
from client.picture import COLORS, DPI, FAINT, FONT_SIZE, INK, drawable, file_of, font

try:
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
except ImportError:
    raise MissingPackageError("matplotlib", "a picture", extra="picture") from None

# Inches.
WIDTH_PER_SECOND, MIN_WIDTH, MAX_WIDTH = 0.12, 1.1, 3.6
ROW_HEIGHT, MIN_HEIGHT, MAX_HEIGHT = 0.035, 0.7, 2.5
MARGIN, GAP, LABELS, TIME_AXIS, TITLE = 0.15, 0.08, 0.55, 0.4, 0.45
MAX_LETTERS = 100  # of the segment's text above it
FAINTEST = 1 / 255  # as bright as a map of nothing can get


def pages(segments: Sequence[AlignedSegment], extension: str) -> Iterator[bytes]:
    """The page of each segment that has heads and tokens, as the bytes of a png or svg file."""
    for segment in segments:
        if segment.heads is not None and segment.heads.size:
            yield file_of(draw(segment), extension)


def draw(segment: AlignedSegment) -> Figure:
    """The figure of a segment that came with its heads."""
    assert segment.heads is not None
    tokens, layers, heads, _ = segment.heads.shape
    seconds = segment.heard_s - segment.start_s
    across = min(max(seconds * WIDTH_PER_SECOND, MIN_WIDTH), MAX_WIDTH)
    down = min(max(tokens * ROW_HEIGHT, MIN_HEIGHT), MAX_HEIGHT)
    width = MARGIN + LABELS + heads * (across + GAP) + MARGIN
    height = TITLE + layers * (down + GAP) + TIME_AXIS
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    for layer in range(layers):
        for head in range(heads):
            left = MARGIN + LABELS + head * (across + GAP)
            bottom = TIME_AXIS + (layers - 1 - layer) * (down + GAP)
            axes = figure.add_axes((left / width, bottom / height, across / width, down / height))
            weights = segment.heads[:, layer, head]
            axes.imshow(
                weights,
                aspect="auto",
                origin="upper",
                extent=(segment.start_s, segment.heard_s, tokens, 0),
                cmap=COLORS,
                norm=PowerNorm(0.5, 0, max(float(weights.max()), FAINTEST)),
                interpolation="antialiased",
            )
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.tick_params(axis="x", labelsize=FONT_SIZE - 2, colors=FAINT, length=2, labelbottom=layer == layers - 1)
            axes.locator_params(axis="x", nbins=3)
            if layer == 0:
                axes.set_title(f"head {head}", fontsize=FONT_SIZE - 1, color=FAINT, pad=3)
            if head == 0:
                axes.set_ylabel(f"layer {layer}", fontsize=FONT_SIZE - 1, color=FAINT)
    figure.supxlabel("seconds", fontsize=FONT_SIZE - 1, color=FAINT, y=0.05 / height)
    room = min(MAX_LETTERS, math.floor(width * 14))  # letters of this size in an inch
    text = _shortened(drawable("".join(segment.pieces).strip()), room)
    figure.text(
        MARGIN / width, 1 - 0.05 / height, text, va="top", fontproperties=font(text), color=INK, parse_math=False
    )
    return figure


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
