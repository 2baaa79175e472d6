"""Whether a word can be trusted when its confidence is high: ours and a peer's, on speech, cut speech and no speech.

AUC is the area under the receiver's curve: how often something right is surer than something wrong. The calibration
error is the mean distance of what was promised to what was kept, in ten bins.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.errors import OptionError
from asr.runtime.recognizer import Options, Recognizer
from asr.train.calibrate import area, calibration_error, right_words
from asr.train.cases import CUT, Case
from asr.train.markdown import number, table
from asr.train.peers import faster_whisper_words, language_of

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Claim:
    """A word, or all that was heard in a recording, with how sure its system was."""

    text: str
    sure: float


@dataclass(frozen=True)
class Truster:
    """A system with a confidence: words, and for what each segment says as a whole how sure it is of that."""

    name: str
    hear: Callable[[Samples], tuple[list[Claim], list[Claim]]]


@dataclass(frozen=True)
class Trust:
    """A system over all recordings."""

    system: str
    words: int
    words_right: int
    word_auc: float | None
    calibration_error: float | None
    segments: int
    segments_bad: int
    segment_auc: float | None


def our_truster(recognizer: Recognizer, mode: str) -> Truster:
    options = Options(mode, language_of(recognizer), interim=False)

    def hear(samples: Samples) -> tuple[list[Claim], list[Claim]]:
        finals = recognizer.transcribe(samples, options).segments
        words = [Claim(word.text, word.confidence) for final in finals for word in final.words]
        return words, [Claim(final.text, 1 - final.doubt) for final in finals]

    return Truster(f"{recognizer.bundle.name} {mode}", hear)


def peer_truster(told: str, threads: int) -> Truster:
    """faster-whisper=DIR: its word probability, and of a segment its mean probability. OptionError where it is none,
    NotFoundError where it is not there."""
    name, _, weights = told.partition("=")
    if name != "faster-whisper":
        raise OptionError(f"trust is compared with faster-whisper=DIR, not {told!r}")
    transcribe = faster_whisper_words(weights, threads)

    def hear(samples: Samples) -> tuple[list[Claim], list[Claim]]:
        found = transcribe(samples)
        words = [Claim(word.word, float(word.probability)) for one in found for word in one.words]
        return words, [Claim(one.text, float(np.exp(one.avg_logprob))) for one in found]

    return Truster(name, hear)


def trust(truster: Truster, cases: Iterable[Case]) -> Trust:
    """Of one segment in a recording it is known whether it is bad; of several it is not, and they are not counted."""
    sure: list[float] = []
    right: list[bool] = []
    judged: list[tuple[float, bool]] = []
    for case in cases:
        words, segments = truster.hear(case.samples)
        sure += [word.sure for word in words]
        right += right_words(case.text, words)
        if len(segments) == 1:
            judged.append((segments[0].sure, not case.is_bad(segments[0].text)))
    good = np.array([ok for _, ok in judged], bool)
    return Trust(
        truster.name,
        len(right),
        sum(right),
        area(np.array(right, bool), np.array(sure)),
        calibration_error(np.array(right, bool), np.array(sure)) if right else None,
        len(judged),
        int((~good).sum()),
        area(good, np.array([value for value, _ in judged])),
    )


def as_text(rows: Sequence[Trust]) -> str:
    head = ["system", "words", "right %", "AUC of words", "calibration error", "segments", "bad", "AUC of segments"]
    body = [
        [
            row.system,
            str(row.words),
            number(row.words_right / row.words if row.words else None, 1, unit=100),
            number(row.word_auc, 3),
            number(row.calibration_error, 3),
            str(row.segments),
            str(row.segments_bad),
            number(row.segment_auc, 3),
        ]
        for row in rows
    ]
    told = f"Each recording whole and cut to {100 * CUT:.0f} %; a segment is bad where half of its words are wrong, "
    told += "of one that is cut: by the beginning of the text, of about its length, that agrees best."
    return table(head, body) + f"\n\n{told}"
