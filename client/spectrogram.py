"""What was heard, as a picture: loudness over time and pitch. numpy alone; who draws it brings the colours."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_S, STEP_S, BLOCK = 0.025, 0.005, 256
LOW_HZ, TOP_HZ, MELS = 60.0, 8000.0, 100  # below the lowest voice there is only rumble
RANGE_DB, QUIET_DB, SILENCE = 65.0, -20.0, 1e-10  # QUIET_DB: what is all quiet shall look so


def mel_spectrogram(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """(mels, steps) in dB below the loudest, down to -RANGE_DB; a step is STEP_S, the bands are even in mel."""
    window = np.hanning(round(WINDOW_S * sample_rate))
    size = 4 * 2 ** math.ceil(math.log2(len(window)))  # fine bins, so that the narrow low bands hold some
    padded = np.pad(samples, len(window) // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[:: round(STEP_S * sample_rate)]
    bands = _mel_bands(np.fft.rfftfreq(size, 1 / sample_rate)).T
    blocks = np.split(frames, range(BLOCK, len(frames), BLOCK))  # spectra are long: not all at once
    power = np.concatenate([np.abs(np.fft.rfft(block * window, size)) ** 2 @ bands for block in blocks])
    loudness = 10 * np.log10(np.maximum(power.T, SILENCE))
    below: NDArray[np.float32] = np.maximum(loudness - max(loudness.max(), QUIET_DB), -RANGE_DB).astype(np.float32)
    return below


def mel(hz: Any) -> Any:
    """The mel scale of HTK."""
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def _mel_bands(bins_hz: NDArray[Any]) -> NDArray[np.float64]:
    """(mels, bins) triangles, each from the middle of its lower neighbour to that of its upper one."""
    edges = np.linspace(mel(LOW_HZ), mel(TOP_HZ), MELS + 2)
    lower, middle, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    at = mel(bins_hz)
    rise, fall = (at - lower) / (middle - lower), (upper - at) / (upper - middle)
    triangles = np.minimum(rise, fall).clip(0)
    bands: NDArray[np.float64] = triangles / triangles.sum(axis=1, keepdims=True).clip(1e-9)
    return bands
