"""asr-bench: what streaming costs and how soon it speaks, in one process and never through a network.

    asr-bench --model asr/models/tiny.en --data DIR --output OUT
    asr-bench --checkpoint DIR --data DIR --table latency,silence --limit 20

latency  each latency mode with each policy: errors, lag, time to the final, cost, promises broken
long     hours of speech in one stream: cost and memory as it goes on; speech without any pause: words lost
streams  more and more streams in real time, until they come too late
silence  words written where nothing is said

Each row is appended to OUT/bench.jsonl as it is made, so that a run that is stopped has not been for nothing.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import HeedError, InputError, NotSupportedError
from asr.runtime.bundle import Bundle
from asr.runtime.policy import POLICIES
from asr.runtime.recognizer import Options, Recognizer
from asr.train import crowd
from asr.train.clips import Clip, Samples, choose, hiss, limited, spaced, unbroken
from asr.train.evaluate import Sets, describe, headline, read_sets
from asr.train.feed import Feed, Heard, hear, true_lags_s
from asr.train.manifest import Utterance, load
from asr.train.peers import LANGUAGE, SAMPLE_RATE
from asr.train.report import POOLED
from asr.train.score import Counts, count, pool

LIVE = "640ms"  # the latency mode of all tables but the first
CLIPS_S = 600.0  # of speech in a long stream, again and again: each ten minutes cost the same but for what has piled up
ROW_S = 600.0
ROWS = 4  # of a long stream at least, where it is shorter
UNBROKEN_S = 300.0
WARM_UP_S = 2.0
ALIGN_ATT = "align_att"
NOT_SPOKEN = {"digital silence": np.zeros(30 * SAMPLE_RATE, np.float32), "quiet room": hiss(30.0)}

Note = Callable[[str, Mapping[str, Any]], None]  # keeps a row of a table


@dataclass(frozen=True)
class Bench:
    """What the tables are made of."""

    recognizer: Recognizer
    language: str
    speech: Sets  # pooled
    silent: Sets
    options: argparse.Namespace
    note: Note

    def ask(self, mode: str = LIVE, policy: str = "") -> Options:
        return Options(latency_mode=mode, policy=policy, language=self.language)


@dataclass(frozen=True)
class Table:
    text: str  # Markdown
    values: Any  # as JSON


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        sets = read_sets(options.data, options.sets)
        recognizer = open_recognizer(options)
        if options.output is not None:
            options.output.mkdir(parents=True, exist_ok=True)
        language = LANGUAGE if LANGUAGE in recognizer.bundle.languages else ""
        speech, silent = speech_of(sets, options.sets), {name: said for name, said in sets.items() if not _said(said)}
        bench = Bench(recognizer, language, speech, silent, options, note_in(options.output))
        run = {**describe(options, [], {}), "model": recognizer.bundle.name, "folder": str(folder(options))}
        parts = [f"{recognizer.bundle.name} ({folder(options)}). {headline(run)}"]
        print(parts[0], flush=True)
        for name in options.table:
            table = TABLES[name](bench)
            run[name] = table.values
            parts.append(f"### {name}\n\n{table.text}")
            print(f"\n{parts[-1]}", flush=True)
    except (HeedError, OSError) as error:
        print(f"asr-bench: {error}", file=sys.stderr)
        return 1
    if options.output is not None:
        write(options.output, "\n\n".join(parts), run)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("asr-bench", description="Measure streaming: lag, cost, many streams, silence.")
    add = parser.add_argument
    measured = parser.add_mutually_exclusive_group(required=True)
    measured.add_argument("--model", type=Path, metavar="DIR", help="the exported folder")
    measured.add_argument("--checkpoint", type=Path, metavar="DIR", help="or a checkpoint, run by torch")
    add("--data", type=Path, required=True, metavar="DIR", help="a set (manifest.jsonl), or a folder of sets")
    add("--sets", type=_names, metavar="A,B,C", help="only these sets of the folder (all)")
    add("--table", type=_tables, default=list(TABLES), metavar="|".join(TABLES), help="or several by commas (all)")
    add("--latency", type=_names, metavar="MODE,…", help="latency: only these modes (all)")
    add("--limit", type=_above(int), metavar="N", help="latency: only the first N utterances of each set (all)")
    add("--hours", type=_above(float), default=2.0, metavar="H", help="long: of audio (%(default)s)")
    add("--seconds", type=_above(float), default=30.0, metavar="S", help="streams: of audio in each (%(default)s)")
    add("--workers", type=_above(int), default=os.cpu_count() or 1, metavar="N", help="streams: as the server's (cores)")
    add("--minutes", type=_above(float), default=10.0, metavar="M", help="silence: of each set, looped (%(default)s)")
    add("--threads", type=_above(int), default=1, metavar="N", help="of one computation (%(default)s)")
    add("--output", type=Path, metavar="DIR", help="write bench.md, bench.json and bench.jsonl there")
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _tables(text: str) -> list[str]:
    names = _names(text)
    if not names or not all(name in TABLES for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no table: expected {', '.join(TABLES)}, or several of them")
    return list(dict.fromkeys(names))


def _above[Number: (int, float)](kind: Callable[[str], Number]) -> Callable[[str], Number]:
    def number(text: str) -> Number:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return number


def folder(options: argparse.Namespace) -> Path:
    given: Path = options.model or options.checkpoint
    return given


def open_recognizer(options: argparse.Namespace) -> Recognizer:
    """The recogniser that is measured. torch is loaded for a checkpoint alone."""
    if options.model is not None:
        recognizer = Recognizer.load(options.model, options.threads)
    else:
        recognizer = _open_checkpoint(options.checkpoint, options.threads)
    bundle = recognizer.bundle
    wanted = {*(options.latency or ()), *([LIVE] if set(options.table) - {"latency"} else ())}
    if missing := sorted(wanted - set(bundle.latency_modes)):
        raise NotSupportedError(
            f"{bundle.name} has no latency mode {', '.join(missing)}; it has {', '.join(bundle.latency_modes)}"
        )
    return recognizer


def _open_checkpoint(path: Path, threads: int) -> Recognizer:
    import torch

    from asr.model.checkpoint import TOKENIZER, load_checkpoint
    from asr.train.live import live_recognizer

    torch.set_num_threads(threads)
    return live_recognizer(load_checkpoint(path), path / TOKENIZER)


def speech_of(sets: Sets, named: Sequence[str] | None) -> Sets:
    """What is said in the sets that are named, or that an evaluation pools, or in all where there are none of these."""
    said = {name: _said(utterances) for name, utterances in sets.items() if _said(utterances)}
    return {name: said[name] for name in said if named or name in POOLED} or said


def _said(utterances: Iterable[Utterance]) -> list[Utterance]:
    return [utterance for utterance in utterances if utterance.text]


def note_in(output: Path | None) -> Note:
    """Appends each row to the folder's bench.jsonl, which is begun anew."""
    if output is None:
        return lambda table, row: None
    path = output / "bench.jsonl"
    path.unlink(missing_ok=True)

    def note(table: str, row: Mapping[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"table": table, **row}, ensure_ascii=False, allow_nan=False) + "\n")

    return note


