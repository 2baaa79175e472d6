"""An alignment as a Praat TextGrid: a tier of words and one of tokens, to look at beside the sound.

Praat wants the intervals of a tier to follow each other without gap or overlap from the start of the recording to its
end, each longer than nothing. So the stretches where nothing was said are intervals without a text; what overlaps is
cut where the next begins; and what would be empty is a thousandth of a second long.

A token begins where it looked most and ends where the next does. Attention need not move forward as the text does:
tokens that looked back, or ahead of those that follow, share the stretch of the token before them.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from client.alignments import AlignedSegment

DECIMALS = 6  # of times in seconds
SHORTEST_S = 0.001


@dataclass(frozen=True)
class Interval:
    start_s: float
    end_s: float
    text: str


def textgrid(duration_s: float, segments: Sequence[AlignedSegment]) -> bytes:
    """The long text format, in UTF-8. b"" for a recording of no length, which Praat does not know."""
    spoken = {
        "words": tier([word for segment in segments for word in words(segment)]),
        "tokens": tier([token for segment in segments for token in tokens(segment)]),
    }
    end_s = max(round(duration_s, DECIMALS), *(_end_s(intervals) for intervals in spoken.values()))
    if not end_s:
        return b""
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_number(end_s)}",
        "tiers? <exists>",
        f"size = {len(spoken)}",
        "item []:",
    ]
    for number, (name, intervals) in enumerate(spoken.items(), start=1):
        lines += [f"    item [{number}]:", *(f"        {line}" for line in _tier_lines(name, intervals, end_s))]
    return ("\n".join(lines) + "\n").encode()


def words(segment: AlignedSegment) -> list[Interval]:
    return [Interval(word.start_s, word.end_s, word.text.strip()) for word in segment.words]


def tokens(segment: AlignedSegment) -> list[Interval]:
    """The tokens of a segment, each from where it looked most to where the next one did."""
    if not segment.pieces:
        return []
    labels = [
        piece.strip() or f"#{token_id}" for piece, token_id in zip(segment.pieces, segment.token_ids, strict=True)
    ]
    peaks = segment.weights.argmax(axis=1).tolist() if segment.weights.size else [0] * len(labels)
    last_s = segment.start_s + (max(peaks) + 1) * segment.frame_hop_s
    end_s = max((word.end_s for word in segment.words), default=last_s)
    starts = [segment.start_s + frame * segment.frame_hop_s for frame in in_order(peaks)]
    ends = [*starts[1:], max(end_s, starts[-1] + segment.frame_hop_s)]
    return [Interval(*times) for times in zip(starts, ends, labels, strict=True)]


def in_order(peaks: Sequence[int]) -> list[float]:
    """Places that only go forward: the peaks that most others agree with, and the others evenly between those.

    Those that agree are a longest strictly ascending subsequence (Schensted 1961), the first of several.
    """
    ends: list[list[int]] = []  # of subsequences of 1, 2, ... tokens the last ones, whose peaks never ascend
    before: list[int] = []  # the token before each in the longest one that ends there; -1: it is the first
    for here, peak in enumerate(peaks):
        size = bisect_left(ends, peak, key=lambda lasts: peaks[lasts[-1]])
        if size == len(ends):
            ends.append([])
        ends[size].append(here)
        if size:
            shorter = ends[size - 1]
            before.append(shorter[bisect_right(shorter, -peak, key=lambda token: -peaks[token])])
        else:
            before.append(-1)
    at = ends[-1][0]
    anchors = [(len(peaks), peaks[at] + 1)]  # the last stretch is one frame
    while at >= 0:
        anchors.append((at, peaks[at]))
        at = before[at]
    places = [0.0] * len(peaks)
    for (first, place), (last, next_place) in pairwise([(-1, 0), *reversed(anchors)]):
        members = range(max(first, 0), last)
        for position, member in enumerate(members):
            places[member] = place + (next_place - place) * position / len(members)
    return places


def tier(texts: Iterable[Interval]) -> list[Interval]:
    """Intervals that follow each other from 0 to the end of the last text, in the order of their starts."""
    ordered = sorted(texts, key=lambda interval: interval.start_s)
    nexts = [*(interval.start_s for interval in ordered[1:]), math.inf]
    intervals: list[Interval] = []
    now_s = 0.0

    def append(until_s: float, text: str) -> None:
        nonlocal now_s
        until_s = round(until_s, DECIMALS)
        if until_s > now_s:
            intervals.append(Interval(now_s, until_s, text))
            now_s = until_s

    for interval, next_s in zip(ordered, nexts, strict=False):
        append(interval.start_s, "")
        append(max(min(interval.end_s, next_s), now_s + SHORTEST_S), interval.text)
    return intervals


def _end_s(intervals: Sequence[Interval]) -> float:
    return intervals[-1].end_s if intervals else 0.0


def _tier_lines(name: str, intervals: Sequence[Interval], end_s: float) -> list[str]:
    if (said_s := _end_s(intervals)) < end_s:
        intervals = [*intervals, Interval(said_s, end_s, "")]
    lines = [
        'class = "IntervalTier"',
        f"name = {_quoted(name)}",
        "xmin = 0",
        f"xmax = {_number(end_s)}",
        f"intervals: size = {len(intervals)}",
    ]
    for number, interval in enumerate(intervals, start=1):
        lines += [
            f"intervals [{number}]:",
            f"    xmin = {_number(interval.start_s)}",
            f"    xmax = {_number(interval.end_s)}",
            f"    text = {_quoted(interval.text)}",
        ]
    return lines


def _quoted(text: str) -> str:
    """A string as Praat reads it. It stays on its line, which Praat does not ask for but readers of its files do."""
    return '"' + "".join(c if c.isprintable() else " " for c in text).replace('"', '""') + '"'


def _number(seconds: float) -> str:
    return f"{seconds:.{DECIMALS}f}".rstrip("0").rstrip(".") or "0"
