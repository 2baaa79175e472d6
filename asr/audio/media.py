"""What FFmpeg reads, through PyAV: M4A, AAC, WebM. An extra (heed[media]), loaded when such a file comes.

FFmpeg knows hundreds of formats, and playlists that make it open other files and addresses.
So the demuxer is named and never guessed, the codec is one of a few, and the bytes are all it is given.
"""

import importlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.channels import Channels
from asr.audio.header import Header
from asr.audio.pcm import INT16_SCALE, INT32_SCALE, UINT8_SCALE, on_scale
from asr.audio.sniff import AAC, MP4, WEBM
from asr.errors import AudioError, NotSupportedError

DEMUXERS = {MP4: "mov", WEBM: "matroska", AAC: "aac"}  # FFmpeg's names
CODECS = {"aac", "alac", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac"}
SCALES = {"u1": UINT8_SCALE, "i2": INT16_SCALE, "i4": INT32_SCALE}
BLOCKS_PER_SECOND = 2
MICROSECONDS = 1_000_000  # FFmpeg's unit of a file's length


class MediaRecording:
    """A file held in memory, opened: its header is known, its samples can be read once."""

    def __init__(self, content: bytes, container: str, separate: bool = False):
        try:
            self.av: Any = importlib.import_module("av")
        except ImportError:
            raise NotSupportedError(
                f"this server does not read {container}: it needs the extra 'media' (pip install 'heed[media]'); "
                "send WAV, FLAC, Ogg or MP3"
            ) from None
        self.container = container
        self.bytes = io.BytesIO(content)
        self.size = len(content)
        try:
            self.file = self.av.open(self.bytes, format=DEMUXERS[container], metadata_errors="ignore")
            self.stream = self._sound()
            self.frames = self._frames()
            first = next(self.frames, None)
        except (self.av.error.FFmpegError, ValueError) as error:
            raise AudioError(
                f"the file begins like {container} but no sound in it can be read, so it is cut short or damaged"
            ) from error
        if first is None:
            raise AudioError(f"the {container} file holds no samples")
        self.first: Any = first
        self.channels = Channels(first.sample_rate, first.layout.nb_channels, separate)
        self.header = Header(
            container=container,
            codec=self.stream.codec_context.codec.canonical_name.upper(),
            sample_rate=first.sample_rate,  # as decoded: AAC may name half of it
            channels=first.layout.nb_channels,
            frames=self._length(),
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n,), or (n, channels) where separate, float32 at 16 kHz in [-1, 1], about half a second each."""
        block = self.header.sample_rate // BLOCKS_PER_SECOND
        waiting = [np.zeros((0, self.header.channels), np.float32)]
        for frames in self._decoded():
            waiting.append(frames)
            if sum(map(len, waiting)) >= block:
                held = np.concatenate(waiting)
                for start in range(0, len(held), block):
                    if (resampled := self.channels.accept(held[start : start + block])).size:
                        yield resampled
                waiting = waiting[:1]
        tail = [self.channels.accept(np.concatenate(waiting)), self.channels.finish()]
        if (samples := np.concatenate(tail)).size:
            yield samples

    def _sound(self) -> Any:
        """The first stream of sound, its decoder one that we know."""
        if not self.file.streams.audio:
            raise AudioError(f"the {self.container} file holds no sound")
        stream = self.file.streams.audio[0]
        name = stream.codec_context.name if stream.codec_context else "unknown"
        if name not in CODECS:
            raise AudioError(f"the {self.container} file holds sound as {name}, which this version does not read")
        stream.codec_context.thread_count = 1
        return stream

    def _frames(self) -> Iterator[Any]:
        """Decoded, one by one. What is wrong with the last packet is that the file was cut within it."""
        packets = self.file.demux(self.stream)
        for packet in packets:
            try:
                frames = packet.decode()
            except (self.av.error.FFmpegError, ValueError):
                if any(later.size for later in packets):
                    raise
                return
            yield from frames

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        """(n, channels)"""
        read = 0
        frame = self.first
        while frame is not None:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.header.sample_rate, self.header.channels):
                raise AudioError(f"the {self.container} file changes its rate or channels within: send its parts apart")
            yield on_scale(frames_of(frame))
            read += frame.samples
            try:
                frame = next(self.frames, None)
            except (self.av.error.FFmpegError, ValueError) as error:
                raise AudioError(
                    f"the {self.container} file is damaged {read / self.header.sample_rate:.1f} s after its start: "
                    "send it whole, or cut it there"
                ) from error

    def _length(self) -> int | None:
        """Frames as the header has them; of bare AAC FFmpeg would only guess."""
        if self.container == AAC or self.file.duration is None or self.file.duration <= 0:
            return None
        return int(self.file.duration * self.first.sample_rate // MICROSECONDS)


def frames_of(frame: Any) -> NDArray[np.float32]:
    """(n, channels) of what a decoder gives: planar or not, integers or floating point."""
    values: NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    frames = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if frames.dtype.kind == "f":
        return frames.astype(np.float32, copy=False)
    middle = UINT8_SCALE if frames.dtype == np.uint8 else 0
    scale = SCALES[frames.dtype.str[1:]]
    return (frames.astype(np.float32) - np.float32(middle)) / np.float32(scale)
