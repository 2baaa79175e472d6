"""Any sample rate to 16 kHz, as the audio arrives.

soxr's own streams give other bits for other cuts of the same input, so here it is fed in
blocks of one fixed length: the output depends on the samples alone, never on the packets.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from asr.errors import AudioError

SAMPLE_RATE = 16_000  # what everything behind this file hears
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
BLOCKS_PER_SECOND = 100  # 10 ms: small beside soxr's own delay (37 ms at 48 kHz, 115 ms at 8 kHz)
QUALITY = "HQ"  # flat up to 0.91 of the band


class Resampler:
    """Mono float32 at `rate` in, mono float32 at 16 kHz out. At 16 kHz what comes is returned as it is."""

    def __init__(self, rate: int):
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(f"a sample rate lies within {LOWEST_RATE} to {HIGHEST_RATE} Hz, but this is {rate} Hz")
        self.rate = rate
        self.block = rate // BLOCKS_PER_SECOND
        self._start()

    def accept(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take any number of samples (n,); return those of 16 kHz that are complete."""
        if self.rate == SAMPLE_RATE:
            return samples
        self.waiting.append(samples)
        self.waiting_samples += samples.size
        if self.waiting_samples < self.block:
            return np.zeros(0, np.float32)
        held = np.concatenate(self.waiting)
        whole = held.size // self.block * self.block
        self._wait_for(held[whole:].copy())  # a view would keep all of a big packet alive
        blocks = np.split(held[:whole], range(self.block, whole, self.block))
        return np.concatenate([self.stream.resample_chunk(block) for block in blocks])

    def finish(self) -> NDArray[np.float32]:
        """Return what was still held back: all in all round(n * 16000 / rate) samples. Then it is as new."""
        if self.rate == SAMPLE_RATE:
            return np.zeros(0, np.float32)
        tail: NDArray[np.float32] = self.stream.resample_chunk(np.concatenate(self.waiting), last=True)
        self._start()
        return tail

    def _start(self) -> None:
        self.stream = soxr.ResampleStream(self.rate, SAMPLE_RATE, num_channels=1, dtype="float32", quality=QUALITY)
        self._wait_for(np.zeros(0, np.float32))

    def _wait_for(self, rest: NDArray[np.float32]) -> None:
        """Less than a block, kept until the rest of it comes."""
        self.waiting = [rest]
        self.waiting_samples = rest.size
