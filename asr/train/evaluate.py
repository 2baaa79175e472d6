"""asr-evaluate: how well an exported folder hears, beside its peers.

What is scored is what ships: the exported folder, run by the recogniser that serves it. Every utterance is decoded once
and goes through all systems in turn, one at a time in one process, so that a noisy machine is noisy for all alike. The
real-time factor is the wall time of recognition alone over the recording's length.

    asr-evaluate --model asr/models/tiny.en-streaming --data DIR --peer faster-whisper --peer pocketsphinx --output OUT

Each trial is written to OUT/trials.jsonl as it is made, so that a run that is stopped has not been for nothing.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asr.audio.resample import SAMPLE_RATE
from asr.errors import FormatError, HeedError, InputError, NotFoundError, NotSupportedError, OptionError
from asr.train import manifest, score
from asr.train.manifest import Utterance
from asr.train.peers import System, open_model, open_peer
from asr.train.report import POOLED, Answer, Trial, as_json, as_markdown, summarise, trial_as_json

TRIALS = "trials.jsonl"
LATENCIES = {"full": "full", "1280": "1280ms", "640": "640ms", "320": "320ms"}
PACKAGES = ("numpy", "onnxruntime", "jiwer", "whisper-normalizer", "faster-whisper", "ctranslate2", "pocketsphinx")

Sets = dict[str, list[Utterance]]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        sets = read_sets(options.data, options.sets, options.limit)
        ours = open_model(options.model, options.latency, options.threads)
        peers, left_out = open_peers(options.peer, options.latency, options.threads)
        systems = [*ours, *peers]
        _check_names(systems)
        if options.output is not None:  # made now, so that an hour's work is not lost for want of a folder
            options.output.mkdir(parents=True, exist_ok=True)
        report = summarise(listen(systems, sets, options.output), [system.name for system in ours], options.bootstrap)
    except (HeedError, OSError) as error:
        print(f"asr-evaluate: {error}", file=sys.stderr)
        return 1
    run = describe(options, systems, left_out)
    text = "\n\n".join([headline(run), as_markdown(report)])
    print(text)
    if options.output is not None:
        write(options.output, text, {**run, **as_json(report)})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("asr-evaluate", description="Score an exported model folder, beside its peers.")
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="the exported folder")
    add("--data", type=Path, required=True, metavar="DIR", help="a set (manifest.jsonl), or a folder of sets")
    add("--sets", type=names_in, metavar="A,B,C", help="only these sets of the folder (all)")
    add("--latency", type=_latencies, default=["full"], metavar="full|1280|640|320", help="or several by commas (full)")
    add("--peer", action="append", default=[], metavar="PEER", help=_PEER)
    add("--threads", type=_at_least(1), default=1, metavar="N", help="for every system (%(default)s)")
    add("--limit", type=_at_least(1), metavar="N", help="only the first N utterances of each set (all)")
    add("--bootstrap", type=_at_least(0), default=1000, metavar="N", help="rounds for the intervals (%(default)s)")
    add("--output", type=Path, metavar="DIR", help="write evaluate.md, evaluate.json and trials.jsonl there")
    return parser


_PEER = (
    "faster-whisper, faster-whisper=WEIGHTS (a CTranslate2 folder), pocketsphinx, pywhispercpp=FILE, sherpa-onnx=DIR, "
    "or NAME=DIR (another exported folder); may be given several times; a peer that is absent is said and left out"
)


def names_in(text: str) -> list[str]:
    """Those between commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _latencies(text: str) -> list[str]:
    """Names of latency modes: "full,640" to ["full", "640ms"]. The mode's own spelling, "640ms", works too."""
    names = [name.removesuffix("ms") for name in names_in(text)]
    if not names or not all(name in LATENCIES for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no latency: expected {', '.join(LATENCIES)}, or several of them")
    return list(dict.fromkeys(LATENCIES[name] for name in names))


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small: expected {least} or more")
        return value

    return number


def read_sets(data: Path, names: list[str] | None = None, limit: int | None = None) -> Sets:
    """The sets of a folder by name: pooled ones first, then by the alphabet, or as `names` orders them.

    Raises InputError where there is none, where a named one is missing, or where a recording is.
    """
    folders = {data.resolve().name: data} if (data / manifest.MANIFEST).is_file() else _folders(data)
    if not folders:
        raise InputError(f"no set in {data}: expected {manifest.MANIFEST} there, or folders that hold one each")
    if missing := [name for name in names or () if name not in folders]:
        raise InputError(f"no set {', '.join(missing)} in {data}: it has {', '.join(folders)}")
    order = names or sorted(folders, key=lambda name: (_place(name), name))
    sets = {name: manifest.read_manifest(folders[name])[:limit] for name in order}
    for name, utterances in sets.items():
        # Said now rather than after an hour.
        if lost := [str(u.audio) for u in utterances if not u.audio.is_file()]:
            raise InputError(f"set {name}: {len(lost)} recordings of its manifest are not there, first {lost[0]}")
    if not any(sets.values()):
        raise InputError(f"the sets in {data} hold no utterance")
    return sets


def _folders(data: Path) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(data.glob(f"*/{manifest.MANIFEST}"))}


