"""encoder.onnx and decoder.onnx: the model's graphs (model/graphs.py, which names what goes in and out), traced by
torch.onnx. Every batch, frames, tokens and past axis is free.
"""

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from asr.attention import Mechanism, MultiHead
from asr.attention.mechanism import SOURCES, Attended, Carried, State
from asr.attention.self_attention import KeyValue
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK
from asr.model.decoder import sizes
from asr.model.graphs import DecoderGraph, EncoderGraph
from asr.model.model import SpeechModel
from asr.model.recurrent import RecurrentBlock

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
    """The same weights, in a decoder that never sees a single target; as it is where it takes one at a time."""
    if not model.decoder.several_tokens:
        return model
    model = copy.deepcopy(model)
    for module in model.decoder.modules():
        if isinstance(module, MultiHead):
            module.mechanism = WithSecondRow(module.mechanism)
    return model


class Gru(nn.Module):
    """A GRU layer as ONNX's own operator: torch cannot trace its own over a number of frames that it does not know.

    ONNX orders the gates update, reset, new; torch reset, update, new.
    """

    def __init__(self, layer: nn.GRU):
        super().__init__()
        self.size = layer.hidden_size
        gates = [parameter.detach().chunk(3) for parameter in layer.parameters()]
        self.weights = [torch.cat([update, reset, new])[None] for reset, update, new in gates]

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames = x.shape[:2]
        y, last = torch.onnx.ops.symbolic_multi_out(
            "GRU",
            [x.transpose(0, 1), *self.weights[:2], torch.cat(self.weights[2:], -1), None, hidden],
            attrs={"hidden_size": self.size, "linear_before_reset": 1},
            dtypes=[x.dtype] * 2,
            shapes=[(frames, 1, batch, self.size), (1, batch, self.size)],
            version=OPSET,
        )
        return y[:, 0].transpose(0, 1), last


def with_onnx_grus(model: SpeechModel) -> SpeechModel:
    """The same weights, in an encoder that can be traced."""
    if model.config.encoder != "gru":
        return model
    model = copy.deepcopy(model)
    for block in model.encoder.blocks:
        if isinstance(block, RecurrentBlock) and isinstance(block.layer, nn.GRU):
            block.layer = Gru(block.layer)
    return model


def export_encoder(model: SpeechModel, path: Path, chunk: int | None = None) -> None:
    """Write encoder.onnx in fp32. chunk: with the mask of that chunk size, to check the chunked graph against."""
    config, batch, frames, cached = model.config, 2, 7, 0 if chunk else 5
    rows, length = Dim("batch"), Dim("samples", min=LOOK_BACK + FRAME_HOP + LOOK_AHEAD)
    per_cache = {0: rows} if chunk else {0: rows, 2: Dim("cached", min=0)}
    layers = config.encoder_layers if model.encoder.chunks else 0
    samples = torch.zeros(batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)
    position = torch.full((batch,), cached)
    cache = pairs(layers, batch, config.encoder_heads, cached, config.dim)
    write(
        EncoderGraph(with_onnx_grus(model), chunk),
        (samples, position, position + frames, cache),
        ({0: rows, 1: length}, {0: rows}, {0: rows}, [(per_cache,) * 2] * layers),
        path,
    )


def export_decoder(model: SpeechModel, path: Path) -> None:
    """Write decoder.onnx in fp32."""
    config, decoder, batch, frames, past = model.config, model.decoder, 2, 7, 5
    several = decoder.several_tokens
    rows, heard, before = Dim("batch"), Dim("frames"), Dim("past", min=0)
    layers, heads = len(decoder.readers), decoder.readers[0].heads
    source = pairs(layers, batch, heads, frames, config.dim)
    state = [tuple(torch.zeros(batch, *sizes(one, frames, past)) for one in each) for each in decoder.carried]
    axes = [tuple(free_axes(one, rows, {0: before, SOURCES: heard}) for one in each) for each in decoder.carried]
    tokens = torch.zeros(batch, 3 if several else 1, dtype=torch.long)
    write(
        DecoderGraph(with_second_rows(model)),
        (tokens, torch.full((batch,), frames), source, state),
        (
            {0: rows, 1: Dim("targets")} if several else {0: rows},
            {0: rows},
            [({0: rows, 2: heard},) * 2] * layers,
            axes,
        ),
        path,
    )


def free_axes(one: Carried, rows: Dim, free: dict[int | str, Dim]) -> dict[int, Dim]:
    """The axes of a state's tensor, the batch first, that are of no fixed size."""
    return {0: rows} | {axis: free[size] for axis, size in enumerate(one.shape, start=1) if size in free}


def pairs(layers: int, batch: int, heads: int, length: int, dim: int) -> list[KeyValue]:
    """Example keys and values; no two the same object, or the tracer takes them for one."""
    shape = (batch, heads, length, dim // heads)
    return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]


# at every export it warns of operators of torchvision, which nothing here has
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


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
