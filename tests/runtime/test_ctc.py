import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.runtime.ctc import letters, spelled

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
    assert spelled(said).sum() == said[-1]


def test_a_letter_is_spelled_where_it_begins():
    assert spelled(letters(path(0, 3, 3, 0, 1, 4), ALPHABET)).tolist() == [False, True, False, False, False, True]
    assert spelled(np.zeros(0, np.intp)).tolist() == []
