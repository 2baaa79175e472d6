"""What an evaluation found: trials added up by set and system, told as Markdown and as JSON. Knows no models."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from asr.train import score
from asr.train.manifest import Utterance
from asr.train.markdown import number, shown, table
from asr.train.score import Counts

# The sets whose utterances are pooled into one figure; a folder with none of them has all its speech pooled.
POOLED = ("ls-other", "accented", "read", "arctic", "prompts", "digits")
# Sets with speakers who are in the training sets too (with other sentences).
HEARD_IN_TRAINING = {"arctic": "arctic", "grid": "grid", "prompts": "prompts", "read": "read (one of its eleven)"}
WORST = 10  # utterances listed


@dataclass(frozen=True)
class Answer:
    """What one system made of one utterance."""

    text: str
    wall_s: float
    counts: Counts


@dataclass(frozen=True)
class Trial:
    """One utterance through all systems."""

    set: str
    utterance: Utterance
    duration_s: float  # of the samples that were recognised
    heard: dict[str, Answer]  # by the system's name


@dataclass(frozen=True)
class Row:
    """One system on one set, or on the pooled sets."""

    set: str
    system: str
    utterances: int
    minutes: float
    counts: Counts
    wer: float | None  # per cent; None where nothing was said
    wer_interval: tuple[float, float] | None
    cer: float | None
    real_time_factor: float | None


@dataclass(frozen=True)
class Silence:
    """What one system wrote on the recordings of a set in which nothing is said."""

    set: str
    system: str
    recordings: int
    minutes: float
    words: int
    recordings_with_words: int
    real_time_factor: float | None


@dataclass(frozen=True)
class Ratio:
    """A system of ours against another: pooled errors over pooled errors, on the same utterances."""

    ours: str
    peer: str
    ratio: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Report:
    pooled: list[str]  # names of the sets
    rows: list[Row]
    silences: list[Silence]
    ratios: list[Ratio]
    worst: list[Trial]  # for the first system, worst first
    trials: list[Trial]


def summarise(trials: list[Trial], ours: list[str], rounds: int) -> Report:
    """Add up trials (at least one). `ours` names the systems set against the others; the bootstrap takes `rounds`."""
    said = [trial for trial in trials if trial.utterance.text]
    silent = _by_set(trial for trial in trials if not trial.utterance.text)
    systems = list(trials[0].heard)
    sets = _by_set(said)
    pooled = [name for name in sets if name in POOLED] or list(sets)
    in_pool = [trial for trial in said if trial.set in pooled]
    groups = {name: sets[name] for name in pooled}
    groups |= {"pooled": in_pool} if len(pooled) > 1 else {}
    groups |= {name: group for name, group in sets.items() if name not in pooled}
    return Report(
        pooled=pooled,
        rows=[_row(name, system, group, rounds) for name, group in groups.items() for system in systems],
        silences=[_silence(name, system, group) for name, group in silent.items() for system in systems],
        ratios=[_ratio(a, b, in_pool, rounds) for a in ours for b in systems if b not in ours and in_pool],
        worst=_worst(said, systems[0]),
        trials=trials,
    )


def _by_set(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.set, []).append(trial)
    return groups


def _row(name: str, system: str, trials: list[Trial], rounds: int) -> Row:
    counts = _counts(system, trials)
    pooled = score.pool(counts)
    return Row(
        set=name,
        system=system,
        utterances=len(trials),
        minutes=_minutes(trials),
        counts=pooled,
        wer=pooled.wer,
        wer_interval=score.wer_interval(counts, rounds),
        cer=pooled.cer,
        real_time_factor=_real_time_factor(system, trials),
    )


def _silence(name: str, system: str, trials: list[Trial]) -> Silence:
    written = [counts.insertions for counts in _counts(system, trials)]
    return Silence(
        set=name,
        system=system,
        recordings=len(trials),
        minutes=_minutes(trials),
        words=sum(written),
        recordings_with_words=sum(words > 0 for words in written),
        real_time_factor=_real_time_factor(system, trials),
    )


def _ratio(ours: str, peer: str, trials: list[Trial], rounds: int) -> Ratio:
    a, b = _counts(ours, trials), _counts(peer, trials)
    return Ratio(ours, peer, score.ratio(a, b), score.ratio_interval(a, b, rounds))


def _worst(trials: list[Trial], system: str) -> list[Trial]:
    wrong = [trial for trial in trials if trial.heard[system].counts.errors]
    return sorted(wrong, key=lambda trial: -trial.heard[system].counts.errors)[:WORST]


def _counts(system: str, trials: list[Trial]) -> list[Counts]:
    return [trial.heard[system].counts for trial in trials]


def _minutes(trials: list[Trial]) -> float:
    return sum(trial.duration_s for trial in trials) / 60


def _real_time_factor(system: str, trials: list[Trial]) -> float | None:
    duration_s = sum(trial.duration_s for trial in trials)
    return sum(trial.heard[system].wall_s for trial in trials) / duration_s if duration_s else None


def as_markdown(report: Report) -> str:
    """Tables for people. Sections without rows are left out."""
    parts = [_speech_table(report), _ratio_table(report), _silence_table(report), _worst_table(report)]
    return "\n\n".join(part for part in parts if part)


def as_json(report: Report) -> dict[str, Any]:
    """Everything, down to what each system wrote for each utterance, as values that JSON can hold."""
    return {
        "pooled": report.pooled,
        "rows": [asdict(row) for row in report.rows],
        "silences": [asdict(silence) for silence in report.silences],
        "ratios": [asdict(ratio) for ratio in report.ratios],
        "worst": [{"set": trial.set, "id": trial.utterance.id} for trial in report.worst],
        "utterances": [trial_as_json(trial) for trial in report.trials],
    }


def trial_as_json(trial: Trial) -> dict[str, Any]:
    return {
        "set": trial.set,
        "id": trial.utterance.id,
        "speaker": trial.utterance.speaker,
        "duration_s": round(trial.duration_s, 4),
        "text": trial.utterance.text,
        "heard": {
            system: {"text": heard.text, "wall_s": round(heard.wall_s, 5), **asdict(heard.counts)}
            for system, heard in trial.heard.items()
        },
    }


def _speech_table(report: Report) -> str:
    if not report.rows:
        return ""
    head = ["set", "system", "utterances", "minutes", "WER %", "95 %", "sub", "del", "ins", "CER %", "RTF"]
    body = [_speech_cells(row) for row in report.rows]
    notes = [
        "Texts are compared after Whisper's English normaliser; the intervals are bootstrapped over utterances.",
        "RTF: wall time of recognition over the length of the audio; decoding of the file is not counted.",
    ]
    if len(report.pooled) > 1:
        notes.append(f"Pooled: {', '.join(report.pooled)}.")
    if known := [told for name, told in HEARD_IN_TRAINING.items() if any(row.set == name for row in report.rows)]:
        notes.append(f"Speakers of {', '.join(known)} are in the training sets too, with other recordings.")
    return table(head, body) + "\n\n" + "\n".join(notes)


def _speech_cells(row: Row) -> list[str]:
    counts = row.counts
    cells = [row.set, row.system, str(row.utterances), f"{row.minutes:.1f}", number(row.wer, 1)]
    cells += [_range(row.wer_interval, 1), str(counts.substitutions), str(counts.deletions), str(counts.insertions)]
    cells += [number(row.cer, 1), number(row.real_time_factor, 3)]
    return [f"**{cell}**" for cell in cells] if row.set == "pooled" else cells


def _silence_table(report: Report) -> str:
    if not report.silences:
        return ""
    head = ["nothing is said", "system", "recordings", "minutes", "words written", "recordings with words", "RTF"]
    return table(head, [_silence_cells(silence) for silence in report.silences])


def _silence_cells(silence: Silence) -> list[str]:
    counts = [str(silence.words), str(silence.recordings_with_words)]
    cells = [silence.set, silence.system, str(silence.recordings), f"{silence.minutes:.1f}"]
    return [*cells, *counts, number(silence.real_time_factor, 3)]


def _ratio_table(report: Report) -> str:
    if not report.ratios:
        return ""
    body = [[r.ours, r.peer, number(r.ratio, 3), _range(r.interval, 3)] for r in report.ratios]
    return table(["WER of", "over that of", "ratio", "95 %"], body)


def _worst_table(report: Report) -> str:
    if not report.worst:
        return ""
    system = next(iter(report.worst[0].heard))
    body = []
    for trial in report.worst:
        heard = trial.heard[system]
        errors = f"{heard.counts.errors} / {heard.counts.words}"
        body.append([errors, trial.set, trial.utterance.id, shown(trial.utterance.text), shown(heard.text)])
    return table([f"errors of {system}", "set", "id", "said", "written"], body)


def _range(interval: tuple[float, float] | None, digits: int) -> str:
    return "-" if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
