"""The model as two flat functions of tensors: what is exported, and what training decodes with.

encoder   samples, position, total, [cache_{key,value}_LAYER]
       -> source_{key,value}_LAYER, [ctc], [new_cache_{key,value}_LAYER]
decoder   tokens, source_lengths, source_{key,value}_LAYER, states
       -> log_probs, [weights, alignment], new states

The states of a Transformer are self_{key,value}_LAYER; other decoders and mechanisms say what they
carry. Shapes stand in model/encoder.py and model/decoder.py. What the decoder reads of the speech it
takes from the encoder's outputs of the same names; what it carries from step to step is listed
in model.json as `states`: each goes in as NAME and comes out as new_NAME.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asr.attention.self_attention import KeyValue
from asr.model.config import ModelConfig
from asr.model.decoder import Decoder, DecoderState, Source
from asr.model.encoder import EncoderCache
from asr.model.model import SpeechModel


def per_layer(name: str, layers: int) -> list[str]:
    """The names of one pair a layer: NAME_key_0, NAME_value_0, NAME_key_1 ..."""
    return [f"{name}_{kind}_{layer}" for layer in range(layers) for kind in ("key", "value")]


def alignment_heads(config: ModelConfig, decoder: Decoder) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs whose mean is the alignment: the config's, or all; none where there are no weights."""
    if not decoder.has_weights:
        return ()
    everyone = ((layer, head) for layer, reader in enumerate(decoder.readers) for head in range(reader.heads))
    return config.alignment_heads or tuple(everyone)


class EncoderGraph(nn.Module):
    """One call of the encoder; chunk as in Encoder.forward."""

    def __init__(self, model: SpeechModel, chunk: int | None = None):
        super().__init__()
        self.model = model
        self.chunk = chunk
        config = model.config
        caches = per_layer("cache", config.encoder_layers) if model.encoder.chunks else []
        ctc = [] if model.ctc is None else ["ctc"]
        self.inputs = ["samples", "position", "total", *caches]
        self.outputs = [*per_layer("source", len(model.decoder.readers)), *ctc, *(f"new_{name}" for name in caches)]

    def forward(self, samples: Tensor, position: Tensor, total: Tensor, cache: EncoderCache) -> list[Tensor]:
        features, cache = self.model.encoder(samples, position, total, cache, self.chunk)
        source = self.model.decoder.source(features, total)
        ctc = [] if self.model.ctc is None else [self.model.ctc_log_probs(features)]
        return [*flat(source.layers), *ctc, *flat(cache)]


class DecoderGraph(nn.Module):
    """One call of the decoder."""

    def __init__(self, model: SpeechModel):
        super().__init__()
        self.model = model
        decoder = model.decoder
        heads = alignment_heads(model.config, decoder)
        share = torch.zeros(len(decoder.readers), 1, decoder.readers[0].heads, 1, 1)
        for layer, head in heads:
            share[layer, 0, head] = 1 / len(heads)
        self.register_buffer("share", share.to(decoder.embedding.weight.device))
        self.share: Tensor
        states = [one.name for each in decoder.carried for one in each]
        looked = ["weights", "alignment"] if decoder.has_weights else []
        self.inputs = ["tokens", "source_lengths", *per_layer("source", len(decoder.readers)), *states]
        self.outputs = ["log_probs", *looked, *(f"new_{name}" for name in states)]

    def forward(
        self, tokens: Tensor, source_lengths: Tensor, source: list[KeyValue], state: DecoderState
    ) -> list[Tensor]:
        log_probs, state, weights = self.model.decoder(tokens, Source(source, source_lengths), state)
        if weights is None:
            return [log_probs, *flat(state)]
        alignment = (weights * self.share).sum(dim=(0, 2))  # (batch, targets, frames)
        return [log_probs, weights, alignment, *flat(state)]

    def states(self, tensors: Sequence[Tensor]) -> DecoderState:
        """What flat made of a state, by layer again."""
        rest = iter(tensors)
        return [tuple(next(rest) for _ in each) for each in self.model.decoder.carried]


def flat(layers: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    return [tensor for layer in layers for tensor in layer]


def paired(tensors: Sequence[Tensor]) -> list[KeyValue]:
    """What flat made of keys and values."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))
