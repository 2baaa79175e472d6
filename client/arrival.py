"""Audio that is no file here: all that stdin holds, or packets that another thread puts while they are spoken."""

import os
import shutil
import sys
import threading
import wave
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Full, Queue
from typing import IO, Protocol

from client.errors import FileError

BYTES_PER_SAMPLE = 2
LOOK_S = 0.1
ROOM = 64  # packets that may wait; then a pipe has to


class Arriving(Protocol):
    """16-bit little-endian mono samples that are still being made."""

    @property
    def sample_rate(self) -> int: ...

    def packets(self, packet_ms: int) -> Iterator[bytes]: ...

    def stop(self) -> None:
        """Let the packets end with what was heard until now. Any thread may stop."""


def keep_stdin(path: Path) -> None:
    """All of it, in a file."""
    with open(_stdin(), "rb", buffering=0, closefd=False) as stdin, path.open("wb") as copy:
        shutil.copyfileobj(stdin, copy)


def _stdin() -> int:
    """Read without Python's own buffer, whose lock would be held when a signal ends us while nothing comes."""
    if sys.stdin is None or sys.stdin.closed:
        raise FileError("there is none: it is closed")
    if sys.stdin.isatty():
        raise FileError("it is a terminal: pipe a recording into it")
    return sys.stdin.fileno()


class RawSamples:
    """What stdin holds: samples without a header."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def packets(self, packet_ms: int) -> Iterator[bytes]:
        """As they come. Half a sample at the end, which a killed recorder may leave, is dropped."""
        packets: Queue[bytes | OSError | None] = Queue(ROOM)
        packet_bytes = BYTES_PER_SAMPLE * max(1, self.sample_rate * packet_ms // 1000)
        threading.Thread(target=self._read, args=(_stdin(), packet_bytes, packets), daemon=True).start()
        yield from until_stopped(packets, self._stopped)

    def _read(self, stdin: int, packet_bytes: int, packets: "Queue[bytes | OSError | None]") -> None:
        """On a thread of its own, since a wait for a pipe cannot be interrupted."""
        try:
            while packet := _exactly(stdin, packet_bytes):
                if not self._put(packet, packets):
                    return
            self._put(None, packets)
        except OSError as error:
            self._put(error, packets)

    def _put(self, packet: bytes | OSError | None, packets: "Queue[bytes | OSError | None]") -> bool:
        while not self._stopped.is_set():
            try:
                packets.put(packet, timeout=LOOK_S)
            except Full:
                continue
            return True
        return False


def _exactly(descriptor: int, count: int) -> bytes:
    """So many bytes; fewer at the end, where half a sample is left out."""
    parts, missing = [], count
    while missing and (part := os.read(descriptor, missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)[: (count - missing) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]


def until_stopped(packets: "Queue[bytes | OSError | None]", stopped: threading.Event) -> Iterator[bytes]:
    """What is put, until None is; once stopped, what is there already."""
    while True:
        enough = stopped.is_set()
        try:
            packet = packets.get(timeout=0 if enough else LOOK_S)
        except Empty:
            if enough:
                return
            continue
        if packet is None:
            return
        if isinstance(packet, OSError):
            raise packet
        yield packet


def kept(packets: Iterable[bytes], sample_rate: int, place: Path | IO[bytes]) -> Iterator[bytes]:
    """The same packets; afterwards they are a WAV there, too."""
    with wave.open(str(place) if isinstance(place, Path) else place, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(BYTES_PER_SAMPLE)
        file.setframerate(sample_rate)
        for packet in packets:
            file.writeframesraw(packet)
            yield packet
