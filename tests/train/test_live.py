"""Decoding with a model in training; that it is the exported folder's decoding is held by tests/export."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402
from asr.train import vocabulary  # noqa: E402
from asr.train.live import live_recognizer  # noqa: E402
from asr.train.manifest import read_manifest  # noqa: E402
from asr.train.recipe import Vocabulary  # noqa: E402
from asr.train.score import Counts  # noqa: E402
from asr.train.validate import before_and_after, validate  # noqa: E402

TEXTS = ["the cat sat", "a mat", "there"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    vocabulary.build(TEXTS, Vocabulary("characters")).save(str(path))
    return path


@pytest.fixture(scope="module")
def model(tokenizer) -> SpeechModel:
    """Random weights, scaled so that what is said depends on the audio and on the text so far."""
    torch.manual_seed(2)
    size = len(json.loads(tokenizer.read_text())["model"]["vocab"])
    config = ModelConfig(
        vocabulary=size, dim=32, encoder_layers=2, encoder_heads=2, decoder_layers=2, decoder_heads=2, max_frames=400,
        max_tokens=64, log_mel="fixed", pad_s=0.0, ctc_alphabet=vocabulary.CTC_ALPHABET, name="random",
    )  # fmt: skip
    model = SpeechModel(config).eval()
    with torch.no_grad():
        model.decoder.positions *= 80
        for block in model.decoder.blocks:
            block.cross_attention.out.weight *= 8
    return model


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(random.standard_normal(size) * 0.1).astype(np.float32) for size in (50_000, 9_001, 22_222)]


@pytest.fixture(scope="module")
def clips(recordings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    lines = []
    for index, (samples, text) in enumerate(zip(recordings, TEXTS, strict=True)):
        soundfile.write(folder / f"{index}.wav", samples, 16_000)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": text, "duration": samples.size / 16_000}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def test_a_model_of_several_languages_that_it_does_not_tell_apart_reads_all(model, tokenizer, recordings):
    recognizer = live_recognizer(model, tokenizer)
    source = recognizer.encoder.encode(recordings[0])
    assert recognizer.detect_language(source) == ""


def test_live_follows_the_weights(model, tokenizer, recordings):
    torch.manual_seed(0)
    other = SpeechModel(model.config).eval()
    recognizer = live_recognizer(other, tokenizer)
    before = recognizer.transcribe(recordings[0])
    other.load_state_dict(model.state_dict())
    after = recognizer.transcribe(recordings[0])
    assert after.text == live_recognizer(model, tokenizer).transcribe(recordings[0]).text
    assert after.text != before.text


def test_validation_leaves_the_model_and_chance_as_they_were(model, tokenizer, clips):
    model.train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    chance = torch.get_rng_state()
    try:
        counts = validate(model, tokenizer, {"clips": read_manifest(clips), "none": []})
        assert [module.training for module in model.modules()] == modes
    finally:
        model.eval()
    assert torch.equal(torch.get_rng_state(), chance)
    assert counts["clips"].words == len(" ".join(TEXTS).split())
    assert counts["none"] == Counts()


def test_before_and_after_in_one_table():
    before = {"a": Counts(words=10, substitutions=5), "b": Counts(words=30, deletions=3), "noise": Counts(insertions=4)}
    after = {"a": Counts(words=10, substitutions=1), "b": Counts(words=30, deletions=6), "noise": Counts(insertions=1)}
    table = before_and_after(before, after).splitlines()
    assert table[2:] == [
        "| a | 10 | 50.0 % | 10.0 % | -40.0 |",
        "| b | 30 | 10.0 % | 20.0 % | +10.0 |",
        "| noise | 0 | 4 words | 1 words | -3 words |",
        "| **all** | 40 | 30.0 % | 20.0 % | -10.0 |",
    ]
    assert len(before_and_after({"a": before["a"]}, after).splitlines()) == 3
