"""The loop on a language of three words, each a tone of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.errors import InputError, OptionError
from asr.model.checkpoint import load_checkpoint
from asr.train import journal, loop, state
from asr.train.loop import Began, Saved, Step, Validated, learn
from asr.train.recipe import Recipe, recipe_from
from asr.train.train import main

TONES = {"do": 300.0, "re": 700.0, "mi": 1500.0}
SAID = ["do", "re mi", "mi do re", "do do mi", "re", "mi re", "do mi", "re re do"]
WORD_S = 0.25


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set "tones": eight utterances, in which each word's time is known."""
    folder = tmp_path / "data" / "tones"
    folder.mkdir(parents=True)
    lines = []
    for number, text in enumerate(SAID):
        words = text.split()
        time_s = np.arange(round(WORD_S * 16_000)) / 16_000
        samples = np.concatenate([0.3 * np.sin(2 * np.pi * TONES[word] * time_s) for word in words])
        soundfile.write(folder / f"{number}.wav", samples.astype(np.float32), 16_000)
        timed = [{"word": w, "start": n * WORD_S, "end": (n + 1) * WORD_S} for n, w in enumerate(words)]
        duration_s = len(samples) / 16_000
        line = {"audio": f"{number}.wav", "id": str(number), "text": text, "duration": duration_s, "words": timed}
        lines.append(json.dumps(line))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder.parent


def values(data: Path, to: Path, **changes: object) -> dict[str, dict[str, object]]:
    """A recipe for the tones; changes are SECTION__KEY=VALUE."""
    recipe: dict[str, dict[str, object]] = {
        "model": {
            "mels": 20,
            "dim": 32,
            "encoder_layers": 1,
            "encoder_heads": 2,
            "decoder_layers": 1,
            "decoder_heads": 2,
            "max_frames": 200,
            "max_tokens": 40,
            "left_context": 64,
            "ctc_alphabet": " 'abcdefghijklmnopqrstuvwxyz",
        },
        "data": {"root": str(data), "sets": ["tones"], "batch_s": 2.0, "longest_s": 2.0, "workers": 0},
        "augment": {"speed": [0.9, 1.1], "gain_db": [-6.0, 0.0], "time_masks": 1, "time_mask_frames": 5},
        "objective": {"ctc": 0.3, "chunks": [0, 16]},
        "optimiser": {"learning_rate": 3e-3, "warmup": 2, "batches": 2, "average": 0.9},
        "loop": {"steps": 8, "save_every": 2, "validate_every": 100, "threads": 1, "precision": "fp32"},
    }
    for name, value in changes.items():
        section, key = name.split("__")
        recipe[section][key] = value
    return {**recipe, "to": str(to)}  # type: ignore[dict-item]


def recipe(data: Path, to: Path, **changes: object) -> Recipe:
    return recipe_from(values(data, to, **changes))


def toml(path: Path, values: dict[str, dict[str, object]]) -> Path:
    sections = {name: section for name, section in values.items() if isinstance(section, dict)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if name not in sections]
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def trained(recipe: Recipe, resume: bool = False) -> list[dict[str, float]]:
    """Each step's losses."""
    return [event.losses for event in learn(recipe, resume) if isinstance(event, Step)]


def logged(run: Path) -> list[dict[str, float]]:
    log = run / journal.LOG
    events = map(json.loads, log.read_text().splitlines()) if log.exists() else ()
    return [event["losses"] for event in events if event["event"] == "step"]


