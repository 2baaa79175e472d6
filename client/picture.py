"""The picture of an alignment: what was heard above, where each token looked below.

One figure a segment, as wide as the segment is long and as high as it has tokens, so that 100 tokens in 30
seconds can still be read. The upper panel is a mel spectrogram with the words at their times; the lower one
has a row for each token, in reading order, bright where it looked, and a thin line through the frames each
looked at most. Both share the time axis, in seconds of the recording.
"""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.alignments import AlignedSegment, token_label
from client.errors import FileError, MissingPackageError
from client.recording import Recording
from client.results import Word
from client.spectrogram import LOW_HZ, TOP_HZ, mel, mel_spectrogram

try:
    from matplotlib import colormaps, font_manager, rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
except ImportError:
    raise MissingPackageError("matplotlib", "a picture", extra="picture") from None

DPI = 150
MOST_PIXELS = 2**16  # of a side of a png: matplotlib draws none as long as that
POINTS_PER_INCH = 72

# Inches.
WIDTH_PER_SECOND, MIN_WIDTH, MAX_WIDTH = 0.75, 7.0, 24.0
ROW_HEIGHT, MIN_ATTENTION_HEIGHT = 0.15, 1.2
SPECTROGRAM_HEIGHT = 1.5
MARGIN, GAP, LABEL_GAP, HZ_LABELS, TIME_AXIS_HEIGHT = 0.2, 0.08, 0.06, 0.4, 0.5
COLOR_BAR_GAP, COLOR_BAR_WIDTH, COLOR_BAR_HEIGHT, COLOR_BAR_LABELS = 0.12, 0.09, 1.2, 0.5

FONT = "DejaVu Sans"  # comes with matplotlib
FALLBACK_FONTS = (  # for what it lacks, where one is installed
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Heiti SC", "Hiragino Sans", "Yu Gothic",
    "Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Arial Unicode MS",
)  # fmt: skip
NO_GLYPH = "\N{WHITE SQUARE}"
FONT_SIZE, LINE = 8.0, 1.15
SLANT = math.radians(55)  # of the words where they are too dense to lie flat

INK, FAINT = "#1a1a1a", "#808080"
COLORS, LIGHT = "magma", "#ffffff"  # perceptually uniform; what is drawn over it

PAUSE_S = 0.08
TICKS_HZ = (500, 1000, 2000, 4000, 8000)


def pages(path: Path, segments: Sequence[AlignedSegment], extension: str) -> Iterator[bytes]:
    """The picture of each segment that has tokens, as the bytes of a png or svg file."""
    recording = Recording(path)
    for segment in segments:
        if segment.weights.size:
            samples = recording.between(segment.start_s, segment.end_s)
            yield file_of(draw(segment, samples, recording.sample_rate), extension)


