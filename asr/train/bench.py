"""asr-bench: how soon streaming speaks and what it costs, in one process and never through a network.

    asr-bench --model asr/models/tiny.en-streaming --data DIR --output OUT
    asr-bench --checkpoint DIR --data DIR --table latency,silence --limit 20

latency  each latency mode with each policy: errors, lag, time to the final, cost, stable text taken back
long     hours of speech in one stream: cost and memory as it goes on; and speech without any pause: words lost
streams  more and more streams in real time, until their results come too late
silence  words written where nothing is said
onsets   when words begin, against when they truly do (sets with word times)
known    known texts aligned, beside a forced aligner; and whether the score tells a text that is not of the recording
trust    whether high confidence means that a word is right
search   what beams, the CTC head's opinion and expected phrases are worth
speed    how fast, how large and how soon, beside peers

What is measured is what ships: the recogniser that serves, fed as a live stream is. Each row is appended to
OUT/bench.jsonl as it is made, so that a run that is stopped has not been for nothing.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from asr.audio.resample import SAMPLE_RATE
from asr.errors import HeedError, InputError, NotSupportedError
from asr.runtime.bundle import Bundle
from asr.runtime.policy import POLICIES
from asr.runtime.recognizer import Options, Recognizer
from asr.train import aligners, crowd, processes, searches, speed, trust, wrong_texts
from asr.train import onsets as timing
from asr.train.bench_report import (
    BenchTrial,
    Setting,
    Silence,
    Stretch,
    Unbroken,
    latency_text,
    long_text,
    silence_text,
    slope_of,
    streams_text,
    summed,
    unbroken_text,
)
from asr.train.cases import whole_and_cut
from asr.train.clips import Clip, Samples, choose, hiss, limited, spaced, unbroken
from asr.train.evaluate import LATENCIES, Sets, describe, headline, names_in, read_sets
from asr.train.feed import Feed, Heard, hear, true_lags_s
from asr.train.live_peers import PEERS, LivePeer, open_live_peer
from asr.train.manifest import Utterance, load
from asr.train.peers import language_of
from asr.train.report import POOLED
from asr.train.score import Counts, count, pool

ROWS = "bench.jsonl"
LIVE = "640ms"  # the latency mode of all tables but the first
ALIGN_ATT = "align_att"
WARM_UP_S = 2.0
CLIPS_S = 600.0  # of speech in a long stream, again and again: any ten minutes of it are the same work
ROW_S = 600.0
LEAST_ROWS = 4  # of a long stream, where it is a short one
UNBROKEN_S = 300.0
NO_ALIGNMENT = "none"
# What the results of a long stream carry of where tokens looked: rows, and in them every head.
ALIGNMENTS = {NO_ALIGNMENT: (False, False), "mean": (True, False), "full": (True, True)}
NOT_RECORDED = {"digital silence": np.zeros(30 * SAMPLE_RATE, np.float32), "quiet room": hiss(30.0)}

Note = Callable[[str, Mapping[str, Any]], None]  # keeps a row of a table


@dataclass(frozen=True)
class Bench:
    """What the tables are made from."""

    recognizer: Recognizer
    speech: Sets
    silent: Sets
    timed: Sets  # with word times
    options: argparse.Namespace
    note: Note
    live_peers: Mapping[str, LivePeer] = field(default_factory=dict)  # by name

    def ask(self, mode: str = LIVE, policy: str = "", rescored: bool = False) -> Options:
        language = language_of(self.recognizer)
        return Options(latency_mode=mode, policy=policy, language=language, rescore=rescored)

    def feed(self, mode: str = LIVE, alignment: str = NO_ALIGNMENT) -> Feed:
        rows, heads = ALIGNMENTS[alignment]
        return Feed(self.recognizer.stream(replace(self.ask(mode), alignment=rows, heads=heads)))

    def clips(self) -> list[Clip]:
        return choose(self.speech, CLIPS_S)

    def timed_peers(self) -> list[str]:
        """Those that say when words begin; of the others only the table of speeds tells."""
        return [peer for peer in self.options.peer if peer.partition("=")[0] not in speed.OTHERS]


@dataclass(frozen=True)
class Table:
    text: str  # Markdown
    values: Any  # as JSON


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        recognizer = open_recognizer(options)
        sets = read_sets(options.data, options.sets)
        if options.output is not None:
            options.output.mkdir(parents=True, exist_ok=True)
        note = note_in(options.output)
        peers = {peer.name: peer for peer in (open_live_peer(told, options.threads) for told in options.live_peer)}
        bench = Bench(recognizer, speech_of(sets, options), silent_of(sets), timed_of(sets), options, note, peers)
        run = {**describe(options, [], {}), "model": recognizer.bundle.name}
        if options.checkpoint is not None:
            run["versions"]["torch"] = importlib.metadata.version("torch")
        text = f"{recognizer.bundle.name} ({options.model or options.checkpoint}). {headline(run)}"
        print(text, flush=True)
        for name in options.table:
            table = TABLES[name](bench)
            run[name] = table.values
            told = f"\n\n### {name}\n\n{table.text}"
            print(told[1:], flush=True)
            text += told
    except (HeedError, OSError) as error:
        print(f"asr-bench: {error}", file=sys.stderr)
        return 1
    if options.output is not None:
        write(options.output, text, run)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "asr-bench",
        description="Measure streaming: lag, cost, many streams, silence, speed, times and trust, a table each. "
        "What is told of an option begins with the tables that it is for.",
    )
    measured = parser.add_mutually_exclusive_group(required=True)
    measured.add_argument("--model", type=Path, metavar="DIR", help="the exported folder")
    measured.add_argument("--checkpoint", type=Path, metavar="DIR", help="or a checkpoint, which torch runs")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="a set (manifest.jsonl), or a folder of sets")
    add("--sets", type=names_in, metavar="A,B,C", help="only these sets of the folder (all)")
    add("--table", type=_tables, default=list(TABLES), metavar="|".join(TABLES), help="or several by commas (all)")
    add("--latency", type=_modes, metavar="640", help="latency: only this mode, ms or full, or several by commas (all)")
    add(
        "--limit",
        type=_count,
        metavar="N",
        help="latency, onsets, known, trust, search, speed: only the first N of each set (all)",
    )
    add("--hours", type=_amount, default=2.0, metavar="H", help="long: hours of audio (%(default)s)")
    levels = "|".join(ALIGNMENTS)
    add("--alignment", type=_levels, default=[NO_ALIGNMENT], metavar=levels, help="long: or several by commas (none)")
    add("--seconds", type=_amount, default=30.0, metavar="S", help="streams: seconds of audio in each (%(default)s)")
    add(
        "--workers",
        type=_count,
        default=os.cpu_count() or 1,
        metavar="N",
        help="streams: the server's --workers (as many as cores)",
    )
    add("--minutes", type=_amount, default=10.0, metavar="M", help="silence: minutes of each set, looped (%(default)s)")
    add(
        "--long_minutes",
        type=_amount,
        default=30.0,
        metavar="M",
        help="speed: minutes of the long recording (%(default)s)",
    )
    add(
        "--python",
        default=sys.executable,
        metavar="FILE",
        help="speed: the interpreter where heed[serve,client] is installed (this)",
    )
    add("--threads", type=_count, default=1, metavar="N", help="onnxruntime threads of one computation (%(default)s)")
    add(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="onsets, trust, speed: beside faster-whisper=DIR; onsets: openai-whisper=FILE.pt too; known: "
        "pocketsphinx; speed: pocketsphinx, pywhispercpp=FILE, sherpa-onnx=DIR too (repeatable)",
    )
    add(
        "--live_peer",
        action="append",
        default=[],
        metavar="NAME=REPOSITORY:WEIGHTS",
        help=f"latency: beside {' or '.join(PEERS)}, in chunks of 640 ms (repeatable)",
    )
    add("--output", type=Path, metavar="DIR", help=f"write bench.md, bench.json and {ROWS} there")
    return parser


def _modes(text: str) -> list[str]:
    """Names of latency modes, "640" for "640ms"."""
    return [LATENCIES.get(name, name) for name in names_in(text)]


def _tables(text: str) -> list[str]:
    names = names_in(text)
    if not names or not all(name in TABLES for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no table: expected {', '.join(TABLES)}, or several of them")
    return names


def _levels(text: str) -> list[str]:
    names = names_in(text)
    if not names or not all(name in ALIGNMENTS for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no level of alignment: expected {', '.join(ALIGNMENTS)}")
    return names


def _count(text: str) -> int:
    return int(_amount(str(int(text))))


def _amount(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected more than 0")
    return value


def open_recognizer(options: argparse.Namespace) -> Recognizer:
    """The recogniser that is measured. NotSupportedError where it lacks a latency mode that is wanted."""
    if options.model is not None:
        recognizer = Recognizer.load(options.model, options.threads)
    else:
        recognizer = _open_checkpoint(options.checkpoint, options.threads)
    bundle = recognizer.bundle
    wanted = [*(options.latency or ()), *([LIVE] if options.table != ["latency"] else ())]
    if missing := [mode for mode in wanted if mode not in bundle.latency_modes]:
        has = ", ".join(bundle.latency_modes)
        raise NotSupportedError(f"{bundle.name} has no latency mode {', '.join(missing)}; it has {has}")
    if bundle.sample_rate != SAMPLE_RATE:
        raise NotSupportedError(f"{bundle.name} hears {bundle.sample_rate} Hz, but the bench gives {SAMPLE_RATE} Hz")
    return recognizer


def _open_checkpoint(folder: Path, threads: int) -> Recognizer:
    import torch  # here, so that an exported folder is measured without it

    from asr.model.checkpoint import TOKENIZER, load_checkpoint
    from asr.train.live import live_recognizer

    torch.set_num_threads(threads)
    return live_recognizer(load_checkpoint(folder), folder / TOKENIZER)


def speech_of(sets: Sets, options: argparse.Namespace) -> Sets:
    """What is said: in the sets that are named, else in those that an evaluation pools, else in all.

    InputError where a table wants speech and there is none.
    """
    said = {name: _said(utterances) for name, utterances in sets.items() if _said(utterances)}
    if not said and options.table != ["silence"]:
        raise InputError(f"nothing is said in the sets of {options.data}: all tables but silence need speech")
    return {name: said[name] for name in said if options.sets or name in POOLED} or said


def silent_of(sets: Sets) -> Sets:
    return {name: utterances for name, utterances in sets.items() if utterances and not _said(utterances)}


def timed_of(sets: Sets) -> Sets:
    timed = {name: [one for one in utterances if one.words] for name, utterances in sets.items()}
    return {name: utterances for name, utterances in timed.items() if utterances}


def _said(utterances: Iterable[Utterance]) -> list[Utterance]:
    return [utterance for utterance in utterances if utterance.text]


def note_in(output: Path | None) -> Note:
    """Appends each row to the folder's file of rows, which is begun anew."""
    if output is None:
        return lambda table, row: None
    path = output / ROWS
    path.unlink(missing_ok=True)

    def note(table: str, row: Mapping[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"table": table, **row}, ensure_ascii=False, allow_nan=False) + "\n")

    return note


