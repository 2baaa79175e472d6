"""Raw samples as they come off the wire: packets of any size to 16 kHz mono.

    LINEAR16  signed 16-bit little-endian
    MULAW     ITU-T G.711 mu-law, 8 bits
    ALAW      ITU-T G.711 A-law, 8 bits

A frame is one sample of each channel. A packet may end within a sample or a frame: only the
concatenation of the packets matters.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from asr.audio.resample import Resampler
from asr.errors import AudioError

INT16_SCALE = 32768
MAX_CHANNELS = 64


class Encoding(Enum):
    LINEAR16 = "LINEAR16"
    MULAW = "MULAW"
    ALAW = "ALAW"


@dataclass(frozen=True)
class PcmFormat:
    """What raw bytes cannot say of themselves."""

    encoding: Encoding
    sample_rate: int  # checked by the Resampler
    channels: int = 1

    def __post_init__(self) -> None:
        check_channels(self.channels)

    @property
    def frame_bytes(self) -> int:
        return self.channels * (2 if self.encoding is Encoding.LINEAR16 else 1)

    @property
    def bytes_per_second(self) -> int:
        return self.sample_rate * self.frame_bytes


class PacketReader:
    """Packets of one stream to (n,) float32 at 16 kHz."""

    def __init__(self, pcm: PcmFormat):
        self.pcm = pcm
        self.resampler = Resampler(pcm.sample_rate)
        self.rest = b""  # of a frame whose end has not come yet

    def accept(self, packet: bytes) -> NDArray[np.float32]:
        """Take any number of bytes; return the samples that are complete."""
        if self.rest:
            packet = self.rest + packet
        whole = len(packet) // self.pcm.frame_bytes * self.pcm.frame_bytes
        self.rest = packet[whole:]
        return self.resampler.accept(mono(samples_from(packet[:whole], self.pcm.encoding), self.pcm.channels))

    def flush(self) -> NDArray[np.float32]:
        """The samples that the resampler still held. More packets may come; a begun frame waits for its end."""
        return self.resampler.finish()

    def finish(self) -> NDArray[np.float32]:
        """The last samples; AudioError where the audio ends within a frame, which says that its format is another."""
        if self.rest:
            raise AudioError(
                f"the audio ends with {len(self.rest)} of the {self.pcm.frame_bytes} bytes that a frame has in "
                f"{self.pcm.encoding.value} with {self.pcm.channels} channel(s): check that this is its format, whole"
            )
        return self.flush()


def samples_from(pcm: bytes, encoding: Encoding) -> NDArray[np.float32]:
    """Decode whole samples to (n,) float32 in [-1, 1)."""
    if encoding is Encoding.LINEAR16:
        return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(INT16_SCALE)
    return LEVELS[encoding][np.frombuffer(pcm, np.uint8)]


def mono(samples: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Mix interleaved channels down to their mean."""
    return samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)


def check_channels(channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"audio has 1 to {MAX_CHANNELS} channels, but this has {channels}")


def mulaw_levels() -> NDArray[np.float32]:
    """What each of the 256 mu-law codes stands for (G.711 table 2): a sign, 3 bits of exponent, 4 of mantissa."""
    code = ~np.arange(256) & 0xFF  # sent inverted
    bias = 33 << 2  # makes the segments powers of two; << 2 from 14 to 16 bits
    magnitude = (((code & 0x0F) << 3) + bias << (code >> 4 & 7)) - bias
    return (np.where(code & 0x80, -magnitude, magnitude) / INT16_SCALE).astype(np.float32)


def alaw_levels() -> NDArray[np.float32]:
    """What each of the 256 A-law codes stands for (G.711 table 1)."""
    code = np.arange(256) ^ 0x55  # sent with every other bit inverted
    exponent = code >> 4 & 7
    mantissa = ((code & 0x0F) << 4) + 8  # + 8: the middle of the step
    magnitude = np.where(exponent == 0, mantissa, mantissa + 0x100 << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / INT16_SCALE).astype(np.float32)


LEVELS = {Encoding.MULAW: mulaw_levels(), Encoding.ALAW: alaw_levels()}
