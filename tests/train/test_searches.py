"""What the table of searches counts, over the model that hears tones (tests/runtime/conftest.py)."""

import json

import numpy as np
import pytest
import soundfile

from asr.runtime.recognizer import Options
from asr.train.manifest import read_manifest
from asr.train.score import count, right
from asr.train.searches import SearchTrial, as_text, listen, rare_words, summed

TEXTS = ("a b Dashwood", "b c, dashing d", "a Marianne b Willoughby")


@pytest.fixture
def utterances(speak, tmp_path):
    lines = []
    for index, text in enumerate(TEXTS):
        samples = speak("".join(word[0] for word in text.lower().split() if len(word) < 3))
        soundfile.write(tmp_path / f"{index}.wav", samples, 16_000, subtype="FLOAT")
        lines.append(json.dumps({"audio": f"{index}.wav", "text": text, "duration": samples.size / 16_000}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    return read_manifest(tmp_path)


def test_rare_words_are_the_long_ones_that_one_recording_alone_has(utterances):
    assert rare_words(utterances) == [["dashwood"], ["dashing"], ["marianne", "willoughby"]]
    assert rare_words([utterances[0]] * 2) == [[], []]


def test_each_word_is_right_where_it_stands():
    assert right("the Dashwood man", "a Dashwood mane") == [("the", False), ("dashwood", True), ("man", False)]
    assert right("red house", "") == [("red", False), ("house", False)]
    assert right("", "more") == []


def test_every_recording_goes_through_every_search_as_it_is_asked_for(utterances, hearing, monkeypatch):
    recognizer, asked = hearing(), []
    monkeypatch.setattr(recognizer, "transcribe", remembering(recognizer.transcribe, asked))
    ticks = iter(np.arange(0, 1000, 0.5))
    noted = []
    rows = listen(recognizer, utterances, lambda: float(next(ticks)), lambda name, trial: noted.append(name), 2.0)
    names = [row.search for row in rows]
    assert names[0] == "greedy"
    assert names[-1] == "4 rare words expected"
    assert noted == names * 3
    assert asked[0] == Options(language="en")
    assert asked[3] == Options(language="en", beam=8)
    own, everybodys = asked[4], asked[5]
    assert [(phrase.text, phrase.boost) for phrase in own.phrases] == [("dashwood", 2.0)]
    assert [phrase.text for phrase in everybodys.phrases] == ["dashwood", "dashing", "marianne", "willoughby"]
    for row in rows:
        assert (row.rare, row.rare_right) == (4, 0), "the tones have no such words"
        assert (row.words, row.wer_of_others) == (11, 0)
        assert row.real_time_factor == pytest.approx(3 * 0.5 / (7 * 0.24))


def remembering(transcribe, asked):
    def remember(samples, options):
        asked.append(options)
        return transcribe(samples, options)

    return remember


def test_errors_in_other_words_are_told_apart():
    made = summed("x", [SearchTrial(count("the Dashwood man", "the ash wood man"), 1, 0, 2.0, 0.5)])
    assert made.wer == pytest.approx(200 / 3)
    assert made.wer_of_others == pytest.approx(50), "one word for two: what is inserted is the others'"
    assert summed("x", []).wer_of_others is None
    assert "0 of 1 | 50.0 | 0.250" in as_text([made])