def write(output: Path, text: str, run: Mapping[str, Any]) -> None:
    (output / "bench.md").write_text(text + "\n", encoding="utf-8")
    content = json.dumps(run, ensure_ascii=False, allow_nan=False, indent=1)
    (output / "bench.json").write_text(content + "\n", encoding="utf-8")


def latency(bench: Bench) -> Table:
    """Each utterance through all settings in turn, so that a noisy machine is noisy for all alike."""
    settings = settings_of(bench.recognizer.bundle, bench.options.latency)
    settings += [Setting(LIVE, name) for name in bench.live_peers]
    trials: list[BenchTrial] = []
    for name, utterances in bench.speech.items():
        for utterance in utterances[: bench.options.limit]:
            samples = load(utterance)
            if not trials:
                for setting in settings:
                    _listen(bench, samples[: round(WARM_UP_S * SAMPLE_RATE)], setting)
            for setting in settings:
                trials.append(_trial(name, utterance, setting, _listen(bench, samples, setting)))
                bench.note("latency", trials[-1].as_json())
    rows = [summed(setting, [trial for trial in trials if trial.setting == setting]) for setting in settings]
    return Table(latency_text(rows, list(bench.speech)), [asdict(row) for row in rows])


def settings_of(bundle: Bundle, modes: Sequence[str] | None) -> list[Setting]:
    """The wanted modes, or all, each with the policies that the model supports: AlignAtt needs a growing encoding, and
    without one full context is what every reading has."""
    policies = [name for name in POLICIES if name != ALIGN_ATT or bundle.grows]
    chunks = {mode: chunk for mode, chunk in bundle.latency_modes.items() if not modes or mode in modes}
    settings = []
    for mode, chunk in chunks.items():
        settings += [Setting(mode, policy) for policy in (policies if chunk else [""])]
        settings += [Setting(mode, ALIGN_ATT, rescored=True)] if chunk and bundle.grows else []
    return settings


