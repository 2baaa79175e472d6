"""A recording on this side: decoded block by block, mixed down to one channel or not, cut into packets.

Memory does not grow with the recording. Only who streams or draws loads this file: recordings
sent as they are need no decoder.
"""

import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.arrival import BYTES_PER_SAMPLE
from client.errors import FileError, MissingPackageError

try:
    import soundfile
except (ImportError, OSError):  # OSError: the package is there, its shared library is not
    raise MissingPackageError("soundfile", "decoding a recording", extra="client") from None

INT16_SCALE = 32768


class Recording:
    """A file that soundfile can decode. FileError where it cannot, OSError where there is none to read."""

    def __init__(self, path: Path) -> None:
        path.open("rb").close()  # soundfile says of all that cannot be opened that it has no format
        self.path = path
        with self._open() as file:
            self.sample_rate: int = file.samplerate
            self.channels: int = file.channels
            self.duration_s: float = file.frames / file.samplerate

    def packets(self, packet_ms: int, separate: bool = False) -> Iterator[bytes]:
        """All of it as 16-bit little-endian samples, `packet_ms` of audio in each packet but the last.

        Mixed down, or with its channels interleaved where separate.
        """
        samples_per_packet = max(1, self.sample_rate * packet_ms // 1000)
        with self._open() as file:
            while len(frames := _frames(file, samples_per_packet)):
                yield pcm(frames if separate else _mixed_down(frames))

    def between(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """(n,) samples of a stretch, as far as the recording reaches."""
        start = max(0, round(start_s * self.sample_rate))
        end = math.ceil(end_s * self.sample_rate)
        with self._open() as file:
            file.seek(min(start, file.frames))
            return _mixed_down(_frames(file, max(0, end - start)))

    def _open(self) -> Any:
        try:
            return soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: .raw, which says nothing of itself
            raise FileError(f"cannot be decoded as audio here: {error}") from None


def _frames(file: Any, count: int) -> NDArray[np.float32]:
    """(n, channels)"""
    try:
        frames: NDArray[np.float32] = file.read(count, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise FileError(f"cannot be decoded to its end: {error}") from None
    return frames


def _mixed_down(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    mono: NDArray[np.float32] = frames.mean(axis=1, dtype=np.float32)
    return mono


def pcm(samples: NDArray[np.float32]) -> bytes:
    """16-bit little-endian samples. What came from 16 bits goes back to the same 16 bits."""
    return np.clip(np.rint(samples * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype("<i2").tobytes()


def at_real_time(packets: Iterable[bytes], samples_per_s: int) -> Iterator[bytes]:
    """The same packets, each not before a microphone would have heard its end."""
    started = time.monotonic()
    heard = 0
    for packet in packets:
        heard += len(packet) // BYTES_PER_SAMPLE
        time.sleep(max(0.0, started + heard / samples_per_s - time.monotonic()))
        yield packet
