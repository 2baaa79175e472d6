"""Manifests: the utterances of a set, one JSON object a line, and their samples.

A set is a folder with a `manifest.jsonl` and the recordings that it names:

    {"audio": "audio/a.opus", "id": "a", "text": "hello", "speaker": "s1", "duration": 1.2, "source": "own", …}

`audio` (relative to the manifest) and `duration` (seconds) must be there. Other fields may be added; here they are not
read.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import decode
from asr.errors import AudioError, InputError

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Utterance:
    audio: Path
    id: str  # unique in its manifest; the recording's stem where none is given
    text: str  # "" where nothing is said, or where nobody wrote it down
    speaker: str
    duration_s: float
    source: str
    licence: str


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
    """The whole recording: (samples,) float32, mono, 16 kHz. AudioError, naming the file, where it cannot be read."""
    try:
        blocks = list(decode.read(utterance.audio.read_bytes()))
    except FileNotFoundError:
        raise AudioError(f"{utterance.audio} is not there, but its manifest names it (id {utterance.id!r})") from None
    except AudioError as error:
        raise AudioError(f"{utterance.audio}: {error}") from error
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


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
    # bool is an int to Python, and JSON as Python reads it has NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"'duration' must be the recording's length in seconds, above 0, not {value!r}")
    return float(value)