def _listen(bench: Bench, samples: Samples, setting: Setting) -> Heard:
    if setting.policy in bench.live_peers:
        return bench.live_peers[setting.policy].hear(samples)
    return hear(bench.recognizer, samples, bench.ask(setting.mode, setting.policy, setting.rescored))


def _trial(name: str, utterance: Utterance, setting: Setting, heard: Heard) -> BenchTrial:
    lags_s = true_lags_s(utterance.words, heard.words)
    return BenchTrial(name, utterance.id, setting, heard, count(utterance.text, heard.text), lags_s)


def long(bench: Bench) -> Table:
    clips, total_s = bench.clips(), 3600 * bench.options.hours
    row_s = min(ROW_S, total_s / LEAST_ROWS)
    stretches = {name: listen_long(bench, clips, total_s, row_s, name) for name in bench.options.alignment}
    slopes = {name: slope_of(rows) for name, rows in stretches.items()}
    whole = listen_unbroken(bench, clips, min(UNBROKEN_S, total_s))
    values = {
        "stretches": [asdict(row) for rows in stretches.values() for row in rows],
        "slopes": {name: slope and asdict(slope) for name, slope in slopes.items()},
        "unbroken": {**asdict(whole), "words_lost": whole.words_lost},
    }
    parts = [long_text(rows, slopes[name]) for name, rows in stretches.items()]
    return Table("\n\n".join([*parts, unbroken_text(whole)]), values)


