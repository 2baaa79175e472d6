from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.runtime.recognizer import Recognizer

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "asr" / "models" / "tiny.en-streaming"


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """The shipped model."""
    return Recognizer.load(SHIPPED, threads=2)


@pytest.fixture(scope="session")
def clip():
    """Samples of a recording in tests/data by name."""

    def load(name: str) -> np.ndarray:
        samples, rate = soundfile.read(ROOT / "tests" / "data" / f"{name}.wav", dtype="float32")
        assert rate == 16_000
        return samples

    return load
