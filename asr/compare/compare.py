"""asr-compare: every attention mechanism trained from one recipe, exported, measured, served and drawn.

    asr-compare --to DIR                     a made-up language of ten words
    asr-compare --to DIR --data DATA \\
        --set data.sets='["digits","grid"]' --set data.dev_sets='["digits","grid"]'
    asr-compare --to DIR --quick             a few mechanisms, in minutes

DIR then has compare.md, compare.json, figures/, runs/ and models/. What is trained is not trained again: the same
command goes on where it was stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from asr.audio.resample import SAMPLE_RATE
from asr.compare import figures, made
from asr.compare.cost import LENGTHS_S, Cost, costs
from asr.compare.lessons import LIMIT, Class, map_of, teach
from asr.compare.measure import HOP_S, Clip, Measured, clips_of, hear, measure, shown
from asr.compare.report import Found, Served, as_json, as_markdown
from asr.compare.runs import (
    FAMILIES,
    MAIN,
    QUICK,
    QUICK_SETTINGS,
    RUNS,
    SEEDS,
    Curve,
    Plan,
    read_curve,
    train_all,
    wanted,
)
from asr.errors import HeedError, OptionError
from asr.runtime.recognizer import Recognizer
from asr.train.recipe import find_recipe, read_recipe
from asr.train.start import read_dev_sets, read_sets

QUICK_LENGTHS_S = (2, 5, 10, 20, 40)
SERVE_S = 120  # for one model to be loaded and to answer


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.seeds is None:
        options.seeds = 1 if options.quick else SEEDS
    try:
        if options.seeds < 1:
            raise OptionError(f"a run has 1 seed at least, but --seeds is {options.seeds}")
        plan = plan_of(options)
        names = names_of(options)
        begin = time.perf_counter()
        failed = train_all(plan, wanted(names, options.seeds), options.jobs)
        torch.set_num_threads(1)
        found = find(plan, names, failed, LENGTHS_S if not options.quick else QUICK_LENGTHS_S, begin, options)
    except (HeedError, OSError) as error:
        print(f"asr-compare: {error}", file=sys.stderr)
        return 1
    (plan.to / "compare.md").write_text(as_markdown(found), encoding="utf-8")
    (plan.to / "compare.json").write_text(json.dumps(as_json(found), indent=1, ensure_ascii=False) + "\n")
    print(f"{plan.to / 'compare.md'}: {len(found.measured)} runs in {found.wall_s / 60:.1f} minutes")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "asr-compare", description="Train, measure, serve and draw attention of every kind."
    )
    add = parser.add_argument
    add("--to", type=Path, default=Path("compare"), metavar="DIR", help="what is written (%(default)s)")
    add("--data", type=Path, metavar="DIR", help="with train/SET and dev/SET (a set made on the spot)")
    add("--recipe", default="compare", metavar="RECIPE", help="what all are trained from (%(default)s)")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe (repeatable)")
    add("--only", metavar="A,B", help=f"only these of {', '.join(RUNS)}")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="trained at once, a core each (%(default)s)")
    add("--seeds", type=int, metavar="N", help=f"of {', '.join(MAIN)} ({SEEDS}; 1 with --quick)")
    add("--quick", action="store_true", help="a few mechanisms, a third of the steps, one seed")
    return parser


def plan_of(options: argparse.Namespace) -> Plan:
    data = options.data
    if data is None:
        data = options.to / "data"
        made.write(data)
    settings = (*(QUICK_SETTINGS if options.quick else ()), *options.set)
    return Plan(options.to, data, options.recipe, settings)


def names_of(options: argparse.Namespace) -> list[str]:
    names = options.only.split(",") if options.only else list(QUICK if options.quick else RUNS)
    if unknown := [name for name in names if name not in RUNS]:
        raise OptionError(f"no run {', '.join(unknown)}; there are {', '.join(RUNS)}")
    return names


def find(
    plan: Plan,
    names: Sequence[str],
    failed: Mapping[str, str],
    lengths_s: Sequence[float],
    begin: float,
    options: argparse.Namespace,
) -> Found:
    """Measure, draw, teach and serve what was trained."""
    done = [name for name in names if (plan.model(name) / "model.json").exists()]
    if not done:
        raise OptionError(f"nothing was trained: {'; '.join(dict.fromkeys(failed.values()))}")
    recipe = read_recipe(find_recipe(plan.recipe), plan.told(done[0], 0))
    clips = clips_of(read_dev_sets(recipe)[0].values())
    if not clips:
        raise OptionError(
            f"the dev sets {', '.join(recipe.data.dev_sets)} have no utterance with a text to measure with"
        )
    train_clips = clips_of([utterances[:LIMIT] for utterances in read_sets(recipe).values()])
    pairs = wanted(done, options.seeds)
    curves = {name: [read_curve(plan.run(name, seed)) for one, seed in pairs if one == name] for name in done}
    measured = {}
    for name in done:
        print(f"measuring {name}", flush=True)
        measured[name] = measure(plan.model(name), clips)
    cost = costs(lengths_s)
    folder = plan.to / "figures"
    draw(folder, curves, measured, cost)
    maps = {name: map_of(hear(Recognizer.load(plan.model(name)), shown(clips))) for name in done}
    figures.save(figures.gallery(maps, HOP_S), folder / "gallery.png")
    lessons = teach(Class(plan, clips, train_clips, measured), folder)
    served = serve(plan, done, shown(clips))
    wall_s = time.perf_counter() - begin
    headline = (
        f"Recipe {plan.recipe}, {recipe.loop.steps} steps of {recipe.data.batch_s:g} s; "
        f"data {', '.join(recipe.data.sets)}; "
        f"{len(clips)} dev utterances; {options.jobs} runs at once on {os.cpu_count()} cores; "
        f"this call took {wall_s / 60:.1f} minutes."
    )
    return Found(headline, wall_s, curves, measured, cost, lessons, served, failed)


def draw(
    folder: Path, curves: Mapping[str, Sequence[Curve]], measured: Mapping[str, Measured], cost: Sequence[Cost]
) -> None:
    by_steps = {name: (some[0].steps, some[0].wer) for name, some in curves.items()}
    figures.save(figures.error_panels(by_steps, FAMILIES, "steps"), folder / "curves.png")
    by_length = {
        name: ([length.seconds for length in one.lengths], [length.counts.wer or 0.0 for length in one.lengths])
        for name, one in measured.items()
    }
    figures.save(figures.error_panels(by_length, FAMILIES, "seconds of speech"), folder / "lengths.png")
    for name, up, unit in (
        ("use_s", "ms a call", 1e3),
        ("train_s", "ms a call and its gradients", 1e3),
        ("use_bytes", "MB", 1e-6),
    ):
        lines = {
            layer: points([(one.seconds, getattr(one, name)) for one in cost if one.layer == layer], unit)
            for layer in dict.fromkeys(one.layer for one in cost)
        }
        file = {"use_s": "time_in_use", "train_s": "time_in_training", "use_bytes": "memory"}[name]
        figures.save(figures.lines(lines, "seconds of audio", up, logarithmic=True), folder / f"{file}.png")


def points(values: Sequence[tuple[float, float | None]], unit: float) -> tuple[list[float], list[float]]:
    """Those that there are, as a line wants them."""
    there = [(x, y * unit) for x, y in values if y]
    return [x for x, _ in there], [y for _, y in there]


def serve(plan: Plan, names: Sequence[str], clip: Clip) -> dict[str, Served]:
    """Stream a clip through a server of each model, and read the alignment that came of it."""
    recording = plan.to / "served" / "clip.flac"
    recording.parent.mkdir(exist_ok=True)
    soundfile.write(recording, clip.samples, SAMPLE_RATE)
    return {name: serve_one(plan.model(name), recording, recording.parent / name) for name in names}


def serve_one(model: Path, recording: Path, to: Path) -> Served:
    command = [sys.executable, "-m", "client.transcribe", "--local", "--model_dir", str(model), "--stream", "--fast"]
    command += ["--output_format", "json", "--alignment", "--alignment_format", "npz", "--output_dir", str(to)]
    subprocess.run([*command, str(recording)], check=True, timeout=SERVE_S, stdout=subprocess.DEVNULL)
    said = json.loads((to / f"{recording.stem}.json").read_text(encoding="utf-8"))
    with np.load(to / f"{recording.stem}.alignment.npz") as arrays:
        rows = sum(len(arrays[name]) for name in arrays.files if name.startswith("weights_"))
    return Served(said["text"].strip(), sum(len(one["tokens"]) for one in said["segments"]), rows)


if __name__ == "__main__":
    sys.exit(main())
