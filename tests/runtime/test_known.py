import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import InputError, OptionError
from asr.runtime.known import shared
from asr.runtime.recognizer import Options

WORD_S = 0.24  # what each word of a tone takes


@pytest.fixture
def recognizer(hearing):
    return hearing()


def test_each_word_lies_where_it_was_said(recognizer, speak):
    known = recognizer.align(speak("_ a b _ c"), "a b c")
    assert known.text == " a b c"
    starts = [word.start_s for word in known.words]
    np.testing.assert_allclose(starts, [WORD_S, 2 * WORD_S, 4 * WORD_S], atol=0.06)
    assert [row.row_id for row in known.alignment.rows] == [0, 1, 2]
    assert not any(row.provisional for row in known.alignment.rows)
    assert known.alignment.monotonicity == 1.0


def test_a_long_recording_is_aligned_with_its_whole_text(recognizer, speak):
    letters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"]
    texts = [" ".join(letters[3 * turn :] + letters[: 3 * turn]) for turn in range(6)]  # four of the same are a loop
    samples = speak(" _ _ _ _ _ ".join(texts) + " _ _ _ _ _")
    assert samples.size > recognizer.bundle.max_samples
    known = recognizer.align(samples, " ".join(texts))
    assert known.text == " " + " ".join(texts)
    places = [index for index in range(150) if index % 25 < 20]
    np.testing.assert_allclose([word.start_s for word in known.words], WORD_S * np.array(places), atol=0.1)
    peaks = [row.peak * known.alignment.frame_hop_s for row in known.alignment.rows]
    assert (np.diff(peaks) > 0).all(), "frames count from the recording's start"


def test_a_text_of_something_else_scores_less(recognizer, speak):
    samples = speak("_ a b c d e")
    assert recognizer.align(samples, "a b c d e").score > recognizer.align(samples, "p q r s t").score + 0.2


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_a_text_without_words_is_refused(recognizer, speak, text):
    with pytest.raises(OptionError, match="no text"):
        recognizer.align(speak("a"), text)


def test_an_empty_recording_is_refused(recognizer):
    with pytest.raises(InputError, match="empty"):
        recognizer.align(np.zeros(0, np.float32), "a")


def test_far_too_much_text_is_refused(recognizer, speak):
    with pytest.raises(InputError, match="nobody can"):
        recognizer.align(speak("_ a b"), "a b " * 500)


def test_a_word_nobody_heard_goes_to_the_next_that_somebody_did():
    assert shared(["a", "x", "b", "c"], [["a", "b"], ["c"]]) == [["a", "x", "b"], ["c"]]
    assert shared(["a", "b"], [[]]) == [["a", "b"]]


@given(
    st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1)
)
def test_no_word_of_the_text_is_lost_or_moved(said, heard):
    assert [word for segment in shared(said, heard) for word in segment] == said


def test_every_head_comes_where_it_is_asked_for(recognizer, speak):
    known = recognizer.align(speak("a b"), "a b", Options(alignment=True, heads=True))
    for row in known.alignment.rows:
        assert row.heads.shape == (1, 1, row.weights.size)
        np.testing.assert_array_equal(row.heads[0, 0], row.weights)


def test_silence_longer_than_the_model_hears_moves_nothing(recognizer, speak):
    silence = np.zeros(40 * 16_000, np.float32)
    known = recognizer.align(np.concatenate([silence, speak("a b c"), silence]), "a b c")
    starts = [word.start_s for word in known.words]
    np.testing.assert_allclose(starts, [40 + WORD_S * at for at in range(3)], atol=0.06)
    assert known.duration_s == pytest.approx(80 + 3 * WORD_S)
    assert all(word.emission_s == known.duration_s for word in known.words)


def test_a_slip_in_a_long_text_scores_less_than_half(recognizer, speak):
    samples = speak("_ a b c d e f g h i")
    assert recognizer.align(samples, "a b c d e f g h i").score > 0.5
    assert recognizer.align(samples, "a b c r s t g h i").score < 0.5


def test_what_is_heard_and_not_written_scores_less(recognizer, speak):
    samples = speak("_ a b c d e f g h")
    assert recognizer.align(samples, "a b c d").score == pytest.approx(
        0.5 * recognizer.align(samples, "a b c d e f g h").score
    )
