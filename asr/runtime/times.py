"""When words begin and end, from one of two sources.

attention  the path through the attention of the alignment heads (words.py)
ctc        where the CTC head hears the letters of the text (ctc.py)

Either is then cut to where there is sound: both know a word's middle better than its edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.runtime import ctc
from asr.runtime.words import Span

SOURCES = ("attention", "ctc")
# CTC says a letter when it is sure of it, so a word's first comes after its beginning; frames of 20 ms. Measured on
# the training recordings of `grid`: from 2 to 5 frames the median error is 30 ms, and at 4 nine in ten are nearest.
LEAD_FRAMES, TAIL_FRAMES = 4.0, 3.0


@dataclass(frozen=True, eq=False)
class Times:
    """Where each word lies, in frames of the segment."""

    starts: NDArray[np.floating]  # (words,)
    ends: NDArray[np.floating]  # (words,)


def by_attention(spans: Sequence[Span], frames: NDArray[np.floating] | NDArray[np.intp]) -> Times:
    """From the frame at which each token begins, (tokens + 1,): a word lasts until the next begins."""
    return Times(
        np.array([frames[span.first] for span in spans], float), np.array([frames[span.last] for span in spans], float)
    )


@dataclass(frozen=True, eq=False)
class Spelled:
    """The words as the CTC head hears them."""

    times: Times
    fits: NDArray[np.float32]  # (words,) mean fit of its letters (ctc.Forced): 0 is best


def by_ctc(spans: Sequence[Span], log_probs: NDArray[np.float32], alphabet: str, first: int = 0) -> Spelled | None:
    """From the letters of the words.

    log_probs  (frames, 1 + alphabet) of the segment
    first      the frame before which there is none of these words
    returns    None where the frames are too few for so many letters
    """
    labels: list[int] = []
    words: list[int] = []  # whose letter each label is; -1: a space between two
    for word, span in enumerate(spans):
        spelled = ctc.labels_of(span.text, alphabet)
        if spelled and labels and ctc.SPACE in alphabet:
            labels.append(1 + alphabet.index(ctc.SPACE))
            words.append(-1)
        labels += spelled
        words += [word] * len(spelled)
    found = ctc.forced(log_probs[first:], labels)
    if found is None:
        return None
    owner = np.array(words)
    starts, ends, fits = np.zeros(len(spans)), np.zeros(len(spans)), np.zeros(len(spans), np.float32)
    before = float(first)
    for word in range(len(spans)):
        (mine,) = np.nonzero(owner == word)
        if not mine.size:  # only signs: nothing is heard of them
            starts[word] = ends[word] = before
            continue
        starts[word] = max(before, first + found.first[mine[0]] - LEAD_FRAMES)
        ends[word] = first + found.last[mine[-1]] + 1 + TAIL_FRAMES
        fits[word] = found.fit[mine].mean()
        before = first + found.last[mine[-1]] + 1.0
    ends[:-1] = np.minimum(ends[:-1], np.maximum(starts[1:], starts[:-1]))
    return Spelled(Times(starts, np.minimum(ends, len(log_probs))), fits)
