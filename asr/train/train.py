"""asr-train: recordings and their texts become a model.

    asr-train --check MANIFEST                              what is in the data, and how long it would take
    asr-train RECIPE [--set SECTION.KEY=VALUE ...]          train by a TOML file, or by a recipe that comes with Heed
    asr-train RECIPE --resume                               go on after a stop or a kill, exactly
    torchrun --nproc_per_node 2 -m asr.train.train RECIPE   in several processes

Exit status of --check: 1 where recordings are bad. A stop (Ctrl-C, SIGTERM) ends the run after the step that it is in,
with a checkpoint.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import distributed

from asr.errors import HeedError
from asr.train import journal, state
from asr.train.check import as_text, check
from asr.train.loop import Began, Event, Saved, Step, Validated, from_dictionaries, learn, processes
from asr.train.recipe import RECIPES, Recipe, find_recipe, read_data, read_recipe
from asr.train.score import Counts
from asr.train.validate import before_and_after

LINE_EVERY = 20  # steps, where there is no terminal to draw a bar on
SHOWN = 10  # complaints of one event
BAD_DATA = 1  # exit status of --check
STOPPED = 130  # exit status of what was stopped from outside, as shells have it
PATIENCE = timedelta(days=1)  # while the first process decodes or validates, the others wait


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.recipe is None) == (options.check is None):
        parser.error("give a recipe, or --check MANIFEST")
    try:
        if options.check is not None:
            found = check(options.check, read_data(options.set))
            print(as_text(found))
            return 0 if found.passed else BAD_DATA
        recipe = read_recipe(find_recipe(options.recipe), options.set)
        with all_processes():
            return run(recipe, options.resume)
    except (HeedError, OSError) as error:
        print(f"asr-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("asr-train: broken off; --resume goes on from the last checkpoint", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    shipped = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
    parser = argparse.ArgumentParser("asr-train", description="Train a model, from scratch or from a checkpoint.")
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help=f"a TOML file, or one of {shipped}")
    add(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change the recipe, whose keys stand in asr/train/recipe.py (repeatable)",
    )
    add("--resume", action="store_true", help="go on from the newest checkpoint of the recipe's run")
    add(
        "--check",
        type=Path,
        metavar="MANIFEST",
        help="report on a manifest or a set's folder, and train nothing (of another layout: --set data.layout=NAME); "
        "exit status 1 where a recording cannot be used or does not last as long as the manifest says",
    )
    return parser


def run(recipe: Recipe, resume: bool) -> int:
    """Train, and tell of it on the terminal and in the run's log."""
    folder, first = recipe.folder, processes()[0] == 0
    console = Console(stderr=True)
    done = state.load(folder)[2].step if resume else -1
    if first:
        journal.forget_after(folder, done)
    board = journal.Board(folder, done) if recipe.loop.tensorboard and first else None
    progress_bar, told = bar(console), Telling(recipe)
    task = progress_bar.add_task("", total=recipe.loop.steps)
    with asked_to_stop(console) as stop:
        try:
            for event in learn(recipe, resume, stop):
                if isinstance(event, Began):
                    progress_bar.start()  # not before: decoding has a bar of its own
                if isinstance(event, Step):
                    progress_bar.update(task, completed=event.step, description=told.short(event))
                told.complain(event, console)
                if first:
                    journal.append(folder, event)
                    if board is not None:
                        board.show(event)
                    if line := told.line(event, console.is_terminal):
                        console.print(line, highlight=False, soft_wrap=True)
        finally:
            progress_bar.stop()
    step = state.load(folder)[2].step
    if step < recipe.loop.steps:
        if first:
            print(f"stopped after step {step}; go on with --resume", file=sys.stderr)
        return STOPPED
    if first:
        print(summary(recipe))
    return 0


@contextlib.contextmanager
def asked_to_stop(console: Console) -> Iterator[Callable[[], bool]]:
    """Whether somebody asked for the end, by Ctrl-C or SIGTERM; the second time breaks off at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        console.print("stopping after this step, with a checkpoint; again to break off at once")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield lambda: asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class Telling:
    """Events as lines for people, with means over the steps since the last line."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps: list[Step] = []

    def line(self, event: Event, on_terminal: bool) -> str:
        """What to print of an event; "" where the bar says it, or a later line will."""
        if isinstance(event, Began):
            return self.beginning(event)
        if isinstance(event, Saved):
            return "" if on_terminal else f"saved {event.folder}"
        if isinstance(event, Validated):
            best = ", the best so far" if event.best else ""
            return f"step {event.step}: WER {rates(event.counts)}{best}"
        self.steps.append(event)
        steps = self.recipe.loop.steps
        if event.step % LINE_EVERY and event.step != steps:
            return ""
        recent, self.steps = self.steps, []
        return "" if on_terminal else f"step {event.step}/{steps}  {means(recent)}"

    def beginning(self, event: Began) -> str:
        precision = "bf16" if event.bf16 else "fp32"
        silent = ", ".join(f"{number} of {name}" for name, number in event.silent.items())
        lines = [
            f"{event.utterances} utterances, {event.audio_s / 3600:.2f} hours"
            + (f"; without a text, which teaches to say nothing: {silent}" if silent else ""),
            f"{event.learning / 1e6:.2f} of {event.parameters / 1e6:.2f} M parameters learn, "
            f"on {event.device} in {precision}" + (f", on from step {event.step}" if event.step else ""),
            *(f"changed since: {change}" for change in event.changed),
        ]
        if self.recipe.start and not event.step:
            lines.append("first the dev sets as the model is before training")
        return "\n".join(lines)

    def complain(self, event: Event, console: Console) -> None:
        """Say what is left out, SHOWN of it at once."""
        complaints = event.complaints if isinstance(event, Began | Step) else ()
        for complaint in complaints[:SHOWN]:
            console.print(f"left out: {complaint}", highlight=False, soft_wrap=True)
        if len(complaints) > SHOWN:
            console.print(f"and {len(complaints) - SHOWN} more, which {journal.LOG} names")

    def short(self, event: Step) -> str:
        return means(self.steps[-LINE_EVERY:] or [event])


def rates(counts: dict[str, Counts]) -> str:
    return ", ".join(f"{name} {wer} %" for name, wer in journal.rates(counts).items())


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
    progress, standing = state.load(recipe.folder)[2], state.load_standing(recipe.folder)
    rate = progress.audio_s / max(progress.wall_s, 1e-9)
    lines = [
        f"{progress.step} steps, {progress.audio_s / 3600:.2f} hours of audio in {progress.wall_s / 60:.1f} minutes "
        f"({rate:.1f} audio hours per hour)",
    ]
    if best := from_dictionaries(standing.best):
        lines.append(f"the best of them, step {standing.published}: WER {rates(best)}")
        if standing.before:
            lines.append(before_and_after(from_dictionaries(standing.before), best))
    lines.append(f"the model is in {recipe.folder}: asr-export --from {recipe.folder} --to DIR")
    return "\n".join(lines)


@contextlib.contextmanager
def all_processes() -> Iterator[None]:
    """Join the others where torchrun started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
