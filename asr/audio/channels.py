"""What becomes of a recording's channels: mixed down to one, or each heard by itself."""

import numpy as np
from numpy.typing import NDArray

from asr.audio.resample import Resampler
from asr.errors import AudioError

MAX_CHANNELS = 64
MAX_SEPARATE = 8  # each costs as much as a recording of its own; no format of speech has more


class Channels:
    """Frames (n, channels) of one rate to samples at 16 kHz: (n,) mixed down, (n, channels) where separate.

    A separate channel is, bit for bit, what it would be in a file of its own.
    """

    def __init__(self, rate: int, channels: int, separate: bool = False):
        check_channels(channels)
        if separate:
            check_separate(channels)
        self.separate = separate
        self.resamplers = [Resampler(rate) for _ in range(channels if separate else 1)]

    @property
    def heard(self) -> int:
        """How many are recognised."""
        return len(self.resamplers)

    def accept(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take any number of frames; return the samples that are complete."""
        if not self.separate:
            return self.resamplers[0].accept(mixed_down(frames))
        each = zip(self.resamplers, frames.T, strict=True)
        return np.stack([resampler.accept(np.ascontiguousarray(channel)) for resampler, channel in each], axis=1)

    def finish(self) -> NDArray[np.float32]:
        """Return what was still held back. Then it is as new."""
        tails = [resampler.finish() for resampler in self.resamplers]
        return np.stack(tails, axis=1) if self.separate else tails[0]


def mixed_down(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, channels) to the mean of the channels, (n,)."""
    return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)


def check_channels(channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"audio has 1 to {MAX_CHANNELS} channels, but this has {channels}")


def check_separate(channels: int) -> None:
    if channels > MAX_SEPARATE:
        raise AudioError(
            f"up to {MAX_SEPARATE} channels are recognised each by itself, but this audio has {channels}: "
            "send some of them, or have them mixed down"
        )
