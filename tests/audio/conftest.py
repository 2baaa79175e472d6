import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@pytest.fixture(scope="session")
def speechlike() -> Callable[..., Samples]:
    """(n,) float32 below full scale: a few gliding tones and a little noise, the same every time."""

    def make(samples: int, sample_rate: int = 16_000) -> Samples:
        seconds = np.arange(samples) / sample_rate
        tones = sum(np.sin(2 * np.pi * pitch * (seconds + 0.1 * seconds**2)) for pitch in (150, 450, 1100))
        noise = np.random.default_rng(samples).standard_normal(samples)
        return (0.15 * tones + 0.02 * noise).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def file_of() -> Callable[..., bytes]:
    """The bytes of a file with these samples, (n,) or (n, channels)."""

    def make(samples: Samples, sample_rate: int = 16_000, container: str = "WAV", codec: str = "PCM_16") -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, sample_rate, format=container, subtype=codec)
        return file.getvalue()

    return make
