import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.model.checkpoint import load_checkpoint, save_checkpoint
from asr.model.config import ModelConfig
from asr.model.model import SpeechModel
from asr.runtime.recognizer import Recognizer
from asr.train import label, vocabulary
from asr.train.label import align, main
from asr.train.live import live_recognizer
from asr.train.manifest import read_manifest
from asr.train.recipe import Vocabulary
from asr.train.start import sentence

SETS = {"read": {0.6: "one cat", 0.8: "TWO DOGS"}, "talk": {0.7: None, 0.9: None}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model that knows nothing, but whose attention can be followed."""
    tokenizer = vocabulary.build(["One cat.", "Two dogs.", "three birds"], Vocabulary())
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    config = ModelConfig(
        vocabulary=tokenizer.get_vocab_size(),
        mels=20,
        dim=16,
        encoder_layers=1,
        encoder_heads=2,
        decoder_layers=1,
        decoder_heads=2,
        max_frames=200,
        max_tokens=40,
        pad_s=2.0,
    )
    save_checkpoint(SpeechModel(config), tmp_path / "tokenizer.json", tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def data(make_set: Any) -> Path:
    return next(iter([make_set(name, said) for name, said in SETS.items()])).parent


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_texts_are_kept_and_timed(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "labelled"
    assert main(["--align", str(checkpoint), "--data", str(data), "--sets", "read,talk", "--to", str(out)]) == 0
    one, two = lines(out / "read")
    assert (one["text"], two["text"]) == ("One cat.", "Two dogs.")
    assert [word["word"] for word in one["words"]] == ["One", "cat."]
    for line in (one, two):
        times = [time for word in line["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= line["duration"]
    utterances = read_manifest(out / "read")  # asr-train reads it, and finds the recordings
    assert all(utterance.audio.is_file() for utterance in utterances)
    assert [len(utterance.words) for utterance in utterances] == [2, 2]
    assert lines(out / "talk") == []  # nobody was there to hear it


def test_what_a_model_is_sure_of_becomes_the_text(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = iter(["three birds", ""])
    monkeypatch.setattr(label, "hear", lambda model, samples: next(heard))
    model = live_recognizer(load_checkpoint(checkpoint), checkpoint / "tokenizer.json")
    monkeypatch.setattr(Recognizer, "load", lambda folder, threads: model)
    out = tmp_path / "labelled"
    arguments = ["--model", "any", "--align", str(checkpoint), "--data", str(data), "--sets", "talk", "--to", str(out)]
    assert main(arguments) == 0
    (line,) = lines(out / "talk")
    assert line["text"] == "three birds"
    assert line["text_by"] == "heard by unnamed"
    assert [word["word"] for word in line["words"]] == ["three", "birds"]


def test_a_doubtful_hearing_is_no_label(clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = clip("goforward")
    shipped = Recognizer.load(Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming")
    assert label.hear(shipped, samples) == "Go forward 10 meters."
    monkeypatch.setattr(label, "SURE", 0.0)
    assert label.hear(shipped, samples) == ""


def test_a_text_too_long_for_the_model_has_no_times(checkpoint: Path) -> None:
    aligner = label.open_aligner(checkpoint)
    assert align(aligner, np.zeros(16_000, np.float32), "one cat " * 10) == []
    assert align(aligner, np.zeros(16_000, np.float32), "") == []


def test_a_set_that_is_not_there_is_said(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--align", str(checkpoint), "--data", str(tmp_path), "--sets", "none", "--to", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "asr-label: no manifest at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "written"),
    [("WE CALL IT BEAR", "We call it bear."), ("i think i'm here?", "I think I'm here?"), ("ok", "Ok.")],
)
def test_a_text_without_casing_becomes_a_sentence(text: str, written: str) -> None:
    assert sentence(text) == written