def draw(segment: AlignedSegment, samples: NDArray[np.float32], sample_rate: int) -> Figure:
    """The figure of a segment; `samples` begin where it begins."""
    duration_s = segment.end_s - segment.start_s
    across = min(max(duration_s * WIDTH_PER_SECOND, MIN_WIDTH), MAX_WIDTH)
    down = max(MIN_ATTENTION_HEIGHT, len(segment.pieces) * ROW_HEIGHT)
    pieces = [piece_label(*token) for token in zip(segment.pieces, segment.token_ids, strict=True)]
    words = _place(segment.words, segment.start_s, across / duration_s)

    left = MARGIN + max(HZ_LABELS, words.left, max(map(_width, pieces)) + LABEL_GAP)
    right = MARGIN + max(COLOR_BAR_GAP + COLOR_BAR_WIDTH + COLOR_BAR_LABELS, words.right - across)
    top = MARGIN + words.height + LABEL_GAP
    width, height = left + across + right, TIME_AXIS_HEIGHT + down + GAP + SPECTROGRAM_HEIGHT + top
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")

    def panel(x: float, y: float, w: float, h: float) -> Axes:
        """Axes at a place in inches from the lower left corner."""
        return figure.add_axes((x / width, y / height, w / width, h / height))

    attention = panel(left, TIME_AXIS_HEIGHT, across, down)
    sound = panel(left, TIME_AXIS_HEIGHT + down + GAP, across, SPECTROGRAM_HEIGHT)
    scale = panel(left + across + COLOR_BAR_GAP, TIME_AXIS_HEIGHT, COLOR_BAR_WIDTH, min(COLOR_BAR_HEIGHT, down))
    _draw_sound(sound, samples, sample_rate, segment.start_s)
    _draw_attention(attention, scale, segment, pieces)
    _draw_words(sound, words)
    for axes in (sound, attention):
        for time_s in _boundaries(segment.words):
            axes.axvline(time_s, color=LIGHT, linewidth=0.5, alpha=0.22)
        axes.set_xlim(segment.start_s, segment.end_s)
        axes.set_facecolor(colormaps[COLORS](0.0))  # as silence is
        axes.spines[:].set_visible(False)
    return figure


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places nearest to `places` (ascending) that are `gap` apart: isotonic regression of places - gap x index.

    Pool adjacent violators (Ayer et al. 1955).
    """
    pools: list[tuple[float, int]] = []  # mean, size
    for number, place in enumerate(places):
        mean, size = place - gap * number, 1
        while pools and pools[-1][0] > mean:
            before, members = pools.pop()
            mean, size = (before * members + mean * size) / (members + size), members + size
        pools.append((mean, size))
    settled = [mean for mean, size in pools for _ in range(size)]
    return [place + gap * number for number, place in enumerate(settled)]


@dataclass(frozen=True)
class _WordLabels:
    texts: tuple[str, ...]
    places_s: tuple[float, ...]
    slanted: bool
    # Inches:
    height: float  # above the panel
    left: float  # from the first label to the panel's left edge
    right: float  # from there to the end of the last label


def _place(words: Sequence[Word], start_s: float, inches_per_second: float) -> _WordLabels:
    """Labels over the middles of the words: flat where all have room, else slanted and moved a little apart."""
    texts = tuple(drawable(word.text.strip()) for word in words)
    widths = np.array([_width(text) for text in texts])
    middles = np.array([((word.start_s + word.end_s) / 2 - start_s) * inches_per_second for word in words])
    line = FONT_SIZE * LINE / POINTS_PER_INCH
    starts, ends, rise = middles - widths / 2, middles + widths / 2, line
    slanted = bool((starts[1:] < ends[:-1] + line / 2).any())
    if slanted:
        middles = np.array(spread(middles.tolist(), line / math.sin(SLANT)))
        starts, ends = middles - line / 2, middles + widths * math.cos(SLANT)
        rise = widths.max() * math.sin(SLANT) + line / 2
    return _WordLabels(
        texts=texts,
        places_s=tuple((start_s + middles / inches_per_second).tolist()),
        slanted=slanted,
        height=rise,
        left=-starts.min(initial=0.0),
        right=ends.max(initial=0.0),
    )


def _draw_words(axes: Axes, words: _WordLabels) -> None:
    for text, place_s in zip(words.texts, words.places_s, strict=True):
        axes.annotate(
            text,
            xy=(place_s, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, LABEL_GAP * POINTS_PER_INCH),
            textcoords="offset points",
            rotation=math.degrees(SLANT) if words.slanted else 0,
            rotation_mode="anchor",
            horizontalalignment="left" if words.slanted else "center",
            verticalalignment="baseline",
            fontproperties=font(text),
            color=INK,
            parse_math=False,
            annotation_clip=False,
        )


def _boundaries(words: Sequence[Word]) -> list[float]:
    """The start of each word, and its end where a pause follows that can be seen."""
    nexts = [word.start_s for word in words[1:]] + [math.inf]
    ends = [word.end_s for word, next_s in zip(words, nexts, strict=True) if next_s - word.end_s > PAUSE_S]
    return [word.start_s for word in words] + ends


def _draw_sound(axes: Axes, samples: NDArray[np.float32], sample_rate: int, start_s: float) -> None:
    if len(samples):
        end_s = start_s + len(samples) / sample_rate
        axes.imshow(
            mel_spectrogram(samples, sample_rate),
            aspect="auto",
            origin="lower",
            extent=(start_s, end_s, mel(LOW_HZ), mel(TOP_HZ)),
            cmap=COLORS,
            interpolation="bilinear",
        )
    axes.set_ylim(mel(LOW_HZ), mel(TOP_HZ))
    axes.set_yticks([mel(hz) for hz in TICKS_HZ], [f"{hz / 1000:g}" for hz in TICKS_HZ])
    axes.set_ylabel("kHz", fontsize=FONT_SIZE, color=FAINT)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.tick_params(axis="y", labelsize=FONT_SIZE - 1, colors=FAINT, length=2)


def _draw_attention(axes: Axes, scale: Axes, segment: AlignedSegment, pieces: Sequence[str]) -> None:
    tokens, hop_s = len(pieces), segment.frame_hop_s
    strongest = max(float(segment.weights.max()), 1 / 255)
    heat = axes.imshow(
        segment.weights,
        aspect="auto",
        origin="upper",
        extent=(segment.start_s, segment.heard_s, tokens, 0),
        cmap=COLORS,
        norm=PowerNorm(0.5, 0, strongest),  # what is weak but there shall be seen
        interpolation="nearest",
    )
    seen = segment.weights.any(axis=1)
    path_s = segment.start_s + (segment.weights.argmax(axis=1) + 0.5) * hop_s
    axes.plot(path_s[seen], np.arange(tokens)[seen] + 0.5, color=LIGHT, linewidth=0.7, alpha=0.6)

    axes.set_yticks(np.arange(tokens) + 0.5, pieces)
    for label, piece in zip(axes.get_yticklabels(), pieces, strict=True):
        label.set_parse_math(False)
        label.set_fontproperties(font(piece))
    axes.tick_params(axis="y", length=0, pad=LABEL_GAP * POINTS_PER_INCH, labelcolor=INK)
    axes.tick_params(axis="x", labelsize=FONT_SIZE, colors=FAINT, length=3)
    axes.set_xlabel("seconds", fontsize=FONT_SIZE, color=FAINT)

    bar = axes.figure.colorbar(heat, cax=scale, ticks=[0, strongest], format="%.2g")
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=FONT_SIZE - 1, colors=FAINT, length=0)
    scale.set_ylabel("attention", fontsize=FONT_SIZE - 1, color=FAINT)


def piece_label(piece: str, token_id: int) -> str:
    """The token's label as it can be drawn."""
    return drawable(token_label(piece, token_id))


