"""The checks without which an export does not finish: graphs that run must be the model that was trained.

All on real recordings and at one thread: with more, onnxruntime splits a sum elsewhere for other lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from asr.attention.mechanism import Carried
from asr.errors import ExportError
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, ModelConfig
from asr.model.decoder import sizes
from asr.model.model import SpeechModel, outline
from asr.runtime.sessions import Session, open_session

FP32_TOLERANCE = 1e-4  # of log-probabilities

Arrays = dict[str, NDArray[Any]]
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Graphs:
    """An exported pair, and the calls that the checks make of it."""

    encoder: Session
    decoder: Session
    config: ModelConfig
    states: list[tuple[Carried, ...]]  # of the decoder
    several_tokens: bool  # that it takes at once

    @classmethod
    def open(cls, encoder: Path, decoder: Path, config: ModelConfig) -> "Graphs":
        promised = outline(config).decoder
        sessions = open_session(encoder, threads=1), open_session(decoder, threads=1)
        return cls(*sessions, config, promised.carried, promised.several_tokens)

    def encode(self, recordings: Sequence[Samples]) -> Arrays:
        """All at once, in one batch padded to the longest."""
        totals = [frames_of(recording) for recording in recordings]
        window = batch_window(recordings, max(*totals, self.config.pad_frames))
        return self.encode_window(window, [0] * len(totals), totals, self.no_cache(len(totals)))

    def encode_window(self, window: Samples, position: list[int], total: list[int], cache: Arrays) -> Arrays:
        feed = {"samples": window, "position": np.array(position), "total": np.array(total), **cache}
        return run(self.encoder, feed)

    def encode_in_chunks(self, recording: Samples, chunk: int) -> Arrays:
        """Chunk by chunk with cached keys and values, as a stream comes in; sources joined along frames."""
        total = frames_of(recording)
        whole = batch_window([recording], total)
        cache, parts = self.no_cache(1), []
        for first in range(0, total, chunk):
            frames = min(chunk, total - first)
            window = whole[:, FRAME_HOP * first : FRAME_HOP * (first + frames) + LOOK_BACK + LOOK_AHEAD]
            more_to_come = first + frames < total
            part = self.encode_window(window, [first], [10**6 if more_to_come else total], cache)
            cache = {name: part[f"new_{name}"] for name in cache}
            parts.append(part)
        sources = [name for name in parts[0] if name.startswith("source_")]
        return {name: np.concatenate([part[name] for part in parts], axis=2) for name in sources}

    def length(self, recording: Samples) -> int:
        """Frames that the decoder sees."""
        return max(frames_of(recording), self.config.pad_frames)

    def no_cache(self, batch: int) -> Arrays:
        config = self.config
        empty = np.zeros((batch, config.encoder_heads, 0, config.dim // config.encoder_heads), np.float32)
        return {item.name: empty for item in self.encoder.get_inputs() if item.name.startswith("cache_")}

    def decode(
        self, tokens: NDArray[np.int64], source: Arrays, lengths: Sequence[int], state: Arrays | None = None
    ) -> Arrays:
        """One call: tokens (batch, targets) after a state, or from the start."""
        state = self.start(len(tokens), source["source_key_0"].shape[2]) if state is None else state
        feed = {"source_lengths": np.array(lengths), **source}
        if self.several_tokens:
            return run(self.decoder, {"tokens": tokens, **feed, **state})
        outs = []
        for token in tokens.T:
            outs.append(run(self.decoder, {"tokens": token[:, None], **feed, **state}))
            state = carried(outs[-1])
        return outs[-1] | {"log_probs": np.concatenate([out["log_probs"] for out in outs], 1)}

    def start(self, rows: int, frames: int) -> Arrays:
        """What the decoder carries before the first token."""
        return {
            one.name: np.full((rows, *sizes(one, frames)), one.init, np.float32) for each in self.states for one in each
        }

    def greedy(self, prompt: Sequence[int], source: Arrays, length: int, tokens: int) -> list[int]:
        """The most probable tokens, nothing suppressed, one at a time."""
        out = self.decode(np.array([prompt]), source, [length])
        said: list[int] = []
        while len(said) < tokens:
            said.append(int(out["log_probs"][0, -1].argmax()))
            out = self.decode(np.array([said[-1:]]), source, [length], carried(out))
        return said


def carried(out: Arrays) -> Arrays:
    """The states that a call of the decoder gave, for the next."""
    return {name.removeprefix("new_"): values for name, values in out.items() if name.startswith("new_")}


def run(session: Session, feed: Arrays) -> Arrays:
    wanted = {item.name for item in session.get_inputs()}
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, {k: v for k, v in feed.items() if k in wanted}), strict=True))


def frames_of(recording: Samples) -> int:
    """Frames with audio."""
    return -(-recording.size // FRAME_HOP)


def batch_window(recordings: Sequence[Samples], frames: int) -> Samples:
    """What the encoder takes of whole segments: (batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)."""
    window = np.zeros((len(recordings), LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD), np.float32)
    for row, recording in zip(window, recordings, strict=True):
        row[LOOK_BACK : LOOK_BACK + recording.size] = recording
    return window


def check_torch(model: SpeechModel, graphs: Graphs, recordings: Sequence[Samples], tokens: NDArray[np.int64]) -> float:
    """Largest difference of log-probabilities between torch and ONNX, over recordings of different lengths."""
    worst = 0.0
    for recording in recordings:
        ours = torch_log_probs(model, recording, tokens)
        source, length = graphs.encode([recording]), graphs.length(recording)
        theirs = graphs.decode(tokens, source, [length])["log_probs"]
        worst = max(worst, float(np.abs(ours - theirs).max()))
    refuse(
        worst > FP32_TOLERANCE, f"torch and ONNX differ by {worst:.1e} in log-probabilities, allowed {FP32_TOLERANCE}"
    )
    return worst


def check_ctc(model: SpeechModel, graphs: Graphs, recordings: Sequence[Samples]) -> float:
    """The same of the CTC head's log-probabilities."""
    worst = 0.0
    for recording in recordings:
        with torch.inference_mode():
            features, _ = model.encode(torch.from_numpy(recording)[None], torch.tensor([recording.size]))
            ours = model.ctc_log_probs(features).numpy()
        worst = max(worst, float(np.abs(ours - graphs.encode([recording])["ctc"]).max()))
    refuse(worst > FP32_TOLERANCE, f"torch and ONNX differ by {worst:.1e} in CTC, allowed {FP32_TOLERANCE}")
    return worst


