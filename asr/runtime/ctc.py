"""What the CTC head alone has heard: how many letters up to a frame, and for how long nothing.

It reads the same frames as the decoder, but can neither skip nor repeat: each frame says its own letter or none
(Graves et al. 2006). It writes worse words, so only its count is used.
"""

import numpy as np
from numpy.typing import NDArray

BLANK = 0  # then the alphabet's characters in order
SPACE = " "


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


def spelled(said: NDArray[np.intp]) -> NDArray[np.bool_]:
    """The frames at which a letter was said: of what `letters` returns."""
    return np.diff(said, prepend=0) > 0
