import numpy as np
import pytest

from asr.runtime.recognizer import Options
from asr.train.looks import WAYS, chosen, timed

WORD_S = 0.24


@pytest.mark.parametrize("way", WAYS)
def test_each_way_finds_words_near_where_they_are_said(hearing, speak, way):
    words = timed(hearing(), speak("_ a b _ c"), Options(), WAYS[way])
    assert [word.text for word in words] == [" a", " b", " c"]
    starts = [word.start_s for word in words]
    late_s = WORD_S / 2 if way == "peak" else 0.0  # the tones' tokens look at the middle
    np.testing.assert_allclose(starts, WORD_S * np.array([1, 2, 4]) + late_s, atol=0.07)
    assert all(word.start_s <= word.end_s for word in words)


def test_nobody_speaks_and_nothing_is_found(hearing, speak):
    assert all(not timed(hearing(), speak("_ _ _"), Options(), way) for way in WAYS.values())


def test_the_heads_that_look_sharply_and_in_turn_are_chosen():
    turn = np.eye(4, dtype=np.float32)
    everywhere = np.full((4, 4), 0.25, np.float32)
    stuck = np.zeros((4, 4), np.float32)
    stuck[:, 0] = 1
    both = chosen(np.stack([everywhere, stuck, turn]), most=1)
    np.testing.assert_array_equal(both, [turn])
