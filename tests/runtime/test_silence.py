"""What a decoder says of a segment in which nobody speaks is not believed."""

import numpy as np
import pytest

from asr.runtime.reading import is_silence
from asr.runtime.search import Hypothesis

HEARD, UNHEARD = np.array([0, 1, 3]), np.array([0, 0, 0])  # letters up to each frame


def said(log_prob: float, no_speech: float = 0.0) -> Hypothesis[None]:
    """Two tokens and an end, each as probable."""
    log_probs = np.full(2, log_prob, np.float32)
    return Hypothesis((7, 8), log_probs, np.zeros((1, 3, 3), np.float32), log_prob, no_speech, True, None)


@pytest.mark.parametrize("letters", [HEARD, UNHEARD, None])
def test_a_sure_text_is_believed_whatever_else_was_heard(letters):
    assert not is_silence(said(-0.5, no_speech=0.9), letters)


def test_where_ctc_heard_no_letter_a_text_has_to_be_surer():
    assert is_silence(said(-1.2), UNHEARD)
    assert not is_silence(said(-1.2), HEARD)
    assert not is_silence(said(-1.2), None)  # a model without the head


def test_both_no_speech_and_an_unsure_text_make_silence():
    assert is_silence(said(-1.6, no_speech=0.5), HEARD)
    assert not is_silence(said(-1.6, no_speech=0.3), HEARD)
    assert not is_silence(said(-1.4, no_speech=0.5), HEARD)
