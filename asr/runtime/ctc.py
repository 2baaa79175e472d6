"""What the CTC head alone has heard: how many letters up to a frame, for how long nothing, and where a known text lies.

It reads the same frames as the decoder, but can neither skip nor repeat: each frame says its own letter or none
(Graves et al. 2006). It writes worse words, so its own are never shown.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLANK = 0  # then the alphabet's characters in order
STAR = -1  # in a text to be found: something is said here, and nobody knows how it is spelled
SPACE = " "
LOOSE = 0.1  # nats a frame: what is not of the text costs a little, so that blanks are taken for blanks


def letters(log_probs: NDArray[np.float32], alphabet: str) -> NDArray[np.intp]:
    """Letters that the best path has said up to each frame and at it, spaces not among them.

    log_probs  (frames, 1 + alphabet)
    returns    (frames,) ascending
    """
    best = log_probs.argmax(axis=-1)
    said = best != BLANK
    said[1:] &= best[1:] != best[:-1]  # a letter held over several frames is one
    if SPACE in alphabet:
        said &= best != 1 + alphabet.index(SPACE)
    count: NDArray[np.intp] = said.cumsum()
    return count


def clearest(log_probs: NDArray[np.float32]) -> float:
    """How probable it is, where it is most probable, that a letter is said: of (frames, 1 + alphabet)."""
    return float(1 - np.exp(log_probs[:, BLANK].min()))


def spelled(said: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The frames at which a letter was said: of what `letters` returns."""
    return np.diff(said, prepend=0) > 0


@dataclass(frozen=True, eq=False)
class Forced:
    """Where each letter of a known text lies, and how well it fits there."""

    first: NDArray[np.intp]  # (labels,) its first frame
    last: NDArray[np.intp]  # (labels,) its last frame
    fit: NDArray[np.float32]  # (labels,) mean of its log-probability less the best one there: 0 is best


def labels_of(text: str, alphabet: str) -> list[int]:
    """A word as the head spells it: lower case, without accents and signs. [STAR] where it holds what the alphabet
    lacks, such as figures, of which nobody knows how they are said; [] where nothing in it is said."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(sign))
    said = [sign for sign in plain.replace("\u2019", "'") if sign.isalnum() or (sign == "'" and "'" in alphabet)]
    if not any(map(str.isalnum, said)):
        return []
    if any(sign not in alphabet for sign in said):
        return [STAR]
    return [1 + alphabet.index(sign) for sign in said]


def forced(log_probs: NDArray[np.float32], labels: Sequence[int]) -> Forced | None:
    """The best path that says these labels in order, each on one frame or more (Viterbi; Graves et al. 2006, eq. 6).

    log_probs  (frames, 1 + alphabet)
    labels     of the alphabet, from 1; STAR is whatever is said there. What is heard before the first and after the
               last costs LOOSE a frame: a text may begin and end amid speech.
    returns    None where there are too few frames to say them all
    """
    frames, size = len(log_probs), len(labels)
    repeats = sum(one == other for one, other in pairwise(labels))
    if not size or frames < size + repeats:
        return None
    anything = log_probs.max(axis=1) - LOOSE
    states = np.full(2 * size + 1, BLANK)
    states[1::2] = labels
    emitted = np.where(states == STAR, anything[:, None], log_probs[:, np.maximum(states, 0)])
    emitted[:, 0] = np.maximum(emitted[:, 0], anything)
    emitted[:, -1] = np.maximum(emitted[:, -1], anything)
    skips = np.zeros(states.size, bool)  # states that may follow the one two before them
    skips[3::2] = states[3::2] != states[1:-2:2]

    # of the best path to each state by frame; two states before the first that nobody reaches, so that a path's ways to
    # come are three views of one row
    score = np.full((frames, 2 + states.size), -np.inf)
    score[0, 2:4] = emitted[0, :2]
    skip = np.where(skips, 0.0, -np.inf)
    for frame in range(1, frames):
        before, now = score[frame - 1], score[frame, 2:]
        np.add(before[:-2], skip, out=now)
        np.maximum(now, before[1:-1], out=now)
        np.maximum(now, before[2:], out=now)
        now += emitted[frame]
    state = states.size - 1 if score[-1, -1] >= score[-1, -2] else states.size - 2
    path = np.zeros(frames, np.intp)
    path[-1] = state
    for frame in range(frames - 2, -1, -1):
        skipping, moving, staying = score[frame, state : state + 3].tolist()
        if not skips[state]:
            skipping = -np.inf
        if staying < max(moving, skipping):
            state -= 1 if moving >= skipping else 2
        path[frame] = state
    places = np.arange(1, states.size, 2)
    first, past = np.searchsorted(path, places, side="left"), np.searchsorted(path, places, side="right")
    lost = emitted[np.arange(frames), path] - log_probs.max(axis=1)
    total = np.concatenate([[0.0], np.cumsum(lost)])
    fit = np.minimum((total[past] - total[first]) / np.maximum(past - first, 1), 0.0)
    return Forced(first, past - 1, fit.astype(np.float32))
