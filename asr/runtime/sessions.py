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

Arrays = dict[str, NDArray[np.generic]]


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

    arrays: Arrays  # source_* by the names of the decoder's inputs
    frames: int  # that the decoder may look at
    heard: int  # of these, those with audio rather than padding


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
        self.sources = [output.name for output in self.session.get_outputs() if output.name.startswith("source_")]
        self.caches = [item.name for item in self.session.get_inputs() if item.name.startswith("cache_")]

    def encode(self, samples: NDArray[np.float32]) -> Source:
        """Encode a whole segment at full context: (n,) samples, at most bundle.max_samples."""
        bundle = self.bundle
        heard = max(1, -(-samples.size // bundle.frame_hop))
        frames = max(heard, round(bundle.pad_s / bundle.frame_hop_s))
        window = np.zeros((1, bundle.look_back + frames * bundle.frame_hop + bundle.look_ahead), np.float32)
        window[0, bundle.look_back : bundle.look_back + samples.size] = samples
        empty = np.zeros((1, bundle.encoder_heads, 0, bundle.dim // bundle.encoder_heads), np.float32)
        feed: Arrays = {
            "samples": window,
            "position": np.zeros(1, np.int64),
            "total": np.array([heard]),
            **dict.fromkeys(self.caches, empty),
        }
        values = self.session.run(self.sources, feed)
        return Source(dict(zip(self.sources, values, strict=True)), frames, heard)


class Decoder:
    """decoder.onnx; `over` a segment's source it is the `Stepper` that search.py asks for."""

    def __init__(self, bundle: Bundle, session: Session):
        self.bundle = bundle
        self.session = session
        self.inputs = {item.name for item in self.session.get_inputs()}
        layers, heads = zip(*bundle.alignment_heads, strict=True)
        self.alignment_layers, self.alignment_heads = list(layers), list(heads)
        self.outputs = ["log_probs", "weights", *(f"new_{state.name}" for state in bundle.states)]

    def over(self, source: Source) -> "SourceDecoder":
        return SourceDecoder(self, source)


class SourceDecoder:
    """The decoder at one segment."""

    def __init__(self, decoder: Decoder, source: Source):
        self.decoder = decoder
        self.source = source
        self.feed = {
            "source_lengths": np.array([source.frames]),
            **{name: values for name, values in source.arrays.items() if name in decoder.inputs},
        }

    @property
    def several_tokens(self) -> bool:
        return self.decoder.bundle.multi_token

    def start(self) -> DecoderState:
        return DecoderState(
            {state.name: initial(state, self.source.frames) for state in self.decoder.bundle.states}, length=0
        )

    def step(
        self, tokens: Sequence[int], state: DecoderState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], DecoderState]:
        """Feed n tokens; returns log-probabilities (n, vocabulary) after each, the alignment heads' weights
        (heads, n, frames), and the new state."""
        if self.several_tokens or len(tokens) == 1:
            return self._run(tokens, state)
        log_probs, weights = [], []
        for token in tokens:
            after, looked, state = self._run([token], state)
            log_probs.append(after)
            weights.append(looked)
        return np.concatenate(log_probs), np.concatenate(weights, axis=1), state

    def rewind(self, state: DecoderState, length: int) -> DecoderState:
        """The state as it was after the first `length` tokens."""
        kept = {
            described.name: np.take(state.arrays[described.name], range(length), axis=described.grows)
            for described in self.decoder.bundle.states
            if described.grows is not None
        }
        assert len(kept) == len(state.arrays), "only a state that grows can be rewound"
        return DecoderState(kept, length)

    def _run(
        self, tokens: Sequence[int], state: DecoderState
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], DecoderState]:
        feed: Mapping[str, NDArray[np.generic]] = {"tokens": np.array([tokens]), **self.feed, **state.arrays}
        log_probs, weights, *values = self.decoder.session.run(self.decoder.outputs, feed)
        arrays = dict(zip(state.arrays, values, strict=True))
        looked = weights[self.decoder.alignment_layers, 0, self.decoder.alignment_heads]
        return log_probs[0], looked, DecoderState(arrays, state.length + len(tokens))


def initial(state: State, frames: int) -> NDArray[np.float32]:
    free = {BATCH: 1, FRAMES: frames}
    shape = [free[size] if isinstance(size, str) else size for size in state.shape]
    return np.full(shape, state.init, np.float32)