def drawable(text: str) -> str:
    """The text with a square for each character that no font can draw. matplotlib would warn of each."""
    known = _characters(FONT).union(*(_characters(family) for family in _fallbacks() if not text.isascii()))
    return "".join(character if ord(character) in known and character.isprintable() else NO_GLYPH for character in text)


@cache
def _characters(family: str) -> frozenset[int]:
    """The code points that a font has glyphs for."""
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())


@cache
def _fallbacks() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return tuple(family for family in FALLBACK_FONTS if family in installed)


def font(text: str) -> FontProperties:
    families = [FONT] if text.isascii() else [FONT, *_fallbacks()]
    return FontProperties(family=families, size=FONT_SIZE)


def _width(text: str) -> float:
    """Inches."""
    return float(_ruler().get_text_width_height_descent(text, font(text), ismath=False)[0]) / DPI


@cache
def _ruler() -> Any:
    renderer: Any = RendererAgg  # untyped
    return renderer(1, 1, DPI)


def file_of(figure: Figure, extension: str) -> bytes:
    """The same bytes for the same figure: no date, no random names. FileError where it is too large for a png."""
    if extension == "png" and max(figure.get_size_inches()) * DPI >= MOST_PIXELS:
        raise FileError("too much is said for one png: svg, TextGrid, npz and json have room for it")
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "asr"}):
        figure.savefig(file, format=extension, metadata={"Date": None} if extension == "svg" else None)
    return file.getvalue()
