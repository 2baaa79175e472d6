"""A whole recording at full context, its segments read side by side.

There a stream (stream.py) cuts by the sound alone, whatever was said before, and reads each segment afresh. So all cuts
are known before anything is read. Groups of segments are read at the same moment, each on a core of its own, and within
a group all are decoded in step (together.py). What comes of it is what one stream gives, to the last bit. Who has no
whole recording, but blocks of it, cuts them with the same Cutter and reads each segment when he has it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime.beam import Beam
from asr.runtime.loudness import levels
from asr.runtime.result import Result, Word
from asr.runtime.stream import quiet_point
from asr.runtime.together import InTurn, Together

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer


IN_STEP = 4  # segments of a group: twice as many gain a tenth more, for twice the memory


@dataclass(frozen=True)
class Segment:
    """In samples of the recording."""

    first: int
    last: int
    seen: int  # how far a stream listens before it cuts here


Cut = tuple[Segment, NDArray[np.float32]]  # and its samples


def read_segments(
    recognizer: "Recognizer", samples: NDArray[np.float32], options: "Options", abreast: int
) -> tuple[Result, ...]:
    """The finals of a recording (n,) at full context, so many groups of segments read at the same moment."""
    groups = grouped(list(segments(samples, recognizer.bundle.max_samples)), abreast, in_step(recognizer, options))
    beam = recognizer.beam_of(options)  # one for all segments: its phrases take time and room
    finals: list[Result] = []
    with ThreadPoolExecutor(abreast) as readers:
        for group in readers.map(lambda group: read_group(recognizer, samples, options, beam, group), groups):
            for results in group:
                add(finals, results)
    return tuple(finals)


def grouped(every: Sequence[Segment], abreast: int, most: int) -> list[Sequence[Segment]]:
    """Neighbours in groups of nearly the same size, so many at most, and a group for each reader where there can be."""
    rounds = -(-len(every) // (most * abreast))
    count = min(len(every), rounds * abreast)
    edges = [len(every) * number // max(count, 1) for number in range(count + 1)]
    return [every[first:last] for first, last in pairwise(edges)]


def in_step(recognizer: "Recognizer", options: "Options") -> int:
    """Segments in a group: several where one that is decoded beside others gives the bits that it gives alone, and
    where it is not a beam already, whose hypotheses are."""
    alike = recognizer.bundle.quantisation == "int8" and recognizer.threads == 1
    return IN_STEP if alike and options.width == 1 else 1


def read_group(
    recognizer: "Recognizer",
    samples: NDArray[np.float32],
    options: "Options",
    beam: Beam | None,
    group: Sequence[Segment],
) -> list[list[Result]]:
    """The finals of each segment."""
    if len(group) == 1:
        return [read_alone(recognizer, group[0], samples[group[0].first : group[0].last], options, beam)]
    decoder = Together(recognizer.decoder, members=len(group))
    beside = recognizer.over(InTurn(recognizer.encoder), decoder)

    def read(segment: Segment) -> list[Result]:
        try:
            return read_alone(beside, segment, samples[segment.first : segment.last], options, beam)
        finally:
            decoder.leave()

    with ThreadPoolExecutor(len(group)) as members:
        reading = []
        for index, segment in enumerate(group):
            try:
                reading.append(members.submit(read, segment))
            except RuntimeError:  # no thread for it: the others would wait for it
                for _ in group[index:]:
                    decoder.leave()
                raise
        return [one.result() for one in reading]


def read_alone(
    recognizer: "Recognizer",
    segment: Segment,
    samples: NDArray[np.float32],
    options: "Options",
    beam: Beam | None,
) -> list[Result]:
    """The finals of one segment, of its samples alone, as if nothing came before it."""
    stream = recognizer.stream(options, segment.first, beam)
    updates = [*stream.accept(samples), *stream.finish()]
    emission_s = segment.seen / recognizer.bundle.sample_rate
    return [known_at(emission_s, result) for update in updates for result in update.results]


def segments(samples: NDArray[np.float32], longest: int) -> Iterator[Segment]:
    """A recording (n,) as a stream at full context cuts it."""
    cutter = Cutter(longest)
    for first in range(0, samples.size, longest):
        for segment, _ in cutter.accept(samples[first : first + longest]):
            yield segment
    for segment, _ in cutter.finish():
        yield segment


class Cutter:
    """The same of a recording that comes in blocks: each segment as soon as a stream would end it. It never holds more
    than the longest segment and a block."""

    def __init__(self, longest: int):
        self.longest = longest
        self.first = 0  # sample of the recording that is not cut off yet
        self.held: list[NDArray[np.float32]] = []  # blocks from there on...
        self.size = 0  # ...and how many samples they are

    def accept(self, block: NDArray[np.float32]) -> list[Cut]:
        """Take any number of samples (n,); returns the segments whose end is known now."""
        self.held.append(block)
        self.size += block.size
        cut = []
        while self.size >= self.longest:
            held = np.concatenate(self.held)
            last = quiet_point(levels(held[: self.longest]))
            cut.append((Segment(self.first, self.first + last, self.first + self.longest), held[:last]))
            self.held, self.size, self.first = [held[last:]], self.size - last, self.first + last
        return cut

    def finish(self) -> list[Cut]:
        """What is left is the last segment, where anything is."""
        if not self.size:
            return []
        end = self.first + self.size
        return [(Segment(self.first, end, end), np.concatenate(self.held))]


def add(finals: list[Result], results: Sequence[Result]) -> None:
    """Put the next segment's finals behind those before, their tokens counted on."""
    rows = sum(len(final.tokens) for final in finals)
    finals += [after(rows, result) for result in results]


def known_at(emission_s: float, result: Result) -> Result:
    """The same, as the audio up to then made it known."""

    def known(words: Sequence[Word]) -> tuple[Word, ...]:
        return tuple(replace(word, emission_s=emission_s) for word in words)

    others = tuple(replace(other, words=known(other.words)) for other in result.alternatives)
    return replace(result, emission_s=emission_s, words=known(result.words), alternatives=others)


def after(rows: int, result: Result) -> Result:
    """The same after so many tokens of the recording."""
    if result.alignment is None:
        return result
    renumbered = tuple(replace(row, row_id=row.row_id + rows) for row in result.alignment.rows)
    return replace(result, alignment=replace(result.alignment, rows=renumbered))
