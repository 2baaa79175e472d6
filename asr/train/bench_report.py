"""What the bench found: trials added up, told as Markdown. Knows no models and no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asr.train.crowd import LIMIT_S, Crowd
from asr.train.feed import Heard
from asr.train.markdown import number, shown, table
from asr.train.score import Counts, pool

LEAST_SLOPE_MIN = 20.0  # over less than this, a slope per hour is noise


@dataclass(frozen=True)
class Setting:
    mode: str
    policy: str  # "": the mode reads whole segments, so that there is nothing to decide
    rescored: bool = False  # finals come of a second reading at full context


@dataclass(frozen=True, eq=False)
class BenchTrial:
    """One utterance in one setting."""

    set: str
    id: str
    setting: Setting
    heard: Heard
    counts: Counts
    true_lags_s: list[float]  # of words whose true times the manifest has

    def as_json(self) -> dict[str, Any]:
        place = {"set": self.set, "id": self.id, **asdict(self.setting)}
        return {**place, **asdict(self.heard), "true_lags_s": self.true_lags_s, "counts": asdict(self.counts)}


@dataclass(frozen=True)
class Delay:
    """Of so many words or calls."""

    number: int
    median_ms: float | None
    p90_ms: float | None


@dataclass(frozen=True)
class Latency:
    """A setting over all utterances."""

    mode: str
    policy: str
    rescored: bool
    utterances: int
    minutes: float
    wer: float | None
    lag: Delay  # of words that came before half-close
    lag_of_all: Delay
    true_lag: Delay  # of words that came before half-close or not, whose true end is known
    final: Delay  # from half-close to the last final, where something was said
    point: Delay  # of packets that brought a grid point
    real_time_factor: float
    cpu_factor: float
    broken: int
    interims: int


@dataclass(frozen=True)
class Stretch:
    """Some minutes of a long stream."""

    until_min: float
    minutes: float
    cpu_s: float  # a minute of audio
    wall_s: float  # a minute of audio
    resident_mib: float  # at its end
    words: int
    broken: int
    alignment: str = "none"  # what its results carried of where tokens looked


@dataclass(frozen=True)
class Slope:
    """By how much each grows in an hour of audio."""

    cpu_s: float  # a minute of audio
    resident_mib: float


@dataclass(frozen=True)
class Unbroken:
    """Speech without pauses in one stream, beside the same clips each alone."""

    minutes: float
    clips: int
    segments: int  # that ended before the stream did, and the last
    joined: Counts
    alone: Counts
    broken: int

    @property
    def words_lost(self) -> int:
        """Deletions beyond those of the clips alone."""
        return self.joined.deletions - self.alone.deletions


@dataclass(frozen=True)
class Silence:
    """What was written where nothing is said."""

    set: str
    mode: str
    minutes: float
    words: int
    text: str
    interims: int  # that showed words, perhaps to take them back
    cpu_factor: float


def summed(setting: Setting, trials: Sequence[BenchTrial]) -> Latency:
    """Trials of one setting, at least one."""
    heard = [trial.heard for trial in trials]
    audio_s = sum(one.audio_s for one in heard)
    return Latency(
        mode=setting.mode,
        policy=setting.policy,
        rescored=setting.rescored,
        utterances=len(trials),
        minutes=audio_s / 60,
        wer=pool(trial.counts for trial in trials).wer,
        lag=delay(lag_s for one in heard for lag_s in one.lags_s[: len(one.words) - one.at_close]),
        lag_of_all=delay(lag_s for one in heard for lag_s in one.lags_s),
        true_lag=delay(lag_s for trial in trials for lag_s in trial.true_lags_s),
        final=delay(one.final_s for one in heard if one.words),
        point=delay(took_s for one in heard for took_s in one.points_s),
        real_time_factor=sum(one.wall_s for one in heard) / audio_s,
        cpu_factor=sum(one.cpu_s for one in heard) / audio_s,
        broken=sum(one.broken for one in heard),
        interims=sum(one.interims for one in heard),
    )


def delay(times_s: Iterable[float]) -> Delay:
    times_ms = [1000 * time_s for time_s in times_s]
    median, p90 = np.percentile(times_ms, (50, 90)).tolist() if times_ms else (None, None)
    return Delay(len(times_ms), median, p90)


def slope_of(rows: Sequence[Stretch]) -> Slope | None:
    """The straight line through all rows but the first, which warms up; None where that is too short to tell."""
    settled = rows[1:]
    if len(settled) < 2 or settled[-1].until_min - settled[0].until_min < LEAST_SLOPE_MIN:
        return None
    hours = [row.until_min / 60 for row in settled]
    cost = np.polyfit(hours, [row.cpu_s for row in settled], 1)
    memory = np.polyfit(hours, [row.resident_mib for row in settled], 1)
    return Slope(float(cost[0]), float(memory[0]))


def latency_text(rows: Sequence[Latency], sets: Sequence[str]) -> str:
    timed = rows[0].true_lag.number > 0
    head = ["latency", "policy", "WER %", "lag ms", "at half-close", "lag of all ms", *(["true lag ms"] * timed)]
    head += ["final ms", "grid point ms", "RTF", "CPU", "taken back", "interims"]
    notes = [
        f"{rows[0].utterances} utterances, {rows[0].minutes:.1f} minutes, pooled: {', '.join(sets)}. Median / p90.",
        "Lag: in audio time, from a word's end to when it was stable, of words that came before half-close; and of "
        "all, though the end of a recording brings its last words early. A word's end is the recogniser's own.",
        "Rescored: each segment is read again at full context for its final; its words count as known with it.",
        "Final: wall time from half-close to the last final. Grid point: wall time of a packet that brought one.",
        "RTF and CPU: wall and process time over the length of the audio. Taken back: stable text that did not stay.",
    ]
    notes += ["True lag: the same of all words rightly heard whose end the manifest tells."] if timed else []
    return table(head, [_latency_cells(row, timed) for row in rows]) + "\n\n" + "\n".join(notes)


def _latency_cells(row: Latency, timed: bool) -> list[str]:
    words = row.lag_of_all.number
    late = f"{100 * (words - row.lag.number) / words:.0f} %" if words else "-"
    policy = f"{row.policy}, rescored" if row.rescored else row.policy or "-"
    cells = [row.mode, policy, number(row.wer, 1), _delay(row.lag), late]
    cells += [_delay(row.lag_of_all), *([_delay(row.true_lag)] * timed), _delay(row.final), _delay(row.point)]
    return [*cells, f"{row.real_time_factor:.3f}", f"{row.cpu_factor:.3f}", str(row.broken), str(row.interims)]


def _delay(delay: Delay) -> str:
    return "-" if delay.median_ms is None else f"{delay.median_ms:.0f} / {delay.p90_ms:.0f}"


def long_text(rows: Sequence[Stretch], slope: Slope | None) -> str:
    head = [
        "alignment",
        "until minute",
        "CPU s a minute",
        "wall s a minute",
        "resident MiB",
        "words a minute",
        "taken back",
    ]
    body = []
    for row in rows:
        cells = [
            row.alignment,
            f"{row.until_min:.1f}",
            f"{row.cpu_s:.2f}",
            f"{row.wall_s:.2f}",
            f"{row.resident_mib:.1f}",
        ]
        body.append([*cells, f"{row.words / row.minutes:.0f}", str(row.broken)])
    grows = "Too short to tell whether it grows."
    if slope is not None:
        cost, memory = f"{slope.cpu_s:+.3f} CPU seconds a minute", f"{slope.resident_mib:+.2f} MiB"
        grows = f"In an hour, without the first row: {cost}, {memory}."
    return table(head, body) + "\n\n" + grows


def unbroken_text(row: Unbroken) -> str:
    head = ["without any pause", "words said", "WER %", "sub", "del", "ins"]
    body = []
    for name, counts in (("in one stream", row.joined), ("each clip alone", row.alone)):
        edits = [str(edits) for edits in (counts.substitutions, counts.deletions, counts.insertions)]
        body.append([name, str(counts.words), number(counts.wer, 1), *edits])
    told = f"{row.clips} clips, {row.minutes:.1f} minutes, {row.segments} segments."
    return table(head, body) + f"\n\n{told} Words lost by running on: {row.words_lost}. Taken back: {row.broken}."


def streams_text(rows: Sequence[Crowd], workers: int) -> str:
    head = ["streams", "lag ms: median", "p95", "p99", "grid points", "cores busy", "live"]
    body = []
    for row in rows:
        lags = [_milliseconds(lag_s) for lag_s in (row.median_s, row.p95_s, row.p99_s)]
        live = "yes" if row.live else "no, given up" if row.given_up else "no"
        body.append([str(row.streams), *lags, str(row.points), f"{row.cores:.2f}", live])
    most = max((row.streams for row in rows if row.live), default=0)
    told = f"{most} streams with p95 within {LIMIT_S} s" + ("" if rows and not rows[-1].live else ", or more")
    lag = f"Lag: wall time from when a grid point's audio was there to its result; {workers} workers."
    return table(head, body) + f"\n\n{told}. {lag} Each stream {rows[0].audio_s:g} s."


def _milliseconds(time_s: float | None) -> str:
    return number(time_s, 0, unit=1000)


def silence_text(rows: Sequence[Silence]) -> str:
    head = ["nothing is said", "latency", "minutes", "words written", "interims", "CPU", "text"]
    body = []
    for row in rows:
        cells = [row.set, row.mode, f"{row.minutes:.1f}", str(row.words), str(row.interims), f"{row.cpu_factor:.4f}"]
        body.append([*cells, shown(row.text, most=100)])
    return table(head, body)
