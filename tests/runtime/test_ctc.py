import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.runtime.ctc import letters, quiet_frames

ALPHABET = " 'ab"  # 1 to 4, after blank


def path(*best):
    log_probs = np.full((len(best), 1 + len(ALPHABET)), -5.0, np.float32)
    log_probs[np.arange(len(best)), best] = 0.0
    return log_probs


@pytest.mark.parametrize(
    ("best", "counted"),
    [
        ((3, 4), [1, 2]),
        ((3, 3, 3), [1, 1, 1]),  # one letter, held
        ((3, 0, 3), [1, 1, 2]),  # two, a blank between
        ((0, 1, 4, 1), [0, 0, 1, 1]),  # spaces are no letters
        ((0, 2, 0), [0, 1, 1]),
        ((), []),
    ],
)
def test_letters_are_counted_once(best, counted):
    assert letters(path(*best), ALPHABET).tolist() == counted


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_the_count_never_falls(best):
    said = letters(path(*best), ALPHABET)
    assert (np.diff(said) >= 0).all()
    assert 0 <= quiet_frames(said) <= len(best)


def test_quiet_lasts_since_the_last_letter():
    assert quiet_frames(letters(path(0, 3, 3, 0, 1, 0), ALPHABET)) == 4
    assert quiet_frames(letters(path(0, 3), ALPHABET)) == 0
    assert quiet_frames(letters(path(0, 1, 0), ALPHABET)) == 3
    assert quiet_frames(np.zeros(0, np.intp)) == 0
