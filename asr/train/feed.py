"""A stream that is fed 20 ms packets as fast as it takes them: what it said, when, whether it kept its word, the cost.

Two kinds of time. In audio: a word's lag is from its end to the end of the audio that made it known. On the clock: how
long calls took.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Update, Word
from asr.runtime.stream import Stream
from asr.train.clips import Samples, packets
from asr.train.manifest import TimedWord

STABLE = 1.0  # the stability of what is never revised


@dataclass
class Heard:
    """What a stream made of a stretch of audio."""

    text: str = ""  # of the finals
    words: list[Word] = field(default_factory=list)  # of the finals
    at_close: int = 0  # of these words, those that came only when the audio was over
    audio_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of the whole process
    points_s: list[float] = field(default_factory=list)  # wall time of each packet that brought a grid point
    final_s: float = 0.0  # wall time from half-close to the last final
    segments: int = 0  # finals
    interims: int = 0  # updates that brought some
    broken: int = 0  # times that stable text was taken back

    @property
    def lags_s(self) -> list[float]:
        """Of each word, from its end to its emission, in audio time."""
        return [word.emission_s - word.end_s for word in self.words]


class Feed:
    """One stream, and what came of the audio since it was last taken stock of."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.promise = Promise()
        self.heard = Heard()

    def accept(self, samples: Samples) -> None:
        """Give any number of samples (n,), packet by packet."""
        cpu_s = time.process_time()
        for packet in packets(samples):
            processed = self.stream.processed
            begin = time.perf_counter()
            updates = self.stream.accept(packet)
            took_s = time.perf_counter() - begin
            self.heard.wall_s += took_s
            if self.stream.processed > processed:
                self.heard.points_s.append(took_s)
            self._hear(updates)
        self.heard.cpu_s += time.process_time() - cpu_s
        self.heard.audio_s += samples.size / self.stream.rate

    def finish(self) -> None:
        """Half-close."""
        known_s = self.stream.processed / self.stream.rate
        cpu_s, begin = time.process_time(), time.perf_counter()
        updates = self.stream.finish()
        self.heard.final_s = time.perf_counter() - begin
        self.heard.wall_s += self.heard.final_s
        self.heard.cpu_s += time.process_time() - cpu_s
        before = len(self.heard.words)
        self._hear(updates)
        self.heard.broken += self.promise.end()
        self.heard.at_close = sum(word.emission_s > known_s for word in self.heard.words[before:])

    def take(self) -> Heard:
        """What was heard since this was last asked; counting starts afresh."""
        heard, self.heard = self.heard, Heard()
        return heard

    def _hear(self, updates: Sequence[Update]) -> None:
        for update in updates:
            self.heard.broken += self.promise.see(update)
            self.heard.interims += any(not result.is_final for result in update.results)
            for result in update.results:
                if result.is_final:
                    self.heard.segments += 1
                    self.heard.text += result.text
                    self.heard.words += result.words


def hear(recognizer: Recognizer, samples: Samples, options: Options) -> Heard:
    """A whole recording."""
    feed = Feed(recognizer.stream(options))
    feed.accept(samples)
    feed.finish()
    return feed.take()


class Promise:
    """What a stream has called stable in the segment that is open: all that it says later must begin so."""

    def __init__(self) -> None:
        self.stable: tuple[int, ...] = ()

    def see(self, update: Update) -> int:
        """How often the update breaks it, by finals and by interims."""
        broken = 0
        for result in update.results:
            if result.is_final:
                broken += not self._holds(result.tokens)
                self.stable = ()
        interims = [result for result in update.results if not result.is_final]
        if interims:
            stable = next((result.tokens for result in interims if result.stability == STABLE), ())
            broken += not self._holds(stable)
            self.stable = stable
        return broken

    def end(self) -> int:
        """1 where something stable has never become final, else 0."""
        return int(bool(self.stable))

    def _holds(self, tokens: tuple[int, ...]) -> bool:
        return tokens[: len(self.stable)] == self.stable


def true_lags_s(truth: Sequence[TimedWord], words: Sequence[Word]) -> list[float]:
    """Of each word that was heard rightly, from its true end to its emission."""
    said, written = [plain(word.word) for word in truth], [plain(word.text) for word in words]
    alike = SequenceMatcher(None, said, written, autojunk=False).get_matching_blocks()
    pairs = [(truth[a + step], words[b + step]) for a, b, size in alike for step in range(size)]
    return [word.emission_s - true.end_s for true, word in pairs]


def plain(word: str) -> str:
    return re.sub(r"[^\w']", "", word.lower())