def torch_log_probs(
    model: SpeechModel, recording: Samples, tokens: NDArray[np.int64], chunk: int | None = None
) -> NDArray[np.float32]:
    with torch.inference_mode():
        lengths = torch.tensor([recording.size])
        log_probs, _ = model(torch.from_numpy(recording)[None], lengths, torch.from_numpy(tokens), chunk)
    values: NDArray[np.float32] = log_probs.numpy()
    return values


def check_chunks(
    model: SpeechModel, graphs: Graphs, recording: Samples, tokens: NDArray[np.int64], chunks: Sequence[int]
) -> float:
    """Largest difference of log-probabilities between torch at once under the chunk mask and ONNX in chunks."""
    worst = 0.0
    for chunk in chunks:
        ours = torch_log_probs(model, recording, tokens, chunk)
        source = graphs.encode_in_chunks(recording, chunk)
        theirs = graphs.decode(tokens, source, [frames_of(recording)])["log_probs"]
        worst = max(worst, float(np.abs(ours - theirs).max()))
    refuse(worst > FP32_TOLERANCE, f"in chunks the log-probabilities differ by {worst:.1e}, allowed {FP32_TOLERANCE}")
    return worst


def check_chunk_tokens(
    in_chunks: Graphs, at_once: Graphs, recording: Samples, prompt: Sequence[int], chunk: int, tokens: int = 24
) -> None:
    """The 8-bit graph in chunks says the tokens that the 8-bit graph under the chunk mask says at once."""
    length = frames_of(recording)
    parts = in_chunks.greedy(prompt, in_chunks.encode_in_chunks(recording, chunk), length, tokens)
    once = in_chunks.greedy(prompt, at_once.encode([recording]), length, tokens)
    refuse(parts != once, f"in chunks of {chunk} frames the 8-bit tokens are {parts}, at once {once}")


def check_batch(graphs: Graphs, recordings: Sequence[Samples], tokens: NDArray[np.int64]) -> None:
    """In 8 bits a row in a batch gives the very bits that it gives alone."""
    lengths = [graphs.length(recording) for recording in recordings]
    together = graphs.encode(recordings)
    together |= graphs.decode(np.repeat(tokens, len(recordings), axis=0), together, lengths)
    for row, (recording, length) in enumerate(zip(recordings, lengths, strict=True)):
        alone = graphs.encode([recording])
        alone |= graphs.decode(tokens, alone, [length])
        for name in ("source_key_0", "source_value_0", "log_probs", *(["ctc"] if "ctc" in alone else [])):
            real = np.s_[:, :length] if name.startswith("source") else np.s_[:length] if name == "ctc" else np.s_[:]
            same = np.array_equal(together[name][row][real], alone[name][0][real])
            refuse(not same, f"{name} of row {row} in a batch of {len(recordings)} is not what the row gives alone")


def check_several_tokens(graphs: Graphs, recording: Samples, tokens: NDArray[np.int64]) -> None:
    """Several tokens in one call give the very bits that they give one by one: drafts can be verified."""
    source, length = graphs.encode([recording]), graphs.length(recording)
    at_once = graphs.decode(tokens, source, [length])["log_probs"][0]
    state = None
    for index in range(tokens.shape[1]):
        out = graphs.decode(tokens[:, index : index + 1], source, [length], state)
        state = carried(out)
        same = np.array_equal(out["log_probs"][0, 0], at_once[index])
        refuse(not same, f"token {index} of {tokens.shape[1]} given at once is not what it is one by one")


def refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ExportError(
            f"the export is not the model: {why}. Nothing was written; please report this with the model."
        )
