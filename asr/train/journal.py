"""A run's own account: RUN/log.jsonl, a line for each event, and TensorBoard where it is asked for."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import NotFoundError
from asr.train.loop import Began, Event, Saved, Step, Validated
from asr.train.score import Counts, pool

LOG = "log.jsonl"
TOKEN_PIXELS = 8  # the height of a token in pictures of attention; a frame is one pixel wide


def as_line(event: Event) -> dict[str, Any]:
    """An event as JSON has it, under the name of its kind."""
    if isinstance(event, Step):
        numbers = {
            name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(event).items()
        }
        return {"event": "step", **numbers}
    if isinstance(event, Began):
        return {"event": "began", **asdict(event)}
    if isinstance(event, Validated):
        return {"event": "validated", "step": event.step, "wer": rates(event.counts), "best": event.best}
    return {"event": "saved", "step": event.step, "folder": str(event.folder)}


def rates(counts: dict[str, Counts]) -> dict[str, float]:
    """WER in per cent by set, and of all together."""
    together = {**counts, "pooled": pool(counts.values())}
    return {name: round(found.wer, 2) for name, found in together.items() if found.wer is not None}


def append(run: Path, event: Event) -> None:
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(as_line(event)) + "\n")


def forget_after(run: Path, step: int) -> None:
    """Take out what a killed run did after the checkpoint that it now goes on from."""
    log = run / LOG
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written
            continue
        if event["step"] <= step:
            kept.append(line + "\n")
    part = log.with_name(LOG + ".part")
    part.write_text("".join(kept), encoding="utf-8")
    part.rename(log)


class Board:
    """TensorBoard's view of a run: the losses, the WER, and where a dev utterance's text looked."""

    def __init__(self, run: Path, done: int):
        """done: the step that the run goes on from; what was shown of later ones is forgotten."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise NotFoundError("loop.tensorboard wants the package tensorboard: pip install tensorboard") from error
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=done + 1)

    def show(self, event: Event) -> None:
        if isinstance(event, Saved | Began):
            return
        if isinstance(event, Validated):
            for name, wer in rates(event.counts).items():
                self.writer.add_scalar(f"wer/{name}", wer, event.step)
            if event.looked is not None and event.looked.size:
                scaled = np.repeat(event.looked / max(float(event.looked.max()), 1e-9), TOKEN_PIXELS, axis=0)
                self.writer.add_image("attention", scaled[None], event.step)
        else:
            for name, value in event.losses.items():
                self.writer.add_scalar(f"loss/{name}", value, event.step)
            self.writer.add_scalar("learning_rate", event.learning_rate, event.step)
            self.writer.add_scalar("gradient", event.gradient, event.step)
        self.writer.flush()