@pytest.fixture(autouse=True)
def threads() -> object:
    """The recipes set torch's threads, which are the process's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_four_utterances_are_learned_by_heart(data: Path, tmp_path: Path) -> None:
    manifest = data / "tones" / "manifest.jsonl"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:4]) + "\n")
    wanted = recipe(
        data,
        tmp_path / "run",
        data__dev_sets=["tones"],
        data__tail_s=[0.3, 0.3],  # the runtime adds 0.3 s
        augment__time_masks=0,
        augment__speed=[],
        objective__chunks=[0],
        optimiser__batches=1,
        optimiser__average=0.0,
        optimiser__learning_rate=5e-3,
        loop__steps=250,
        loop__validate_every=250,
    )
    events = list(learn(wanted))
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.counts["tones"].wer for event in validated] == [0.0]
    assert [type(event) for event in events[-2:]] == [Saved, Validated]
    assert load_checkpoint(tmp_path / "run").config.dim == 32


def test_a_run_that_is_stopped_and_resumed_is_the_unbroken_one(data: Path, tmp_path: Path) -> None:
    unbroken = trained(recipe(data, tmp_path / "unbroken"))
    assert len(unbroken) == 8
    stopped = recipe(data, tmp_path / "stopped")
    first: list[dict[str, float]] = []
    for event in learn(stopped, stop=lambda: len(first) == 2):  # asked within the third step
        if isinstance(event, Step):
            first.append(event.losses)
    assert len(first) == 3
    resumed = trained(stopped, resume=True)
    assert first + resumed == unbroken
    a, b = (state.load(tmp_path / name)[1] for name in ("unbroken", "stopped"))
    for part in ("model", "average"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])


def test_loader_processes_change_nothing(data: Path, tmp_path: Path) -> None:
    alone = trained(recipe(data, tmp_path / "alone", loop__steps=3))
    assert trained(recipe(data, tmp_path / "helped", loop__steps=3, data__workers=2)) == alone


def test_a_kill_in_the_middle_of_a_checkpoints_writing_costs_nothing(data: Path, tmp_path: Path) -> None:
    unbroken = trained(recipe(data, tmp_path / "unbroken", loop__save_every=1))
    run = tmp_path / "killed"
    path = toml(tmp_path / "recipe.toml", values(data, run, loop__save_every=1))
    command = [sys.executable, "-m", "asr.train.train", str(path)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    limit = time.monotonic() + 120
    while time.monotonic() < limit and child.poll() is None:
        if len(state.checkpoints(run)) >= 2 and list((run / state.STEPS).glob("*.part")):
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    killed_at = state.load(run)[2].step
    assert 2 <= killed_at < 8
    assert main([str(path), "--resume"]) == 0
    assert logged(run) == unbroken


def test_two_processes_learn_what_one_does(data: Path, tmp_path: Path) -> None:
    one = trained(recipe(data, tmp_path / "one", loop__steps=4))
    path = toml(tmp_path / "recipe.toml", values(data, tmp_path / "two", loop__steps=4))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*launcher, "-m", "asr.train.train", str(path)], check=True, capture_output=True, timeout=300, env=environment
    )
    two = logged(tmp_path / "two")
    assert len(two) == 4
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, rel=1e-3)
    a, b = (load_checkpoint(tmp_path / name).state_dict() for name in ("one", "two"))
    assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)


def test_a_fine_tune_keeps_what_the_checkpoint_knows(data: Path, tmp_path: Path) -> None:
    list(learn(recipe(data, tmp_path / "first", loop__steps=4)))
    start = str(tmp_path / "first")
    tuned = values(data, tmp_path / "second", data__dev_sets=["tones"], loop__steps=4, loop__validate_every=2)
    tuned |= {"model": {}, "start": start}  # type: ignore[dict-item]
    tuned["objective"] |= {"teacher": start, "features": 1.0, "tokens": 0.5, "alignment": 0.1}
    tuned["optimiser"] |= {"rates": {"encoder.conv": 0.0}}
    events = list(learn(recipe_from(tuned)))  # type: ignore[arg-type]
    validated = [event.step for event in events if isinstance(event, Validated)]
    assert validated == [0, 2, 4]  # 0 is before
    (told,) = (event for event in events if isinstance(event, Began))
    assert 0 < told.learning < told.parameters
    before, after = load_checkpoint(tmp_path / "first"), load_checkpoint(tmp_path / "second")
    assert torch.equal(before.encoder.conv1.weight, after.encoder.conv1.weight)
    assert not torch.equal(before.encoder.norm.weight, after.encoder.norm.weight)
    assert (tmp_path / "second" / "tokenizer.json").read_text() == (tmp_path / "first" / "tokenizer.json").read_text()


def test_a_finished_folder_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    wanted = recipe(data, tmp_path / "run", loop__steps=3)
    list(learn(wanted))
    with pytest.raises(OptionError, match="holds a run already: go on with it by --resume"):
        list(learn(wanted))


def test_a_recipe_that_no_longer_fits_its_checkpoint_is_said(data: Path, tmp_path: Path) -> None:
    list(learn(recipe(data, tmp_path / "run", loop__steps=3)))
    with pytest.raises(OptionError, match="no longer fits the checkpoint"):
        list(learn(recipe(data, tmp_path / "run", loop__steps=3, model__dim=64), resume=True))


def test_a_run_can_be_lengthened(data: Path, tmp_path: Path) -> None:
    list(learn(recipe(data, tmp_path / "run", loop__steps=3)))
    assert len(trained(recipe(data, tmp_path / "run", loop__steps=5), resume=True)) == 2


def test_a_gradient_that_is_no_number_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.optimise, "clip", lambda parameters, longest: float("nan"))
    with pytest.raises(InputError, match=r"gradient at step 1 is nan: lower optimiser.learning_rate"):
        list(learn(recipe(data, tmp_path / "run")))


def test_an_epoch_without_a_whole_step_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fewer than optimiser.batches \(50\): lower it"):
        list(learn(recipe(data, tmp_path / "run", optimiser__batches=50)))


def test_the_log_forgets_what_a_kill_undid(tmp_path: Path) -> None:
    lines = [json.dumps({"event": "step", "step": step}) for step in (1, 2, 3)]
    (tmp_path / journal.LOG).write_text("\n".join([*lines, '{"event": "st']))
    journal.forget_after(tmp_path, 2)
    assert (tmp_path / journal.LOG).read_text().splitlines() == lines[:2]


def test_the_command_tells_of_the_run(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = toml(tmp_path / "recipe.toml", values(data, tmp_path / "run", data__dev_sets=["tones"]))
    assert main([str(path), "--set", "loop.steps=3"]) == 0
    printed, said = capfd.readouterr()
    assert "3 steps" in printed
    assert f"asr-export --from {tmp_path / 'run'}" in printed
    assert "8 utterances, 0.00 hours" in said
    assert "step 3: WER tones" in said
    assert "h/h  padding" in said
    assert main([str(path)]) == 1
    assert "asr-train: " in capfd.readouterr().err


def test_the_command_wants_a_recipe_or_a_manifest() -> None:
    with pytest.raises(SystemExit):
        main([])


def test_tensorboard_has_losses_and_a_picture_of_attention(data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    changes = {"data__dev_sets": ["tones"], "loop__tensorboard": True, "loop__steps": 4, "loop__validate_every": 4}
    assert main([str(toml(tmp_path / "recipe.toml", values(data, tmp_path / "run", **changes)))]) == 0
    written = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert len(written.Scalars("loss/ctc")) == 4
    assert len(written.Scalars("wer/tones")) == 1
    assert written.Tags()["images"] == ["attention"]


def test_validation_listens_in_each_chunk_size(data: Path, tmp_path: Path) -> None:
    wanted = recipe(data, tmp_path / "run", data__dev_sets=["tones"], loop__steps=3, loop__validate_chunks=[0, 16, 32])
    (validated,) = (event for event in learn(wanted) if isinstance(event, Validated))
    assert list(validated.counts) == ["tones full", "tones 320ms", "tones 640ms"]


def test_a_kill_between_a_checkpoint_and_its_validation_is_made_good(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(data, tmp_path / "run", data__dev_sets=["tones"], loop__steps=4, loop__validate_every=4)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", killed)
        with pytest.raises(KeyboardInterrupt):
            list(learn(wanted))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = [event for event in learn(wanted, resume=True) if isinstance(event, Validated)]
    assert [(event.step, event.best) for event in resumed] == [(4, True)]
    assert load_checkpoint(tmp_path / "run").config.dim == 32
    assert not [event for event in learn(wanted, resume=True) if isinstance(event, Validated)]  # done once


def test_a_stop_waits_for_the_validation_that_is_due(data: Path, tmp_path: Path) -> None:
    wanted = recipe(data, tmp_path / "run", data__dev_sets=["tones"], loop__validate_every=2)
    first = [type(event) for event in learn(wanted, stop=lambda: True)]
    assert first == [Began, Step, Saved]
    second = [type(event) for event in learn(wanted, resume=True, stop=lambda: True)]
    assert second == [Began, Saved, Step, Saved, Validated]


def test_a_resumed_run_says_what_changed_in_its_recipe(data: Path, tmp_path: Path) -> None:
    list(learn(recipe(data, tmp_path / "run", loop__steps=3)))
    changed = recipe(data, tmp_path / "run", loop__steps=5, optimiser__weight_decay=0.2, optimiser__batches=1)
    events = learn(changed, resume=True)
    (told,) = (event for event in events if isinstance(event, Began))
    assert set(told.changed) == {
        "loop.steps: 3, now 5",
        "optimiser.weight_decay: 0.01, now 0.2",
        "optimiser.batches: 2, now 1",
    }


def test_a_text_that_the_decoder_cannot_hold_is_left_out_and_told(data: Path, tmp_path: Path) -> None:
    wanted = recipe(data, tmp_path / "run", model__max_tokens=9, loop__steps=6, optimiser__batches=1)
    told = {complaint for event in learn(wanted) if isinstance(event, Step) for complaint in event.complaints}
    # three words are nine letters with their spaces; a token of the prompt comes before
    assert told == {f"{number}: its text is 10 tokens, and the model takes 9" for number in (2, 3, 7)}


def test_utterances_without_a_text_are_counted(data: Path, tmp_path: Path) -> None:
    manifest = data / "tones" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"text": "re"', '"transcript": "re"'))
    (told,) = (event for event in learn(recipe(data, tmp_path / "run", loop__steps=3)) if isinstance(event, Began))
    assert told.silent == {"tones": 1}


def test_dev_sets_without_a_text_are_refused(data: Path, tmp_path: Path) -> None:
    silent = data / "silent"
    silent.mkdir()
    (silent / "manifest.jsonl").write_text(json.dumps({"audio": "../tones/0.wav", "duration": 0.25}) + "\n")
    with pytest.raises(InputError, match=r"dev set silent of .* holds no utterance with a text"):
        list(learn(recipe(data, tmp_path / "run", data__dev_sets=["silent"])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"objective__chunks": [24]}, "chunks divide model.left_context .64 frames.; 24 does not"),
        ({"model__ctc_alphabet": None}, "objective.ctc wants model.ctc_alphabet"),
        ({"data__longest_s": 20.0, "data__batch_s": 20.0}, "longest_s is 20, but this model hears 4 s at once"),
        ({"data__language": "de"}, "data.language is 'de'; the model knows en"),
    ],
)
def test_a_recipe_that_does_not_fit_its_model_is_said(
    data: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    wanted = values(data, tmp_path / "run", **{name: value for name, value in change.items() if value is not None})
    if change.get("model__ctc_alphabet", "") is None:
        del wanted["model"]["ctc_alphabet"]
    with pytest.raises(OptionError, match=said):
        list(learn(recipe_from(wanted)))  # type: ignore[arg-type]


def test_a_stop_by_signal_ends_with_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = toml(tmp_path / "recipe.toml", values(data, run, loop__steps=1000, loop__save_every=1000, data__workers=1))
    command = [sys.executable, "-m", "asr.train.train", str(path)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    limit = time.monotonic() + 120
    while time.monotonic() < limit and child.poll() is None and len(logged(run)) < 3:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGTERM)  # loader processes too, as systemd does
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    stopped = state.load(run)[2].step
    assert stopped >= 3
    assert f"stopped after step {stopped}; go on with --resume" in said


def test_a_step_in_bf16_learns(data: Path, tmp_path: Path) -> None:
    fp32, bf16 = (
        trained(recipe(data, tmp_path / precision, loop__precision=precision, loop__steps=3))
        for precision in ("fp32", "bf16")
    )
    assert [step["loss"] for step in bf16] == pytest.approx([step["loss"] for step in fp32], rel=0.05)
    assert bf16 != fp32