def write(output: Path, text: str, run: Mapping[str, Any]) -> None:
    (output / "bench.md").write_text(text + "\n", encoding="utf-8")
    content = json.dumps(run, ensure_ascii=False, allow_nan=False, indent=1)
    (output / "bench.json").write_text(content + "\n", encoding="utf-8")


# latency


@dataclass(frozen=True)
class Setting:
    mode: str
    policy: str  # "": the mode reads whole segments, so that there is nothing to decide


@dataclass(frozen=True)
class Trial:
    """One utterance in one setting."""

    set: str
    id: str
    setting: Setting
    heard: Heard
    counts: Counts
    true_lags_s: list[float]  # where the manifest has the words' times


@dataclass(frozen=True)
class Delay:
    """Times, in milliseconds, in words or in calls."""

    number: int
    median_ms: float | None
    p90_ms: float | None


@dataclass(frozen=True)
class Latency:
    """A setting over all utterances."""

    mode: str
    policy: str
    utterances: int
    minutes: float
    wer: float | None
    lag: Delay  # of the words that came before half-close
    lag_of_all: Delay
    true_lag: Delay  # of all words whose true end is known
    final: Delay
    point: Delay  # how long a packet took that brought a grid point
    real_time_factor: float
    cpu_factor: float
    broken: int
    interims: int


