"""Ogg Opus in packets, cut anywhere, to 16 kHz as it arrives (RFC 7845; Opus itself is RFC 6716).

    Ogg page  -> packets -> each known by its first byte to last 2.5 to 120 ms -> PyAV's libopus at 48 kHz -> 16 kHz

Pages are read and limits counted before anything is decoded. What comes out depends on the
pages alone: the encoder's run-in (pre-skip) is dropped, and the last page says where the
sound ends. A stream that ends without a last page, or within a page, gives what is there.
One stream may follow another, as recorders write that were stopped and started.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.channels import Channels
from asr.audio.header import Header
from asr.audio.ogg import PacketJoiner, Page, PageReader
from asr.audio.pcm import on_scale
from asr.errors import AudioError, NotSupportedError

OPUS_RATE = 48_000  # every Opus stream's own clock (RFC 7845, section 4)
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, OPUS_RATE)  # that it can be decoded at, so may be called by
MAX_PACKET_SAMPLES = OPUS_RATE * 120 // 1000
MAX_PACKET_BYTES = 2**17  # eight channels at the highest rate that there is take less
PIECE_SAMPLES = OPUS_RATE
PIECE_PAGES = 64  # pages without a sound take time too

HEAD_BYTES = 19
HEAD_CHANNELS, HEAD_RATE, HEAD_FAMILY = 9, slice(12, 16), 18
HEAD_PRE_SKIP = slice(10, 12)
MAX_CHANNELS = {0: 2, 1: 8}  # of the families that say which loudspeaker a channel is for


@dataclass(frozen=True)
class OpusHead:
    """The first packet of a stream."""

    content: bytes
    channels: int
    pre_skip: int
    encoded_rate: int  # what the encoder was given; 0 where it does not say

    @classmethod
    def read(cls, packet: bytes) -> "OpusHead":
        if len(packet) < HEAD_BYTES or packet[8] >> 4:
            raise AudioError("the Opus header is damaged, or of a version that does not exist yet")
        channels, family = packet[HEAD_CHANNELS], packet[HEAD_FAMILY]
        if not 1 <= channels <= MAX_CHANNELS.get(family, 0):
            raise AudioError(f"an Opus stream of {channels} channels in mapping family {family} cannot be read")
        pre_skip = int.from_bytes(packet[HEAD_PRE_SKIP], "little")
        return cls(packet, channels, pre_skip, int.from_bytes(packet[HEAD_RATE], "little"))

    def header(self) -> Header:
        return Header(
            "Ogg", "OPUS", OPUS_RATE, self.channels, frames=None, other_rates=(*OPUS_RATES, self.encoded_rate)
        )


@dataclass(frozen=True)
class HeardPacket:
    """A packet of sound, and which of its samples are heard."""

    head: OpusHead  # of its stream
    packet: bytes
    samples: int
    start: int
    stop: int


class OpusReader:
    """`check` is called with the header of each stream, and may refuse it.

    Samples are (n,) mixed down, (n, channels) where separate: then all streams have as many channels as the first.
    """

    def __init__(self, check: Callable[[Header], None], separate: bool = False):
        self.check = check
        self.separate = separate
        self.pages = PageReader()
        self.link: Link | None = None
        self.received = 0  # samples at 48 kHz
        self.decoder: Decoder | None = None
        self.channels: Channels | None = None

    @property
    def received_s(self) -> float:
        return self.received / OPUS_RATE

    @property
    def heard(self) -> int:
        return self.channels.heard if self.channels else 1

    def pieces(self, packet: bytes) -> Iterator[list[HeardPacket]]:
        """What the pages hold that are whole now, about a second at a time."""
        piece: list[HeardPacket] = []
        samples = 0
        for number, page in enumerate(self.pages.accept(packet), 1):
            for heard in self._sounds(page):
                piece.append(heard)
                samples += heard.samples
                self.received += heard.stop - heard.start
                if samples >= PIECE_SAMPLES:
                    yield piece
                    piece, samples = [], 0
            if number % PIECE_PAGES == 0:
                yield piece
                piece, samples = [], 0
        if piece:
            yield piece

    def accept(self, piece: list[HeardPacket]) -> NDArray[np.float32]:
        """Decode, at 16 kHz."""
        samples = []
        for heard in piece:
            assert self.channels is not None  # since its head came
            if self.decoder is None or self.decoder.head is not heard.head:
                self.decoder = Decoder(heard.head)
            samples.append(self.channels.accept(self.decoder.decode(heard)))
        return np.concatenate(samples) if samples else np.zeros(0, np.float32)

    def flush(self) -> NDArray[np.float32]:
        return self.channels.finish() if self.channels else np.zeros(0, np.float32)

    def finish(self) -> NDArray[np.float32]:
        if self.link is None:
            raise AudioError("the stream ended before its Opus header: send it from its first page on")
        return self.flush()

    def _sounds(self, page: Page) -> Iterator[HeardPacket]:
        if page.is_first and (self.link is None or self.link.has_sound):
            self._begin(page)
        elif self.link is None:
            raise AudioError("this Ogg stream begins without an Opus header: send it from its first page on")
        elif page.serial == self.link.serial:
            yield from self.link.sounds(page)

    def _begin(self, page: Page) -> None:
        first = page.pieces[0] if page.pieces else b""
        if first.startswith(b"OpusHead"):
            head = OpusHead.read(first)
            self.check(head.header())
            if self.channels is None:
                self.channels = Channels(OPUS_RATE, head.channels, self.separate)
            elif self.separate and head.channels != self.channels.heard:
                raise AudioError("the Ogg stream changes its number of channels, which are to be heard each by itself")
            self.link = Link(head, page)
        elif self.link is None and not first.startswith((b"fishead", b"\x80theora")):  # what may stand beside sound
            raise AudioError("this Ogg stream is not Opus, and only that can be streamed: send the file to Recognize")


class Link:
    """One Opus stream of those that may follow each other."""

    def __init__(self, head: OpusHead, page: Page):
        self.head = head
        self.serial = page.serial
        self.joiner = PacketJoiner(MAX_PACKET_BYTES)
        self.joiner.accept(page)
        self.has_tags = False
        self.has_sound = False
        self.position = 0  # samples so far, the run-in among them
        self.granule_of_first = 0  # what the page's clock was at the first of them: one may join a live stream late

    def sounds(self, page: Page) -> Iterator[HeardPacket]:
        """What of this page is heard."""
        packets = self.joiner.accept(page)
        if not self.has_tags and packets:
            self.has_tags = True
            packets = packets[1:]
        lengths = [samples_of(packet) for packet in packets]
        if lengths and not self.has_sound:
            self.has_sound = True
            if not page.is_last:
                self.granule_of_first = max(0, page.granule - sum(lengths))
        end = self.position + sum(lengths)
        if page.is_last and page.granule >= 0:
            end = min(end, max(self.position, page.granule - self.granule_of_first))
        for packet, samples in zip(packets, lengths, strict=True):
            start = min(max(0, self.head.pre_skip - self.position), samples)
            stop = max(start, min(samples, end - self.position))
            self.position += samples
            yield HeardPacket(self.head, packet, samples, start, stop)


class Decoder:
    """Packets of one stream to (n, channels) at 48 kHz. A packet's sound depends on those before it."""

    def __init__(self, head: OpusHead):
        try:
            self.av: Any = importlib.import_module("av")
        except ImportError:
            raise NotSupportedError(
                "this server cannot stream Ogg Opus: it needs the extra 'media' (pip install 'heed[media]'); "
                "send LINEAR16, or the file to Recognize"
            ) from None
        self.head = head
        content = bytearray(head.content)
        content[HEAD_PRE_SKIP] = bytes(2)  # it is counted here, where the end is too
        self.codec = self.av.CodecContext.create("libopus", "r")
        self.codec.extradata = bytes(content)
        self.codec.options = {"request_sample_fmt": "flt"}
        self.codec.thread_count = 1

    def decode(self, heard: HeardPacket) -> NDArray[np.float32]:
        try:
            frames = [frame.to_ndarray() for frame in self.codec.decode(self.av.Packet(heard.packet))]
        except (self.av.error.FFmpegError, ValueError) as error:
            raise AudioError("the Opus stream is damaged: a packet cannot be decoded") from error
        samples = np.concatenate([frame.reshape(-1, self.head.channels) for frame in frames])
        if len(samples) != heard.samples:
            raise AudioError("the Opus stream is damaged: a packet lasts longer or shorter than it says")
        return on_scale(samples[heard.start : heard.stop])


