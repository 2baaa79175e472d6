import numpy as np
import pytest

from asr.train.wrong_texts import Scores, as_text, replaced, scores, separated, threshold


def test_texts_of_other_recordings_score_less(hearing, speak):
    texts = ["a b c d e f", "g h i j k l", "m n o p q r"]
    row = scores(hearing(), "tones", [(speak(text), text) for text in texts])
    assert [len(kind) for kind in (row.right, row.another, row.third)] == [3, 3, 3]
    assert separated(row.right, row.another) == separated(row.right, row.third) == 1.0


def test_a_set_of_one_text_has_no_other(hearing, speak):
    row = scores(hearing(), "tones", [(speak("a a"), "a a")] * 2)
    assert (len(row.right), row.another, row.third) == (2, [], [])
    assert "| tones | 2 |" in as_text([row])
    assert threshold([row]) is None


def test_one_word_of_three_is_replaced_by_another():
    for seed in range(20):
        slipped = replaced("a b c d e f g", list("abxy"), np.random.default_rng(seed)).split()
        assert sum(one != other for one, other in zip(slipped, "abcdefg", strict=True)) == 2
    assert replaced("a", ["A,"], np.random.default_rng(0)) == "a"  # the pool has no other


def test_the_threshold_parts_right_from_wrong():
    row = Scores("made", [0.9, 0.8, 0.05], [0.1, 0.2], [0.4, 0.85])
    assert threshold([row]) == 0.8
    told = as_text([row])
    assert "67 % | 100 % | 50 % |" in told
    assert "a score of 0.80 or more" in told


def test_a_text_that_nobody_could_say_scores_nothing(hearing, speak):
    clips = [(speak("a"), "b " * 600), (speak("b"), "a")]
    assert scores(hearing(), "tones", clips).right[0] == 0.0


def test_nothing_to_tell_apart_has_no_area():
    assert separated([0.5], []) is None
    assert separated([0.5, 0.1], [0.1]) == pytest.approx(0.75)