def latency(bench: Bench) -> Table:
    """Each utterance through all settings in turn, so that a noisy machine is noisy for all alike."""
    settings = settings_of(bench.recognizer.bundle, bench.options.latency)
    trials: list[Trial] = []
    for name, utterances in bench.speech.items():
        for utterance in utterances[: bench.options.limit]:
            samples = load(utterance)
            if not trials:
                for setting in settings:
                    hear(bench.recognizer, samples[: round(WARM_UP_S * SAMPLE_RATE)], _ask(bench, setting))
            for setting in settings:
                trials.append(_trial(bench, name, utterance, samples, setting))
                bench.note("latency", _told(trials[-1]))
    rows = [summed(setting, [trial for trial in trials if trial.setting == setting]) for setting in settings]
    return Table(_latency_text(rows, list(bench.speech)), [asdict(row) for row in rows])


def settings_of(bundle: Bundle, modes: Sequence[str] | None) -> list[Setting]:
    """Every mode with the policies that make sense for the model. AlignAtt needs an encoding that grows."""
    policies = [name for name in POLICIES if name != ALIGN_ATT or bundle.grows]
    chunks = {mode: chunk for mode, chunk in bundle.latency_modes.items() if not modes or mode in modes}
    return [Setting(mode, policy) for mode, chunk in chunks.items() for policy in (policies if chunk else [""])]


def _ask(bench: Bench, setting: Setting) -> Options:
    return bench.ask(setting.mode, setting.policy)


def _trial(bench: Bench, name: str, utterance: Utterance, samples: Samples, setting: Setting) -> Trial:
    heard = hear(bench.recognizer, samples, _ask(bench, setting))
    lags_s = true_lags_s(utterance.words, heard.words)
    return Trial(name, utterance.id, setting, heard, count(utterance.text, heard.text), lags_s)


def _told(trial: Trial) -> dict[str, Any]:
    heard = asdict(trial.heard)
    words = [[word.text, *(round(time_s, 3) for time_s in (word.end_s, word.emission_s))] for word in trial.heard.words]
    return {"set": trial.set, "id": trial.id, **asdict(trial.setting), **heard, "words": words, **asdict(trial.counts)}


def summed(setting: Setting, trials: Sequence[Trial]) -> Latency:
    """Trials of one setting, at least one."""
    all_heard = [trial.heard for trial in trials]
    audio_s = sum(heard.audio_s for heard in all_heard) or 1.0
    return Latency(
        setting.mode,
        setting.policy,
        len(trials),
        audio_s / 60,
        pool(trial.counts for trial in trials).wer,
        delay(lag_s for heard in all_heard for lag_s in heard.lags_s[: len(heard.words) - heard.at_close]),
        delay(lag_s for heard in all_heard for lag_s in heard.lags_s),
        delay(lag_s for trial in trials for lag_s in trial.true_lags_s),
        delay(heard.final_s for heard in all_heard if heard.words),
        delay(took_s for heard in all_heard for took_s in heard.points_s),
        sum(heard.wall_s for heard in all_heard) / audio_s,
        sum(heard.cpu_s for heard in all_heard) / audio_s,
        sum(heard.broken for heard in all_heard),
        sum(heard.interims for heard in all_heard),
    )


def delay(times_s: Iterable[float]) -> Delay:
    times_ms = [1000 * time_s for time_s in times_s]
    median, p90 = np.percentile(times_ms, (50, 90)).tolist() if times_ms else (None, None)
    return Delay(len(times_ms), median, p90)