def _place(name: str) -> int:
    return POOLED.index(name) if name in POOLED else len(POOLED)


def open_peers(peers: list[str], modes: list[str], threads: int) -> tuple[list[System], dict[str, str]]:
    """The peers that are there; and those that are not, each with the reason, which is also said on stderr."""
    systems: list[System] = []
    left_out: dict[str, str] = {}
    for peer in peers:
        try:
            systems += open_peer(peer, modes, threads)
        except (NotFoundError, NotSupportedError, FormatError) as error:
            left_out[peer] = str(error)
            print(f"asr-evaluate: peer {peer} is left out: {error}", file=sys.stderr)
    return systems, left_out


def _check_names(systems: list[System]) -> None:
    names = [system.name for system in systems]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"two systems are called {', '.join(twice)}: give one another name, NAME=DIR")


def listen(systems: list[System], sets: Sets, output: Path | None = None) -> list[Trial]:
    """Every utterance through every system, in turn. A first one, not counted, warms each system up.

    output  the folder whose trials.jsonl grows by a line for each utterance
    """
    trials: list[Trial] = []
    if output is not None:
        (output / TRIALS).unlink(missing_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("listening", total=sum(map(len, sets.values())))
        for name, utterances in sets.items():
            progress.update(task, description=name)
            for utterance in utterances:
                samples = manifest.load(utterance)
                if not trials:
                    for system in systems:
                        system.transcribe(samples)
                trials.append(_trial(name, utterance, samples, systems))
                if output is not None:
                    _append(output / TRIALS, trials[-1])
                progress.advance(task)
    return trials


def _trial(name: str, utterance: Utterance, samples: NDArray[np.float32], systems: list[System]) -> Trial:
    heard = {}
    for system in systems:
        settle()
        begin = time.perf_counter()
        text = system.transcribe(samples)
        wall_s = time.perf_counter() - begin
        heard[system.name] = Answer(text, wall_s, score.count(utterance.text, text))
    return Trial(name, utterance, len(samples) / SAMPLE_RATE, heard)


def _append(path: Path, trial: Trial) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(trial_as_json(trial), ensure_ascii=False, allow_nan=False) + "\n")


def settle(limit_s: float = 1.0) -> None:
    """Wait until the threads of the system before have come to rest.

    Pools spin for a while after their work (OpenMP's for 200 ms), and would take the cores of the system that is next.
    """
    end = time.perf_counter() + limit_s
    while (begin := time.perf_counter()) < end:
        busy = time.process_time()
        time.sleep(0.002)
        if time.process_time() - busy < 0.25 * (time.perf_counter() - begin):
            return


def describe(options: argparse.Namespace, systems: list[System], left_out: dict[str, str]) -> dict[str, Any]:
    """What ran, on what, with what."""
    config = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    return {
        "config": config,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "platform": platform.platform()},
        "versions": {"python": platform.python_version(), **_versions()},
        "systems": [{"name": system.name, **system.settings} for system in systems],
        "left_out": left_out,
    }


def headline(run: dict[str, Any]) -> str:
    config, machine = run["config"], run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [f"{config['threads']} thread(s) on {machine['cpu']}, {machine['cores']} cores; {versions}."]
    lines += [f"Left out: {peer}: {reason}" for peer, reason in run["left_out"].items()]
    if config["limit"] is not None:
        lines.append(f"Only the first {config['limit']} utterances of each set.")
    return "\n".join(lines)


def write(folder: Path, text: str, report: dict[str, Any]) -> None:
    (folder / "evaluate.md").write_text(text + "\n", encoding="utf-8")
    content = json.dumps(report, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "evaluate.json").write_text(content + "\n", encoding="utf-8")


def _cpu() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    """Of the packages that had a part in the figures, where they are installed."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


if __name__ == "__main__":
    sys.exit(main())
