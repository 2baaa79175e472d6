"""The two graphs as onnxruntime runs them. Sessions are shared by all streams; what a stream carries is its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from asr.errors import FormatError
from asr.runtime.bundle import BATCH, FRAMES, Bundle, State

Arrays = dict[str, NDArray[Any]]

FRAME_AXIS = -2  # of source_* and of ctc
CTC = "ctc"
WEIGHTS = "weights"  # the decoder's output whose batch is its second axis, and whose last are the source's frames
MORE_TO_COME = 10**6  # frames of a segment of which nobody knows where it ends
END_SILENCE_S = 0.3  # added to a segment for weights that know true lengths: they hear from it that nothing follows


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Session(Protocol):
    """What is used of onnxruntime's InferenceSession, for whatever stands in its place."""

    def get_inputs(self) -> Sequence[Named]: ...

    def get_outputs(self) -> Sequence[Named]: ...

    def run(self, names: Sequence[str], feed: Mapping[str, NDArray[np.generic]]) -> Sequence[NDArray[Any]]:
        """The outputs of these names."""


@dataclass(frozen=True, eq=False)
class Source:
    """Encoded speech of one segment, as the decoder reads it."""

    arrays: Arrays  # source_* by the names of the decoder's inputs, FRAME_AXIS of each at least `frames` long
    frames: int  # that the decoder may look at
    heard: int  # of these, those with audio rather than padding
    ctc: NDArray[np.float32] | None = None  # (frames, 1 + alphabet) log-probabilities where the model has the head
    grows: bool = False  # it is one of a growing segment: the next will have these frames and more

    @property
    def room(self) -> int:
        """Frames that the arrays hold; the decoder looks at none past `frames`."""
        room: int = next(iter(self.arrays.values())).shape[FRAME_AXIS]
        return room


@dataclass(frozen=True, eq=False)
class Encoded:
    """What one call of the encoder gives."""

    arrays: Arrays  # source_*, and ctc where the model has the head; FRAME_AXIS is the call's frames
    caches: Arrays  # for the call after it


@dataclass(frozen=True, eq=False)
class DecoderState:
    """What the decoder carries after `length` tokens."""

    arrays: Arrays
    length: int


def open_session(path: Path, threads: int) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # sessions share the cores
    options.enable_cpu_mem_arena = False  # the arena grows with the longest input and never shrinks
    options.log_severity_level = 3
    try:
        session: Session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each way to fail
        raise FormatError(f"onnxruntime cannot open {path}: {error}") from error
    return session


