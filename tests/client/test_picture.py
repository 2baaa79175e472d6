import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from client import FileError, Word, picture
from client.alignments import AlignedSegment
from client.picture import draw, pages, spread

RATE = 16000


def segment(tokens: int = 6, seconds: float = 3.0, start_s: float = 0.0) -> AlignedSegment:
    """Token n of N is said in the n-th part of the segment, and attended there."""
    frames = round(seconds / 0.02)
    times = np.linspace(0, seconds, tokens + 1)
    weights = np.zeros((tokens, frames), np.float32)
    for row, at_s in zip(weights, (times[:-1] + times[1:]) / 2, strict=True):
        row[int(at_s / 0.02)] = 0.8
    return AlignedSegment(
        start_s=start_s,
        frame_hop_s=0.02,
        token_ids=tuple(range(100, 100 + tokens)),
        pieces=tuple(f" word{number}" for number in range(tokens)),
        weights=weights,
        words=tuple(Word(f" word{n}", start_s + times[n], start_s + times[n + 1], 0.9) for n in range(tokens)),
    )


def hum(seconds: float = 3.0, hz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def boxes(figure: Figure, labels: list) -> list:
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [label.get_window_extent(renderer) for label in labels]


@pytest.mark.parametrize(("tokens", "seconds"), [(1, 0.3), (6, 3.0), (100, 30.0)])
def test_no_label_lies_on_another_or_outside(tokens: int, seconds: float) -> None:
    figure = draw(segment(tokens, seconds), hum(0.5), RATE)
    figure.draw_without_rendering()
    attention, sound, _ = figure.axes
    rows = boxes(figure, attention.get_yticklabels())
    assert len(rows) == tokens
    assert all(upper.y0 >= lower.y1 - 0.5 for upper, lower in pairwise(rows))
    words = sound.texts
    places = [sound.transData.transform(word.xy)[0] / figure.dpi * 72 for word in words]  # in points, as fonts are
    slant = math.radians(words[0].get_rotation())
    if slant:
        assert all((after - before) * math.sin(slant) > picture.FONT_SIZE for before, after in pairwise(places))
    else:
        assert all(before.x1 < after.x0 for before, after in pairwise(boxes(figure, words)))
    for box in (*rows, *boxes(figure, words), *boxes(figure, [sound.yaxis.label, attention.xaxis.label])):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_rows_are_read_from_the_top() -> None:
    attention = draw(segment(), hum(), RATE).axes[0]
    assert [label.get_text() for label in attention.get_yticklabels()] == [f"word{number}" for number in range(6)]
    bottom, top = attention.get_ylim()
    assert (bottom, top) == (6, 0)


def test_the_path_goes_through_the_most_attended_frames() -> None:
    aligned = segment(start_s=60.0)
    (path,) = [line for line in draw(aligned, hum(), RATE).axes[0].lines if len(line.get_xdata()) == 6]
    np.testing.assert_allclose(path.get_xdata(), 60 + (aligned.weights.argmax(axis=1) + 0.5) * 0.02)
    np.testing.assert_allclose(path.get_ydata(), np.arange(6) + 0.5)


def test_both_panels_share_the_time_of_the_recording() -> None:
    attention, sound, _ = draw(segment(start_s=60.0), hum(), RATE).axes
    assert attention.get_xlim() == sound.get_xlim() == pytest.approx((60.0, 63.0))
    starts = {60.0, 60.5, 61.0, 61.5, 62.0, 62.5}
    for axes in (attention, sound):
        assert starts <= {float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 2}


STRANGE = ["你好", "", " ", "\n\x00", " $x$ $", "_^{", "🙂", "مرحبا", "\ufffd", "%s", "\\frac"]


@pytest.mark.parametrize("extension", ["png", "svg"])
def test_no_text_warns_or_fails(extension: str) -> None:
    aligned = segment(len(STRANGE))
    words = tuple(replace(word, text=text) for word, text in zip(aligned.words, STRANGE, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(replace(aligned, pieces=tuple(STRANGE), words=words), hum(), RATE)
        assert picture.file_of(figure, extension)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[1] == "#101"  # a part of a character has a number only
    assert labels[4] == "$x$ $"


def test_an_installed_font_helps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = chr(min(picture._characters("STIXGeneral") - picture._characters(picture.FONT) - {0}))
    assert picture.drawable(lacking) == picture.NO_GLYPH
    monkeypatch.setattr(picture, "_fallbacks", lambda: ("STIXGeneral",))
    assert picture.drawable(lacking) == lacking


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(RATE, np.float32), hum(0.001)])
def test_a_recording_may_be_silent_or_short(samples: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture.file_of(draw(segment(), samples, RATE), "png")


def test_what_is_too_long_for_a_png_is_told_and_drawn_as_svg() -> None:
    figure = Figure(figsize=(1, 440), dpi=picture.DPI)
    with pytest.raises(FileError, match="svg"):
        picture.file_of(figure, "png")
    assert picture.file_of(figure, "svg").startswith(b"<?xml")


def test_a_token_that_looked_nowhere_is_not_on_the_path() -> None:
    aligned = segment()
    aligned.weights[2] = 0
    lengths = [len(line.get_xdata()) for line in draw(aligned, hum(), RATE).axes[0].lines]
    assert 5 in lengths
    assert 6 not in lengths


def test_each_segment_with_tokens_has_a_page(recording: Callable[..., Path]) -> None:
    one, other = segment(2, 1.0), segment(2, 1.0, start_s=1.0)
    nothing = replace(one, token_ids=(), pieces=(), words=(), weights=np.zeros((0, 50), np.float32))
    assert len(list(pages(recording(seconds=2.0), [one, nothing, other], "png"))) == 2


def test_an_svg_does_not_know_when_it_was_made(recording: Callable[..., Path]) -> None:
    path = recording(seconds=1.0)
    one, again = (list(pages(path, [segment(2, 1.0)], "svg")) for _ in range(2))
    assert one == again
    assert b"<dc:date>" not in one[0]


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), max_size=12).map(sorted), st.floats(0.1, 5))
def test_spread_keeps_gap_order_and_balance(places: list[float], gap: float) -> None:
    moved = spread(places, gap)
    assert all(after - before >= gap - 1e-6 for before, after in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)
    if all(after - before >= gap for before, after in pairwise(places)):
        assert moved == pytest.approx(places, abs=1e-6)