def listen_long(
    bench: Bench, clips: Sequence[Clip], total_s: float, row_s: float, alignment: str = NO_ALIGNMENT
) -> list[Stretch]:
    """Clips with pauses between, again and again, in one stream; a row for each row_s, to the end of a clip."""
    feed = bench.feed(LIVE, alignment)
    rows: list[Stretch] = []
    fed_s = 0.0
    for part in limited(spaced(clips), total_s):
        feed.accept(part)
        fed_s += part.size / SAMPLE_RATE
        over = fed_s >= total_s - 1 / SAMPLE_RATE
        if over:
            feed.finish()
        if over or fed_s >= row_s * (len(rows) + 1):
            rows.append(stretch(feed.take(), fed_s, alignment))
            bench.note("long", asdict(rows[-1]))
    return rows


def stretch(heard: Heard, until_s: float, alignment: str = NO_ALIGNMENT) -> Stretch:
    minutes, words = heard.audio_s / 60, len(heard.words)
    cpu_s, wall_s = heard.cpu_s / minutes, heard.wall_s / minutes
    return Stretch(until_s / 60, minutes, cpu_s, wall_s, resident_mib(), words, heard.broken, alignment)


def resident_mib() -> float:
    """Memory of this process that is in RAM now; the most that ever was where the system does not tell."""
    try:
        return processes.resident_mib(os.getpid())
    except NotSupportedError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def listen_unbroken(bench: Bench, clips: Sequence[Clip], seconds: float) -> Unbroken:
    """Clips without their pauses one after the other, all of them again where they are too few."""
    feed = bench.feed()
    texts: list[str] = []
    alone: list[Counts] = []
    sounding = [clip for clip in (Clip(clip.text, unbroken(clip.samples)) for clip in clips) if clip.samples.size]
    if not sounding:
        raise InputError(f"the recordings in {bench.options.data} that hold speech are silent")
    for clip in cycle(sounding):
        alone.append(count(clip.text, hear(bench.recognizer, clip.samples, bench.ask()).text))
        texts.append(clip.text)
        feed.accept(clip.samples)
        if feed.heard.audio_s >= seconds:
            break
    feed.finish()
    heard = feed.take()
    joined = count(" ".join(texts), heard.text)
    row = Unbroken(heard.audio_s / 60, len(texts), heard.segments, joined, pool(alone), heard.broken)
    bench.note("unbroken", {**asdict(row), "said": texts, "written": heard.text})
    return row


def streams(bench: Bench) -> Table:
    """More and more at once, until the results come too late."""
    clips = bench.clips()
    hear(bench.recognizer, clips[0].samples[: round(WARM_UP_S * SAMPLE_RATE)], bench.ask())
    rows: list[crowd.Crowd] = []
    for size in crowd.SIZES:
        rows.append(
            crowd.gather(bench.recognizer, bench.ask(), clips, size, bench.options.seconds, bench.options.workers)
        )
        bench.note("streams", asdict(rows[-1]))
        if not rows[-1].live:
            break
    return Table(streams_text(rows, bench.options.workers), [asdict(row) for row in rows])


def silence(bench: Bench) -> Table:
    """The recordings of each set without speech one after the other, again and again, in one stream."""
    recorded = {name: [load(one) for one in utterances] for name, utterances in bench.silent.items()}
    made = {name: [samples] for name, samples in NOT_RECORDED.items()}
    whole = [mode for mode, chunk in bench.recognizer.bundle.latency_modes.items() if not chunk]
    rows = []
    for name, recordings in {**made, **recorded}.items():
        for mode in (LIVE, *whole):
            feed = bench.feed(mode)
            for part in limited(cycle(recordings), 60 * bench.options.minutes):
                feed.accept(part)
            feed.finish()
            rows.append(_silence(name, mode, feed.take()))
            bench.note("silence", asdict(rows[-1]))
    return Table(silence_text(rows), [asdict(row) for row in rows])


