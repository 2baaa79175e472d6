"""A decoder that takes the end of a sentence for the end of speech is made to go on."""

import pytest

from asr.runtime import reading
from asr.runtime.recognizer import Options

END = 1


@pytest.fixture
def forgetful(hearing, monkeypatch):
    """Ends after three words unless the end is forbidden there; CTC hears a letter in each."""
    monkeypatch.setattr(reading, "LEFT_OUT", 2)
    return forgetting(hearing())


def forgetting(recognizer):
    session = recognizer.decoder.session
    run = session.run

    def stops(wanted, feed):
        made = dict(zip(wanted, run(wanted, feed), strict=True))
        past, tokens = feed["past"].shape[1], feed["tokens"].shape[1]
        for row in range(tokens):
            if past + row == 3:  # the start and three words stand before
                made["log_probs"][0, row, END] = 0.0
        return [made[name] for name in wanted]

    session.run = stops
    return recognizer


def test_what_ctc_heard_and_nobody_wrote_is_written(forgetful, speak):
    assert forgetful.transcribe(speak("a b c d e f g"), Options()).text == "a b c d e f g"


def test_an_end_at_which_nothing_more_was_heard_is_believed(forgetful, speak):
    assert forgetful.transcribe(speak("a b c"), Options()).text == "a b c"


def test_a_few_letters_more_are_no_reason_to_go_on(forgetful, speak, monkeypatch):
    monkeypatch.setattr(reading, "LEFT_OUT", 20)
    assert forgetful.transcribe(speak("a b c d e f g"), Options()).text == "a b c"


def test_without_a_ctc_head_the_end_is_the_end(hearing, speak):
    assert forgetting(hearing(ctc=False)).transcribe(speak("a b c d e f g"), Options()).text == "a b c"
