"""This machine's microphone. Only who listens to it loads this file."""

import threading
from collections.abc import Iterator
from functools import cached_property
from queue import Queue
from typing import Any

from client.arrival import until_stopped
from client.errors import FileError, MissingPackageError

try:
    import sounddevice
except (ImportError, OSError):  # OSError: the package is there, the library PortAudio is not
    raise MissingPackageError("sounddevice", "listening to a microphone", extra="microphone") from None


class Microphone:
    """The default one, at the rate it likes best. FileError where there is none to be heard."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    @cached_property
    def sample_rate(self) -> int:
        try:
            return int(sounddevice.query_devices(kind="input")["default_samplerate"])
        except (sounddevice.PortAudioError, ValueError) as error:
            raise FileError(f"there is none to be heard: {error}") from None

    def stop(self) -> None:
        self._stopped.set()

    def packets(self, packet_ms: int) -> Iterator[bytes]:
        packets: Queue[bytes | OSError | None] = Queue()  # without a bound: speech does not wait

        def heard(samples: Any, count: int, times: Any, status: Any) -> None:
            packets.put(bytes(samples))

        try:
            with sounddevice.RawInputStream(
                samplerate=self.sample_rate,
                blocksize=max(1, self.sample_rate * packet_ms // 1000),
                channels=1,
                dtype="int16",  # in this machine's order of bytes: little-endian wherever PortAudio is at home
                callback=heard,
            ):
                yield from until_stopped(packets, self._stopped)
        except sounddevice.PortAudioError as error:
            raise FileError(f"it cannot be heard: {error}") from None
