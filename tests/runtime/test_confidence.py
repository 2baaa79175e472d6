import numpy as np
import pytest

from asr.runtime.confidence import (
    BIAS,
    FEATURES,
    LEAST,
    SEGMENT_FEATURES,
    confidence,
    evidence,
    in_company,
    probability,
    segment_evidence,
)


def test_a_word_is_judged_by_its_tokens_its_letters_and_its_look():
    measures = evidence(" heard,", np.log(np.array([0.5, 0.125], np.float32)), -0.25, [1.0, 2.0])
    np.testing.assert_allclose(measures, [np.log(0.25), np.log(0.125), -0.25, 1.5, 1 / 6, np.log(np.log(4))], rtol=1e-6)
    assert len(in_company([measures])[0]) == len(FEATURES)


def test_a_word_is_known_by_the_company_it_keeps():
    words = [(float(value), -9.0) for value in range(6)]
    assert [word[-1] for word in in_company(words)] == pytest.approx([2.0, 2.25, 2.6, 2.4, 2.75, 3.0])
    assert [word[:2] for word in in_company(words)] == words
    assert in_company([(-1.0,)], before=[-2.0, -4.0]) == [(-1.0, -3.0)]
    assert in_company([(-1.0,)]) == [(-1.0, -1.0)]


def test_nothing_counts_more_than_the_least():
    assert evidence(" a", np.array([-100.0], np.float32), -100.0, [])[:4] == (LEAST, LEAST, LEAST, 0.0)


def test_a_segment_is_judged_by_its_words_and_by_what_only_one_of_two_has():
    words = [(-1.0, -2.0, 0.0, 1.0, 0.5, 0.0, -1.0), (-3.0, -4.0, -2.0, 3.0, 0.5, 1.0, -1.0)]
    assert segment_evidence(words, written=6, heard=8) == (-2.0, -3.0, -1.0, 2.0, 0.5, 0.25, 0.0, 0.0)
    assert segment_evidence(words, written=8, heard=6)[5:7] == (0.0, 0.25)
    assert segment_evidence(words, written=8, heard=None)[5:7] == (0.0, 0.0)
    assert segment_evidence(words, 6, 6, peaks=[np.e**-1, np.e**-3])[-1] == pytest.approx(-2.0)
    assert segment_evidence(words, 6, 6, peaks=[0.0])[-1] == pytest.approx(np.log(1e-3))
    assert segment_evidence([], written=0, heard=0) == (0.0,) * len(SEGMENT_FEATURES)


def test_an_uncalibrated_word_has_the_mean_probability_of_its_tokens():
    log_probs = np.log(np.array([0.5, 0.25], np.float32))
    assert confidence((0.0,) * len(FEATURES), log_probs, {}) == pytest.approx(0.375)


def test_a_calibrated_one_has_the_logistic_function_of_its_measures():
    weights = {BIAS: 1.0, **dict.fromkeys(FEATURES, 0.0), "fit": 2.0}
    assert confidence((0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0), np.zeros(1, np.float32), weights) == pytest.approx(0.5)
    assert probability(FEATURES, (0.0, 0.0, -1e9, 0.0, 0.0, 0.0, 0.0), weights) == pytest.approx(0.0, abs=1e-12)
    assert probability(FEATURES, (0.0,) * len(FEATURES), {BIAS: 0.0}) == 0.5  # of before there were measures
