import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.errors import AudioError, InputError
from asr.train.manifest import TimedWord, Utterance, load, read_manifest

LINE = {"audio": "a/one.wav", "id": "one", "text": "Hello.", "speaker": "s", "duration": 1.5, "source": "x"}


def timed(word: str, start_s: float) -> dict[str, object]:
    return {"word": word, "start": start_s, "end": start_s + 0.5}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_line_is_an_utterance(tmp_path: Path) -> None:
    expected = Utterance(tmp_path / "a/one.wav", "one", "Hello.", "s", 1.5, "x", "")
    assert read_manifest(write(tmp_path, LINE)) == [expected]


def test_a_folder_stands_for_its_manifest(tmp_path: Path) -> None:
    path = write(tmp_path, LINE)
    assert read_manifest(tmp_path) == read_manifest(path)


def test_order_is_kept_and_blank_lines_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, {**LINE, "split": "test", "words": []}, "", {**LINE, "id": "another"})
    assert [utterance.id for utterance in read_manifest(path)] == ["one", "another"]


def test_words_keep_their_times(tmp_path: Path) -> None:
    (utterance,) = read_manifest(write(tmp_path, {**LINE, "words": [timed(" Hello", 0), timed("you.", 0.5)]}))
    assert utterance.words == (TimedWord("Hello", 0.0, 0.5), TimedWord("you.", 0.5, 1.0))


def test_only_the_recording_and_its_length_must_be_there(tmp_path: Path) -> None:
    (utterance,) = read_manifest(write(tmp_path, {"audio": "a/one.wav", "duration": 2}))
    assert (utterance.id, utterance.text, utterance.speaker) == ("one", "", "")
    assert utterance.duration_s == 2.0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "JSON object"),
        ({"duration": 1}, "'audio' is missing"),
        ({"audio": "b.wav"}, "'duration'"),
        ({"audio": "b.wav", "duration": 0}, "'duration'"),
        ({"audio": "b.wav", "duration": "1"}, "'duration'"),
        ({"audio": "b.wav", "duration": True}, "'duration'"),
        ('{"audio": "b.wav", "duration": NaN}', "'duration'"),
        ({"audio": "b.wav", "duration": 1, "text": 5}, "'text' must be text"),
        ({"audio": "c/one.wav", "duration": 1}, "id 'one' is already that of line 1"),
        ({"audio": "b.wav", "duration": 1, "words": "a b"}, "'words' must be a list"),
        ({"audio": "b.wav", "duration": 1, "words": ["a"]}, "a word is an object"),
        ({"audio": "b.wav", "duration": 1, "words": [{"word": "a", "start": 0.1}]}, "'end'"),
        ({"audio": "b.wav", "duration": 1, "words": [{"word": "a", "start": True, "end": 2}]}, "'start'"),
        ({"audio": "b.wav", "duration": 1, "words": [{"word": " ", "start": 0.1, "end": 0.2}]}, "must be text"),
        ({"audio": "b.wav", "duration": 1, "words": [{"word": "a", "start": 0.3, "end": 0.2}]}, "ends no earlier"),
        ({"audio": "b.wav", "duration": 1, "words": [{"word": "a", "start": -0.1, "end": 0.2}]}, "0 or later"),
        ({"audio": "b.wav", "duration": 1, "words": [timed("a", 0.4), timed("b", 0.3)]}, "in the order"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, line: object, complaint: str) -> None:
    path = write(tmp_path, LINE, "", line)
    with pytest.raises(InputError, match="line 3") as caught:
        read_manifest(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_set_without_a_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.jsonl"):
        read_manifest(tmp_path / "nothing")


def test_a_manifest_in_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_bytes('{"text": "é"}'.encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_manifest(tmp_path)


def utterance(audio: Path) -> Utterance:
    return Utterance(audio, audio.stem, "", "", 1.0, "", "")


def test_samples_come_at_16_khz_whatever_the_file_has(tmp_path: Path) -> None:
    time_s = np.arange(44_100) / 44_100
    soundfile.write(tmp_path / "a.wav", np.stack([0.5 * np.sin(2 * np.pi * 440 * time_s)] * 2, axis=1), 44_100)
    samples = load(utterance(tmp_path / "a.wav"))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) - 16_000) <= 1
    assert np.argmax(np.abs(np.fft.rfft(samples[:16_000], 16_000))) == 440  # Hz, so the rate is right


@pytest.mark.parametrize("name", ["a.mp3", "a.aiff", "a.au", "a.caf"])
def test_formats_that_only_training_reads(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000), 48_000)
    samples = load(utterance(tmp_path / name))
    assert np.argmax(np.abs(np.fft.rfft(samples[:16_000], 16_000))) == 440  # Hz
    assert abs(len(samples) - 16_000) <= 1000  # MP3 comes in whole frames


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav"):
        load(utterance(tmp_path / "gone.wav"))


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"this is not audio at all")
    (tmp_path / "folder.wav").mkdir()
    for name in ("bad", "folder"):
        with pytest.raises(AudioError, match=rf"{name}\.wav"):
            load(utterance(tmp_path / f"{name}.wav"))


def test_a_recording_whose_reader_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # the extra 'media'
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"a\.m4a: .*'media'"):
        load(utterance(tmp_path / "a.m4a"))