def _latency_text(rows: Sequence[Latency], sets: Sequence[str]) -> str:
    timed = any(row.true_lag.number for row in rows)
    head = ["latency", "policy", "WER %", "lag ms", "at half-close", "lag of all ms", *(["true lag ms"] * timed)]
    head += ["final ms", "grid point ms", "RTF", "CPU", "taken back", "interims"]
    body = []
    for row in rows:
        late = row.lag_of_all.number - row.lag.number
        share = f"{100 * late / row.lag_of_all.number:.0f} %" if row.lag_of_all.number else "-"
        cells = [row.mode, row.policy or "-", _number(row.wer, 1), _delay(row.lag), share, _delay(row.lag_of_all)]
        cells += [_delay(row.true_lag)] * timed + [_delay(row.final), _delay(row.point)]
        cells += [f"{row.real_time_factor:.3f}", f"{row.cpu_factor:.3f}", str(row.broken), str(row.interims)]
        body.append(cells)
    first = rows[0]
    notes = [
        f"{first.utterances} utterances, {first.minutes:.1f} minutes, pooled: {', '.join(sets)}. Times: median / p90.",
        "Lag: audio time from a word's end, by its own times, to when it was stable, of words that came before half-close;",
        "of all: the rest too, which the recording's end makes known early. Final: wall time after half-close, of what is said.",
        "Grid point: wall time of a packet that brought one. RTF, CPU: wall and process time over the length of the audio.",
    ]
    if timed:
        notes.append(f"True lag: of {first.true_lag.number} words whose end the manifests have, rightly heard.")
    return _table(head, body) + "\n\n" + "\n".join(notes)


# long


@dataclass(frozen=True)
class Stretch:
    """Some minutes of a long stream."""

    until_min: float
    cpu_s_per_min: float
    wall_s_per_min: float
    resident_mib: float  # at its end
    words: int
    broken: int


@dataclass(frozen=True)
class Slope:
    """A straight line through all stretches but the first, which warms up; per hour of audio."""

    cpu_s_per_min: float
    resident_mib: float


@dataclass(frozen=True)
class Unbroken:
    """Speech without pauses in one stream, beside the same clips each alone."""

    minutes: float
    clips: int
    finals_at_pauses: int
    joined: Counts
    alone: Counts

    @property
    def words_lost(self) -> int:
        """More than are lost when each clip is heard alone."""
        return self.joined.deletions - self.alone.deletions


def long(bench: Bench) -> Table:
    clips = _clips(bench)
    total_s = 3600 * bench.options.hours
    stretches = listen_long(bench, clips, total_s, min(ROW_S, total_s / ROWS))
    slope = slope_of(stretches)
    whole = listen_unbroken(bench, clips, min(UNBROKEN_S, total_s))
    values = {"stretches": [asdict(row) for row in stretches], "slope": asdict(slope), "unbroken": asdict(whole)}
    return Table(f"{_long_text(stretches, slope)}\n\n{_unbroken_text(whole)}", values)


def _clips(bench: Bench) -> list[Clip]:
    if not bench.speech:
        raise InputError(f"nothing is said in the sets of {bench.options.data}: speech is needed for this table")
    return choose(bench.speech, CLIPS_S)


def listen_long(bench: Bench, clips: Sequence[Clip], total_s: float, row_s: float) -> list[Stretch]:
    """Clips with pauses between, again and again, in one stream; a row for each row_s or so."""
    feed = Feed(bench.recognizer.stream(bench.ask()))
    rows: list[Stretch] = []
    fed_s = 0.0
    for part in limited(spaced(clips), total_s):
        feed.accept(part)
        fed_s += part.size / SAMPLE_RATE
        if fed_s >= min((len(rows) + 1) * row_s, total_s):
            rows.append(_stretch(feed.take(), fed_s))
            bench.note("long", asdict(rows[-1]))
    feed.finish()
    return rows


def _stretch(heard: Heard, until_s: float) -> Stretch:
    minutes = heard.audio_s / 60
    return Stretch(
        until_s / 60, heard.cpu_s / minutes, heard.wall_s / minutes, resident_mib(), len(heard.words), heard.broken
    )


