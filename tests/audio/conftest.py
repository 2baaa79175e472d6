import io
import sys
from collections.abc import Callable, Sequence

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.audio.ogg import CHECKSUM, CONTINUED, FIRST, HEAD, LAST, checksum_of
from asr.audio.resample import Resampler

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
    """The bytes of one Ogg stream: the first two packets on a page each, then at most `per_page` to a page."""

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
        pages, begun, packets_ended = [], False, 0
        while segments:
            page, ended = [], []
            while segments and len(page) < 255 and len(ended) < (per_page if packets_ended > 1 else 1):
                piece, number = segments.pop(0)
                page.append(piece)
                ended += [] if number is None else [number]
            granule = (granules[ended[-1]] if granules else 0) if ended else -1
            flags = begun * CONTINUED | (not pages) * FIRST | (closed and not segments) * LAST
            begun = len(page[-1]) == 255
            packets_ended += len(ended)
            pages.append(page_with(page, flags, granule, serial, len(pages)))
        return b"".join(pages)

    return make


def page_with(segments: Sequence[bytes], flags: int, granule: int, serial: int, sequence: int) -> bytes:
    head = HEAD.pack(b"OggS", 0, flags, granule, serial, sequence, 0, len(segments))
    page = head + bytes(map(len, segments)) + b"".join(segments)
    return page[: CHECKSUM.start] + checksum_of(page).to_bytes(4, "little") + page[CHECKSUM.stop :]


@pytest.fixture(scope="session")
def resampled() -> Callable[[Samples, int], Samples]:
    """All of it at once to 16 kHz."""

    def make(samples: Samples, rate: int) -> Samples:
        resampler = Resampler(rate)
        return np.concatenate([resampler.accept(samples), resampler.finish()])

    return make


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra 'media' is not installed."""
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture(scope="session")
def media_of() -> Callable[..., bytes]:
    """The bytes of a file that FFmpeg writes of these samples, (n,) or (n, channels)."""

    def make(
        samples: Samples, sample_rate: int = 48_000, container: str = "mp4", codec: str = "aac", **options
    ) -> bytes:
        layout = "mono" if samples.ndim == 1 else "stereo"
        planes = np.ascontiguousarray(np.atleast_2d(samples.T))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = sample_rate
        content = io.BytesIO()
        with av.open(content, "w", format=container, options=options) as file:
            stream = file.add_stream(codec, rate=sample_rate)
            stream.layout = layout
            stream.options = {"strict": "-2"}  # FFmpeg calls its own Vorbis an experiment
            stream.open()
            context = stream.codec_context
            shaper = av.AudioResampler(context.format.name, layout, sample_rate, context.frame_size or 1024)
            for shaped in [*shaper.resample(frame), *shaper.resample(None), None]:
                file.mux(stream.encode(shaped))
        return content.getvalue()

    return make