class Encoder:
    """encoder.onnx."""

    def __init__(self, bundle: Bundle, session: Session):
        self.bundle = bundle
        self.session = session
        outputs = [output.name for output in self.session.get_outputs()]
        self.sources = [name for name in outputs if name.startswith("source_")]
        self.made = [*self.sources, *(name for name in outputs if name == CTC)]
        self.caches = [item.name for item in self.session.get_inputs() if item.name.startswith("cache_")]

    def encode(self, samples: NDArray[np.float32]) -> Source:
        """Encode a whole segment at full context: (n,) samples, at most bundle.max_samples."""
        bundle = self.bundle
        heard = self.frames_of(samples.size)
        total = min(heard + self.end_silence, max(heard, bundle.max_frames))
        frames = max(total, round(bundle.pad_s / bundle.frame_hop_s))
        values = self._run(self.made, self._window(samples, 0, frames), 0, total, self.no_caches())
        arrays = dict(zip(self.made, values, strict=True))
        return source_of(arrays, frames, heard)

    def encode_chunk(
        self, samples: NDArray[np.float32], position: int, frames: int, total: int, caches: Arrays
    ) -> Encoded:
        """Encode the segment's next frames, each of which sees these and the cached ones.

        samples  (n,) of the segment from its start, with look_ahead after these frames unless it ends before
        total    frames of the segment; MORE_TO_COME where that is not known
        caches   what the chunk before gave; no_caches() for the first
        """
        window = self._window(samples, position, frames)
        outputs = [*self.made, *(f"new_{name}" for name in self.caches)]
        values = self._run(outputs, window, position, total, caches)
        arrays = dict(zip(self.made, values, strict=False))
        return Encoded(arrays, dict(zip(self.caches, values[len(self.made) :], strict=True)))

    def no_caches(self) -> Arrays:
        bundle = self.bundle
        empty = np.zeros((1, bundle.encoder_heads, 0, bundle.dim // bundle.encoder_heads), np.float32)
        return dict.fromkeys(self.caches, empty)

    def frames_of(self, samples: int) -> int:
        """Frames with audio of so many samples; there is always one."""
        return max(1, -(-samples // self.bundle.frame_hop))

    @property
    def end_silence(self) -> int:
        """Frames of silence that are added where a segment ends."""
        return round(END_SILENCE_S / self.bundle.frame_hop_s) if self.bundle.grows else 0

    def _window(self, samples: NDArray[np.float32], position: int, frames: int) -> NDArray[np.float32]:
        """Samples of these frames with what is before and after them, zeros where the segment has none."""
        bundle = self.bundle
        first = position * bundle.frame_hop - bundle.look_back
        window = np.zeros((1, bundle.look_back + frames * bundle.frame_hop + bundle.look_ahead), np.float32)
        there = samples[max(first, 0) : first + window.size]
        window[0, max(-first, 0) : max(-first, 0) + there.size] = there
        return window

    def _run(
        self, names: Sequence[str], window: NDArray[np.float32], position: int, total: int, caches: Arrays
    ) -> Sequence[NDArray[Any]]:
        feed = {"samples": window, "position": np.array([position]), "total": np.array([total]), **caches}
        return self.session.run(names, feed)


def source_of(arrays: Arrays, frames: int, heard: int, grows: bool = False) -> Source:
    """A source of what the encoder made: arrays with a batch of one."""
    ctc = arrays[CTC][0, :frames] if CTC in arrays else None
    return Source({name: values for name, values in arrays.items() if name != CTC}, frames, heard, ctc, grows)


class Decoder:
    """decoder.onnx; `over` a segment's source it is the `Stepper` that search.py asks for."""

    def __init__(self, bundle: Bundle, session: Session):
        self.bundle = bundle
        self.session = session
        self.inputs = {item.name for item in self.session.get_inputs()}
        self.heads = np.array(bundle.alignment_heads, np.intp).reshape(-1, 2)  # (layer, head)
        looked = [WEIGHTS] if bundle.alignment_heads else []
        self.outputs = ["log_probs", *looked, *(f"new_{state.name}" for state in bundle.states)]

    def over(self, source: Source, every_head: bool = False) -> "SourceDecoder":
        return SourceDecoder(self, source, every_head)

    def rewind(self, state: DecoderState, length: int) -> DecoderState:
        """The state as it was after the first `length` tokens."""
        kept = {
            described.name: np.take(state.arrays[described.name], range(length), axis=described.grows)
            for described in self.bundle.states
            if described.grows is not None
        }
        assert len(kept) == len(state.arrays), "only a state that grows can be rewound"
        return DecoderState(kept, length)


class SourceDecoder:
    """The decoder at one segment."""

    def __init__(self, decoder: Decoder, source: Source, every_head: bool = False):
        self.decoder = decoder
        self.source = source
        self.every_head = every_head  # the weights of all heads follow those of the alignment heads
        self.feed: Arrays = {
            "source_lengths": np.array([source.frames]),
            **{name: values for name, values in source.arrays.items() if name in decoder.inputs},
        }
        self.tiled = self.feed  # the same for each row of a batch

    @property
    def several_tokens(self) -> bool:
        return self.decoder.bundle.multi_token

    def start(self) -> DecoderState:
        return DecoderState(
            {state.name: initial(state, self.source.room) for state in self.decoder.bundle.states}, length=0
        )

    def step(
        self, tokens: Sequence[int], state: DecoderState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], DecoderState]:
        """Feed n tokens; returns log-probabilities (n, vocabulary) after each, the alignment heads' weights
        (heads, n, frames), of which there are none where attention has no weights, and the new state."""
        if self.several_tokens or len(tokens) == 1:
            return self._run(tokens, state)
        log_probs, weights = [], []
        for token in tokens:
            after, looked, state = self._run([token], state)
            log_probs.append(after)
            weights.append(looked)
        return np.concatenate(log_probs), np.concatenate(weights, axis=1), state

    def step_each(
        self, tokens: Sequence[int], states: Sequence[DecoderState]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[DecoderState]]:
        """Feed a token after each of the states, which are equally long: in one batch, whose rows are (in 8 bits, bit
        for bit) what `step` gives of each. Returns log-probabilities (n, vocabulary), weights (heads, n, frames) and
        the new states."""
        arrays = {name: np.concatenate([state.arrays[name] for state in states]) for name in states[0].arrays}
        feed = {"tokens": np.array(tokens)[:, None], **self._source(len(tokens)), **arrays}
        log_probs, weights, values = self._parts(self.decoder.session.run(self.decoder.outputs, feed))
        looked = np.concatenate([self._looked(weights, row, 1) for row in range(len(tokens))], axis=1)
        length = states[0].length + 1
        new = [  # copies: one that is kept does not keep the whole batch
            DecoderState({name: array[[row]] for name, array in zip(arrays, values, strict=True)}, length)
            for row in range(len(tokens))
        ]
        return log_probs[:, 0], looked, new

    def rewind(self, state: DecoderState, length: int) -> DecoderState:
        return self.decoder.rewind(state, length)

    def _run(
        self, tokens: Sequence[int], state: DecoderState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], DecoderState]:
        log_probs, weights, values = self._parts(self._call({"tokens": np.array([tokens]), **state.arrays}))
        arrays = dict(zip(state.arrays, values, strict=True))
        return log_probs[0], self._looked(weights, 0, len(tokens)), DecoderState(arrays, state.length + len(tokens))

    def _call(self, feed: Arrays) -> Sequence[NDArray[Any]]:
        """The decoder's outputs for tokens and a state, a batch of one."""
        return self.decoder.session.run(self.decoder.outputs, {**self.feed, **feed})

    def _parts(
        self, outputs: Sequence[NDArray[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, Sequence[NDArray[Any]]]:
        """The log-probabilities (rows, n, vocabulary), the weights (layers, rows, heads, n, frames) of a model that
        has some, and the states."""
        log_probs, *values = outputs
        return (log_probs, values[0], values[1:]) if self.decoder.heads.size else (log_probs, None, values)

    def _looked(self, weights: NDArray[np.float32] | None, row: int, tokens: int) -> NDArray[np.float32]:
        if weights is None:
            return np.zeros((0, tokens, self.source.room), np.float32)
        looked: NDArray[np.float32] = weights[self.decoder.heads[:, 0], row, self.decoder.heads[:, 1]]
        if self.every_head:
            looked = np.concatenate([looked, weights[:, row].reshape(-1, *looked.shape[1:])])
        return looked

    def _source(self, rows: int) -> Arrays:
        """The source for each of so many rows; it is copied once for the widest batch."""
        if rows > len(self.tiled["source_lengths"]):
            self.tiled = {name: np.repeat(values, rows, axis=0) for name, values in self.feed.items()}
        return {name: values[:rows] for name, values in self.tiled.items()}


def initial(state: State, frames: int) -> NDArray[np.float32]:
    free = {BATCH: 1, FRAMES: frames}
    shape = [free[size] if isinstance(size, str) else size for size in state.shape]
    return np.full(shape, state.init, np.float32)
