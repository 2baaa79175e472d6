"""A recording on this side: decoded block by block, mixed down to one channel, cut into packets.

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
            self.duration_s: float = file.frames / file.samplerate

    def packets(self, packet_ms: int) -> Iterator[bytes]:
        """All of it as 16-bit little-endian mono samples, `packet_ms` of audio in each packet but the last."""
        samples_per_packet = max(1, self.sample_rate * packet_ms // 1000)
        with self._open() as file:
            while len(block := _read(file, samples_per_packet)):
                yield pcm(block)

    def between(self, start_s: float, end_s: float) -> NDArray[np.float32]:
        """(n,) samples of a stretch, as far as the recording reaches."""
        start = max(0, round(start_s * self.sample_rate))
        end = math.ceil(end_s * self.sample_rate)
        with self._open() as file:
            file.seek(min(start, file.frames))
            return _read(file, max(0, end - start))

    def _open(self) -> Any:
        try:
            return soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: .raw, which says nothing of itself
            raise FileError(f"cannot be decoded as audio here: {error}") from None


def _read(file: Any, count: int) -> NDArray[np.float32]:
    try:
        samples = file.read(count, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise FileError(f"cannot be decoded to its end: {error}") from None
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mono


def pcm(samples: NDArray[np.float32]) -> bytes:
    """16-bit little-endian samples. What came from 16 bits goes back to the same 16 bits."""
    return np.clip(np.rint(samples * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype("<i2").tobytes()


def at_real_time(packets: Iterable[bytes], sample_rate: int) -> Iterator[bytes]:
    """The same packets, each not before a microphone would have heard its end."""
    started = time.monotonic()
    heard = 0
    for packet in packets:
        heard += len(packet) // 2
        time.sleep(max(0.0, started + heard / sample_rate - time.monotonic()))
        yield packet
