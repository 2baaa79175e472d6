"""A live utterance: when to read it, what of the text is stable, where a segment ends.

Samples gather into a segment, which is looked at when a chunk of it, counted from the segment's start, has come. Where
the model can, each chunk is encoded once, on top of what was kept of those before (growing.py), and decoding goes on
from the last stable token; else the segment is read anew at full context. A policy (policy.py) says how many words of
the reading are stable: these are never taken back. The rest of the reading is the draft of the next. Who asks for it
has each finished segment read once more, whole; then nothing is stable before its final. A beam, where one is asked
for, searches what follows the stable text, at every reading; a final's alternatives all begin with what was stable.

All decisions hang on the samples up to a grid point alone, never on how they came, so packets change nothing. A
segment ends where its speaker pauses, at a flush, or before 30 s: between two words, or at its quietest point. It is
the longest audio ever held.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.errors import InputError
from asr.runtime import ctc
from asr.runtime.beam import Beam
from asr.runtime.endpoints import has_ended, onset
from asr.runtime.growing import Growing
from asr.runtime.loudness import STEP, gap, levels, loud, pause, quietest
from asr.runtime.meaning import Place
from asr.runtime.policy import POLICIES
from asr.runtime.quality import judged
from asr.runtime.reading import read
from asr.runtime.result import Alignment, Alternative, Cursors, Event, Kind, Result, Update
from asr.runtime.sessions import Source
from asr.runtime.settled import Reading, Settled, nothing, settle
from asr.runtime.words import spell

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer

LATE_PAUSE_S = 0.4  # a pause that ends a segment when it is getting long
LATE = 0.5  # of the longest segment: from here on it is getting long
LEAD_S = 0.3  # kept before the first sound
EARLIEST_CUT = 0.5  # of the longest segment: from where on a pause, or else a quiet point, is looked for
CLEAR_PAUSE = 50  # steps of quiet: a pause that a segment is cut in
CUT_S = 2.0  # a segment is cut between words so much before its end, or later: what is heard twice
WORDLESS_S = 4.0  # sound in which no letter was heard for so long is dropped like silence
PROVISIONAL_STABILITY = 0.5  # any value below 1: no measure of it is claimed
LIKELY_STABILITY = 0.9  # what would be stable, were it not to be read once more
STABLE = 1.0


class Stream:
    """One live utterance. Not thread-safe; many streams share one Recognizer."""

    def __init__(
        self, recognizer: "Recognizer", language: str, options: "Options", start: int = 0, beam: Beam | None = None
    ):
        """start  samples of the recording that somebody else hears, before the first of these
        beam   how to search, where the call has made it already
        """
        bundle = recognizer.bundle
        self.recognizer = recognizer
        self.language = language  # "auto": each segment says its own
        self.options = options
        self.rate = bundle.sample_rate
        self.longest = bundle.max_samples
        self.chunk = bundle.latency_modes[options.latency_mode] * bundle.frame_hop  # samples; 0: whole segments
        self.grows = bundle.grows and bundle.chunks and self.chunk > 0
        self.ahead = bundle.ahead if self.grows else 0  # samples that a chunk waits for
        self.last_point = self.longest // self.chunk * self.chunk if self.grows else self.longest
        self.endpoints = options.endpoints
        self.rescores = options.rescore and self.chunk > 0
        looks = self.grows and bundle.alignment_heads  # at frames, by which align_att goes
        self.policy = POLICIES[options.policy or ("align_att" if looks else "agreement")]
        self.held = np.zeros(2 * self.longest, np.float32)  # the segment's samples, from its start
        self.size = 0  # of these, how many there are
        self.start = start  # of the segment in the stream
        self.read_to = 0  # samples of the segment that the last grid point saw
        self.growing: Growing | None = None  # the segment's encoding; None: nothing is encoded yet, or kept
        self.settled = Settled()
        self.draft: tuple[int, ...] = ()  # what the last reading said after the settled tokens
        self.processed = 0  # samples of the stream that results so far have read
        self.rows_said = 0  # tokens in finals so far
        self.goes_on = False  # the last segment was cut while somebody spoke
        self.speaking = False
        self.spoken: tuple[float, float] | None = None  # where the last words began and ended; None: none yet
        self.guessed = False  # the last interims had a tail that may still change
        self.finished = False
        if beam is not None:
            self.beam = beam

    @cached_property
    def beam(self) -> Beam | None:
        """How to search; None: greedily. Made where it is first needed: many phrases take their time, and streams are
        opened where none is."""
        return self.recognizer.beam_of(self.options)

    def accept(self, samples: NDArray[np.float32]) -> list[Update]:
        """Take any number of samples (n,); returns what became known, in order."""
        if self.finished:
            raise InputError("the stream is finished; open another one for more audio")
        updates: list[Update] = []
        for first in range(0, samples.size, self.longest):  # a longer packet is taken in parts: what is held is bounded
            part = samples[first : first + self.longest]
            self.held[self.size : self.size + part.size] = part
            self.size += part.size
            while not self.finished and (point := self._next_point()) + self.ahead <= self.size:
                updates += self._until_timeout(self._with_activity(self._reach(point)))
        return updates

    @property
    def waits_for(self) -> int:
        """Samples that must come before anything can become known by itself."""
        return self._next_point() + self.ahead - self.size

    def flush(self) -> list[Update]:
        """Settle everything received so far; the stream goes on."""
        updates = self._settle_all()
        return [*updates, self._event(Kind.FLUSHED, self.processed / self.rate)]

    def finish(self) -> list[Update]:
        """Settle everything; the stream is over."""
        if self.finished:
            return []
        updates = self._settle_all()
        self.finished = True
        return updates

    def _next_point(self) -> int:
        """Samples of the segment at which it is looked at next."""
        return min(self.read_to + self.chunk, self.last_point) if self.chunk else self.longest

    def _settle_all(self) -> list[Update]:
        self.processed = self.start + self.size
        self.goes_on = False
        return self._with_activity(self._end_segment(self.size, last=True) if self.size else [])

    def _reach(self, point: int) -> list[Update]:
        """Decide at a grid point: still silence, segment over, or a new reading."""
        self.read_to = point
        # what lies after a cut is looked at again, but it was heard before
        self.processed = max(self.processed, self.start + point + self.ahead)
        level = levels(self.held[:point])
        if not self.chunk:
            return self._end_segment(self._quiet_point(level))
        sounding = loud(level)
        if not self.settled.tokens and not self.draft and self.growing is None:
            history_s, share = self.endpoints.start_history_s, self.endpoints.start_threshold
            first = onset(sounding, round(history_s * self.rate / STEP), share)
            self._forget((point if first is None else first * STEP) - int(max(LEAD_S, history_s) * self.rate))
            if first is None:
                return []
        if self._has_ended(sounding, STEP):
            return self._end_segment(self.read_to)
        if self.read_to == self.longest and not self.grows:
            self.goes_on = True
            return self._end_segment(self._quiet_point(level))
        return self._go_on(level, sounding)

    def _has_ended(self, sounding: NDArray[np.bool_], step: int) -> bool:
        """Whether the pause that ends a segment has come; sounding: each `step` samples of the segment."""
        late = self.grows and self.read_to >= LATE * self.longest
        pause_s = min(self.endpoints.stop_history_s, LATE_PAUSE_S if late else np.inf)
        return has_ended(sounding, round(pause_s * self.rate / step), self.endpoints.stop_threshold)

    def _has_paused(self, sounding: NDArray[np.bool_], step: int) -> bool:
        """Whether the shorter pause has come after which all that was said is stable."""
        pause_s = self.endpoints.stop_history_eou_s
        if pause_s is None:
            return False
        return has_ended(sounding, round(pause_s * self.rate / step), self.endpoints.stop_threshold_eou)

    def _forget(self, samples: int) -> None:
        """Drop leading silence, in whole chunks, so that the grid stays where it is."""
        whole = max(0, samples) // self.chunk * self.chunk
        self._advance(whole)
        self.read_to -= whole
        self.growing = None

    def _advance(self, samples: int) -> None:
        """Move the segment's start."""
        self.held[: self.size - samples] = self.held[samples : self.size].copy()
        self.size -= samples
        self.start += samples

    def _read(self, samples: int, last: bool = False) -> Reading:
        """Read the segment's first samples; last: it ends after them, whatever was received."""
        return self._reading(samples, lambda: self._encode(samples, last))

    def _read_again(self, samples: int) -> Reading:
        """Read the segment's first samples at full context, from its first word on; the text so far is the draft."""
        self.draft, self.settled = self.settled.tokens + self.draft, Settled()
        return self._reading(samples, lambda: self.recognizer.encoder.encode(self.held[:samples]))

    def _reading(self, samples: int, encode: Callable[[], Source]) -> Reading:
        options = self.options
        place = Place(
            self.start / self.rate,
            self.processed / self.rate,
            self.rows_said,
            self.language,
            options.alignment and options.heads,
            options.word_times,
            self.beam,
        )
        return read(self.recognizer, self.held[:samples], encode, self.settled, self.draft, place)

    def _encode(self, samples: int, last: bool) -> Source:
        """The encoding of the segment's first samples, on top of what is kept of it where the model can."""
        encoder = self.recognizer.encoder
        if not self.grows:
            return encoder.encode(self.held[:samples])
        if self.growing is None:
            self.growing = Growing(encoder, self.chunk // encoder.bundle.frame_hop)
        if last:
            return self.growing.end(self.held[:samples])
        return self.growing.reach(self.held[: samples + self.ahead], samples // encoder.bundle.frame_hop)

    def _go_on(self, level: NDArray[np.float32], sounding: NDArray[np.bool_]) -> list[Update]:
        """Read the segment as far as it has come; settle what the policy calls stable."""
        reading = self._read(self.read_to)
        if self.grows and self.read_to == self.last_point:
            return self._cut(reading, level)
        tail = self._settle(reading, self.policy(reading.evidence(self.settled, self.draft)))
        paused = self._has_paused(sounding, STEP)
        if reading.letters is not None and not any(map(str.isalnum, spell(self.recognizer.tokenizer, tail.tokens))):
            hop = self.recognizer.bundle.frame_hop
            spelled = ctc.spelled(reading.letters)
            if self.settled.tokens and self._has_ended(spelled, hop):
                if self.rescores:
                    return self._end_segment(self.read_to)
                return self._end(tail, self.read_to)
            if not self.settled.tokens and has_ended(spelled, round(WORDLESS_S * self.rate / hop), 1.0):
                self._forget(self.read_to - int(LEAD_S * self.rate))
                return self._interims(nothing())
            paused = paused or self._has_paused(spelled, hop)
        return self._interims(self._settle(tail, None) if paused else tail)

    def _settle(self, reading: Reading, count: int | None) -> Reading:
        """Take the reading's first tokens into the settled text, None: all that it says; returns what is left."""
        self.settled, tail = settle(self.recognizer, self.settled, reading, count)
        self.draft = tail.tokens
        if words := (*self.settled.words, *tail.words):
            self.spoken = (words[0].start_s, words[-1].end_s)
        return tail

    def _interims(self, tail: Reading) -> list[Update]:
        """What is stable, then what is not. A tail that was all there was and is taken back is replaced by nothing."""
        if not self.options.interim:
            return []
        results = []
        if self.settled.tokens:
            stability = LIKELY_STABILITY if self.rescores else STABLE
            results.append(self._result(self.settled, is_final=False, stability=stability))
        if tail.tokens or (self.guessed and not results):
            results.append(self._result(tail, is_final=False, stability=PROVISIONAL_STABILITY))
        self.guessed = bool(tail.tokens)
        return [Update(tuple(results), self.cursors)] if results else []

    def _end_segment(self, samples: int, last: bool = False) -> list[Update]:
        """Settle all that the segment's first samples say; the next segment starts after them."""
        return self._end(self._read_again(samples) if self.rescores else self._read(samples, last), samples)

    def _end(self, reading: Reading, samples: int) -> list[Update]:
        """The final of the segment's first samples, which is all that the reading says, and what else it may be."""
        others = [(settle(self.recognizer, self.settled, one.reading)[0], one.odds) for one in reading.others()]
        self._settle(reading, None)
        return self._close(samples, others)

    def _quiet_point(self, level: NDArray[np.float32]) -> int:
        """Where to end a segment that has no pause: at its quietest, after all that is settled."""
        words = self.settled.words
        said_s = words[-1].end_s - self.start / self.rate if words else 0.0
        return quiet_point(level, int(said_s * self.rate) // STEP)

    def _cut(self, tail: Reading, level: NDArray[np.float32]) -> list[Update]:
        """End a segment that has no pause between two words, at most CUT_S before where it was read to.

        What is said before that is final, stable or not; what comes after is heard again in the next segment.
        """
        if self.rescores:
            tail = self._read_again(self.read_to)
        start_s, end_s = self.start / self.rate, (self.start + self.read_to) / self.rate
        early = [span.last for span, word in zip(tail.spans, tail.words, strict=True) if word.start_s < end_s - CUT_S]
        tail = self._settle(tail, max(early, default=0))
        said_s = max(end_s - CUT_S, self.settled.words[-1].end_s if self.settled.words else 0.0)
        self.goes_on = True
        between_s = max(said_s, tail.words[0].start_s) if tail.words else said_s
        return self._close(gap(level, round((between_s - start_s) * self.rate / STEP)) * STEP)

    def _close(self, samples: int, others: Sequence[tuple[Settled, float]] = ()) -> list[Update]:
        """The final of the segment's first samples, which says what is settled; the next segment starts after them.

        others  what else the segment may say, and at what odds; of a part of what was read nobody knows
        """
        results = []
        if self.guessed and not self.settled.tokens:
            results.append(self._result(nothing(), is_final=False, stability=PROVISIONAL_STABILITY))
        self.guessed = False
        if self.settled.tokens:
            final = replace(
                self._result(self.settled, is_final=True, stability=0.0),
                alternatives=tuple(self._alternative(said, odds) for said, odds in others),
            )
            end_s = (self.start + samples) / self.rate
            results.append(judged(replace(final, end_s=end_s), self.settled, self.held[:samples], self.recognizer))
            self.rows_said += len(self.settled.tokens)
        self._advance(samples)
        self.read_to, self.growing, self.settled, self.draft = 0, None, Settled(), ()
        return [Update(tuple(results), self.cursors)] if results else []

    def _result(self, said: Settled | Reading, is_final: bool, stability: float) -> Result:
        processed_s = self.processed / self.rate
        hop_s = self.recognizer.bundle.frame_hop_s
        rows = said.rows if not self.rescores else tuple(replace(row, provisional=not is_final) for row in said.rows)
        return Result(
            text=spell(self.recognizer.tokenizer, said.tokens),
            tokens=said.tokens,
            words=said.words,
            start_s=self.start / self.rate,
            end_s=processed_s,
            emission_s=processed_s,
            is_final=is_final,
            stability=stability,
            language=said.language,
            avg_logprob=mean(said.log_probs),
            no_speech_prob=said.no_speech_prob,
            alignment=Alignment(hop_s, self.start / self.rate, rows) if self.options.alignment else None,
        )

    def _alternative(self, said: Settled, odds: float) -> Alternative:
        text = spell(self.recognizer.tokenizer, said.tokens)
        return Alternative(text, said.tokens, said.words, mean(said.log_probs), odds)

    def _with_activity(self, updates: list[Update]) -> list[Update]:
        """The updates of a grid point, and what they mean for who wants to know when somebody speaks."""
        if not self.options.activity:
            return updates
        said = any(result.is_final for update in updates for result in update.results)
        says, self.goes_on = bool(self.settled.tokens or self.draft) or self.goes_on, False
        if not self.speaking and (said or says) and self.spoken is not None:
            self.speaking = True
            updates = [self._event(Kind.SPEECH_BEGIN, self.spoken[0]), *updates]
        if self.speaking and not says and self.spoken is not None:
            self.speaking = False
            updates = [*updates, self._event(Kind.SPEECH_END, self.spoken[1])]
        return updates

    def _until_timeout(self, updates: list[Update]) -> list[Update]:
        """The updates of a grid point; where nobody has spoken for too long they are the last."""
        since_s, timeout_s = 0.0, self.options.start_timeout_s
        if self.spoken is not None:
            since_s, timeout_s = self.spoken[1], self.options.end_timeout_s
        if timeout_s is not None and not self.speaking and self.processed / self.rate - since_s >= timeout_s:
            self.finished = True
            updates = [*updates, self._event(Kind.TIMEOUT, self.processed / self.rate)]
        return updates

    def _event(self, kind: Kind, time_s: float) -> Update:
        return Update((), self.cursors, Event(kind, time_s))

    @property
    def cursors(self) -> Cursors:
        received = self.start + self.size
        return Cursors(received / self.rate, self.processed / self.rate, self.start / self.rate)


def mean(log_probs: NDArray[np.float32]) -> float:
    return float(log_probs.mean()) if log_probs.size else 0.0


def quiet_point(level: NDArray[np.float32], said: int = 0) -> int:
    """Samples after which a segment ends that is too long, of (steps,), and not before `said` steps: in the first pause
    of its last part, or else at the quietest point there."""
    earliest = max(int(EARLIEST_CUT * level.size), said)
    paused = pause(loud(level), earliest, CLEAR_PAUSE)
    step = quietest(level, min(earliest, level.size - 1), level.size) if paused is None else paused
    return step * STEP
