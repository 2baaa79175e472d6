"""Corpora as they lie on disk, to utterances.

    manifest      ROOT/NAME/manifest.jsonl
    librispeech   ROOT/NAME/SPEAKER/CHAPTER/*.trans.txt, and beside each its recordings, *.flac
    common_voice  ROOT/NAME.tsv and ROOT/clips/, with ROOT/clip_durations.tsv where there is one
    lhotse        ROOT/NAME.jsonl.gz or ROOT/NAME.jsonl: cuts, each the whole of a recording

Where a corpus does not say how long its recordings are, their headers are read; one that cannot be read has 0 s, and is
left out with a complaint when the recordings are opened.
"""

import csv
import importlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from asr.errors import InputError, NotFoundError, NotSupportedError, OptionError
from asr.train.manifest import TimedWord, Utterance, read_manifest

WHOLE_S = 0.01  # how far a cut's and its recording's lengths may lie apart


def read_corpus(root: Path, layout: str, name: str) -> list[Utterance]:
    """The utterances of a set. InputError where it is not there or cannot be used."""
    if layout not in LAYOUTS:
        raise OptionError(f"no layout {layout!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[layout](root, name)


def _manifest(root: Path, name: str) -> list[Utterance]:
    return read_manifest(root / name)


def _librispeech(root: Path, name: str) -> list[Utterance]:
    chapters = sorted((root / name).glob("*/*/*.trans.txt"))
    if not chapters:
        raise InputError(f"no *.trans.txt in {root / name}/SPEAKER/CHAPTER, where LibriSpeech has them")
    return _with_durations(utterance for path in chapters for utterance in _chapter(path))


def _chapter(path: Path) -> list[Utterance]:
    speaker = path.parent.parent.name
    lines = [line.partition(" ") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Utterance(path.with_name(f"{id}.flac"), id, text.strip(), speaker, 0.0, "LibriSpeech", "CC-BY-4.0")
        for id, _, text in lines
    ]


def _common_voice(root: Path, name: str) -> list[Utterance]:
    known_ms = {row["clip"]: float(row["duration[ms]"]) for row in _table(root / "clip_durations.tsv", "clip")}
    rows = _table(root / f"{name}.tsv", "path", "sentence", "client_id")
    if not rows:
        raise InputError(f"no utterances in {root / name}.tsv, where Common Voice has them")
    return _with_durations(
        Utterance(
            audio=root / "clips" / row["path"],
            id=Path(row["path"]).stem,
            text=row["sentence"].strip(),
            speaker=row["client_id"],
            duration_s=known_ms.get(row["path"], 0.0) / 1000,
            source="Common Voice",
            licence="CC0-1.0",
        )
        for row in rows
    )


def _table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a tab-separated file that has these columns, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval=""))
    if rows and (missing := [column for column in columns if column not in rows[0]]):
        raise InputError(f"{path} has no column {', '.join(missing)}; it has {', '.join(rows[0])}")
    return rows


def _with_durations(utterances: Iterable[Utterance]) -> list[Utterance]:
    """With what the headers say where nothing else did."""
    known = list(utterances)
    with ThreadPoolExecutor() as executor:
        durations_s = executor.map(lambda one: one.duration_s or _header_s(one.audio), known)
        return [replace(one, duration_s=duration_s) for one, duration_s in zip(known, durations_s, strict=True)]


def _header_s(audio: Path) -> float:
    try:
        return float(soundfile.info(audio).duration)
    except soundfile.LibsndfileError:
        return 0.0


def _lhotse(root: Path, name: str) -> list[Utterance]:
    try:
        lhotse: Any = importlib.import_module("lhotse")
    except ImportError as error:
        raise NotFoundError(
            f"data.layout 'lhotse' needs the package of that name: pip install lhotse ({error})"
        ) from None
    paths = [path for path in (root / f"{name}.jsonl.gz", root / f"{name}.jsonl") if path.is_file()]
    if not paths:
        raise InputError(f"no cuts at {root / name}.jsonl.gz or .jsonl")
    return [_utterance(cut) for cut in lhotse.CutSet.from_file(paths[0])]


def _utterance(cut: Any) -> Utterance:
    """A cut of one whole file, since an utterance is a recording."""
    recording: Any = getattr(cut, "recording", None)
    sources = [] if recording is None else recording.sources
    if len(sources) != 1 or sources[0].type != "file" or abs(cut.duration - recording.duration) > WHOLE_S:
        raise NotSupportedError(
            f"cut {cut.id} is not the whole of one file: write each cut to a file of its own first, with "
            "cuts.save_audios(FOLDER).to_file(PATH)"
        )
    said: Sequence[Any] = cut.supervisions
    timed = [(one.alignment or {}).get("word", ()) for one in said]
    return Utterance(
        audio=Path(sources[0].source),
        id=cut.id,
        text=" ".join(one.text.strip() for one in said if one.text),
        speaker=next((one.speaker for one in said if one.speaker), ""),
        duration_s=float(recording.duration),
        source="",
        licence="",
        words=tuple(TimedWord(word.symbol, word.start, word.end) for words in timed for word in words)
        if all(timed)
        else (),
    )


LAYOUTS = {"manifest": _manifest, "librispeech": _librispeech, "common_voice": _common_voice, "lhotse": _lhotse}
