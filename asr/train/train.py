"""asr-train: recordings and their texts become a model.

    asr-train --check MANIFEST                              what is in the data, and how long it would take
    asr-train RECIPE [--set SECTION.KEY=VALUE ...]          train by a TOML file, or by a recipe that comes with Heed
    asr-train RECIPE --resume                               go on after a stop or a kill, exactly
    torchrun --nproc_per_node 2 -m asr.train.train RECIPE   in several processes

A stop (Ctrl-C, SIGTERM) ends the run after the step that it is in, with a checkpoint.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import distributed

from asr.errors import HeedError
from asr.train import journal, state
from asr.train.check import as_text, check
from asr.train.loop import Began, Event, Saved, Step, learn, processes
from asr.train.recipe import RECIPES, Recipe, find_recipe, read_recipe
from asr.train.score import Counts
from asr.train.validate import before_and_after

LINE_EVERY = 20  # steps, where there is no terminal to draw a bar on


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.recipe is None) == (options.check is None):
        parser.error("give a recipe, or --check MANIFEST")
    try:
        if options.check is not None:
            print(as_text(check(options.check)))
            return 0
        recipe = read_recipe(find_recipe(options.recipe), options.set)
        with all_processes():
            return run(recipe, options.resume)
    except (HeedError, OSError) as error:
        print(f"asr-train: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    shipped = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser = argparse.ArgumentParser("asr-train", description="Train a model, from scratch or from a checkpoint.")
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help=f"a TOML file, or one of {shipped}")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe (repeatable)")
    add("--resume", action="store_true", help="go on from the run's newest checkpoint")
    add("--check", type=Path, metavar="MANIFEST", help="report on the data, and train nothing")
    return parser


def run(recipe: Recipe, resume: bool) -> int:
    """Train, and tell of it on the terminal and in the run's log."""
    folder = recipe.folder
    if resume:
        _, _, progress = state.load(folder)
        journal.forget_after(folder, progress.step)
    first = processes()[0] == 0
    console = Console(stderr=True)
    board = journal.Board(folder) if recipe.loop.tensorboard and first else None
    events = learn(recipe, resume)
    stop = Stop()
    with contextlib.closing(events), bar(console) as progress_bar:
        task = progress_bar.add_task("", total=recipe.loop.steps)
        told = Telling()
        for event in events:
            if first:
                journal.append(folder, event)
                if board is not None:
                    board.show(event)
                line = told.line(event, recipe)
                for complaint in event.complaints if isinstance(event, Began | Step) else ():
                    console.print(f"left out: {complaint}", highlight=False, soft_wrap=True)
                if isinstance(event, Step):
                    progress_bar.update(task, completed=event.step, description=told.short(event))
                if line and (not console.is_terminal or not isinstance(event, Step)):
                    console.print(line, highlight=False, soft_wrap=True)
            if stop.asked and isinstance(event, Step):
                console.print(f"stopped after step {event.step}; go on with --resume")
                return 130
    if first:
        print(summary(recipe))
    return 0


class Stop:
    """Remembers that somebody asked for the end."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:  # the second time is meant
            raise KeyboardInterrupt
        self.asked = True


class Telling:
    """Events as lines for people, with means over the steps since the last line."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def line(self, event: Event, recipe: Recipe) -> str:
        if isinstance(event, Step):
            self.steps.append(event)
            if event.step % LINE_EVERY and event.step != recipe.loop.steps:
                return ""
            recent, self.steps = self.steps, []
            return f"step {event.step}/{recipe.loop.steps}  {means(recent)}"
        if isinstance(event, Began):
            precision = "bf16" if event.bf16 else "fp32"
            return (
                f"{event.utterances} utterances, {event.audio_s / 3600:.2f} hours; {event.learning / 1e6:.2f} of "
                f"{event.parameters / 1e6:.2f} M parameters learn, on {event.device} in {precision}"
                + (f"; on from step {event.step}" if event.step else "")
            )
        if isinstance(event, Saved):
            return f"saved {event.folder}"
        wer = ", ".join(f"{name} {value}" for name, value in journal.rates(event.counts).items())
        return f"step {event.step}: WER % {wer}{', the best so far' if event.best else ''}"

    def short(self, event: Step) -> str:
        return means(self.steps[-LINE_EVERY:] or [event])


def means(steps: Sequence[Step]) -> str:
    """Losses, audio hours per hour, padding and waiting of a few steps."""
    parts = [f"{name} {sum(one.losses[name] for one in steps) / len(steps):.3f}" for name in steps[-1].losses]
    wall_s, audio_s = sum(one.wall_s for one in steps), sum(one.audio_s for one in steps)
    padding = 1 - audio_s / max(1e-9, sum(one.padded_s for one in steps))
    waiting = sum(one.loading_s for one in steps) / wall_s
    return f"{'  '.join(parts)}  {audio_s / wall_s:.1f} h/h  padding {padding:.0%}  loading {waiting:.0%}"


def bar(console: Console) -> Progress:
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def summary(recipe: Recipe) -> str:
    """What came out, and where it is."""
    progress = state.load(recipe.folder)[2]
    rate = progress.audio_s / max(progress.wall_s, 1e-9)
    lines = [
        f"{progress.step} steps, {progress.audio_s / 3600:.2f} hours of audio in {progress.wall_s / 60:.1f} minutes "
        f"({rate:.1f} audio hours per hour)",
    ]
    if progress.best:
        best = {name: Counts(**counts) for name, counts in progress.best.items()}
        if progress.before:
            lines.append(before_and_after({name: Counts(**counts) for name, counts in progress.before.items()}, best))
        else:
            lines.append(f"WER % at step {progress.best_step}: {journal.rates(best)}")
    lines.append(f"the model is in {recipe.folder}: asr-export --from {recipe.folder} --to DIR")
    return "\n".join(lines)


@contextlib.contextmanager
def all_processes() -> Iterator[None]:
    """Join the others where torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
