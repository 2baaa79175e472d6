"""What libsndfile reads: WAV, FLAC, Ogg Opus, Ogg Vorbis, MP3."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.channels import Channels
from asr.audio.header import Header
from asr.audio.opus import rates_of
from asr.audio.pcm import on_scale
from asr.audio.sniff import FLAC, MP3, OGG, WAV
from asr.audio.wav import with_length
from asr.errors import AudioError, NotSupportedError

BLOCKS_PER_SECOND = 2
UNKNOWN_FRAMES = 2**60  # libsndfile says 2**63 - 1 where the header leaves the length out

# libsndfile's names for what we read: WAVEX and RF64 are WAV with longer headers
CONTAINERS = {"WAV": WAV, "WAVEX": WAV, "RF64": WAV, "FLAC": FLAC, "OGG": OGG, "MP3": MP3, "MPEG": MP3}


class SndfileRecording:
    """A file held in memory, opened: its header is known, its samples can be read once."""

    def __init__(self, content: bytes, container: str, separate: bool = False):
        if container == MP3 and "MP3" not in soundfile.available_formats():
            raise NotSupportedError(
                "this server's libsndfile is older than 1.1 and reads no MP3: send WAV, FLAC or Ogg"
            )
        self.bytes = io.BytesIO(with_length(content) if container == WAV else content)
        self.size = len(content)
        try:
            self.file = soundfile.SoundFile(self.bytes)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"the file begins like {container} but its header cannot be read, so it is cut short or damaged "
                f"({error.error_string.rstrip('.')})"
            ) from error
        self.channels = Channels(self.file.samplerate, self.file.channels, separate)
        self.header = Header(
            container=CONTAINERS.get(self.file.format, self.file.format),
            codec=self.file.subtype,
            sample_rate=self.file.samplerate,
            channels=self.file.channels,
            frames=self.file.frames if self.file.frames < UNKNOWN_FRAMES else None,
            other_rates=rates_of(content) if self.file.subtype == "OPUS" else (),
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n,), or (n, channels) where separate, float32 at 16 kHz in [-1, 1], about half a second each."""
        frames_read = 0
        more = True
        while more:
            frames, more = self._read(frames_read)
            frames_read += len(frames)
            samples = self.channels.accept(on_scale(frames))
            if samples.size:
                yield samples
        if (tail := self.channels.finish()).size:
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


def filled(block: NDArray[np.float32]) -> int:
    """How many frames of a block of NaN the decoder wrote before it stopped."""
    written = np.flatnonzero(~np.isnan(block).any(axis=1))
    return int(written[-1]) + 1 if written.size else 0
