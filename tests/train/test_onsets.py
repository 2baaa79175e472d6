import numpy as np
import pytest

from asr.train.manifest import TimedWord
from asr.train.onsets import Onsets, Timer, as_text, errors_of, listen

TRUTH = (TimedWord("the", 0.1, 0.3), TimedWord("grey", 0.5, 0.8), TimedWord("cat", 0.9, 1.2))
WRITTEN = (TimedWord("The", 0.13, 0.3), TimedWord("great", 0.5, 0.8), TimedWord("cat.", 0.8, 1.0))


def test_the_error_of_a_word_is_its_start_less_the_true_one():
    assert errors_of(TRUTH, WRITTEN) == pytest.approx([0.03, -0.1])
    assert errors_of(TRUTH, ()) == []


def test_a_system_is_summed_over_the_clips():
    timer = Timer("ours", lambda samples, text: WRITTEN)
    row = listen(timer, "made", [(np.zeros(1, np.float32), "the grey cat", TRUTH)] * 2)
    assert (row.said, row.written, len(row.errors_s)) == (6, 6, 4)
    assert row.percentile(50) == pytest.approx(0.065)
    assert row.bias_s == pytest.approx(-0.035)
    assert row.f1 == pytest.approx(100 * 2 / 6)


def test_a_system_that_writes_nothing_has_no_figures():
    row = Onsets("silent", "made", 3, 0, ())
    assert (row.percentile(50), row.bias_s, row.f1) == (None, None, 0.0)
    assert "| made | silent | 0 of 3 | - | - | - | 0.0 |" in as_text([row])


def test_by_how_much_streaming_is_later_is_told():
    rows = [Onsets(name, "made", 1, 1, (error,), name, "ctc") for name, error in (("full", 0.03), ("640ms", -0.04))]
    assert "made, ctc: 640ms less full, medians: +10 ms." in as_text(rows)
    assert "less full" not in as_text(rows[:1])
