"""When words begin, against when they truly do: ours from each source and in each mode, by other ways, and a peer's.

A true word counts as found where the same word was written at its place in the text; its error is the start that was
written less the true one. F1 asks for more: the same word, and its start within NEAR_S.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import NotFoundError, OptionError
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Word
from asr.runtime.times import SOURCES
from asr.train import looks
from asr.train.manifest import TimedWord
from asr.train.markdown import number, table
from asr.train.peers import LANGUAGE, faster_whisper_words, language_of, package
from asr.train.score import normalise

NEAR_S = 0.05
MODES = ("full", "640ms")

Samples = NDArray[np.float32]
Placed = Sequence[TimedWord]  # what a system wrote


@dataclass(frozen=True)
class Timer:
    """A system that says when words begin; it is given the recording and, if it wants it, the true text."""

    name: str
    place: Callable[[Samples, str], Placed]
    mode: str = ""  # of ours, where it has one
    source: str = ""  # of ours


@dataclass(frozen=True)
class Onsets:
    """A system on a set."""

    system: str
    set: str
    said: int  # true words
    written: int
    errors_s: tuple[float, ...]  # of the words that were found
    mode: str = ""
    source: str = ""

    @property
    def f1(self) -> float | None:
        """Per cent."""
        near = sum(abs(error) <= NEAR_S for error in self.errors_s)
        return 200 * near / (self.said + self.written) if self.said + self.written else None

    def percentile(self, share: float) -> float | None:
        """Of the errors without their sign, in seconds."""
        return float(np.percentile(np.abs(self.errors_s), share)) if self.errors_s else None

    @property
    def bias_s(self) -> float | None:
        return float(np.median(self.errors_s)) if self.errors_s else None


def errors_of(truth: Placed, written: Placed) -> list[float]:
    """Seconds from the true start of each word that was found to the one that was written."""
    one, other = ([normalise(word.word) for word in words] for words in (truth, written))
    alike = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [written[b + step].start_s - truth[a + step].start_s for a, b, size in alike for step in range(size)]


def our_timers(recognizer: Recognizer) -> list[Timer]:
    """Each source of word times in each mode, and the known text aligned."""
    bundle = recognizer.bundle
    language = language_of(recognizer)
    timers = []
    for source in SOURCES if bundle.ctc is not None else SOURCES[:1]:
        for mode in (mode for mode in MODES if mode in bundle.latency_modes):
            options = Options(latency_mode=mode, language=language, interim=False, word_times=source)
            timers.append(Timer(f"{bundle.name} {mode}, {source}", _heard(recognizer, options), mode, source))
        options = Options(language=language, word_times=source)
        timers.append(Timer(f"{bundle.name}, text known, {source}", _aligned(recognizer, options)))
    if bundle.ctc is not None and bundle.decoder_heads and bundle.alignment_heads:
        asked = Options(language=language)
        timers += [
            Timer(f"{bundle.name} full, {name}", _by(way, recognizer, asked)) for name, way in looks.WAYS.items()
        ]
    return timers


def placed(words: Iterable[Word]) -> list[TimedWord]:
    """Our words as a manifest has them."""
    return [TimedWord(word.text.strip(), word.start_s, word.end_s) for word in words]


def _heard(recognizer: Recognizer, options: Options) -> Callable[[Samples, str], Placed]:
    def place(samples: Samples, text: str) -> Placed:
        return placed(word for one in recognizer.transcribe(samples, options).segments for word in one.words)

    return place


def _by(way: looks.Way, recognizer: Recognizer, options: Options) -> Callable[[Samples, str], Placed]:
    def place(samples: Samples, text: str) -> Placed:
        return placed(looks.timed(recognizer, samples, options, way))

    return place


def _aligned(recognizer: Recognizer, options: Options) -> Callable[[Samples, str], Placed]:
    def place(samples: Samples, text: str) -> Placed:
        return placed(recognizer.align(samples, text, options).words)

    return place


def peer_timer(told: str, threads: int) -> Timer:
    """faster-whisper=DIR or openai-whisper=FILE.pt. OptionError where it is neither, NotFoundError: it is absent."""
    name, _, weights = told.partition("=")
    if name == "faster-whisper":
        return Timer(f"{name} word_timestamps", _faster_whisper(weights, threads))
    if name == "openai-whisper" and weights:
        return Timer(f"{name} word_timestamps", _openai_whisper(Path(weights), threads))
    raise OptionError(f"onsets are compared with faster-whisper=DIR and openai-whisper=FILE.pt, not {told!r}")


def _faster_whisper(weights: str, threads: int) -> Callable[[Samples, str], Placed]:
    transcribe = faster_whisper_words(weights, threads)

    def place(samples: Samples, text: str) -> Placed:
        words = (word for segment in transcribe(samples) for word in segment.words)
        return [TimedWord(word.word.strip(), word.start, word.end) for word in words]

    return place


def _openai_whisper(file: Path, threads: int) -> Callable[[Samples, str], Placed]:
    """Its dynamic time warping over chosen heads, which a file does not tell: they are known by its name."""
    whisper = package("whisper", "openai-whisper")
    if not file.is_file():
        raise NotFoundError(f"no weights at {file}: expected a .pt file of OpenAI's")
    import torch

    torch.set_num_threads(threads)
    model: Any = whisper.load_model(str(file), device="cpu")
    if heads := whisper._ALIGNMENT_HEADS.get(file.stem):
        model.set_alignment_heads(heads)

    def place(samples: Samples, text: str) -> Placed:
        said = model.transcribe(
            samples, language=LANGUAGE, temperature=0.0, condition_on_previous_text=False, word_timestamps=True,
            fp16=False, verbose=None,
        )  # fmt: skip
        words = (word for segment in said["segments"] for word in segment["words"])
        return [TimedWord(word["word"].strip(), word["start"], word["end"]) for word in words]

    return place


def listen(timer: Timer, name: str, clips: Iterable[tuple[Samples, str, Placed]]) -> Onsets:
    """A system through the clips of a set: (samples, text, true words) each."""
    said = written = 0
    errors: list[float] = []
    for samples, text, truth in clips:
        placed = timer.place(samples, text)
        said, written = said + len(truth), written + len(placed)
        errors += errors_of(truth, placed)
    return Onsets(timer.name, name, said, written, tuple(errors), timer.mode, timer.source)


def later(rows: Sequence[Onsets]) -> list[str]:
    """By how much the median error in each streaming mode is more than at full context, a sentence each."""
    whole = {(row.set, row.source): row.percentile(50) for row in rows if row.mode == MODES[0]}
    told = []
    for row in rows:
        median_s, full_s = row.percentile(50), whole.get((row.set, row.source))
        if row.mode in MODES[1:] and median_s is not None and full_s is not None:
            told.append(
                f"{row.set}, {row.source}: {row.mode} less full, medians: {1000 * (median_s - full_s):+.0f} ms."
            )
    return told


def as_text(rows: Sequence[Onsets]) -> str:
    head = ["set", "word times", "words found", "median ms", "nine in ten ms", "bias ms", "F1 %"]
    body = [
        [
            row.set,
            row.system,
            f"{len(row.errors_s)} of {row.said}",
            number(row.percentile(50), 0, unit=1000),
            number(row.percentile(90), 0, unit=1000),
            number(row.bias_s, 0, unit=1000),
            number(row.f1, 1),
        ]
        for row in rows
    ]
    notes = [f"F1: the same word, its start within {1000 * NEAR_S:.0f} ms.", *later(rows)]
    return table(head, body) + "\n\n" + "\n".join(notes)
