"""A live utterance: when to read it, what of the text is stable, where a segment ends.

Samples gather into a segment. At each point of the chunk grid, counted from the segment's
start, the segment is read anew at full context and its text compared with the reading
before: the words that both agree on become stable (local agreement, Liu et al. 2020) and
are from then on forced upon every later reading, so they are never taken back. The rest of
the last reading is the draft of the next.

All decisions hang on the samples up to a grid point alone, never on how they came, so packets
change nothing. A segment ends where its speaker pauses, at a flush, or before 30 s at the
quietest point; it is the longest audio ever held.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.errors import InputError
from asr.runtime.loudness import STEP, levels, loud, quietest
from asr.runtime.reading import NOTHING, Reading, read
from asr.runtime.result import Alignment, Cursors, Result, Row, Update, Word
from asr.runtime.words import spell

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer

END_PAUSE_S = 0.8  # a pause that ends a segment
LEAD_S = 0.3  # kept before the first sound
EARLIEST_CUT = 0.5  # of the longest segment: where the search for a quiet point begins
PROVISIONAL_STABILITY = 0.5  # any value below 1: no measure of it is claimed
STABLE = 1.0


@dataclass(frozen=True)
class Settled:
    """The part of a segment's text that is never taken back."""

    tokens: tuple[int, ...] = ()
    words: tuple[Word, ...] = ()
    rows: tuple[Row, ...] = ()


