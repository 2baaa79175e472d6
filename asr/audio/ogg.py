"""Ogg pages as they arrive (RFC 3533): bytes cut anywhere to pages, and of pages the packets.

A page is held until it is whole and its checksum is right; nothing is read by guess.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from asr.errors import AudioError

HEAD = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule, serial, sequence, checksum, segments
CHECKSUM = slice(22, 26)
CONTINUED, FIRST, LAST = 1, 2, 4
FULL_SEGMENT = 255  # the packet goes on in the next segment
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    serial: int  # which stream it belongs to
    sequence: int
    granule: int  # what the last packet that ends here reaches to; -1 where none does
    is_continued: bool  # it begins within a packet
    is_first: bool
    is_last: bool
    pieces: tuple[bytes, ...]  # of packets, each whole but perhaps the first and the last
    is_open: bool  # the last piece goes on in the next page


class PageReader:
    def __init__(self) -> None:
        self.held = bytearray()

    def accept(self, packet: bytes) -> Iterator[Page]:
        """The pages that are whole, one at a time."""
        self.held += packet
        while (page_bytes := self._page_bytes()) is not None:
            page = bytes(self.held[:page_bytes])
            del self.held[:page_bytes]
            yield page_of(page)

    def _page_bytes(self) -> int | None:
        """How long the first page is; None while that, or its end, is not there."""
        if not b"OggS".startswith(self.held[:4]):
            raise AudioError("the Ogg stream is damaged: a page does not begin where the one before it ends")
        if len(self.held) < HEAD.size:
            return None
        segments = self.held[HEAD.size - 1]
        if len(self.held) < HEAD.size + segments:
            return None
        page_bytes = HEAD.size + segments + sum(self.held[HEAD.size : HEAD.size + segments])
        return page_bytes if len(self.held) >= page_bytes else None


class PacketJoiner:
    """Packets of one logical stream, which may span pages."""

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.begun = b""
        self.next_sequence: int | None = None

    def accept(self, page: Page) -> list[bytes]:
        """The packets that end on this page."""
        if self.next_sequence is not None and page.sequence != self.next_sequence:
            raise AudioError(f"the Ogg stream lacks a page: {page.sequence} came where {self.next_sequence} belongs")
        self.next_sequence = (page.sequence + 1) % 2**32
        if page.is_continued != bool(self.begun) and page.pieces:
            raise AudioError("the Ogg stream is damaged: a packet's end, or its beginning, is missing")
        packets = list(page.pieces)
        if packets:
            packets[0] = self.begun + packets[0]
            self.begun = packets.pop() if page.is_open else b""
        if len(self.begun) > self.max_bytes:
            raise AudioError(
                f"an Ogg packet is longer than {self.max_bytes} bytes, which no sound is: leave pictures out"
            )
        return packets


def page_of(content: bytes) -> Page:
    """A page whole, checked."""
    _, version, flags, granule, serial, sequence, checksum, segments = HEAD.unpack_from(content)
    if version != 0 or checksum_of(content) != checksum:
        raise AudioError(f"the Ogg stream is damaged: the checksum of page {sequence} is wrong")
    lacing = content[HEAD.size : HEAD.size + segments]
    pieces = []
    start = end = HEAD.size + segments
    for size in lacing:
        end += size
        if size < FULL_SEGMENT:
            pieces.append(content[start:end])
            start = end
    is_open = bool(lacing) and lacing[-1] == FULL_SEGMENT
    if is_open:
        pieces.append(content[start:end])
    return Page(
        serial=serial,
        sequence=sequence,
        granule=granule,
        is_continued=bool(flags & CONTINUED),
        is_first=bool(flags & FIRST),
        is_last=bool(flags & LAST),
        pieces=tuple(pieces),
        is_open=is_open,
    )


def checksum_of(page: bytes) -> int:
    """Ogg's CRC-32 of a page whose own checksum counts as 0.

    It is zlib's polynomial with the bits of each byte the other way round, and nothing inverted; so the bytes are
    mirrored, zlib's inversions undone, and the result mirrored back. In Python alone a megabyte would take a second.
    """
    blank = page[: CHECKSUM.start] + bytes(4) + page[CHECKSUM.stop :]
    mirrored = zlib.crc32(blank.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
