import numpy as np

from asr.runtime.times import LEAD_FRAMES, TAIL_FRAMES, by_attention, by_ctc
from asr.runtime.words import Span

ALPHABET = " ab"  # 1 to 3, after blank


def spoken(*frames):
    log_probs = np.full((len(frames), 1 + len(ALPHABET)), np.log(0.1 / 3), np.float32)
    log_probs[np.arange(len(frames)), frames] = np.log(0.9)
    return log_probs


def test_by_attention_a_word_lasts_until_the_next_begins():
    times = by_attention([Span(" ab", 0, 2), Span(" b", 2, 3)], np.array([4, 7, 11, 20]))
    assert times.starts.tolist() == [4, 11]
    assert times.ends.tolist() == [11, 20]


def test_by_ctc_a_word_is_where_its_letters_are():
    log_probs = spoken(0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0)
    found = by_ctc([Span(" Ab,", 0, 2), Span(" b.", 2, 3)], log_probs, ALPHABET)
    assert found.times.starts.tolist() == [4 - LEAD_FRAMES, 15 - LEAD_FRAMES]
    assert found.times.ends.tolist() == [6 + 1 + TAIL_FRAMES, 15 + 1 + TAIL_FRAMES]
    np.testing.assert_allclose(found.fits, 0, atol=1e-6)


def test_words_do_not_overlap():
    found = by_ctc([Span(" a", 0, 1), Span(" b", 1, 2)], spoken(0, 2, 1, 3, 0), ALPHABET)
    assert (found.times.ends[:-1] <= found.times.starts[1:]).all()
    assert (found.times.starts >= 0).all()
    assert (found.times.ends <= 5).all()


def test_what_was_settled_before_is_not_searched():
    found = by_ctc([Span(" a", 0, 1)], spoken(0, 2, 0, 0, 0, 0, 0, 2, 0), ALPHABET, first=3)
    assert found.times.starts.tolist() == [7 - LEAD_FRAMES]


def test_a_word_of_signs_alone_has_no_time_of_its_own():
    found = by_ctc([Span(" -", 0, 1), Span(" a", 1, 2)], spoken(0, 0, 0, 0, 2, 0), ALPHABET)
    assert found.times.starts.tolist() == [0, 4 - LEAD_FRAMES]
    assert found.times.ends.tolist()[0] == 0


def test_a_word_that_was_not_said_fits_worse():
    log_probs = spoken(0, 2, 0, 1, 0, 2, 0)
    fits = by_ctc([Span(" a", 0, 1), Span(" b", 1, 2)], log_probs, ALPHABET).fits
    assert fits[0] > fits[1] + 1


def test_too_few_frames_for_so_many_letters_is_told():
    assert by_ctc([Span(" abab", 0, 1)], spoken(0, 2), ALPHABET) is None
