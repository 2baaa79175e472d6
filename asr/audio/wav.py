"""WAV (RIFF) headers: those of files whose length was never written, and those that come in packets.

libsndfile reads WAV files. It wants all of a file at once, so of a stream the header is read
here, and what follows it is raw samples.
"""

import struct
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from asr.audio.header import Header
from asr.audio.pcm import Encoding, PacketReader, PcmFormat
from asr.errors import AudioError

RIFF = (b"RIFF", b"RF64")
RIFF_HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 8
MAX_HEADER_BYTES = 2**20  # titles and pictures may stand before the samples, but not for ever
FMT_BYTES = range(16, 1025)  # that a chunk "fmt " may have
EXTENSIBLE, SUBFORMAT = 0xFFFE, slice(24, 26)  # a format whose tag stands further behind
UNWRITTEN_BYTES = 0x7FFF0000  # a length from here on, or 0, is that of a recorder that cannot know it yet

# (tag, bytes of a sample) to the encoding, and to libsndfile's name of it
FORMATS = {
    (1, 1): (Encoding.UNSIGNED8, "PCM_U8"),
    (1, 2): (Encoding.LINEAR16, "PCM_16"),
    (1, 3): (Encoding.LINEAR24, "PCM_24"),
    (1, 4): (Encoding.LINEAR32, "PCM_32"),
    (3, 4): (Encoding.FLOAT32, "FLOAT"),
    (3, 8): (Encoding.FLOAT64, "DOUBLE"),
    (6, 1): (Encoding.ALAW, "ALAW"),
    (7, 1): (Encoding.MULAW, "ULAW"),
}


class WavReader:
    """A WAV in packets, cut anywhere, to float32 at 16 kHz: (n,) mixed down, (n, channels) where separate.

    `check` is called with the header once it is known, and may refuse it.
    """

    def __init__(self, check: Callable[[Header], None], separate: bool = False):
        self.check = check
        self.separate = separate
        self.held = bytearray()  # of the header
        self.skip = 0  # of it, before the next chunk
        self.header_bytes = 0
        self.pcm: PcmFormat | None = None
        self.samples: PacketReader | None = None
        self.left: int | None = None  # bytes of samples still to come; None: until the stream ends
        self.behind = b""  # the first bytes after the samples
        self.pad = 0  # of these

    @property
    def received_s(self) -> float:
        return self.samples.received_s if self.samples else 0.0

    @property
    def heard(self) -> int:
        return self.samples.heard if self.samples else 1

    def pieces(self, packet: bytes) -> Iterator[bytes]:
        """Of the packet what is samples, a second at a time."""
        if self.samples is None:
            packet = self._take_header(packet)
        if self.samples is None:
            return
        inside = packet if self.left is None else packet[: self.left]
        if self.left is not None:
            self.left -= len(inside)
        yield from self.samples.pieces(inside)
        self._pass_over(packet[len(inside) :])

    def accept(self, piece: bytes) -> NDArray[np.float32]:
        assert self.samples is not None  # where a piece came from
        return self.samples.accept(piece)

    def flush(self) -> NDArray[np.float32]:
        return self.samples.flush() if self.samples else np.zeros(0, np.float32)

    def finish(self) -> NDArray[np.float32]:
        """The last samples. One whose end never came is left out, as it is of a file that was cut short."""
        if self.samples is None:
            raise AudioError("the stream ended within its WAV header: send it whole, with samples behind it")
        return self.flush()

    def _take_header(self, packet: bytes) -> bytes:
        """What is left of the packet behind the header."""
        self.held += packet
        self.header_bytes += len(packet)
        while self._at_chunk():
            name, size = struct.unpack_from("<4sI", self.held)
            if name == b"data":
                self._begin_samples(size)
                return bytes(self.held[CHUNK_HEADER_BYTES:])
            if name == b"fmt ":
                if size not in FMT_BYTES:
                    raise AudioError(f"the WAV header is damaged: its format takes {size} bytes")
                if len(self.held) < CHUNK_HEADER_BYTES + size:
                    break
                self._read_format(bytes(self.held[CHUNK_HEADER_BYTES : CHUNK_HEADER_BYTES + size]))
            if name == b"RIFX":
                raise AudioError("this WAV is big-endian (RIFX), which cannot be streamed: send it to Recognize")
            self.skip = RIFF_HEADER_BYTES if name in RIFF else CHUNK_HEADER_BYTES + size + size % 2
        if self.header_bytes > MAX_HEADER_BYTES:
            raise AudioError(
                f"no samples in the first {MAX_HEADER_BYTES} bytes of the WAV: leave out what is before them"
            )
        return b""

    def _at_chunk(self) -> bool:
        """Drop what need not be known; whether the head of the next chunk is there."""
        passed = min(self.skip, len(self.held))
        del self.held[:passed]
        self.skip -= passed
        return not self.skip and len(self.held) >= CHUNK_HEADER_BYTES

    def _read_format(self, fmt: bytes) -> None:
        tag, channels, sample_rate, _, frame_bytes = struct.unpack_from("<HHIIH", fmt)
        if tag == EXTENSIBLE and len(fmt) >= SUBFORMAT.stop:
            tag = int.from_bytes(fmt[SUBFORMAT], "little")
        if not channels or (tag, frame_bytes / channels) not in FORMATS:
            raise AudioError(
                f"the WAV holds format {tag}, {frame_bytes} bytes for {channels} channel(s), which cannot be streamed: "
                "send 8, 16, 24 or 32 bits, floating point, mu-law or A-law, or the whole file to Recognize"
            )
        encoding, codec = FORMATS[tag, frame_bytes // channels]
        self.pcm = PcmFormat(encoding, sample_rate, channels)
        self.check(Header("WAV", codec, sample_rate, channels, frames=None))

    def _begin_samples(self, size: int) -> None:
        if self.pcm is None:
            raise AudioError("the WAV header is damaged: its samples come before their format")
        self.samples = PacketReader(self.pcm, self.separate)
        self.left = size if 0 < size < UNWRITTEN_BYTES else None
        self.pad = size % 2

    def _pass_over(self, packet: bytes) -> None:
        """What stands behind the samples: titles. But more samples than the header says must not be lost unsaid."""
        self.behind += packet[: CHUNK_HEADER_BYTES - len(self.behind)]
        name = self.behind[self.pad :][:4]
        if name.strip(b"\0") and not is_name(name):
            raise AudioError(
                "more audio comes than the WAV header says: where the length is not known it says 0 or 0xFFFFFFFF"
            )


def with_length(wav: bytes) -> bytes:
    """A WAV whose recorder never came to write the length of its samples (0), with all that follows as samples."""
    start = RIFF_HEADER_BYTES
    while start + CHUNK_HEADER_BYTES <= len(wav):
        name, size = struct.unpack_from("<4sI", wav, start)
        samples = start + CHUNK_HEADER_BYTES
        if name == b"data":
            unwritten = size == 0 and not is_chunk(wav, samples) and wav.startswith(b"RIFF")
            return wav[: samples - 4] + struct.pack("<I", len(wav) - samples) + wav[samples:] if unwritten else wav
        start = samples + size + size % 2
    return wav


def is_chunk(wav: bytes, start: int) -> bool:
    """Whether another chunk (a list of titles, say) begins here, and fits."""
    if start + CHUNK_HEADER_BYTES > len(wav):
        return False
    name, size = struct.unpack_from("<4sI", wav, start)
    return is_name(name) and start + CHUNK_HEADER_BYTES + size <= len(wav)


def is_name(name: bytes) -> bool:
    return name.isascii() and name.decode().isprintable()
