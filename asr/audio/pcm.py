"""Raw samples as they come off the wire: packets of any size to 16 kHz.

    LINEAR16  signed 16-bit little-endian
    MULAW     ITU-T G.711 mu-law, 8 bits
    ALAW      ITU-T G.711 A-law, 8 bits

and those that only a WAV header names: 8 bits unsigned, 24 and 32 bits signed, floating point.

A frame is one sample of each channel. A packet may end within a sample or a frame: only the
concatenation of the packets matters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.channels import Channels, check_channels
from asr.errors import AudioError

INT16_SCALE, INT32_SCALE, UINT8_SCALE = 32768, 2**31, 128


class Encoding(Enum):
    LINEAR16 = "LINEAR16"
    MULAW = "MULAW"
    ALAW = "ALAW"
    UNSIGNED8 = "UNSIGNED8"
    LINEAR24 = "LINEAR24"
    LINEAR32 = "LINEAR32"
    FLOAT32 = "FLOAT32"
    FLOAT64 = "FLOAT64"


SAMPLE_BYTES = {
    Encoding.LINEAR16: 2,
    Encoding.MULAW: 1,
    Encoding.ALAW: 1,
    Encoding.UNSIGNED8: 1,
    Encoding.LINEAR24: 3,
    Encoding.LINEAR32: 4,
    Encoding.FLOAT32: 4,
    Encoding.FLOAT64: 8,
}


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
        return self.channels * SAMPLE_BYTES[self.encoding]

    @property
    def bytes_per_second(self) -> int:
        return self.sample_rate * self.frame_bytes


class PacketReader:
    """Packets of one stream to float32 at 16 kHz: (n,) mixed down, (n, channels) where separate."""

    def __init__(self, pcm: PcmFormat, separate: bool = False):
        self.pcm = pcm
        self.channels = Channels(pcm.sample_rate, pcm.channels, separate)
        self.rest = b""  # of a frame whose end has not come yet
        self.received_bytes = 0

    @property
    def received_s(self) -> float:
        return self.received_bytes / self.pcm.bytes_per_second

    @property
    def heard(self) -> int:
        return self.channels.heard

    def pieces(self, packet: bytes) -> Iterator[bytes]:
        """Cut lazily, a second at a time: between two of them a caller may stop."""
        for start in range(0, len(packet), self.pcm.bytes_per_second):
            piece = packet[start : start + self.pcm.bytes_per_second]
            self.received_bytes += len(piece)
            yield piece

    def accept(self, packet: bytes) -> NDArray[np.float32]:
        """Take any number of bytes; return the samples that are complete."""
        if self.rest:
            packet = self.rest + packet
        whole = len(packet) // self.pcm.frame_bytes * self.pcm.frame_bytes
        self.rest = packet[whole:]
        samples = samples_from(packet[:whole], self.pcm.encoding)
        return self.channels.accept(samples.reshape(-1, self.pcm.channels))

    def flush(self) -> NDArray[np.float32]:
        """The samples that the resampler still held. More packets may come; a begun frame waits for its end."""
        return self.channels.finish()

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
    match encoding:
        case Encoding.LINEAR16:
            return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(INT16_SCALE)
        case Encoding.UNSIGNED8:
            return np.frombuffer(pcm, np.uint8).astype(np.float32) / np.float32(UINT8_SCALE) - np.float32(1)
        case Encoding.LINEAR24:
            wide = np.zeros((len(pcm) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
            return samples_from(wide.tobytes(), Encoding.LINEAR32)
        case Encoding.LINEAR32:
            return np.frombuffer(pcm, "<i4").astype(np.float32) / np.float32(INT32_SCALE)
        case Encoding.FLOAT32:
            return on_scale(np.frombuffer(pcm, "<f4"))
        case Encoding.FLOAT64:
            return on_scale(np.frombuffer(pcm, "<f8"))
        case Encoding.MULAW | Encoding.ALAW:
            return LEVELS[encoding][np.frombuffer(pcm, np.uint8)]


def on_scale(samples: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Floating point may be anything: what is beyond full scale is clipped, what is no number refused."""
    if not np.isfinite(samples).all():
        raise AudioError("the audio holds samples that are not numbers (NaN or infinity): write it anew")
    return samples.clip(-1, 1).astype(np.float32, copy=False)


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
