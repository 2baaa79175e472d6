"""The two graphs that ship, traced from the model by torch.onnx.

encoder.onnx   samples, position, total, cache_{key,value}_LAYER
            -> source_{key,value}_LAYER, [ctc], new_cache_{key,value}_LAYER
decoder.onnx   tokens, source_lengths, source_{key,value}_LAYER, self_{key,value}_LAYER
            -> log_probs, weights, alignment, new_self_{key,value}_LAYER

Shapes stand in the modules that are traced (model/encoder.py, model/decoder.py); every
batch, frames, tokens and past axis is free. What the decoder reads of the speech it takes
from the encoder's outputs of the same names; what it carries from step to step is listed in
model.json as `states`: each goes in as NAME and comes out as new_NAME.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from asr.attention import Mechanism, MultiHead
from asr.attention.mechanism import Attended, State
from asr.attention.self_attention import KeyValue
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, ModelConfig
from asr.model.decoder import Source
from asr.model.encoder import EncoderCache
from asr.model.model import SpeechModel

OPSET = 20  # the first with Gelu


def per_layer(name: str, layers: int) -> list[str]:
    """The names of one pair a layer: NAME_key_0, NAME_value_0, NAME_key_1 ..."""
    return [f"{name}_{kind}_{layer}" for layer in range(layers) for kind in ("key", "value")]


def alignment_heads(config: ModelConfig) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs whose mean is the alignment: the config's, or all."""
    everyone = ((layer, head) for layer in range(config.decoder_layers) for head in range(config.decoder_heads))
    return config.alignment_heads or tuple(everyone)


class EncoderGraph(nn.Module):
    """One call of the encoder, as a flat list of tensors; chunk as in Encoder.forward."""

    def __init__(self, model: SpeechModel, chunk: int | None):
        super().__init__()
        self.model = model
        self.chunk = chunk

    def forward(self, samples: Tensor, position: Tensor, total: Tensor, cache: EncoderCache) -> list[Tensor]:
        features, cache = self.model.encoder(samples, position, total, cache, self.chunk)
        source = self.model.decoder.source(features, total)
        ctc = [] if self.model.ctc is None else [self.model.ctc_log_probs(features)]
        return [*flat(source.layers), *ctc, *flat(cache)]


class WithSecondRow(Mechanism):
    """A mechanism that never sees a single target.

    onnxruntime multiplies a lone row by another kernel, which sums in another order. With a blank row
    beside it, one token at a time equals several at once bit for bit, so that verifying a draft is
    exactly greedy search.
    """

    def __init__(self, mechanism: Mechanism):
        super().__init__()
        self.mechanism = mechanism

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        query = functional.pad(query, (0, 0, 0, 1))
        if mask is not None and mask.shape[-2] != 1:
            mask = torch.cat([mask, mask[..., -1:, :]], dim=-2)
        context, weights, state = self.mechanism(query, key, value, mask, state)
        return context[..., :-1, :], None if weights is None else weights[..., :-1, :], state


class DecoderGraph(nn.Module):
    """One call of the decoder, as a flat list of tensors."""

    def __init__(self, model: SpeechModel):
        super().__init__()
        self.model = copy.deepcopy(model)
        for module in self.model.decoder.modules():
            if isinstance(module, MultiHead):
                module.mechanism = WithSecondRow(module.mechanism)
        heads = alignment_heads(model.config)
        share = torch.zeros(model.config.decoder_layers, 1, model.config.decoder_heads, 1, 1)
        for layer, head in heads:
            share[layer, 0, head] = 1 / len(heads)
        self.register_buffer("share", share)
        self.share: Tensor

    def forward(
        self, tokens: Tensor, source_lengths: Tensor, source: list[KeyValue], state: list[KeyValue]
    ) -> list[Tensor]:
        log_probs, state, weights = self.model.decoder(tokens, Source(source, source_lengths), state)
        alignment = (weights * self.share).sum(dim=(0, 2))  # (batch, targets, frames)
        return [log_probs, weights, alignment, *flat(state)]


def flat(pairs: list[KeyValue]) -> list[Tensor]:
    return [tensor for pair in pairs for tensor in pair]


def export_encoder(model: SpeechModel, path: Path, chunk: int | None = None) -> None:
    """Write encoder.onnx in fp32. chunk: with the mask of that chunk size, to check the chunked graph against."""
    config, batch, frames, cached = model.config, 2, 7, 0 if chunk else 5
    rows, length = Dim("batch"), Dim("samples", min=LOOK_BACK + FRAME_HOP + LOOK_AHEAD)
    per_cache = {0: rows} if chunk else {0: rows, 2: Dim("cached", min=0)}
    samples = torch.zeros(batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)
    position = torch.full((batch,), cached)
    cache = pairs(config.encoder_layers, batch, config.encoder_heads, cached, config.dim)
    names = per_layer("cache", config.encoder_layers)
    ctc = [] if model.ctc is None else ["ctc"]
    write(
        EncoderGraph(model, chunk),
        (samples, position, position + frames, cache),
        ({0: rows, 1: length}, {0: rows}, {0: rows}, [(per_cache,) * 2] * config.encoder_layers),
        ["samples", "position", "total", *names],
        [*per_layer("source", config.decoder_layers), *ctc, *(f"new_{name}" for name in names)],
        path,
    )


def export_decoder(model: SpeechModel, path: Path) -> None:
    """Write decoder.onnx in fp32."""
    config, batch, targets, frames, past = model.config, 2, 3, 7, 5
    layers = config.decoder_layers
    rows, new, heard, before = Dim("batch"), Dim("targets"), Dim("frames"), Dim("past", min=0)
    source = pairs(layers, batch, config.decoder_heads, frames, config.dim)
    state = pairs(layers, batch, config.decoder_heads, past, config.dim)
    tokens = torch.zeros(batch, targets, dtype=torch.long)
    names = per_layer("self", layers)
    write(
        DecoderGraph(model),
        (tokens, torch.full((batch,), frames), source, state),
        (
            {0: rows, 1: new},
            {0: rows},
            [({0: rows, 2: heard},) * 2] * layers,
            [({0: rows, 2: before},) * 2] * layers,
        ),
        ["tokens", "source_lengths", *per_layer("source", layers), *names],
        ["log_probs", "weights", "alignment", *(f"new_{name}" for name in names)],
        path,
    )


def pairs(layers: int, batch: int, heads: int, length: int, dim: int) -> list[KeyValue]:
    """Example keys and values; no two the same object, or the tracer takes them for one."""
    shape = (batch, heads, length, dim // heads)
    return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]


def write(
    module: nn.Module,
    example: tuple[Any, ...],
    dynamic: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
    path: Path,
) -> None:
    with warnings.catch_warnings():
        # the exporter warns that axes share one name, which is meant, and of deprecations inside torch
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, path)
