"""The whole model: encoder, decoder, and the optional CTC head."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.model.config import FRAME_HOP, ModelConfig
from asr.model.decoder import Decoder, TransformerDecoder
from asr.model.encoder import Encoder, layer_of
from asr.model.front_end import window_samples
from asr.model.recurrent_decoder import RecurrentDecoder

CTC_BLANK = 0  # then the alphabet's characters in order


class SpeechModel(nn.Module):
    """Speech to text, and where the text looked."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = build_decoder(config)
        self.ctc = None if config.ctc_alphabet is None else nn.Linear(config.dim, 1 + len(config.ctc_alphabet))

    def encode(self, samples: Tensor, lengths: Tensor, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """Encode whole segments.

        samples  (batch, n) in [-1, 1), silence after each row's end
        lengths  (batch,) samples of each row
        chunk    frames per chunk of the mask; None: full context
        returns  features (batch, frames, dim), frame lengths (batch,), padding to pad_s included
        """
        frame_lengths = (lengths + FRAME_HOP - 1) // FRAME_HOP
        padded_lengths = frame_lengths.clamp(min=self.config.pad_frames)
        window = window_samples(samples, int(padded_lengths.max()))
        position = torch.zeros_like(frame_lengths)
        cache = self.encoder.empty_cache(samples.shape[0])
        features, _ = self.encoder(window, position, frame_lengths, cache, chunk)
        return features, padded_lengths

    def forward(
        self, samples: Tensor, lengths: Tensor, tokens: Tensor, chunk: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing: log-probabilities (batch, targets, vocabulary) after each of tokens, and
        cross-attention weights as Decoder.forward has them."""
        features, frame_lengths = self.encode(samples, lengths, chunk)
        source = self.decoder.source(features, frame_lengths)
        log_probs, _, weights = self.decoder(tokens, source, self.decoder.start(source))
        return log_probs, weights

    def ctc_log_probs(self, features: Tensor) -> Tensor:
        """(batch, frames, dim) to (batch, frames, 1 + alphabet), blank first."""
        if self.ctc is None:
            raise ValueError("this model has no CTC head: its config has no ctc_alphabet")
        log_probs: Tensor = self.ctc(features).log_softmax(-1)
        return log_probs


def build_decoder(config: ModelConfig) -> Decoder:
    return TransformerDecoder(config) if config.decoder == "transformer" else RecurrentDecoder(config)


class Outline(NamedTuple):
    """What a model carries and promises, known before there is one."""

    chunks: bool  # as Encoder.chunks
    decoder: Decoder  # of a vocabulary of one


def outline(config: ModelConfig) -> Outline:
    """Read off parts that are built and thrown away; chance is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Outline(layer_of(config).chunks, build_decoder(replace(config, vocabulary=1)))
