"""How good a segment's final is, told from the whole of it: how its tokens looked, and how much it is to be doubted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import words as wording
from asr.runtime.confidence import SEGMENT_FEATURES, probability, segment_evidence
from asr.runtime.loudness import levels, loud, sounding_frames
from asr.runtime.result import Result, Row
from asr.runtime.settled import Settled

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

SEEN = 0.02  # weight of all tokens together on a frame that one of them looked at: an even look over a second


def judged(final: Result, said: Settled, samples: NDArray[np.float32], recognizer: "Recognizer") -> Result:
    """A segment's final with what can be told of it as a whole; samples: the segment's."""
    bundle, alignment = recognizer.bundle, final.alignment
    if alignment is not None and alignment.rows:
        alignment = replace(
            alignment,
            monotonicity=monotonicity(alignment.rows),
            coverage=coverage(alignment.rows, loud(levels(samples)), bundle.frame_hop),
        )
    written = [wording.letters(word.text) for word in said.words]
    heard = None if None in written else said.heard  # figures: nobody knows how many letters they are
    measures = segment_evidence(
        [word.evidence for word in said.words],
        sum(n or 0 for n in written),
        heard,
        [float(row.weights.max()) for row in said.rows],
    )
    doubt = probability(SEGMENT_FEATURES, measures, bundle.doubt) if bundle.doubt else 0.0
    return replace(final, alignment=alignment, doubt=doubt, evidence=measures)


def monotonicity(rows: Sequence[Row]) -> float:
    """The share of tokens that look no earlier than the one before; 1.0 of a single one."""
    peaks = np.array([row.peak for row in rows])
    return float((np.diff(peaks) >= 0).mean()) if len(rows) > 1 else 1.0


def coverage(rows: Sequence[Row], sounding: NDArray[np.bool_], frame_hop: int) -> float:
    """The share of the sounding frames that all tokens together looked at, SEEN or more."""
    frames = max(row.offset + row.weights.size for row in rows)
    looked = np.zeros(frames)
    for row in rows:
        looked[row.offset : row.offset + row.weights.size] += row.weights
    sound = sounding_frames(sounding, frames, frame_hop)
    return float((looked[sound] >= SEEN).mean()) if sound.any() else 0.0
