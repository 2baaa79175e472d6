"""The bytes of a file to blocks of 16 kHz, whatever its format: mono, or its channels side by side.

What a header says is known before anything is decoded, and nothing is allocated by what it
says: memory is a block, whatever the file claims to hold.

A file that was cut short, or whose length was never written (recorders and pipes leave it
so), gives what is there, as the tools built on ffmpeg do. A file that is damaged before its
end is an AudioError that names the second, rather than a transcript with a hole in it.
Samples that are not numbers are an AudioError too; those beyond full scale are clipped.

All this runs here, in the caller's process. For bytes of strangers see apart.py.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.header import Header
from asr.audio.media import DEMUXERS, MediaRecording
from asr.audio.sndfile import SndfileRecording
from asr.audio.sniff import sniff as sniff  # asr.train asks this first


class Recording(Protocol):
    """An opened file: its header is known, its samples can be read once."""

    @property
    def header(self) -> Header: ...

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n,), or (n, channels) where separate, float32 at 16 kHz in [-1, 1], about half a second each."""
        ...


def open_recording(content: bytes, separate: bool = False) -> Recording:
    """AudioError where the bytes are no such file, NotSupportedError where what reads it is not installed."""
    container = sniff(content)
    kind = MediaRecording if container in DEMUXERS else SndfileRecording
    return kind(content, container, separate)


def read(content: bytes) -> Iterator[NDArray[np.float32]]:
    """Decode a whole file: blocks of (n,) float32, 16 kHz mono; none where it holds no samples."""
    return open_recording(content).blocks()
