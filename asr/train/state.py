"""A run's checkpoints on disk: written whole or not at all, and enough to go on exactly.

    RUN/config.json, model.safetensors, tokenizer.json   the best so far: what is exported
    RUN/standing.json                                    which step that is, and what validation found
    RUN/steps/000500/                                    the model of that step, and beside it
    RUN/steps/000500/training/                           state.pt (weights, optimiser, average), progress.json

What is random in training is a function of the seed and of the place in the run (batches.py, loop.py), so the place is
all that is kept of the sampler and of the random generators.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.errors import FormatError
from asr.model.checkpoint import CONFIG, TOKENIZER, WEIGHTS, save_checkpoint
from asr.model.model import SpeechModel

STEPS, TRAINING, STATE, PROGRESS = "steps", "training", "state.pt", "progress.json"
STANDING = "standing.json"
UNFINISHED = ".part"


@dataclass
class Progress:
    """The place in a run: what has been done."""

    step: int = 0
    epoch: int = 0
    position: int = 0  # batches of the epoch that are done
    audio_s: float = 0.0
    wall_s: float = 0.0
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass
class Standing:
    """What validation has found; Counts by dev set, as dictionaries."""

    before: dict[str, dict[str, int]] = field(default_factory=dict)  # of the checkpoint that the run started from
    validated: int = 0  # the newest step that was
    published: int = 0  # the step whose model RUN holds
    best: dict[str, dict[str, int]] = field(default_factory=dict)  # of that step


def save(run: Path, model: SpeechModel, tokenizer: Path, state: dict[str, Any], progress: Progress, keep: int) -> Path:
    """Write RUN/steps/STEP, then remove all but the newest `keep`. A kill at any moment leaves the ones before."""
    final = run / STEPS / f"{progress.step:06d}"
    if final.exists():  # nothing was learned since
        return final
    part = final.with_name(final.name + UNFINISHED)
    shutil.rmtree(part, ignore_errors=True)
    save_checkpoint(model, tokenizer, part)
    (part / TRAINING).mkdir()
    torch.save(state, part / TRAINING / STATE)
    (part / TRAINING / PROGRESS).write_text(json.dumps(asdict(progress), indent=1) + "\n", encoding="utf-8")
    for path in [*part.rglob("*"), part]:
        to_disk(path)
    part.rename(final)
    to_disk(final.parent)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def checkpoints(run: Path) -> list[Path]:
    """The finished ones, oldest first."""
    folders = (path for path in (run / STEPS).glob("*") if path.name.isdigit() and path.is_dir())
    return sorted(folders, key=lambda path: int(path.name))


def load(run: Path) -> tuple[Path, dict[str, Any], Progress]:
    """The newest finished checkpoint of a run. FormatError where there is none, or where it is damaged."""
    found = checkpoints(run)
    if not found:
        raise FormatError(f"nothing to resume: {run / STEPS} holds no checkpoint")
    folder = found[-1]
    try:
        state = torch.load(folder / TRAINING / STATE, map_location="cpu", weights_only=True)
        progress = Progress(**json.loads((folder / TRAINING / PROGRESS).read_text(encoding="utf-8")))
    except Exception as error:  # torch raises a dozen classes for a damaged file
        kind = type(error).__name__
        raise FormatError(
            f"cannot resume from {folder}: its {TRAINING} is damaged ({kind}); remove it to go on from the one before"
        ) from error
    return folder, state, progress


def publish(checkpoint: Path, run: Path) -> None:
    """Make a checkpoint's model the one that RUN itself holds. Each file is replaced in one move, the weights last."""
    for name in (CONFIG, TOKENIZER, WEIGHTS):
        replace_file(run / name, (checkpoint / name).read_bytes())


def load_standing(run: Path) -> Standing:
    """What is known of a run's validations; nothing where there was none."""
    path = run / STANDING
    try:
        return Standing(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Standing()
    except (OSError, ValueError, TypeError) as error:
        raise FormatError(
            f"{path} is damaged ({error}); remove it to go on, and the best so far is forgotten"
        ) from error


def save_standing(run: Path, standing: Standing) -> None:
    """Written after what it tells of: a kill in between has the step validated again."""
    run.mkdir(parents=True, exist_ok=True)
    replace_file(run / STANDING, (json.dumps(asdict(standing), indent=1) + "\n").encode())


def replace_file(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + UNFINISHED)
    part.write_bytes(content)
    to_disk(part)
    part.rename(path)
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Have the system write a file or folder out, so that a power cut cannot leave a name without its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