def slope_of(rows: Sequence[Stretch]) -> Slope:
    """Of at least one row; 0 where there are too few to tell."""
    settled = rows[1:]
    if len(settled) < 2:
        return Slope(0.0, 0.0)
    hours = [row.until_min / 60 for row in settled]
    cost, memory = ([getattr(row, name) for row in settled] for name in ("cpu_s_per_min", "resident_mib"))
    return Slope(float(np.polyfit(hours, cost, 1)[0]), float(np.polyfit(hours, memory, 1)[0]))


def resident_mib() -> float:
    """Memory of this process that is in RAM; where the system does not tell, the most that ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return pages * resource.getpagesize() / 2**20


def listen_unbroken(bench: Bench, clips: Sequence[Clip], seconds: float) -> Unbroken:
    """The clips without their pauses one after the other, from the first again where they are too few."""
    feed = Feed(bench.recognizer.stream(bench.ask()))
    texts: list[str] = []
    alone: dict[int, Counts] = {}
    heard_alone = []
    length_s = 0.0
    for index in cycle(range(len(clips))):
        samples = unbroken(clips[index].samples)
        if index not in alone:
            heard = hear(bench.recognizer, samples, bench.ask())
            alone[index] = count(clips[index].text, heard.text)
        feed.accept(samples)
        texts.append(clips[index].text)
        heard_alone.append(alone[index])
        length_s += max(samples.size, 1) / SAMPLE_RATE
        if length_s >= seconds:
            break
    feed.finish()
    heard = feed.take()
    return Unbroken(length_s / 60, len(texts), 0, count(" ".join(texts), heard.text), pool(heard_alone))


# streams


def streams(bench: Bench) -> Table:
    """Twice as many and more, until the results come too late."""
    clips = _clips(bench)
    crowd.warm_up(bench.recognizer, bench.ask(), clips)
    rows: list[crowd.Crowd] = []
    for size in crowd.SIZES:
        seconds, workers = bench.options.seconds, bench.options.workers
        rows.append(crowd.gather(bench.recognizer, bench.ask(), clips, size, seconds, workers))
        bench.note("streams", {**asdict(rows[-1]), "live": rows[-1].live})
        if not rows[-1].live:
            break
    return Table(_streams_text(rows, bench.options), [{**asdict(row), "live": row.live} for row in rows])


# silence


@dataclass(frozen=True)
class Silence:
    """What is written where nothing is said."""

    set: str
    mode: str
    minutes: float
    words: int
    text: str
    interims: int  # that showed words, perhaps to take them back
    cpu_factor: float


def silence(bench: Bench) -> Table:
    """The recordings of each set without speech one after the other, again and again, in one stream."""
    rows = []
    whole = [mode for mode, chunk in bench.recognizer.bundle.latency_modes.items() if not chunk]
    recorded = {name: [load(one) for one in utterances] for name, utterances in bench.silent.items()}
    for name, recordings in {**{name: [made] for name, made in NOT_SPOKEN.items()}, **recorded}.items():
        for mode in (LIVE, *whole):
            feed = Feed(bench.recognizer.stream(bench.ask(mode)))
            for part in limited(cycle(recordings), 60 * bench.options.minutes):
                feed.accept(part)
            feed.finish()
            rows.append(_silence(name, mode, feed.take()))
            bench.note("silence", asdict(rows[-1]))
    return Table(_silence_text(rows), [asdict(row) for row in rows])


def _silence(name: str, mode: str, heard: Heard) -> Silence:
    words = count("", heard.text).insertions
    cpu_factor = heard.cpu_s / heard.audio_s
    return Silence(name, mode, heard.audio_s / 60, words, heard.text.strip(), heard.interims, cpu_factor)


TABLES: Mapping[str, Callable[[Bench], Table]] = {
    "latency": latency,
    "long": long,
    "streams": streams,
    "silence": silence,
}


if __name__ == "__main__":
    sys.exit(main())
