"""Single words cut out of recordings, by the times in their manifests."""

import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.train.cut import LONGEST_S, SHORTEST_S, SLACK_S, main, spans_of
from asr.train.manifest import TimedWord, load, read_manifest

RATE = 16_000


@pytest.fixture
def sentences(tmp_path):
    """A set of one recording: its level is the tenth of a second that it is."""
    folder = tmp_path / "data" / "said"
    folder.mkdir(parents=True)
    samples = np.repeat(np.arange(30) / 100, RATE // 10).astype(np.float32)
    soundfile.write(folder / "a.wav", samples, RATE, subtype="FLOAT")
    words = [("Two,", 0.5, 0.8), ("or", 0.82, 0.9), ("THREE", 1.2, 1.7), ("two?", 2.0, 2.05)]
    line = {"audio": "a.wav", "text": "Two, or THREE two?", "speaker": "s", "duration": 3.0, "licence": "CC0-1.0"}
    line["words"] = [{"word": word, "start": start, "end": end} for word, start, end in words]
    (folder / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "data"


def test_the_wanted_words_become_recordings_of_their_own(sentences, capsys):
    target = sentences / "numbers"
    assert main(["--data", str(sentences), "--sets", "said", "--words", "two,Three,nine", "--to", str(target)]) == 0
    assert capsys.readouterr().out == "2 words: two 1, three 1\n"
    two, three = read_manifest(target)
    assert [(one.text, one.speaker, one.licence) for one in (two, three)] == [
        ("two", "s", "CC0-1.0"),
        ("three", "s", "CC0-1.0"),
    ]
    assert two.duration_s == pytest.approx(SLACK_S + 0.3 + 0.02)  # the next word begins soon
    assert three.duration_s == pytest.approx(SLACK_S + 0.5 + SLACK_S)
    heard = load(three)
    assert heard[round(0.1 * RATE)] == pytest.approx(0.12, abs=0.001)
    assert heard[-round(0.1 * RATE)] == pytest.approx(0.16, abs=0.001)


@pytest.mark.parametrize(
    ("sets", "words", "said"),
    [("said", "nine", "none of nine has a time"), ("nothing", "two", "no manifest at")],
)
def test_what_cannot_be_cut_is_said(sentences, capsys, sets, words, said):
    arguments = ["--data", str(sentences), "--sets", sets, "--words", words, "--to", str(sentences / "numbers")]
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
    assert list((sentences / "numbers").glob("manifest*")) == []


def test_a_recording_that_is_gone_is_left_out(sentences, capsys):
    manifest = sentences / "said" / "manifest.jsonl"
    gone = manifest.read_text().replace("a.wav", "b.wav")
    manifest.write_text(manifest.read_text() + gone)
    assert main(["--data", str(sentences), "--sets", "said", "--words", "two", "--to", str(sentences / "n")]) == 0
    assert "left out" in capsys.readouterr().err
    assert len(read_manifest(sentences / "n")) == 1


@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=8), st.lists(st.floats(0, 0.2), min_size=8, max_size=8))
def test_a_cut_holds_its_word_and_none_of_another(lengths, gaps):
    words, now = [], 0.1
    for length, pause in zip(lengths, gaps, strict=False):
        words.append(TimedWord("w", now, now + length))
        now += length + pause
    fit = [word for word in words if SHORTEST_S <= word.end_s - word.start_s <= LONGEST_S]
    spans = list(spans_of(words, {"w"}))
    assert len(spans) == len(fit)
    for word, span in zip(fit, spans, strict=True):
        assert 0 <= span.start_s <= word.start_s < word.end_s <= span.end_s
        for other in words:
            if other != word:
                assert other.end_s <= span.start_s + 1e-9 or other.start_s >= span.end_s - 1e-9
