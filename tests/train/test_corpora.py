import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.errors import InputError, NotFoundError, NotSupportedError, OptionError
from asr.train.corpora import read_corpus
from asr.train.manifest import TimedWord, load

RATE = 16_000


def record(path: Path, duration_s: float, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(duration_s * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * time_s), rate)
    return path


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_manifest_is_found_by_its_sets_name(tmp_path: Path) -> None:
    write(tmp_path / "mine/manifest.jsonl", json.dumps({"audio": "a.wav", "text": "hello", "duration": 1.0}))
    (utterance,) = read_corpus(tmp_path, "manifest", "mine")
    assert (utterance.audio, utterance.text) == (tmp_path / "mine/a.wav", "hello")


def test_librispeech_is_read_chapter_by_chapter(tmp_path: Path) -> None:
    for speaker, chapter, durations_s in (("19", "198", (1.5, 0.5)), ("26", "495", (2.0,))):
        folder = tmp_path / "train-clean-100" / speaker / chapter
        ids = [f"{speaker}-{chapter}-{number:04}" for number in range(len(durations_s))]
        for id, duration_s in zip(ids, durations_s, strict=True):
            record(folder / f"{id}.flac", duration_s)
        write(folder / f"{speaker}-{chapter}.trans.txt", *(f"{id} SAID IN {id[-1]}" for id in ids))
    utterances = read_corpus(tmp_path, "librispeech", "train-clean-100")
    assert [(one.id, one.text, one.speaker, one.duration_s) for one in utterances] == [
        ("19-198-0000", "SAID IN 0", "19", 1.5),
        ("19-198-0001", "SAID IN 1", "19", 0.5),
        ("26-495-0000", "SAID IN 0", "26", 2.0),
    ]
    assert [len(load(one)) for one in utterances] == [24_000, 8_000, 32_000]


HEADER = "client_id\tpath\tsentence\tup_votes"


def test_common_voice_is_read_with_its_mp3(tmp_path: Path) -> None:
    record(tmp_path / "clips/one.mp3", 1.2, rate=48_000)
    write(tmp_path / "train.tsv", HEADER, 'ab\tone.mp3\tShe said "no, thank you.\t2')
    (utterance,) = read_corpus(tmp_path, "common_voice", "train")
    assert (utterance.id, utterance.text, utterance.speaker) == ("one", 'She said "no, thank you.', "ab")
    samples = load(utterance)
    assert utterance.duration_s == pytest.approx(len(samples) / RATE, abs=1e-3)
    assert np.argmax(np.abs(np.fft.rfft(samples[:RATE]))) == 440  # Hz


def test_common_voices_own_durations_are_believed(tmp_path: Path) -> None:
    write(tmp_path / "clip_durations.tsv", "clip\tduration[ms]", "one.mp3\t3456")
    write(tmp_path / "dev.tsv", HEADER, "ab\tone.mp3\tHello.\t2")
    (utterance,) = read_corpus(tmp_path, "common_voice", "dev")
    assert utterance.duration_s == 3.456


def test_a_recording_without_a_readable_header_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    write(tmp_path / "clips/bad.mp3", "no audio")
    write(tmp_path / "train.tsv", HEADER, "ab\tbad.mp3\tHello.\t2", "ab\tgone.mp3\tHello.\t2")
    assert [one.duration_s for one in read_corpus(tmp_path, "common_voice", "train")] == [0.0, 0.0]


def test_a_table_without_the_columns_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "path\ttext", "one.mp3\tHello.")
    with pytest.raises(InputError, match=r"no column sentence, client_id"):
        read_corpus(tmp_path, "common_voice", "train")


@pytest.mark.parametrize("layout", ["manifest", "librispeech", "common_voice"])
def test_a_set_that_is_not_there_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match="lost"):
        read_corpus(tmp_path, layout, "lost")


def test_an_unknown_layout_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="librispeech"):
        read_corpus(tmp_path, "timit", "train")


def test_lhotse_is_asked_for_where_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(NotFoundError, match="pip install lhotse"):
        read_corpus(tmp_path, "lhotse", "train")


def cut(audio: Path, duration_s: float, recorded_s: float, words: list[TimedWord]) -> SimpleNamespace:
    """As lhotse's cuts look to us."""
    symbols = [SimpleNamespace(symbol=word.word, start=word.start_s, end=word.end_s) for word in words]
    source = SimpleNamespace(type="file", source=str(audio))
    return SimpleNamespace(
        id="c",
        duration=duration_s,
        recording=SimpleNamespace(sources=[source], duration=recorded_s),
        supervisions=[SimpleNamespace(text="Hello.", speaker="s", alignment={"word": symbols} if words else None)],
    )


@pytest.mark.parametrize("words", [[], [TimedWord("hello", 0.2, 0.9)]])
def test_a_cut_of_a_whole_file_is_an_utterance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[TimedWord]
) -> None:
    cuts = [cut(tmp_path / "a.flac", 1.0, 1.0, words)]
    monkeypatch.setitem(sys.modules, "lhotse", SimpleNamespace(CutSet=SimpleNamespace(from_file=lambda path: cuts)))
    write(tmp_path / "train.jsonl")
    (utterance,) = read_corpus(tmp_path, "lhotse", "train")
    assert (utterance.audio, utterance.text, utterance.speaker) == (tmp_path / "a.flac", "Hello.", "s")
    assert (utterance.duration_s, utterance.words) == (1.0, tuple(words))


def test_a_cut_of_a_part_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [cut(tmp_path / "a.flac", 1.0, 60.0, [])]
    monkeypatch.setitem(sys.modules, "lhotse", SimpleNamespace(CutSet=SimpleNamespace(from_file=lambda path: cuts)))
    write(tmp_path / "train.jsonl")
    with pytest.raises(NotSupportedError, match="save_audios"):
        read_corpus(tmp_path, "lhotse", "train")


def test_lhotses_own_cuts_are_read(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(record(tmp_path / "a.flac", 1.5), recording_id="r")
    said = lhotse.SupervisionSegment("s", "r", 0.0, 1.5, text="Hello.", speaker="ann")
    item = lhotse.supervision.AlignmentItem("hello", 0.25, 0.5)
    said = said.with_alignment("word", [item])
    cuts = lhotse.CutSet.from_cuts([lhotse.MonoCut("c", 0.0, 1.5, 0, supervisions=[said], recording=recording)])
    cuts.to_file(tmp_path / "train.jsonl.gz")
    (utterance,) = read_corpus(tmp_path, "lhotse", "train")
    assert (utterance.id, utterance.text, utterance.speaker, utterance.duration_s) == ("c", "Hello.", "ann", 1.5)
    assert utterance.words == (TimedWord("hello", 0.25, 0.75),)
    assert len(load(utterance)) == 24_000
