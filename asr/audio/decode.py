"""The bytes of a file to blocks of 16 kHz mono: WAV, FLAC, Ogg Opus, Ogg Vorbis.

What a header says is known before anything is decoded, and nothing is allocated by what it
says: memory is a block, whatever the file claims to hold.

A file that was cut short, or whose length was never written (recorders and pipes leave it
so), gives what is there, as the tools built on ffmpeg do. A file that is damaged before its
end is an AudioError that names the second, rather than a transcript with a hole in it.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.pcm import check_channels
from asr.audio.resample import Resampler
from asr.errors import AudioError

READS = "WAV, FLAC, Ogg Opus and Ogg Vorbis"
BLOCKS_PER_SECOND = 2
UNKNOWN_FRAMES = 2**60  # libsndfile says 2**63 - 1 where the header leaves the length out
OPUS_RATE = 48_000  # every Opus stream's own clock (RFC 7845, section 4)
OPUS_HEAD_RATE = slice(12, 16)  # in OpusHead: the rate of what was encoded

# libsndfile's names for what we read: WAVEX and RF64 are WAV with longer headers
CONTAINERS = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "FLAC": "FLAC", "OGG": "Ogg"}

# (offset, magic, name) of what people send and this version does not read
STRANGERS = (
    (0, b"ID3", "MP3"),
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
)
# (mask, bits, name) of frames that begin without a header: a run of ones, then the layer
FRAMES = ((0xFFE6, 0xFFE2, "MP3"), (0xFFF6, 0xFFF0, "AAC"))

RIFF_HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 8


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    container: str  # "WAV", "FLAC", "Ogg"
    codec: str  # libsndfile's name: "PCM_16", "FLOAT", "ULAW", "OPUS", ...
    sample_rate: int
    channels: int
    frames: int | None  # None: the header leaves it open
    other_rates: tuple[int, ...] = ()  # that it may also be called by: an Opus file has several

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate

    def has_rate(self, sample_rate: int) -> bool:
        return sample_rate in (self.sample_rate, *self.other_rates)


class Recording:
    """A file held in memory, opened: its header is known, its samples can be read once."""

    def __init__(self, content: bytes):
        container = sniff(content)
        self.bytes = io.BytesIO(with_length(content) if container == "WAV" else content)
        self.size = len(content)
        try:
            self.file = soundfile.SoundFile(self.bytes)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"the file begins like {container} but its header cannot be read, so it is cut short or damaged "
                f"({error.error_string.rstrip('.')})"
            ) from error
        check_channels(self.file.channels)
        self.resampler = Resampler(self.file.samplerate)
        self.header = Header(
            container=CONTAINERS.get(self.file.format, self.file.format),
            codec=self.file.subtype,
            sample_rate=self.file.samplerate,
            channels=self.file.channels,
            frames=self.file.frames if self.file.frames < UNKNOWN_FRAMES else None,
            other_rates=opus_rates(content) if self.file.subtype == "OPUS" else (),
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n,) float32 at 16 kHz in [-1, 1], about half a second each."""
        frames_read = 0
        more = True
        while more:
            frames, more = self._read(frames_read)
            frames_read += len(frames)
            samples = self.resampler.accept(self._mono(frames))
            if samples.size:
                yield samples
        if (tail := self.resampler.finish()).size:
            yield tail

    def _read(self, frames_read: int) -> tuple[NDArray[np.float32], bool]:
        """The next frames, (n, channels), and whether more may follow."""
        wanted = self.header.sample_rate // BLOCKS_PER_SECOND
        block = np.full((wanted, self.header.channels), np.nan, np.float32)
        try:
            read = len(self.file.read(out=block))
        except soundfile.LibsndfileError as error:
            if self.bytes.tell() < self.size:
                second = frames_read / self.header.sample_rate
                raise AudioError(
                    f"the {self.header.container} file is damaged {second:.1f} s after its start "
                    f"({error.error_string.rstrip('.')}): send it whole, or cut it there"
                ) from error
            return block[: filled(block)], False  # the bytes ended first
        return block[:read], read > 0

    def _mono(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = frames[:, 0] if self.header.channels == 1 else frames.mean(axis=1, dtype=np.float32)
        if not np.isfinite(samples).all():
            raise AudioError("the file holds samples that are not numbers (NaN or infinity): write it anew")
        return samples.clip(-1, 1)  # floating-point files may go beyond full scale


def read(content: bytes) -> Iterator[NDArray[np.float32]]:
    """Decode a whole file: blocks of (n,) float32, 16 kHz mono; none where it holds no samples. Or AudioError."""
    return Recording(content).blocks()


def sniff(content: bytes) -> str:
    """The name of what the bytes begin like; AudioError where it is nothing that we read."""
    if not content:
        raise AudioError("the file is empty")
    if is_wav(content):
        return "WAV"
    if content.startswith(b"fLaC"):
        return "FLAC"
    if content.startswith(b"OggS"):
        return "Ogg"
    if name := stranger(content):
        raise AudioError(f"this is {name}, which this version does not read; it reads {READS}")
    raise AudioError(
        f"these bytes are no audio file that this version reads ({READS}); "
        "raw samples need their encoding and sample rate in the config"
    )


def is_wav(content: bytes) -> bool:
    return content[:4] in (b"RIFF", b"RIFX", b"RF64") and content[8:12] == b"WAVE"


def stranger(content: bytes) -> str | None:
    """The name of a format that is known to us but not read."""
    for offset, magic, name in STRANGERS:
        if content.startswith(magic, offset):
            return name
    start = int.from_bytes(content[:2], "big")
    return next((name for mask, bits, name in FRAMES if start & mask == bits), None)


def opus_rates(content: bytes) -> tuple[int, ...]:
    """The clock of Opus, and the rate that the encoder was given."""
    head = content[content.find(b"OpusHead") :]
    return OPUS_RATE, int.from_bytes(head[OPUS_HEAD_RATE], "little")


def filled(block: NDArray[np.float32]) -> int:
    """How many frames of a block of NaN the decoder wrote before it stopped."""
    written = np.flatnonzero(~np.isnan(block).any(axis=1))
    return int(written[-1]) + 1 if written.size else 0


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
    return bool(name.isascii()) and name.decode().isprintable() and start + CHUNK_HEADER_BYTES + size <= len(wav)
