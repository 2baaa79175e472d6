"""encoder.onnx and decoder.onnx: the model's graphs (model/graphs.py, which names what goes in and out), traced by
torch.onnx. Every batch, frames, tokens and past axis is free.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.export import Dim
from torch.nn import functional

from asr.attention import Mechanism, MultiHead
from asr.attention.mechanism import Attended, State
from asr.attention.self_attention import KeyValue
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK
from asr.model.graphs import DecoderGraph, EncoderGraph
from asr.model.model import SpeechModel

OPSET = 20  # the first with Gelu


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


def with_second_rows(model: SpeechModel) -> SpeechModel:
    """The same weights, in a decoder that never sees a single target."""
    model = copy.deepcopy(model)
    for module in model.decoder.modules():
        if isinstance(module, MultiHead):
            module.mechanism = WithSecondRow(module.mechanism)
    return model


def export_encoder(model: SpeechModel, path: Path, chunk: int | None = None) -> None:
    """Write encoder.onnx in fp32. chunk: with the mask of that chunk size, to check the chunked graph against."""
    config, batch, frames, cached = model.config, 2, 7, 0 if chunk else 5
    rows, length = Dim("batch"), Dim("samples", min=LOOK_BACK + FRAME_HOP + LOOK_AHEAD)
    per_cache = {0: rows} if chunk else {0: rows, 2: Dim("cached", min=0)}
    samples = torch.zeros(batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)
    position = torch.full((batch,), cached)
    cache = pairs(config.encoder_layers, batch, config.encoder_heads, cached, config.dim)
    write(
        EncoderGraph(model, chunk),
        (samples, position, position + frames, cache),
        ({0: rows, 1: length}, {0: rows}, {0: rows}, [(per_cache,) * 2] * config.encoder_layers),
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
    write(
        DecoderGraph(with_second_rows(model)),
        (tokens, torch.full((batch,), frames), source, state),
        (
            {0: rows, 1: new},
            {0: rows},
            [({0: rows, 2: heard},) * 2] * layers,
            [({0: rows, 2: before},) * 2] * layers,
        ),
        path,
    )


def pairs(layers: int, batch: int, heads: int, length: int, dim: int) -> list[KeyValue]:
    """Example keys and values; no two the same object, or the tracer takes them for one."""
    shape = (batch, heads, length, dim // heads)
    return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]


def write(graph: EncoderGraph | DecoderGraph, example: tuple[Any, ...], dynamic: tuple[Any, ...], path: Path) -> None:
    with warnings.catch_warnings():
        # the exporter warns that axes share one name, which is meant, and of deprecations inside torch
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(),
            example,
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=graph.inputs,
            output_names=graph.outputs,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, path)
