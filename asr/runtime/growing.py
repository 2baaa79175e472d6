"""The encoding of a segment that is still being spoken: each chunk is encoded once, and what came of it is kept.

Positions and caches start afresh with the segment. A chunk sees itself and at most the bundle's left context before it,
so that it costs the same whatever came before. Knows no text, and not when to encode.
"""

import numpy as np
from numpy.typing import NDArray

from asr.runtime.sessions import FRAME_AXIS, MORE_TO_COME, Arrays, Encoder, Source, source_of

ROOM = 128  # frames by which the arrays grow; what the decoder reads must be whole, and room costs it time


class Growing:
    """One segment's encoding."""

    def __init__(self, encoder: Encoder, chunk: int):
        self.encoder = encoder
        self.chunk = chunk  # frames
        self.frames = 0  # encoded
        self.arrays: Arrays = {}  # of these frames, with room for more
        self.caches = encoder.no_caches()

    def reach(self, samples: NDArray[np.float32], frames: int) -> Source:
        """Encode up to so many frames, whole chunks.

        samples  (n,) of the segment from its start, with the bundle's look_ahead after the frames
        """
        self._encode(samples, frames, MORE_TO_COME)
        return source_of(self.arrays, self.frames, self.frames, grows=True)

    def end(self, samples: NDArray[np.float32]) -> Source:
        """Encode the rest of a segment that ends after these samples (n,), and the silence after it."""
        heard = self.encoder.frames_of(samples.size)
        frames = min(heard + self.encoder.end_silence, max(heard, self.encoder.bundle.max_frames))
        self._encode(samples, frames, total=frames)
        return source_of(self.arrays, self.frames, heard, grows=True)

    def _encode(self, samples: NDArray[np.float32], frames: int, total: int) -> None:
        while self.frames < frames:
            new = min(self.chunk, frames - self.frames)
            encoded = self.encoder.encode_chunk(samples, self.frames, new, total, self.caches)
            self.caches = encoded.caches
            self.arrays = {name: self._with(name, values) for name, values in encoded.arrays.items()}
            self.frames += new

    def _with(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The kept array of this name, with a chunk's values written after the frames that it has."""
        kept, last = self.arrays.get(name), self.frames + values.shape[FRAME_AXIS]
        if kept is None or kept.shape[FRAME_AXIS] < last:
            shape = list(values.shape)
            shape[FRAME_AXIS] = -(-last // ROOM) * ROOM
            grown = np.zeros(shape, values.dtype)
            if kept is not None:
                grown[..., : self.frames, :] = kept[..., : self.frames, :]
            kept = grown
        kept[..., self.frames : last, :] = values
        return kept
