"""The audio of a call: from the bytes, and what the config says of them, to blocks of samples within the limits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.audio import decode
from asr.audio.pcm import Encoding, PacketReader, PcmFormat
from asr.audio.resample import SAMPLE_RATE
from asr.errors import AudioError, OptionError, TooLongError

Block = NDArray[np.float32]

RAW_CODECS = {"LINEAR16": "PCM_16", "MULAW": "ULAW", "ALAW": "ALAW"}  # as raw samples, and as a WAV holds them
FILES = {"FLAC": "FLAC", "OGG_OPUS": "Ogg"}  # the container that an encoding names


@dataclass(frozen=True)
class Declared:
    """What a config says of the audio; "" and 0 where it says nothing."""

    encoding: str = ""  # a key of RAW_CODECS or FILES
    sample_rate: int = 0
    channels: int = 0

    def pcm(self) -> PcmFormat:
        """The format of raw samples; OptionError where the config does not say enough for that."""
        if self.encoding not in RAW_CODECS:
            raise OptionError(
                f"raw samples need an encoding, {', '.join(RAW_CODECS)}, but this is {self.encoding or 'unspecified'}; "
                "files go to Recognize, or are decoded by the sender"
            )
        if not self.sample_rate:
            raise OptionError(f"raw samples do not say their rate: {self.encoding} needs sample_rate_hertz")
        return PcmFormat(Encoding(self.encoding), self.sample_rate, self.channels or 1)


class LivePackets:
    """The packets of one stream: a second at a time, and no more in all than the limit."""

    def __init__(self, declared: Declared, max_s: float):
        self.pcm = declared.pcm()
        self.reader = PacketReader(self.pcm)
        self.max_s = max_s
        self.received_bytes = 0

    @property
    def received_s(self) -> float:
        return self.received_bytes / self.pcm.bytes_per_second

    def seconds(self, packet: bytes) -> Iterator[bytes]:
        """Cut lazily: between two seconds a caller may stop."""
        for second in seconds_of(packet, self.pcm):
            self.received_bytes += len(second)
            check_duration(self.received_s, self.max_s, "stream")
            yield second


def recording_blocks(content: bytes, declared: Declared, max_s: float) -> Iterator[Block]:
    """Decode a whole recording; what its config or header says wrong is an error before the first block."""
    raw = declared.encoding in RAW_CODECS and not decode.is_wav(content)
    if raw:
        return raw_blocks(content, declared.pcm(), max_s)
    if not content:
        return iter(())
    recording = decode.Recording(content)
    check_header(recording.header, declared)
    check_duration(recording.header.duration_s or 0.0, max_s, "recording")
    return within(recording.blocks(), max_s)


def raw_blocks(content: bytes, pcm: PcmFormat, max_s: float) -> Iterator[Block]:
    check_duration(len(content) / pcm.bytes_per_second, max_s, "recording")
    reader = PacketReader(pcm)  # complains of the format now, not at the first block
    return read_through(content, reader)


def read_through(content: bytes, reader: PacketReader) -> Iterator[Block]:
    for second in seconds_of(content, reader.pcm):
        yield reader.accept(second)
    yield reader.finish()


def seconds_of(content: bytes, pcm: PcmFormat) -> Iterator[bytes]:
    for start in range(0, len(content), pcm.bytes_per_second):
        yield content[start : start + pcm.bytes_per_second]


def within(blocks: Iterator[Block], max_s: float) -> Iterator[Block]:
    """The blocks, counted: a header need not tell the truth."""
    samples = 0
    for block in blocks:
        samples += block.size
        check_duration(samples / SAMPLE_RATE, max_s, "recording")
        yield block


def check_header(header: decode.Header, declared: Declared) -> None:
    """AudioError where the config contradicts the file."""
    expected = FILES.get(declared.encoding)
    if expected and (header.container != expected or (expected == "Ogg" and header.codec != "OPUS")):
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


def check_duration(duration_s: float, max_s: float, what: str) -> None:
    if duration_s > max_s:
        raise TooLongError(
            f"the {what} is {duration_s:.1f} s long or longer, and this server takes {max_s:g} s: cut it into parts"
        )
