"""asr-train --check: what is in a manifest, and what is wrong with it, before a night is spent on it.

Every recording is decoded, as training would.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from asr.audio.resample import SAMPLE_RATE
from asr.train.corpora import read_corpus
from asr.train.manifest import Utterance, read_manifest
from asr.train.recipe import Data
from asr.train.recordings import decode_all, length_complaint

WRONG_S = 0.1  # how far a manifest's duration may lie from the recording's
EDGES_S = (1, 2, 5, 10, 20, 30)  # of the histogram
RARE = 3  # times that a character must be there to be learned at all
RATES = (10, 50, 300)  # audio hours per hour: a laptop's, a workstation's, a GPU's
SHOWN = 10  # of each kind of fault


@dataclass(frozen=True)
class Check:
    path: Path
    utterances: int
    left_out: list[str]  # what training would leave out, and why
    wrong: list[str]  # recordings that do not last as long as the manifest says
    twice: list[str]  # recordings that are the same, sample by sample
    durations_s: list[float]  # of the recordings that can be used
    characters: Counter[str]
    without_text: int
    with_words: int  # how many have word times
    speakers: int

    @property
    def passed(self) -> bool:
        """Whether all of it can be used, and is as the manifest says. A recording that is there twice may be meant."""
        return not self.left_out and not self.wrong


def check(path: Path, data: Data | None = None) -> Check:
    """Read a manifest, or ROOT/NAME of another layout, and all its recordings. InputError where there is none."""
    data = data or Data()
    known = read_manifest(path) if data.layout == "manifest" else read_corpus(path.parent, data.layout, path.name)
    left_out: list[str] = []
    wrong: list[str] = []
    durations_s: list[float] = []
    same: dict[bytes, list[str]] = {}
    for utterance, (samples, complaint) in zip(known, decode_all(known), strict=True):
        duration_s = len(samples) / SAMPLE_RATE
        complaint = complaint or length_complaint(utterance.audio, duration_s, data.shortest_s, data.longest_s)
        if complaint:
            left_out.append(complaint)
            continue
        durations_s.append(duration_s)
        same.setdefault(hashlib.sha256(samples.tobytes()).digest(), []).append(utterance.id)
        if abs(duration_s - utterance.duration_s) > WRONG_S:
            wrong.append(f"{utterance.id}: {utterance.duration_s:.2f} s in the manifest, {duration_s:.2f} s in truth")
    return Check(
        path=path,
        utterances=len(known),
        left_out=left_out,
        wrong=wrong,
        twice=[" = ".join(ids) for ids in same.values() if len(ids) > 1],
        durations_s=durations_s,
        characters=Counter(character for utterance in known for character in utterance.text),
        without_text=sum(not utterance.text for utterance in known),
        with_words=sum(bool(utterance.words) for utterance in known),
        speakers=_speakers(known),
    )


def as_text(check: Check) -> str:
    return "\n".join(
        [
            f"{check.path}: {check.utterances} utterances by {check.speakers} known speakers",
            *_lengths(check.durations_s),
            f"texts: {check.utterances - check.without_text}, {check.with_words} of them with word times; "
            f"{check.without_text} utterances have none",
            *_characters(check.characters),
            *_faults("left out", check.left_out),
            *_faults("with a wrong duration", check.wrong),
            *_faults("the same recording", check.twice),
        ]
    )


def _speakers(utterances: Iterable[Utterance]) -> int:
    return len({utterance.speaker for utterance in utterances if utterance.speaker})


def _lengths(durations_s: Sequence[float]) -> list[str]:
    if not durations_s:
        return ["usable: none"]
    hours = sum(durations_s) / 3600
    spread = f"{min(durations_s):.2f} to {max(durations_s):.2f} s, median {median(durations_s):.2f} s"
    epochs = ", ".join(f"{60 * hours / rate:.1f} min at {rate} audio hours per hour" for rate in RATES)
    return [
        f"usable: {len(durations_s)}, {hours:.2f} hours; {spread}",
        f"lengths: {_histogram(durations_s)}",
        f"an epoch takes {epochs}; asr-train shows which rate is yours",
    ]


def _histogram(durations_s: Sequence[float]) -> str:
    counts = Counter(next((edge for edge in EDGES_S if duration_s <= edge), None) for duration_s in durations_s)
    parts = [f"to {edge} s {counts[edge]}" for edge in EDGES_S if counts[edge]]
    return " | ".join(parts + ([f"longer {counts[None]}"] if counts[None] else []))


def _characters(characters: Counter[str]) -> list[str]:
    if not characters:
        return []
    by_count = characters.most_common()
    rare = " ".join(f"{character!r} {count}x" for character, count in by_count if count < RARE)
    found = f"characters: {len(by_count)}, most common first: {''.join(character for character, _ in by_count)}"
    return [found, f"rare: {rare}"] if rare else [found]


def _faults(kind: str, faults: Sequence[str]) -> list[str]:
    more = [f"  and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return [f"{kind}: {len(faults)}", *(f"  {fault}" for fault in faults[:SHOWN]), *more] if faults else []