def samples_of(packet: bytes) -> int:
    """How long a packet lasts, in samples at 48 kHz (RFC 6716, section 3.1)."""
    if not packet:
        raise AudioError("the Opus stream is damaged: a packet is empty")
    config, code = packet[0] >> 3, packet[0] & 3
    if code == 3 and len(packet) < 2:
        raise AudioError("the Opus stream is damaged: a packet does not say how many frames it has")
    samples = frame_samples(config) * (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]
    if not 0 < samples <= MAX_PACKET_SAMPLES:
        raise AudioError("the Opus stream is damaged: a packet lasts longer than 120 ms, or not at all")
    return samples


def frame_samples(config: int) -> int:
    """SILK: 10, 20, 40, 60 ms; hybrid: 10, 20 ms; CELT: 2.5, 5, 10, 20 ms."""
    if config < 12:
        return (480, 960, 1920, 2880)[config % 4]
    return (480, 960)[config % 2] if config < 16 else (120, 240, 480, 960)[config % 4]


def rates_of(content: bytes) -> tuple[int, ...]:
    """What the rate of a file of Opus may be said to be: any that it can be decoded at, and what was encoded."""
    head = content[content.find(b"OpusHead") :]
    return *OPUS_RATES, int.from_bytes(head[HEAD_RATE], "little")
