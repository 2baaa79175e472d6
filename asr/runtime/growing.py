"""The encoding of a segment that is still being spoken: each chunk is encoded once, and what came of it is kept.

Positions and caches start afresh with the segment. A chunk sees itself and at most the bundle's left context before it,
so that it costs the same whatever came before. It also sees the bundle's right context, some frames after it, of which
nothing is kept: they are encoded again in their own chunk (Shi et al. 2021, "Emformer", section 2.2). A sound at a
chunk's end is not clear without what follows. Knows no text, and not when to encode.
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

        samples  (n,) of the segment from its start, with the bundle's `ahead` after the frames
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
            seen = min(self.frames + new + self.encoder.bundle.right_context_frames, total) - self.frames
            encoded = self.encoder.encode_chunk(samples, self.frames, seen, total, self.caches)
            self.caches = {name: self._cache(name, values, new, seen) for name, values in encoded.caches.items()}
            self.arrays = {name: self._with(name, values[..., :new, :]) for name, values in encoded.arrays.items()}
            self.frames += new

    def _cache(self, name: str, values: NDArray[np.float32], new: int, seen: int) -> NDArray[np.float32]:
        """The cache of this name after a call that saw so many frames, of which the first `new` are to be kept."""
        if seen == new:
            return values
        before = self.caches[name]
        surplus = max(0, before.shape[FRAME_AXIS] + new - self.encoder.bundle.left_context_frames)
        size = values.shape[FRAME_AXIS]  # the newest, the last of which are the right context
        made = values[..., max(0, size - seen) : size - (seen - new), :]
        return np.concatenate([before[..., surplus:, :], made], axis=FRAME_AXIS)

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
