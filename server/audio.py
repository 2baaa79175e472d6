"""The audio of a call: from the bytes, and what the config says of them, to blocks of samples within the limits."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.apart import ApartRecording
from asr.audio.header import Header
from asr.audio.opus import HeardPacket, OpusReader
from asr.audio.pcm import Encoding, PacketReader, PcmFormat
from asr.audio.resample import SAMPLE_RATE
from asr.audio.sniff import OGG_MAGIC, WAV_MAGIC_BYTES, WAV_MAGICS, is_wav
from asr.audio.wav import WavReader
from asr.errors import AudioError, OptionError, TooLongError

Block = NDArray[np.float32]

RAW_CODECS = {"LINEAR16": "PCM_16", "MULAW": "ULAW", "ALAW": "ALAW"}  # as raw samples, and as a WAV holds them
# the container and the codec that an encoding names; "": any
FILES = {"FLAC": ("FLAC", ""), "OGG_OPUS": ("Ogg", "OPUS"), "MP3": ("MP3", ""), "WEBM_OPUS": ("WebM", "OPUS")}
LIVE = ("", "OGG_OPUS", *RAW_CODECS)  # what a stream may be said to be; "": it says so itself


@dataclass(frozen=True)
class Declared:
    """What a config says of the audio; "" and 0 where it says nothing."""

    encoding: str = ""  # a key of RAW_CODECS or FILES
    sample_rate: int = 0
    channels: int = 0
    separate: bool = False  # each channel is to be heard by itself

    def pcm(self) -> PcmFormat:
        """The format of raw samples; OptionError where the config does not say enough for that."""
        if self.encoding not in RAW_CODECS:
            raise OptionError(
                f"raw samples need an encoding, {', '.join(RAW_CODECS)}, but this is {self.encoding or 'unspecified'}; "
                "files go to Recognize, or name themselves by their first bytes"
            )
        if not self.sample_rate:
            raise OptionError(f"raw samples do not say their rate: {self.encoding} needs sample_rate_hertz")
        return PcmFormat(Encoding(self.encoding), self.sample_rate, self.channels or 1)


Piece = bytes | list[HeardPacket]  # about a second of what came, as its reader takes it


class Reader(Protocol):
    """Packets of one stream, cut anywhere, to samples."""

    @property
    def received_s(self) -> float: ...

    @property
    def heard(self) -> int:
        """How many channels are heard, each by itself; 1 where they are mixed down, or not known yet."""
        ...

    def pieces(self, packet: bytes) -> Iterator[Piece]:
        """Cheap: nothing is decoded. Lazy: between two pieces a caller may stop."""
        ...

    def accept(self, piece: Any) -> Block:
        """Decode one of these pieces."""
        ...

    def flush(self) -> Block: ...

    def finish(self) -> Block: ...


class LiveReader:
    """By its first bytes a stream is a WAV, Ogg Opus, or raw samples as the config has them."""

    def __init__(self, declared: Declared):
        self.declared = declared
        self.first = b""  # until they say what they are
        self.chosen: Reader | None = None

    @property
    def received_s(self) -> float:
        return self.chosen.received_s if self.chosen else 0.0

    @property
    def heard(self) -> int:
        return self.chosen.heard if self.chosen else 1

    def pieces(self, packet: bytes) -> Iterator[Piece]:
        if self.chosen is None:
            packet = self.first + packet
            self.first = b""
            self.chosen = self._choose(packet)
        if self.chosen is None:
            self.first = packet
        else:
            yield from self.chosen.pieces(packet)

    def accept(self, piece: Piece) -> Block:
        assert self.chosen is not None  # where a piece came from
        return self.chosen.accept(piece)

    def flush(self) -> Block:
        return self.chosen.flush() if self.chosen else np.zeros(0, np.float32)

    def finish(self) -> Block:
        """The last samples, and with them the first where they were too few to say what they are."""
        blocks = []
        if self.chosen is None and (self.first or self.declared.encoding in RAW_CODECS):
            self.chosen = self._otherwise()
            blocks = [self.chosen.accept(piece) for piece in self.chosen.pieces(self.first)]
        return np.concatenate([*blocks, self.chosen.finish()]) if self.chosen else np.zeros(0, np.float32)

    def _choose(self, first: bytes) -> Reader | None:
        """None while they may still become a WAV or Ogg."""
        encoding = self.declared.encoding
        check = partial(check_header, declared=self.declared)
        if encoding != "OGG_OPUS" and is_wav(first):
            return WavReader(check, self.declared.separate)
        if encoding not in RAW_CODECS and first.startswith(OGG_MAGIC):
            return OpusReader(check, self.declared.separate)
        magics = () if len(first) >= WAV_MAGIC_BYTES else (OGG_MAGIC, *WAV_MAGICS)
        return None if any(magic.startswith(first[: len(magic)]) for magic in magics) else self._otherwise()

    def _otherwise(self) -> Reader:
        if self.declared.encoding == "OGG_OPUS":
            raise AudioError("the config says OGG_OPUS, but the stream does not begin with an Ogg page")
        return PacketReader(self.declared.pcm(), self.declared.separate)


class LivePackets:
    """The packets of one stream: a second at a time, and no more in all than the limit, which all channels share."""

    def __init__(self, declared: Declared, max_s: float):
        if declared.encoding not in LIVE:
            raise OptionError(
                f"a stream is {', '.join(LIVE[1:])} or says itself what it is, but this is {declared.encoding}: "
                "files go to Recognize, or are decoded by the sender"
            )
        if declared.encoding in RAW_CODECS and declared.sample_rate:
            PacketReader(declared.pcm(), declared.separate)  # complains of the format now, not at the first packet
        self.reader = LiveReader(declared)
        self.max_s = max_s

    @property
    def received_s(self) -> float:
        return self.reader.received_s

    def seconds(self, packet: bytes) -> Iterator[Piece]:
        """Cut lazily: between two seconds a caller may stop."""
        for piece in self.reader.pieces(packet):
            check_duration(self.received_s, self.max_s, "stream", self.reader.heard)
            yield piece


def recording_blocks(content: bytes, declared: Declared, max_s: float) -> Iterator[Block]:
    """Decode a whole recording; what its config or header says wrong is an error before the first block.

    Blocks are (n,), or (n, channels) where separate.
    """
    raw = declared.encoding in RAW_CODECS and not is_wav(content)
    if raw:
        return raw_blocks(content, declared.pcm(), declared.separate, max_s)
    if not content:
        return iter(())
    recording = ApartRecording(content, declared.separate)
    check_header(recording.header, declared)
    heard = recording.header.channels if declared.separate else 1
    check_duration(recording.header.duration_s or 0.0, max_s, "recording", heard)
    return within(recording.blocks(), max_s, heard)


def raw_blocks(content: bytes, pcm: PcmFormat, separate: bool, max_s: float) -> Iterator[Block]:
    reader = PacketReader(pcm, separate)  # complains of the format now, not at the first block
    check_duration(len(content) / pcm.bytes_per_second, max_s, "recording", reader.heard)
    return read_through(content, reader)


def read_through(content: bytes, reader: PacketReader) -> Iterator[Block]:
    for second in reader.pieces(content):
        yield reader.accept(second)
    yield reader.finish()


def within(blocks: Iterator[Block], max_s: float, heard: int) -> Iterator[Block]:
    """The blocks, counted: a header need not tell the truth."""
    samples = 0
    for block in blocks:
        samples += len(block)
        check_duration(samples / SAMPLE_RATE, max_s, "recording", heard)
        yield block


def check_header(header: Header, declared: Declared) -> None:
    """AudioError where the config contradicts the file."""
    container, codec = FILES.get(declared.encoding, ("", ""))
    if container not in ("", header.container) or codec not in ("", header.codec):
        raise AudioError(
            f"the config says {declared.encoding}, but the file is {header.container} {header.codec}: "
            "leave the encoding unspecified and the file says it itself"
        )
    if declared.encoding in RAW_CODECS and header.codec != RAW_CODECS[declared.encoding]:
        raise AudioError(
            f"the config says {declared.encoding}, but this is a WAV file of {header.codec}: "
            "leave the encoding unspecified and the file says it itself"
        )
    if declared.sample_rate and not header.has_rate(declared.sample_rate):
        raise AudioError(
            f"the config says {declared.sample_rate} Hz, but the file's header says {header.sample_rate} Hz: "
            "leave sample_rate_hertz 0 for files"
        )
    if declared.channels and declared.channels != header.channels:
        raise AudioError(
            f"the config says {declared.channels} channel(s), but the file's header says {header.channels}: "
            "leave audio_channel_count 0 for files"
        )


def check_duration(duration_s: float, max_s: float, what: str, heard: int = 1) -> None:
    """heard: so many channels, each by itself, which costs as much as one recording of them all in a row."""
    if duration_s * heard > max_s:
        each = f" in each of {heard} channels, which count together" if heard > 1 else ""
        raise TooLongError(
            f"the {what} is {duration_s:.1f} s long or longer{each}, and this server takes {max_s:g} s: "
            "cut it into parts"
        )
