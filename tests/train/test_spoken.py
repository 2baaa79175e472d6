import ctypes.util

import numpy as np
import pytest

from asr.audio.resample import SAMPLE_RATE
from asr.errors import NotFoundError
from asr.train.manifest import read_manifest
from asr.train.spoken import Espeak, word_at, write

installed = pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture(scope="module")
def espeak():
    return Espeak()


@installed
def test_words_begin_where_they_are_heard(espeak):
    said = espeak.say("one, two. three", "en-us+f3")
    steps = np.abs(said.samples[: said.samples.size // 160 * 160].reshape(-1, 160)).mean(axis=1) > 0.005
    heard_s = (np.flatnonzero(steps[1:] & ~steps[:-1]) + 1) / 100
    assert [word.word for word in said.words] == ["one,", "two.", "three"]
    np.testing.assert_allclose([word.start_s for word in said.words], heard_s, atol=0.02)
    assert said.words[-1].end_s <= said.samples.size / SAMPLE_RATE


@installed
def test_figures_and_signs_keep_their_places(espeak):
    words = espeak.say("Lay 25 now. He's gone - isn't he?", "en-us").words
    assert [word.word for word in words] == ["Lay", "25", "now.", "He's", "gone", "isn't", "he?"]


@installed
def test_a_set_is_written_that_can_be_read(espeak, tmp_path):
    write(espeak, ["a fine  day", "another one"], tmp_path / "set")
    first, second = read_manifest(tmp_path / "set")
    assert (first.text, [word.word for word in first.words]) == ("a fine day", ["a", "fine", "day"])
    assert first.speaker != second.speaker


@installed
def test_an_unknown_voice_is_named(espeak):
    with pytest.raises(NotFoundError, match="no-such"):
        espeak.say("one", "no-such")


def test_a_lone_sign_stands_for_the_word_after_it():
    assert [word_at("a - bc d", place) for place in range(8)] == [0, 4, 4, 4, 4, 4, 7, 7]
