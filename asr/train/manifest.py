"""Manifests: the utterances of a set, one JSON object a line, and their samples.

A set is a folder with a `manifest.jsonl` and the recordings that it names:

    {"audio": "audio/a.opus", "id": "a", "text": "hello", "speaker": "s1", "duration": 1.2, "source": "own", …}

`audio` (relative to the manifest) and `duration` (seconds) must be there. Where it is known when each word is said, so
is `words`: [{"word": "hello", "start": 0.3, "end": 0.7}, …]. Other fields may be added; here they are not read.
"""

import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio import decode
from asr.audio.resample import Resampler
from asr.errors import AudioError, InputError, NotSupportedError

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class TimedWord:
    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Utterance:
    audio: Path
    id: str  # unique in its manifest; the recording's stem where none is given
    text: str  # "" where nothing is said, or where nobody wrote it down
    speaker: str
    duration_s: float
    source: str
    licence: str
    words: tuple[TimedWord, ...] = ()  # in order; () where their times are not known


def read_manifest(path: Path) -> list[Utterance]:
    """The utterances of a manifest, in its order. `path` is the manifest, or the folder that holds one.

    Raises InputError, naming the line, where one cannot be used. The recordings are not opened.
    """
    path = path / MANIFEST if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"no manifest at {path}: a set is a folder with {MANIFEST} and its recordings") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from None
    utterances: list[Utterance] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            utterance = _utterance(line, path.parent)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        if utterance.id in first_line:
            raise InputError(
                f"{path}, line {number}: id {utterance.id!r} is already that of line {first_line[utterance.id]}"
            )
        first_line[utterance.id] = number
        utterances.append(utterance)
    return utterances


def load(utterance: Utterance) -> NDArray[np.float32]:
    """The whole recording: (samples,) float32, mono, 16 kHz. AudioError, naming the file, where it cannot be read.

    What the server does not read, but soundfile does (MP3, AIFF, AU, …), is read too.
    """
    try:
        blocks = list(_blocks(utterance.audio.read_bytes()))
    except FileNotFoundError:
        raise AudioError(f"{utterance.audio} is not there, but its manifest names it (id {utterance.id!r})") from None
    except (AudioError, NotSupportedError, OSError) as error:
        raise AudioError(f"{utterance.audio}: {error}") from error
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _blocks(content: bytes) -> Iterable[NDArray[np.float32]]:
    try:
        decode.sniff(content)
    except AudioError as stranger:
        return _blocks_of(content, stranger)
    return decode.read(content)


def _blocks_of(content: bytes, stranger: AudioError) -> list[NDArray[np.float32]]:
    """Whatever soundfile can read. Raises `stranger` where it cannot."""
    try:
        frames, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        raise stranger from None
    resampler = Resampler(rate)
    return [resampler.accept(frames.mean(axis=1, dtype=np.float32).clip(-1, 1)), resampler.finish()]


def _utterance(line: str, folder: Path) -> Utterance:
    """One line as a value. ValueError says what is wrong with it."""
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"expected a JSON object, not {line.strip()[:40]!r}")
    audio = _text(fields, "audio")
    if not audio:
        raise ValueError("'audio' is missing: the recording's path, relative to the manifest")
    return Utterance(
        audio=folder / audio,
        id=_text(fields, "id") or Path(audio).stem,
        text=_text(fields, "text").strip(),
        speaker=_text(fields, "speaker"),
        duration_s=_duration(fields),
        source=_text(fields, "source"),
        licence=_text(fields, "licence"),
        words=_words(fields),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"'{name}' must be text, not {value!r}")
    return value


def _duration(fields: dict[str, Any]) -> float:
    value = fields.get("duration")
    if not _is_number(value) or value <= 0:
        raise ValueError(f"'duration' must be the recording's length in seconds, above 0, not {value!r}")
    return float(value)


def _words(fields: dict[str, Any]) -> tuple[TimedWord, ...]:
    entries = fields.get("words") or []
    if not isinstance(entries, list):
        raise ValueError(f"'words' must be a list of objects, not {entries!r}")
    words = tuple(map(_word, entries))
    if any(after.start_s < before.start_s for before, after in pairwise(words)):
        raise ValueError("'words' must be in the order in which they are said, but a later one starts earlier")
    return words


def _word(entry: Any) -> TimedWord:
    if not isinstance(entry, dict) or not (_is_number(entry.get("start")) and _is_number(entry.get("end"))):
        raise ValueError(f"a word is an object with 'word', 'start' and 'end' in seconds, not {entry!r}")
    word = TimedWord(_text(entry, "word").strip(), float(entry["start"]), float(entry["end"]))
    if not word.word or not 0 <= word.start_s <= word.end_s:
        raise ValueError(f"a word must be text that starts at 0 or later and ends no earlier, not {entry!r}")
    return word


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Not so of bool, which is an int to Python, nor of NaN and infinity, which JSON as Python reads it has."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