def _silence(name: str, mode: str, heard: Heard) -> Silence:
    text = heard.text.strip()
    words = len(text.split())  # as they stand: the normaliser makes one of "four four four"
    return Silence(name, mode, heard.audio_s / 60, words, text, heard.interims, heard.cpu_s / heard.audio_s)


def onsets(bench: Bench) -> Table:
    """Each set whole through one system after the other."""
    if not bench.timed:
        return Table("No set has word times.", [])
    timers = timing.our_timers(bench.recognizer)
    timers += [timing.peer_timer(peer, bench.options.threads) for peer in bench.timed_peers()]
    rows = []
    for name, utterances in bench.timed.items():
        clips = [(load(one), one.text, one.words) for one in utterances[: bench.options.limit]]
        for timer in timers:
            rows.append(timing.listen(timer, name, clips))
            bench.note("onsets", asdict(rows[-1]))
    return Table(timing.as_text(rows), [asdict(row) for row in rows])


def known(bench: Bench) -> Table:
    recognizer, limit = bench.recognizer, bench.options.limit
    placers = [aligners.our_aligner(recognizer)]
    placers += [aligners.peer_aligner(peer) for peer in bench.options.peer if peer == aligners.POCKETSPHINX]
    fits: list[aligners.Fit] = []
    scores: list[wrong_texts.Scores] = []
    for name, utterances in bench.timed.items():
        clips = [(load(one), one.text, one.words) for one in utterances[:limit]]
        for placer in placers:
            fits.append(aligners.fit(placer, name, clips))
            bench.note("known", asdict(fits[-1]))
    for name, utterances in {**bench.speech, **bench.timed}.items():
        scores.append(wrong_texts.scores(recognizer, name, [(load(one), one.text) for one in utterances[:limit]]))
        bench.note("wrong texts", asdict(scores[-1]))
    text = f"{aligners.as_text(fits)}\n\n" if fits else "No set has word times.\n\n"
    values = {
        "onsets": [asdict(row) for row in fits],
        "scores": [asdict(row) for row in scores],
        "threshold": wrong_texts.threshold(scores),
    }
    return Table(text + wrong_texts.as_text(scores), values)


def trusted(bench: Bench) -> Table:
    recognizer, limit = bench.recognizer, bench.options.limit
    trusters = [
        trust.our_truster(recognizer, mode) for mode in ("full", LIVE) if mode in recognizer.bundle.latency_modes
    ]
    peers = [peer for peer in bench.timed_peers() if not peer.startswith("openai-whisper")]  # it gives words no trust
    trusters += [trust.peer_truster(peer, bench.options.threads) for peer in peers]
    heard = [one for sets in (bench.speech, bench.silent) for each in sets.values() for one in each[:limit]]
    rows = []
    for truster in trusters:
        rows.append(trust.trust(truster, whole_and_cut(heard)))
        bench.note("trust", asdict(rows[-1]))
    return Table(trust.as_text(rows), [asdict(row) for row in rows])


def search(bench: Bench) -> Table:
    heard = [one for utterances in bench.speech.values() for one in utterances[: bench.options.limit]]
    rows = searches.listen(
        bench.recognizer, heard, note=lambda name, trial: bench.note("search", {"search": name, **asdict(trial)})
    )
    return Table(searches.as_text(rows), [asdict(row) for row in rows])


def speeds(bench: Bench) -> Table:
    options = bench.options
    plan = speed.SpeedPlan(
        recognizer=bench.recognizer,
        folder=options.model,
        speech=bench.speech,
        limit=options.limit,
        threads=options.threads,
        minutes=options.long_minutes,
        peers=options.peer,
        python=options.python,
        peer_python=sys.executable,
    )
    rows = []
    for row in speed.measure(plan):
        rows.append(row)
        bench.note("speed", asdict(row))
    return Table(speed.as_text(rows), [asdict(row) for row in rows])


TABLES: Mapping[str, Callable[[Bench], Table]] = {
    "latency": latency,
    "long": long,
    "streams": streams,
    "silence": silence,
    "onsets": onsets,
    "known": known,
    "trust": trusted,
    "search": search,
    "speed": speeds,
}


if __name__ == "__main__":
    sys.exit(main())
