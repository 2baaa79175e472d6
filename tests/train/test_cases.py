import json

import numpy as np
import pytest
import soundfile

from asr.train.cases import CUT, Case, amid_noise, mixed, whole_and_cut
from asr.train.manifest import read_manifest

NOTHING = np.zeros(0, np.float32)
TEXT = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("said", "written", "bad"),
    [
        ("a fine day", "the fried potato", True),
        ("a fine day", "a fine way", False),
        ("", "anything", True),
        (TEXT, "one two three four", True),
    ],
)
def test_a_segment_is_bad_where_half_of_its_words_are_wrong(said, written, bad):
    assert Case(NOTHING, said).is_bad(written) is bad


@pytest.mark.parametrize(
    ("written", "bad"),
    [
        ("one two three four five six", False),
        ("one two", True),  # it is long enough to say more
        ("five six seven eight nine ten", True),  # it says the beginning
    ],
)
def test_what_a_broken_recording_does_not_say_is_not_missed(written, bad):
    assert Case(NOTHING, TEXT, share=0.6).is_bad(written) is bad


@pytest.fixture
def recorded(tmp_path):
    def record(*texts):
        for index in range(len(texts)):
            soundfile.write(tmp_path / f"{index}.wav", np.full(1000, 0.1 * (index + 1), np.float32), 16_000)
        lines = [{"audio": f"{index}.wav", "text": text, "duration": 0.1} for index, text in enumerate(texts)]
        (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return read_manifest(tmp_path)

    return record


def test_speech_is_heard_whole_and_broken_off_and_noise_once(recorded):
    cases = list(whole_and_cut(recorded("a b", "")))
    assert [(case.samples.size, case.text, case.share) for case in cases] == [
        (1000, "a b", 1.0),
        (600, "a b", CUT),
        (1000, "", 1.0),
    ]


def test_noise_is_as_loud_as_is_said():
    random = np.random.default_rng(0)
    speech, noise = (random.normal(0, scale, size).astype(np.float32) for scale, size in ((0.05, 16_000), (0.3, 3_000)))
    added = mixed(speech, noise, 5.0) - speech
    assert 10 * np.log10((speech**2).mean() / (added**2).mean()) == pytest.approx(5.0, abs=0.01)
    assert np.abs(mixed(speech, noise, -40.0)).max() < 1
    np.testing.assert_array_equal(mixed(speech, np.zeros(10, np.float32), 0.0), speech)


def test_the_same_noise_is_drawn_again(recorded):
    speech = recorded("a b", "c d")
    first, again = ([case.samples for case in amid_noise(speech, speech)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert list(amid_noise(speech, [])) == []
