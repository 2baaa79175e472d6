"""Subtitles: the words of a transcript in cues that read well.

A cue is what stands on a screen at once: a few short lines. Where cues end is chosen for the whole transcript at
once, as a good paragraph chooses its lines (Knuth and Plass 1981): each possible cue has a cost, and the cheapest row
of cues is taken. Best is to end where a sentence does or the speaker rests; dear is a cue too short or too fast to be
read. Then its lines are made about equally long.

Each word is in one cue, in its order; cues follow each other and never overlap.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from client.results import Segment, Transcript, Word

LINE_WIDTH = 42  # characters: what broadcasters agree on
LINES = 2
WORDS = 60  # more are never said in the longest time that a cue may take
LONGEST_MS = 7000  # of speech in a cue
PAUSE_MS = 1500  # of silence that no cue stands through
SHORTEST_MS = 1000  # a cue lingers for so long...
READ_PER_S = 20  # ...or until this many characters a second were time enough...
LINGER_MS = 1500  # ...but not longer than this after its last word, and never into the next cue
SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"')\]\u201d\u2019\u00bb]*$")
CLAUSE_END = re.compile(r"[,;:\u2014\u3001\uff0c][\"')\]\u201d\u2019\u00bb]*$")
NO_SENTENCE_END = re.compile(r"(\w|Mrs?|Ms|Dr|Prof|St|Jr|Sr|vs)\.", re.IGNORECASE)  # "Mr. Dashwood", "J. Austen"


@dataclass(frozen=True)
class Layout:
    """How much a cue may hold. A word wider than a line has one for itself."""

    width: int = LINE_WIDTH  # characters in a line
    lines: int = LINES  # in a cue
    words: int = WORDS  # in a cue
    highlight: bool = False  # underline each word while it is said


READABLE = Layout()


@dataclass(frozen=True)
class Spoken:
    """A word in whole milliseconds: no two overlap, each takes some time."""

    text: str  # with a leading space where there is one
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Cue:
    start_ms: int
    end_ms: int  # may lie after the last word's, so that there is time to read
    lines: tuple[tuple[Spoken, ...], ...]

    @property
    def words(self) -> tuple[Spoken, ...]:
        return tuple(word for line in self.lines for word in line)


def cues(transcript: Transcript, layout: Layout = READABLE) -> list[Cue]:
    words = _spoken(word for segment in transcript.segments for word in _words(segment))
    over_ms = max(round(transcript.duration_s * 1000), words[-1].end_ms if words else 0)
    edges = [0, *_ends(words, layout)]
    made = []
    for begin, end in pairwise(edges):
        part = words[begin:end]
        next_ms = words[end].start_ms if end < len(words) else over_ms
        made.append(Cue(part[0].start_ms, part[-1].end_ms + _linger_ms(part, next_ms), _lines(part, layout.width)))
    return made


def _words(segment: Segment) -> Iterable[Word]:
    """Its words; where none came, those of its text, spread over its time by their lengths."""
    if segment.words:
        return segment.words
    texts = re.findall(r"\s*\S+", segment.text)
    shares = [0, *accumulate(map(len, texts))]
    times_s = [segment.start_s + (segment.end_s - segment.start_s) * share / max(1, shares[-1]) for share in shares]
    return [Word(text, *times, confidence=0.0) for text, times in zip(texts, pairwise(times_s), strict=True)]


def _spoken(words: Iterable[Word]) -> list[Spoken]:
    """Without white space but the one before; times a model got out of order are put in order."""
    said = [word for word in words if word.text.strip()]
    starts_ms: list[int] = []
    for word in said:
        starts_ms.append(max(round(word.start_s * 1000), starts_ms[-1] + 1 if starts_ms else 0))
    spoken = []
    for number, (word, start_ms) in enumerate(zip(said, starts_ms, strict=True)):
        end_ms = max(round(word.end_s * 1000), start_ms + 1)
        if number + 1 < len(said):
            end_ms = min(end_ms, starts_ms[number + 1])
        space = " " if word.text[0].isspace() else ""
        spoken.append(Spoken(space + " ".join(word.text.split()), start_ms, end_ms))
    return spoken


def _ends(words: Sequence[Spoken], layout: Layout) -> list[int]:
    """The index after the last word of each cue, for the cheapest row of cues."""
    costs = [0.0]  # of all up to here
    begins = [0]  # of the last cue up to here
    stops = [0, *accumulate(map(_stop, words))]  # what the places to stop at, up to here, would cost inside of a cue
    lengths = _Lengths(words)
    for end in range(1, len(words) + 1):
        cheapest, line_end, lines = (float("inf"), 0), end, 1
        for begin in range(end - 1, -1, -1):
            if lengths.between(begin, line_end) > layout.width and line_end - begin > 1:  # lines filled from the last
                line_end, lines = begin + 1, lines + 1
            alone = end - begin == 1
            if not alone and (lines > layout.lines or end - begin > layout.words or not _together(words, begin, end)):
                break  # nor would it with more words before
            share = lengths.between(begin, end) / (layout.width * layout.lines)
            inside = stops[end - 1] - stops[begin]
            cost = costs[begin] + 1 + inside + share**2 / 2 + _haste(words, begin, end)
            cheapest = min(cheapest, (cost, begin))
        costs.append(cheapest[0] + _break_cost(words, end))
        begins.append(cheapest[1])
    ends = []
    at = len(words)
    while at:
        ends.append(at)
        at = begins[at]
    return ends[::-1]


class _Lengths:
    """Of stretches of words as they are written, without the space before the first."""

    def __init__(self, words: Sequence[Spoken]) -> None:
        self._spaces = [len(word.text) - len(word.text.lstrip()) for word in words]
        self._sums = [0, *accumulate(len(word.text) for word in words)]

    def between(self, begin: int, end: int) -> int:
        return self._sums[end] - self._sums[begin] - self._spaces[begin]


def _together(words: Sequence[Spoken], begin: int, end: int) -> bool:
    """Whether the first of them may stand on the screen with the others, that may."""
    pause_ms = words[begin + 1].start_ms - words[begin].end_ms
    return pause_ms < PAUSE_MS and words[end - 1].end_ms - words[begin].start_ms <= LONGEST_MS


def _haste(words: Sequence[Spoken], begin: int, end: int) -> float:
    """How far a cue is from being read in comfort."""
    last_ms = words[end - 1].end_ms + LINGER_MS
    shown_ms = min(last_ms, words[end].start_ms if end < len(words) else last_ms) - words[begin].start_ms
    letters = sum(len(word.text) for word in words[begin:end])
    too_short = max(0.0, 1 - shown_ms / SHORTEST_MS)
    too_fast = max(0.0, letters * 1000 / READ_PER_S / shown_ms - 1)
    return 2 * too_short + min(2.0, too_fast)


def _stop(word: Spoken) -> float:
    return 1.5 if _ends_sentence(word) else 0.0


def _break_cost(words: Sequence[Spoken], end: int) -> float:
    """Of ending a cue before the word at `end`."""
    last = words[end - 1]
    if end == len(words) or _ends_sentence(last):
        return 0.0
    rests = words[end].start_ms - last.end_ms >= PAUSE_MS / 3
    return 0.4 if rests else 0.7 if CLAUSE_END.search(last.text) else 2.0


def _ends_sentence(word: Spoken) -> bool:
    return bool(SENTENCE_END.search(word.text)) and not NO_SENTENCE_END.fullmatch(word.text.strip())


def _linger_ms(words: Sequence[Spoken], next_ms: int) -> int:
    letters = sum(len(word.text) for word in words)
    read_ms = words[0].start_ms + max(SHORTEST_MS, letters * 1000 // READ_PER_S)
    return max(0, min(read_ms, words[-1].end_ms + LINGER_MS, next_ms) - words[-1].end_ms)


def _lines(words: Sequence[Spoken], width: int) -> tuple[tuple[Spoken, ...], ...]:
    """In as few lines as there can be, of about equal length; rather broken after a comma than before."""
    lengths = _Lengths(words)

    def fits(begin: int, end: int) -> bool:
        return begin < end and (end - begin == 1 or lengths.between(begin, end) <= width)

    def cost(begin: int, end: int) -> float:
        ends_well = end == len(words) or CLAUSE_END.search(words[end - 1].text) or _ends_sentence(words[end - 1])
        return (lengths.between(begin, end) / width) ** 2 + (0.0 if ends_well else 0.15)

    ways: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, (0,))}  # after so many lines: end -> cost, edges
    while len(words) not in ways:
        ways = {
            end: min((ways[begin][0] + cost(begin, end), (*ways[begin][1], end)) for begin in ways if fits(begin, end))
            for end in range(1, len(words) + 1)
            if any(fits(begin, end) for begin in ways)
        }
    return tuple(tuple(words[begin:end]) for begin, end in pairwise(ways[len(words)][1]))
