"""Recordings made on the spot, and a recogniser that knows them by their length."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.runtime.recognizer import Options
from asr.runtime.result import Result, Transcript
from asr.train import peers

RATE = 16_000

# a recogniser that hears tones, and what it hears: fixtures
_place = importlib.util.spec_from_file_location("tones", Path(__file__).parents[1] / "runtime" / "conftest.py")
_tones = importlib.util.module_from_spec(_place)
_place.loader.exec_module(_tones)
hearing, speak = _tones.hearing, _tones.speak


def tone(duration_s: float, rate: int = RATE) -> NDArray[np.float32]:
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def write_set(folder: Path, said: dict[float, str | None]) -> Path:
    """A set with a recording for each duration (seconds), in which the text is said; None: the text is left out."""
    folder.mkdir(parents=True)
    lines = []
    for duration_s, text in said.items():
        name = f"{round(duration_s * 1000)}.wav"
        soundfile.write(folder / name, tone(duration_s), RATE)
        line = {"audio": name, "id": f"{folder.name}-{name[:-4]}", "duration": duration_s, "speaker": "s"}
        lines.append(json.dumps(line if text is None else {**line, "text": text}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def result(text: str) -> Result:
    return Result(text, (), (), 0.0, 1.0, 1.0, True, 0.0, "en", -0.1, 0.0, None)


class LengthRecognizer:
    """Writes what it was told to for a recording of so many milliseconds, and remembers what it was asked."""

    written: dict[int, str]
    heard: list[tuple[str, int, Options]]  # model, milliseconds, options

    def __init__(self, folder: Path, threads: int):
        self.threads = threads
        modes = {"full": 0, "640ms": 32}
        self.bundle = SimpleNamespace(name=folder.name, latency_modes=modes, sample_rate=RATE, languages=("en",))

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> "LengthRecognizer":
        return cls(folder, threads)

    def transcribe(self, samples: NDArray[np.float32], options: Options, abreast: int = 1) -> Transcript:
        milliseconds = round(1000 * len(samples) / RATE)
        self.heard.append((self.bundle.name, milliseconds, options))
        segments = tuple(result(" " + word) for word in self.written.get(milliseconds, "").split())
        return Transcript(segments, len(samples) / RATE, "en")


@pytest.fixture
def recognizer(monkeypatch: pytest.MonkeyPatch) -> type[LengthRecognizer]:
    monkeypatch.setattr(peers, "Recognizer", LengthRecognizer)
    monkeypatch.setattr(LengthRecognizer, "written", {}, raising=False)
    monkeypatch.setattr(LengthRecognizer, "heard", [], raising=False)
    return LengthRecognizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An exported folder, as far as the recogniser above looks into it."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return folder


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[[str, dict[float, str | None]], Path]:
    """Writes the set of that name below tmp_path/data."""
    return lambda name, said: write_set(tmp_path / "data" / name, said)
