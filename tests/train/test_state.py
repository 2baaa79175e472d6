import json
from pathlib import Path

import pytest
import torch

from asr.errors import FormatError
from asr.model.checkpoint import load_checkpoint
from asr.model.config import ModelConfig
from asr.model.model import SpeechModel
from asr.train import state
from asr.train.state import Progress, Standing

CONFIG = ModelConfig(
    vocabulary=8, mels=8, dim=8, encoder_layers=1, encoder_heads=1, decoder_layers=1, decoder_heads=1, max_frames=8
)


@pytest.fixture
def model() -> SpeechModel:
    return SpeechModel(CONFIG)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    return path


def save(run: Path, model: SpeechModel, tokenizer: Path, step: int, keep: int = 2) -> Path:
    values = {"model": model.state_dict(), "number": step}
    return state.save(run, model, tokenizer, values, Progress(step=step, audio_s=1.5), keep)


def test_what_is_saved_comes_back(tmp_path: Path, model: SpeechModel, tokenizer: Path) -> None:
    folder = save(tmp_path / "run", model, tokenizer, 7)
    found, values, progress = state.load(tmp_path / "run")
    assert found == folder
    assert values["number"] == 7
    assert progress == Progress(step=7, audio_s=1.5)
    for name, tensor in load_checkpoint(folder).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_the_newest_are_kept(tmp_path: Path, model: SpeechModel, tokenizer: Path) -> None:
    for step in (5, 10, 1_000_000, 1_000_005):
        save(tmp_path, model, tokenizer, step)
    assert [path.name for path in state.checkpoints(tmp_path)] == ["1000000", "1000005"]


def test_a_kill_while_writing_leaves_the_one_before(
    tmp_path: Path, model: SpeechModel, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, model, tokenizer, 1, keep=1)
    written: list[Path] = []

    def killed(path: Path) -> None:
        written.append(path)
        raise KeyboardInterrupt

    for moment in ("to_disk", "save_checkpoint"):
        with monkeypatch.context() as patch:
            patch.setattr(state, moment, lambda *_: killed(tmp_path))
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path, model, tokenizer, 2, keep=1)
        assert state.load(tmp_path)[2].step == 1
    assert len(written) == 2
    save(tmp_path, model, tokenizer, 2, keep=1)  # what the kill left is in nobody's way
    assert state.load(tmp_path)[2].step == 2
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["000002"]


def test_a_damaged_checkpoint_is_said(tmp_path: Path, model: SpeechModel, tokenizer: Path) -> None:
    folder = save(tmp_path, model, tokenizer, 1)
    (folder / "training" / "state.pt").write_bytes(b"no")
    with pytest.raises(FormatError, match=r"cannot resume from .*000001.*go on from the one before"):
        state.load(tmp_path)


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing to resume"):
        state.load(tmp_path)


def test_publishing_replaces_the_whole_model(tmp_path: Path, model: SpeechModel, tokenizer: Path) -> None:
    for step in (1, 2):
        with torch.no_grad():
            model.decoder.positions.fill_(float(step))
        state.publish(save(tmp_path, model, tokenizer, step), tmp_path)
    assert float(load_checkpoint(tmp_path).decoder.positions.detach()[0, 0]) == 2.0
    assert json.loads((tmp_path / "config.json").read_text())["dim"] == 8
    assert not list(tmp_path.glob("*.part"))


def test_what_validation_found_comes_back(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert state.load_standing(run) == Standing()
    standing = Standing(before={"a": {"words": 1}}, validated=5, published=3)
    state.save_standing(run, standing)
    assert state.load_standing(run) == standing
    (run / "standing.json").write_text("{")
    with pytest.raises(FormatError, match=r"standing.json is damaged"):
        state.load_standing(run)
