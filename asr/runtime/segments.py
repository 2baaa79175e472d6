"""A whole recording at full context, its segments read side by side.

There a stream (stream.py) cuts by the sound alone, whatever was said before, and reads each segment afresh. So all cuts
are known before anything is read, and several segments can be read at the same moment, each on a core of its own. What
comes of it is what one stream gives, to the last bit.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime.loudness import levels
from asr.runtime.result import Result
from asr.runtime.stream import Stream, quiet_point

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer


@dataclass(frozen=True)
class Segment:
    """In samples of the recording."""

    first: int
    last: int
    seen: int  # how far a stream listens before it cuts here


def read_segments(
    recognizer: "Recognizer", samples: NDArray[np.float32], options: "Options", abreast: int
) -> tuple[Result, ...]:
    """The finals of a recording (n,) at full context, so many segments read at the same moment."""
    language = recognizer.language(options.language)

    def read(segment: Segment) -> list[Result]:
        stream = Stream(recognizer, language, options, start=segment.first)
        updates = [*stream.accept(samples[segment.first : segment.last]), *stream.finish()]
        emission_s = segment.seen / recognizer.bundle.sample_rate
        return [known_at(emission_s, result) for update in updates for result in update.results]

    finals: list[Result] = []
    rows = 0
    with ThreadPoolExecutor(abreast) as readers:
        for results in readers.map(read, segments(samples, recognizer.bundle.max_samples)):
            finals += [after(rows, result) for result in results]
            rows += sum(len(result.tokens) for result in results)
    return tuple(finals)


def segments(samples: NDArray[np.float32], longest: int) -> Iterator[Segment]:
    """A recording (n,) as a stream at full context cuts it."""
    first = 0
    while samples.size - first >= longest:
        seen = first + longest
        last = first + quiet_point(levels(samples[first:seen]))
        yield Segment(first, last, seen)
        first = last
    if first < samples.size:
        yield Segment(first, samples.size, samples.size)


def known_at(emission_s: float, result: Result) -> Result:
    """The same, as the audio up to then made it known."""
    words = tuple(replace(word, emission_s=emission_s) for word in result.words)
    return replace(result, emission_s=emission_s, words=words)


def after(rows: int, result: Result) -> Result:
    """The same after so many tokens of the recording."""
    if result.alignment is None:
        return result
    renumbered = tuple(replace(row, row_id=row.row_id + rows) for row in result.alignment.rows)
    return replace(result, alignment=replace(result.alignment, rows=renumbered))
