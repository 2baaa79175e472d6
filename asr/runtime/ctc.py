"""What the CTC head alone has heard: how many letters up to a frame, for how long nothing, and where a known text lies.

It reads the same frames as the decoder, but can neither skip nor repeat: each frame says its own letter or none
(Graves et al. 2006). It writes worse words, so its own are never shown.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLANK = 0  # then the alphabet's characters in order
STAR = -1  # in a text to be found: something is said here, and nobody knows how it is spelled
SPACE = " "
BETWEEN_WORDS = re.compile(r"[\s\u2013\u2014-]+")
LEAST = -1e4  # log-probability of what no path can say: two such texts are equally bad
RAREST = -50.0  # of a label at a frame: below it sums would lose what they are made of
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


def labels_of_text(text: str, alphabet: str) -> list[int]:
    """Its words, with spaces between them where the alphabet has one."""
    space = [1 + alphabet.index(SPACE)] if SPACE in alphabet else []
    labels: list[int] = []
    for word in filter(None, (labels_of(word, alphabet) for word in BETWEEN_WORDS.split(text))):
        labels += [*(space if labels else ()), *word]
    return labels


def best_path(
    log_probs: NDArray[np.float32], labels: Sequence[int], open_start: bool = False, open_end: bool = False
) -> float:
    """Log-probability of the best path that says these labels, in order.

    It is that of the best path rather than of all (Watanabe et al. 2017, equation 8): a STAR fits everywhere and would
    gain by the number of ways in which it does.

        held[t]  = log p(label at t) + max(held[t - 1], enter[t])     enter[t]: the labels before are said by t - 1
        blank[t] = log p(blank at t) + max(blank[t - 1], held[t - 1])

    With the cost of staying taken out, S[t] the sum up to t, each is a running maximum, held - S = max(enter - S), so
    that a label costs a few passes over the frames.

    log_probs   (frames, 1 + alphabet)
    labels      as of `forced`
    open_start  the first frames may hold something else, as in `forced`
    open_end    so may the last ones
    """
    frames = np.maximum(log_probs, RAREST).astype(np.float64)
    if len(frames) < len(labels):
        return LEAST
    quiet, anything = frames[:, BLANK], frames.max(axis=1) - LOOSE
    loose = np.maximum(quiet, anything)
    if not labels:
        return max(LEAST, float((loose if open_start or open_end else quiet).sum()))
    resting = np.cumsum(quiet)
    held, blank, last = np.full(len(frames), -np.inf), np.cumsum(loose if open_start else quiet), BLANK
    for label in labels:
        enter = shifted(blank if label == last != STAR else np.maximum(held, blank), 0.0 if last == BLANK else -np.inf)
        said = anything if label == STAR else frames[:, label]
        staying = np.cumsum(said)
        held = staying + np.maximum.accumulate(enter - (staying - said))
        blank = resting + np.maximum.accumulate(shifted(held, -np.inf) - (resting - quiet))
        last = label
    ends = np.maximum(held, blank)
    if open_end:
        ends += np.append(np.cumsum(loose[::-1])[::-1][1:], 0.0)
        return max(LEAST, float(ends.max()))
    return max(LEAST, float(ends[-1]))


def shifted(values: NDArray[np.float64], first: float) -> NDArray[np.float64]:
    """Each value a frame later."""
    return np.concatenate([[first], values[:-1]])


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