class Stream:
    """One live utterance. Not thread-safe; many streams share one Recognizer."""

    def __init__(self, recognizer: "Recognizer", language: str, options: "Options"):
        bundle = recognizer.bundle
        self.recognizer = recognizer
        self.language = language  # "auto": each segment says its own
        self.options = options
        self.rate = bundle.sample_rate
        self.longest = bundle.max_samples
        self.chunk = bundle.latency_modes[options.latency_mode] * bundle.frame_hop  # samples; 0: whole segments
        self.held = np.zeros(2 * self.longest, np.float32)  # the segment's samples, from its start
        self.size = 0  # of these, how many there are
        self.start = 0  # of the segment in the stream
        self.read_to = 0  # samples of the segment that the last grid point saw
        self.settled = Settled()
        self.draft: tuple[int, ...] = ()  # what the last reading said after the settled tokens
        self.processed = 0  # samples of the stream that results so far have read
        self.rows_said = 0  # tokens in finals so far
        self.finished = False

    def accept(self, samples: NDArray[np.float32]) -> list[Update]:
        """Take any number of samples (n,); returns what became known, in order."""
        if self.finished:
            raise InputError("the stream is finished; open another one for more audio")
        updates: list[Update] = []
        for first in range(0, samples.size, self.longest):  # a longer packet is taken in parts: what is held is bounded
            part = samples[first : first + self.longest]
            self.held[self.size : self.size + part.size] = part
            self.size += part.size
            while (point := self._next_point()) <= self.size:
                updates += self._reach(point)
        return updates

    def flush(self) -> list[Update]:
        """Settle everything received so far; the stream goes on."""
        updates = self._settle_all()
        return [*updates, Update((), self._cursors(), flushed=True)]

    def finish(self) -> list[Update]:
        """Settle everything; the stream is over."""
        updates = self._settle_all()
        self.finished = True
        return updates

    def _next_point(self) -> int:
        """Samples of the segment at which it is looked at next."""
        return min(self.read_to + self.chunk, self.longest) if self.chunk else self.longest

    def _settle_all(self) -> list[Update]:
        self.processed = self.start + self.size
        return self._end_segment(self.size) if self.size else []

    def _reach(self, point: int) -> list[Update]:
        """Decide at a grid point: still silence, segment over, or a new reading."""
        self.read_to = point
        self.processed = self.start + point
        level = levels(self.held[:point])
        if not self.chunk:
            return self._end_segment(self._cut(level))
        sounding = np.flatnonzero(loud(level)) * STEP
        if not self.settled.tokens and not self.draft:
            lead = int(LEAD_S * self.rate)
            self._forget((int(sounding[0]) if sounding.size else point) - lead)
            if not sounding.size:
                return []
        last_sound = self.processed if not sounding.size else self.processed - point + int(sounding[-1])
        if self.processed - last_sound >= END_PAUSE_S * self.rate:
            return self._end_segment(self.read_to)
        if self.read_to == self.longest:
            return self._end_segment(self._cut(level))
        return self._interim()

    def _forget(self, samples: int) -> None:
        """Drop leading silence, in whole chunks, so that the grid stays where it is."""
        whole = max(0, samples) // self.chunk * self.chunk
        self._advance(whole)
        self.read_to -= whole

    def _advance(self, samples: int) -> None:
        """Move the segment's start."""
        self.held[: self.size - samples] = self.held[samples : self.size].copy()
        self.size -= samples
        self.start += samples

    def _cut(self, level: NDArray[np.float32]) -> int:
        """Where to end a segment that has no pause: at its quietest, after all that is settled."""
        words = self.settled.words
        said_s = words[-1].end_s - self.start / self.rate if words else 0.0
        earliest = max(int(EARLIEST_CUT * level.size), int(said_s * self.rate) // STEP)
        return quietest(level, min(earliest, level.size - 1), level.size) * STEP

    def _read(self, samples: int) -> Reading:
        """Read the segment's first samples, with what is settled forced and the draft verified."""
        return read(
            self.recognizer,
            self.held[:samples],
            self.start / self.rate,
            self.rows_said,
            self.language,
            self.settled.tokens,
            self.draft,
        )

    def _interim(self) -> list[Update]:
        """Read the growing segment; settle what agrees with the reading before."""
        reading = self._read(self.read_to)
        self._settle(reading, agreement(self.draft, reading.tokens[len(self.settled.tokens) :]))
        self.draft = reading.tokens[len(self.settled.tokens) :]
        if not reading.tokens or not self.options.interim:
            return []
        known, stable = len(self.settled.words), len(self.settled.tokens)
        tail = replace(
            reading,
            tokens=reading.tokens[stable:],
            words=reading.words[known:],
            rows=tuple(replace(row, provisional=True) for row in reading.rows[stable:]),
            log_probs=reading.log_probs[stable:],
        )
        results = []
        if stable:
            results.append(self._result(self._whole(reading, stable), is_final=False, stability=STABLE))
        if tail.tokens:
            results.append(self._result(tail, is_final=False, stability=PROVISIONAL_STABILITY))
        return [Update(tuple(results), self._cursors())]

    def _settle(self, reading: Reading, agreed: int) -> None:
        """Take into the settled text the whole words within the next agreed tokens.

        A word is whole when another follows it: the last one may still grow.
        """
        stable = len(self.settled.tokens) + agreed
        whole = [index for index, span in enumerate(reading.spans[:-1]) if span.last <= stable]
        if whole and whole[-1] >= len(self.settled.words):
            tokens = reading.spans[whole[-1]].last
            self.settled = Settled(
                reading.tokens[:tokens],
                self.settled.words + reading.words[len(self.settled.words) : whole[-1] + 1],
                self.settled.rows + reading.rows[len(self.settled.tokens) : tokens],
            )

    def _whole(self, reading: Reading, tokens: int) -> Reading:
        """The reading's first tokens, with words and rows as they were when they were settled."""
        settled = self.settled
        known = len(settled.words)
        words = settled.words + reading.words[known:] if tokens > len(settled.tokens) else settled.words
        rows = settled.rows + reading.rows[len(settled.rows) : tokens]
        log_probs = reading.log_probs[:tokens]
        return replace(reading, tokens=reading.tokens[:tokens], words=words, rows=rows, log_probs=log_probs)

    def _end_segment(self, samples: int) -> list[Update]:
        """The final of the segment's first samples; the next segment starts after them."""
        reading = self._read(samples)
        end_s = (self.start + samples) / self.rate
        results = []
        if reading is not NOTHING:
            whole = self._whole(reading, len(reading.tokens))
            results.append(replace(self._result(whole, is_final=True, stability=0.0), end_s=end_s))
            self.rows_said += len(whole.tokens)
        self._advance(samples)
        self.read_to, self.settled, self.draft = 0, Settled(), ()
        return [Update(tuple(results), self._cursors())] if results else []

    def _result(self, reading: Reading, is_final: bool, stability: float) -> Result:
        processed_s = self.processed / self.rate
        hop_s = self.recognizer.bundle.frame_hop_s
        return Result(
            text=spell(self.recognizer.tokenizer, reading.tokens),
            tokens=reading.tokens,
            words=reading.words,
            start_s=self.start / self.rate,
            end_s=processed_s,
            emission_s=processed_s,
            is_final=is_final,
            stability=stability,
            language=reading.language,
            avg_logprob=reading.avg_logprob,
            no_speech_prob=reading.no_speech_prob,
            alignment=Alignment(hop_s, self.start / self.rate, reading.rows) if self.options.alignment else None,
        )

    def _cursors(self) -> Cursors:
        received = self.start + self.size
        return Cursors(received / self.rate, self.processed / self.rate, self.start / self.rate)


def agreement(before: tuple[int, ...], now: tuple[int, ...]) -> int:
    """How many tokens two readings have in common from their start."""
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return index
    return min(len(before), len(now))
