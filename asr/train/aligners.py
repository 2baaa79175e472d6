"""A known text in its recording: where each word begins by our Align and by a forced aligner, and where it truly does.

PocketSphinx (Huggins-Daines et al. 2006), with the English model in its package, reads a recording twice: first the
words of the text in order, then their sounds. A word that its dictionary lacks is left out of what it is given, and
counted. So is a text whose end it does not reach.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE
from asr.errors import HeedError, OptionError
from asr.runtime.recognizer import Options, Recognizer
from asr.train.manifest import TimedWord
from asr.train.markdown import number, table
from asr.train.onsets import NEAR_S, Onsets, errors_of, placed
from asr.train.peers import language_of, package, pocketsphinx_reads

POCKETSPHINX = "pocketsphinx"
POCKETSPHINX_FRAMES = 100  # a second
SILENCES = ("<s>", "</s>", "<sil>", "(NULL)")

Samples = NDArray[np.float32]
Stretch = tuple[int, int]  # from one of its frames to another


@dataclass(frozen=True)
class Aligned:
    """Where the words of a text were found."""

    words: Sequence[TimedWord]
    unknown: int = 0  # words of the text that the aligner cannot pronounce
    failed: bool = False  # it could not align this text: then there are no words


@dataclass(frozen=True)
class Aligner:
    name: str
    align: Callable[[Samples, str], Aligned]


@dataclass(frozen=True)
class Fit:
    """An aligner on a set."""

    onsets: Onsets
    texts: int
    failed: int  # of these, that it could not align
    unknown: int  # words


def our_aligner(recognizer: Recognizer) -> Aligner:
    options = Options(language=language_of(recognizer))

    def align(samples: Samples, text: str) -> Aligned:
        try:
            words = recognizer.align(samples, text, options).words
        except HeedError:
            return Aligned((), failed=True)
        return Aligned(placed(words))

    return Aligner(f"{recognizer.bundle.name} Align", align)


def peer_aligner(told: str) -> Aligner:
    """pocketsphinx. OptionError where it is another, NotFoundError where it is not installed."""
    if told != POCKETSPHINX:
        raise OptionError(f"known texts are aligned by {POCKETSPHINX} too, not by {told!r}")
    pocketsphinx = package("pocketsphinx", "pocketsphinx")
    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, lm=None, loglevel="FATAL")
    return Aligner(POCKETSPHINX, lambda samples, text: _twice(decoder, samples, text))


def _twice(decoder: Any, samples: Samples, text: str) -> Aligned:
    words = text.split()
    parts = [spoken(word) for word in words]
    there = [bool(one) and all(decoder.lookup_word(part) is not None for part in one) for one in parts]
    unknown = sum(bool(one) and not known for one, known in zip(parts, there, strict=True))
    owners = [place for place, one in enumerate(parts) if there[place] for _ in one]
    if not owners:
        return Aligned((), unknown, failed=True)
    try:
        decoder.set_align_text(" ".join(part for one, known in zip(parts, there, strict=True) if known for part in one))
        found = _words(decoder, samples)
        if len(found) != len(owners):  # it lost its way, and ends amid the text
            return Aligned((), unknown, failed=True)
        found = _sounds(decoder, samples, found)
    except RuntimeError:  # its only kind
        return Aligned((), unknown, failed=True)
    return Aligned(_whole(words, owners, found), unknown)


def _words(decoder: Any, samples: Samples) -> list[Stretch]:
    pocketsphinx_reads(decoder, samples)
    if decoder.hyp() is None:
        return []
    return [(one.start_frame, one.end_frame + 1) for one in decoder.seg() if one.word not in SILENCES]


def _sounds(decoder: Any, samples: Samples, found: list[Stretch]) -> list[Stretch]:
    """The same more exactly, where the second reading comes to the text's end; the first did."""
    try:
        decoder.set_alignment()
        pocketsphinx_reads(decoder, samples)
        again = [one for one in decoder.get_alignment() if one.name not in SILENCES]
    except RuntimeError:
        return found
    return [(one.start, one.start + one.duration) for one in again] if len(again) == len(found) else found


def spoken(word: str) -> list[str]:
    """A word as a dictionary has it: "Forty-four," is forty and four."""
    plain = "".join(sign if sign.isalnum() or sign == "'" else " " for sign in word.lower().replace("\u2019", "'"))
    return [part for part in (one.strip("'") for one in plain.split()) if part]


def _whole(words: Sequence[str], owners: Sequence[int], found: Sequence[Stretch]) -> list[TimedWord]:
    """The words of the text, each from its first part to its last."""
    times: dict[int, Stretch] = {}
    for owner, (first, last) in zip(owners, found, strict=True):
        times[owner] = (times.get(owner, (first, last))[0], last)
    return [
        TimedWord(words[owner], first / POCKETSPHINX_FRAMES, last / POCKETSPHINX_FRAMES)
        for owner, (first, last) in times.items()
    ]


def fit(aligner: Aligner, name: str, clips: Iterable[tuple[Samples, str, Sequence[TimedWord]]]) -> Fit:
    """An aligner through the clips of a set: (samples, text, true words) each. The words of a text that it cannot align
    count as said and not found."""
    texts = failed = unknown = said = written = 0
    errors: list[float] = []
    for samples, text, truth in clips:
        texts, said = texts + 1, said + len(truth)
        aligned = aligner.align(samples, text)
        failed, unknown, written = failed + aligned.failed, unknown + aligned.unknown, written + len(aligned.words)
        errors += errors_of(truth, aligned.words)
    return Fit(Onsets(aligner.name, name, said, written, tuple(errors)), texts, failed, unknown)


def as_text(rows: Sequence[Fit]) -> str:
    head = [
        "set",
        "aligner",
        "words found",
        "median ms",
        "nine in ten ms",
        "F1 %",
        "texts not aligned",
        "unknown words",
    ]
    body = [
        [
            row.onsets.set,
            row.onsets.system,
            f"{len(row.onsets.errors_s)} of {row.onsets.said}",
            number(row.onsets.percentile(50), 0, unit=1000),
            number(row.onsets.percentile(90), 0, unit=1000),
            number(row.onsets.f1, 1),
            f"{row.failed} of {row.texts}",
            str(row.unknown),
        ]
        for row in rows
    ]
    return table(head, body) + f"\n\nF1: the same word, its start within {1000 * NEAR_S:.0f} ms."
