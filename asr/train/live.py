"""The recogniser that serves, over a model in training: no export between a step and what it decodes to.

Everything but the two graphs is the runtime's own code, and the graphs are the ones that export traces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from asr.model.graphs import DecoderGraph, EncoderGraph, paired
from asr.model.model import SpeechModel
from asr.runtime.recognizer import Recognizer
from asr.runtime.sessions import Decoder, Encoder
from asr.train.description import describe


def live_recognizer(model: SpeechModel, tokenizer: Path, chunk: int | None = None) -> Recognizer:
    """A recogniser of the weights as they are at each call. The model is to be in evaluation mode when it is called.

    tokenizer  the model's tokenizer.json
    chunk      frames: read whole segments under the mask of that chunk size, which is what streaming hears of them
    """
    bundle = describe(model.config, tokenizer)
    encoder, decoder = TorchSession(EncoderGraph(model, chunk)), TorchSession(DecoderGraph(model))
    return Recognizer(bundle, Encoder(bundle, encoder), Decoder(bundle, decoder), Tokenizer.from_file(str(tokenizer)))


@dataclass(frozen=True)
class Name:
    name: str


class TorchSession:
    """A graph in torch where onnxruntime's session would be: arrays in and out, by name."""

    def __init__(self, graph: EncoderGraph | DecoderGraph):
        self.graph = graph
        self.device = graph.model.decoder.embedding.weight.device

    def get_inputs(self) -> Sequence[Name]:
        return [Name(name) for name in self.graph.inputs]

    def get_outputs(self) -> Sequence[Name]:
        return [Name(name) for name in self.graph.outputs]

    @torch.inference_mode()
    def run(self, names: Sequence[str], feed: Mapping[str, NDArray[np.generic]]) -> Sequence[NDArray[Any]]:
        given = [torch.from_numpy(feed[name]).to(self.device) for name in self.graph.inputs]
        found = dict(zip(self.graph.outputs, call(self.graph, given), strict=True))
        return [found[name].cpu().numpy() for name in names]


def call(graph: EncoderGraph | DecoderGraph, given: Sequence[Tensor]) -> list[Tensor]:
    """The graph's outputs for its inputs, both in the order of their names."""
    if isinstance(graph, EncoderGraph):
        samples, position, total, *cache = given
        found: list[Tensor] = graph(samples, position, total, paired(cache))
        return found
    tokens, lengths, *rest = given
    sources = 2 * len(graph.model.decoder.readers)
    found = graph(tokens, lengths, paired(rest[:sources]), graph.states(rest[sources:]))
    return found
