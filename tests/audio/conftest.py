import io
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.audio.ogg import CHECKSUM, CONTINUED, FIRST, HEAD, LAST, checksum_of

Samples = NDArray[np.float32]


@pytest.fixture(scope="session")
def speechlike() -> Callable[..., Samples]:
    """(n,) float32 below full scale: a few gliding tones and a little noise, the same every time."""

    def make(samples: int, sample_rate: int = 16_000) -> Samples:
        seconds = np.arange(samples) / sample_rate
        tones = sum(np.sin(2 * np.pi * pitch * (seconds + 0.1 * seconds**2)) for pitch in (150, 450, 1100))
        noise = np.random.default_rng(samples).standard_normal(samples)
        return (0.15 * tones + 0.02 * noise).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def file_of() -> Callable[..., bytes]:
    """The bytes of a file with these samples, (n,) or (n, channels)."""

    def make(samples: Samples, sample_rate: int = 16_000, container: str = "WAV", codec: str = "PCM_16") -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, sample_rate, format=container, subtype=codec)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def ogg_pages() -> Callable[..., bytes]:
    """The bytes of one Ogg stream with these packets, as many segments to a page as it holds, or `per_page` packets."""

    def make(
        packets: Sequence[bytes],
        granules: Sequence[int] = (),
        serial: int = 7,
        per_page: int = 1,
        closed: bool = True,
    ) -> bytes:
        segments = []  # (bytes, the packet that ends with them)
        for number, packet in enumerate(packets):
            pieces = [packet[at : at + 255] for at in range(0, len(packet) + 1, 255)]
            segments += [(piece, number if piece is pieces[-1] else None) for piece in pieces]
        pages, begun = [], False
        while segments:
            page, ended = [], []
            while segments and len(page) < 255 and len(ended) < per_page:
                piece, number = segments.pop(0)
                page.append(piece)
                ended += [] if number is None else [number]
            granule = (granules[ended[-1]] if granules else 0) if ended else -1
            flags = begun * CONTINUED | (not pages) * FIRST | (closed and not segments) * LAST
            begun = len(page[-1]) == 255
            pages.append(page_with(page, flags, granule, serial, len(pages)))
        return b"".join(pages)

    return make


def page_with(segments: Sequence[bytes], flags: int, granule: int, serial: int, sequence: int) -> bytes:
    head = HEAD.pack(b"OggS", 0, flags, granule, serial, sequence, 0, len(segments))
    page = head + bytes(map(len, segments)) + b"".join(segments)
    return page[: CHECKSUM.start] + checksum_of(page).to_bytes(4, "little") + page[CHECKSUM.stop :]
