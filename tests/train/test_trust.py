import numpy as np
import pytest

from asr.train.cases import Case
from asr.train.trust import Claim, Truster, as_text, trust

NOTHING = np.zeros(0, np.float32)


def test_right_words_that_are_surer_than_wrong_ones_are_trusted():
    said = {"good": [Claim(" a", 0.9), Claim(" b", 0.9)], "bad": [Claim(" x", 0.1), Claim(" y", 0.2)]}

    def hear(samples):
        words = said["good"] if samples.size else said["bad"]
        return words, [Claim("".join(word.text for word in words), words[0].sure)]

    row = trust(Truster("ours", hear), [Case(np.zeros(1, np.float32), "a b"), Case(NOTHING, "a b")])
    assert (row.words, row.words_right, row.segments, row.segments_bad) == (4, 2, 2, 1)
    assert (row.word_auc, row.segment_auc) == (1.0, 1.0)
    assert row.calibration_error == pytest.approx((0.1 + 0.1 + 0.1 + 0.2) / 4)


def test_of_several_segments_nobody_knows_which_is_bad():
    row = trust(Truster("ours", lambda samples: ([], [Claim("a", 1.0), Claim("b", 1.0)])), [Case(NOTHING, "a b")])
    assert row.segments == 0
    assert "| ours | 0 | - | - | - | 0 | 0 | - |" in as_text([row])
