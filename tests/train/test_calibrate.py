import numpy as np
import pytest

from asr.errors import InputError
from asr.runtime.confidence import probability
from asr.runtime.result import Word
from asr.train.calibrate import Judged, area, as_judged, calibration_error, fit, right_words, spread


def written(text):
    return [Word(f" {word}", 0.0, 0.0, 0.5, 0.0) for word in text.split()]


@pytest.mark.parametrize(
    ("said", "heard", "right"),
    [
        ("The grey cat sat.", "the gray hat, sat", [True, True, False, True]),
        ("twenty one cats", "21 cats", [True, True]),
        ("one", "one two", [True, False]),
        ("", "thank you", [False, False]),
        ("yes", "um yes", [True, True]),  # the normaliser drops fillers: neither right nor wrong
        ("yes", "", []),
    ],
)
def test_a_word_is_right_where_the_text_has_it(said, heard, right):
    assert right_words(said, written(heard)) == right


def test_the_fit_finds_the_weights_that_made_the_data():
    rng = np.random.default_rng(0)
    measures = np.column_stack([rng.normal(2, 3, 20_000), rng.normal(-1, 0.5, 20_000)])
    truth = 1 / (1 + np.exp(-(0.5 + 0.4 * measures[:, 0] - 1.5 * measures[:, 1])))
    weights = fit(Judged(measures, rng.random(20_000) < truth), ("one", "two"))
    assert weights == pytest.approx({"bias": 0.5, "one": 0.4, "two": -1.5}, abs=0.12)
    said = np.array([probability(("one", "two"), row, weights) for row in measures[:2_000]])
    np.testing.assert_allclose(said, truth[:2_000], atol=0.03)


def test_a_measure_that_never_changes_weighs_nothing():
    measures = np.column_stack([np.tile([0.0, 1.0], 50), np.zeros(100)])
    weights = fit(Judged(measures, np.tile([False, True, True, True], 25)), ("one", "two"))
    assert weights["two"] == 0
    assert weights["one"] > 0


def test_nothing_to_tell_apart_is_an_error():
    with pytest.raises(InputError, match="3 are right"):
        as_judged([((0.0,), True)] * 3, "words")


def test_the_area_counts_pairs_in_the_right_order():
    right, sure = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])
    pairs = [(a, b) for a in sure[right] for b in sure[~right]]
    assert area(right, sure) == pytest.approx(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))
    assert area(np.array([True]), np.array([0.5])) is None


def test_the_calibration_error_is_what_was_promised_less_what_was_kept():
    right = np.array([True] * 8 + [False] * 2 + [True] * 1 + [False] * 9)
    sure = np.array([0.95] * 10 + [0.12] * 10)
    assert calibration_error(right, sure) == pytest.approx((0.15 + 0.02) / 2)


def test_utterances_are_taken_from_everywhere():
    assert spread(range(100), 5) == [0, 25, 50, 74, 99]
    assert spread(range(3), 5) == [0, 1, 2]
