"""TextGrids read by a small parser of Praat's grammar, written after its manual and not after our writer."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import Word
from client.alignments import AlignedSegment
from client.textgrid import Interval, in_order, textgrid, tier, tokens

# What Praat reads are the free-standing values of the file: numbers, strings and <flags>. All else is for people.
VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(-?\d+(?:\.\d+)?)(?!\S)|<(\w+)>')


def read(content: bytes) -> dict[str, list[Interval]]:
    """The tiers of a TextGrid. Fails where Praat would: counts, order, gaps, overlaps, empty intervals."""
    values: list[str | float] = []
    for string, number, flag in VALUE.findall(content.decode("utf-8")):
        values.append(float(number) if number else f"<{flag}>" if flag else string.replace('""', '"'))
    at = iter(values)
    assert [next(at), next(at)] == ["ooTextFile", "TextGrid"]
    start, end = next(at), next(at)
    assert start == 0
    assert isinstance(end, float)
    assert end > 0
    assert next(at) == "<exists>"
    tiers: dict[str, list[Interval]] = {}
    for _ in range(int(next(at))):
        assert next(at) == "IntervalTier"
        name = str(next(at))
        assert (next(at), next(at)) == (start, end)
        tiers[name] = [Interval(next(at), next(at), next(at)) for _ in range(int(next(at)))]
        assert tiers[name][0].start_s == start
        assert tiers[name][-1].end_s == end
        assert all(one.end_s == other.start_s for one, other in pairwise(tiers[name]))
        assert all(interval.start_s < interval.end_s for interval in tiers[name])
    assert list(at) == []
    return tiers


def looking(peaks: list[int], words: tuple[Word, ...] = (), frames: int = 60) -> AlignedSegment:
    weights = np.zeros((len(peaks), frames), np.float32)
    weights[np.arange(len(peaks)), peaks] = 1
    return AlignedSegment(
        start_s=1.0,
        frame_hop_s=0.02,
        token_ids=tuple(range(len(peaks))),
        pieces=tuple(f" t{number}" for number in range(len(peaks))),
        weights=weights,
        words=words,
    )


def test_words_and_tokens_lie_at_their_times_and_nothing_between() -> None:
    segment = looking([5, 20], (Word(' say "aah"', 1.1, 1.3, 1.0), Word(" now", 1.5, 1.75, 1.0)))
    assert read(textgrid(3.0, [segment])) == {
        "words": [
            Interval(0.0, 1.1, ""),
            Interval(1.1, 1.3, 'say "aah"'),
            Interval(1.3, 1.5, ""),
            Interval(1.5, 1.75, "now"),
            Interval(1.75, 3.0, ""),
        ],
        "tokens": [
            Interval(0.0, 1.1, ""),
            Interval(1.1, 1.4, "t0"),
            Interval(1.4, 1.75, "t1"),
            Interval(1.75, 3.0, ""),
        ],
    }


def test_the_file_is_spelled_as_praat_spells_it() -> None:
    lines = textgrid(0.5, []).decode().splitlines()
    assert lines[:2] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert lines[8:16] == [
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "words"',
        "        xmin = 0",
        "        xmax = 0.5",
        "        intervals: size = 1",
        "        intervals [1]:",
        "            xmin = 0",
    ]


def test_nothing_has_no_textgrid() -> None:
    assert textgrid(0.0, []) == b""


def test_a_part_of_a_character_has_a_number() -> None:
    segment = replace(looking([5, 20]), pieces=("", " \n"), token_ids=(71, 72))
    assert [token.text for token in tokens(segment)] == ["#71", "#72"]


def test_text_stays_on_its_line() -> None:
    segment = looking([5], (Word("a\nb\0c ü 你", 1.0, 2.0, 1.0),))
    assert read(textgrid(2.0, [segment]))["words"][1].text == "a b c ü 你"


def test_what_overlaps_is_cut_and_what_has_no_length_gets_one() -> None:
    overlapping = [Interval(1.0, 2.0, "a"), Interval(1.5, 1.5, "b"), Interval(1.5, 1.2, "c"), Interval(4.0, 5.0, "d")]
    assert tier(overlapping) == [
        Interval(0.0, 1.0, ""),
        Interval(1.0, 1.5, "a"),
        Interval(1.5, 1.501, "b"),
        Interval(1.501, 1.502, "c"),
        Interval(1.502, 4.0, ""),
        Interval(4.0, 5.0, "d"),
    ]


@pytest.mark.parametrize(
    ("peaks", "places"),
    [
        ([1, 5, 9], [1, 5, 9]),
        ([3, 3, 9], [3, 6, 9]),  # one of the two that looked there shares the stretch
        ([1, 50, 5, 9], [1, 3, 5, 9]),  # looked ahead of all that follow
        ([4, 8, 1, 12], [4, 8, 10, 12]),  # looked back
        ([9], [9]),
        ([90, 2, 6], [0, 2, 6]),  # the first looked away: it lies before the others
        ([2, 8, 1], [2, 8, 8.5]),
    ],
)
def test_tokens_go_forward_though_attention_does_not(peaks: list[int], places: list[float]) -> None:
    assert in_order(peaks) == places


def ascending(peaks: list[int]) -> int:
    """How many places the longest strictly ascending subsequence has, by its definition."""
    return max(
        (1 + ascending([peak for peak in peaks[at + 1 :] if peak > first]) for at, first in enumerate(peaks)), default=0
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=9))
def test_most_tokens_stay_where_they_looked(peaks: list[int]) -> None:
    places = in_order(peaks)
    assert places == sorted(places)
    assert sum(place == peak for place, peak in zip(places, peaks, strict=True)) >= ascending(peaks)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
times = st.integers(0, 4000).map(lambda milliseconds: milliseconds / 1000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 59), max_size=8),
            st.lists(st.builds(Word, texts, times, times, st.just(1.0)), max_size=4),
        ),
        max_size=3,
    ),
    times,
)
def test_whatever_the_times_it_is_a_textgrid(said: list[tuple[list[int], list[Word]]], duration_s: float) -> None:
    segments = [looking(peaks, tuple(words)) for peaks, words in said]
    content = textgrid(duration_s, segments)
    if not content:
        assert duration_s == 0
        return
    tiers = read(content)
    assert list(tiers) == ["words", "tokens"]
    labels = [interval.text for interval in tiers["tokens"] if interval.text]
    assert sorted(labels) == sorted(f"t{n}" for peaks, _ in said for n in range(len(peaks)))
    assert tiers["words"][-1].end_s >= duration_s
