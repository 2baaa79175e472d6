"""The decoder: text so far and encoded speech to the next token, and where each token looked."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.attention import MultiHead, ScaledDot, SelfAttention
from asr.attention.masks import causal_mask, padding_mask
from asr.attention.self_attention import KeyValue
from asr.model.config import ModelConfig


class Source(NamedTuple):
    """Speech as the decoder reads it: projected once, read at each token."""

    layers: list[KeyValue]  # each (batch, heads, frames, dim / heads)
    lengths: Tensor  # (batch,) frames that exist


# Of each layer the keys and values of the tokens so far: (batch, heads, past, dim / heads).
DecoderState = list[KeyValue]


class Decoder(nn.Module):
    """Tokens and source to the next tokens' log-probabilities."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads = config.decoder_heads
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        self.positions = nn.Parameter(torch.zeros(config.max_tokens, config.dim))
        self.blocks = nn.ModuleList(
            DecoderBlock(config.dim, config.decoder_heads) for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def source(self, features: Tensor, lengths: Tensor) -> Source:
        """Project features (batch, frames, dim) to every layer's keys and values."""
        return Source([block.cross_attention.project(features) for block in self.blocks], lengths)  # type: ignore[union-attr, operator]

    def start(self, batch: int) -> DecoderState:
        """The state before the first token."""
        empty = self.positions.new_zeros(batch, self.heads, 0, self.positions.shape[1] // self.heads)
        return [(empty, empty) for _ in self.blocks]

    def forward(self, tokens: Tensor, source: Source, state: DecoderState) -> tuple[Tensor, DecoderState, Tensor]:
        """The next-token distribution after each of the tokens.

        tokens   (batch, targets), those that follow the state's
        returns  log-probabilities (batch, targets, vocabulary), the new state, and
                 cross-attention weights (layers, batch, heads, targets, frames)
        """
        targets, past = tokens.shape[1], state[0][0].shape[2]
        x = self.embedding(tokens) + self.positions[past : past + targets]
        seen = causal_mask(targets, past, x.device)
        heard = padding_mask(source.lengths, source.layers[0][0].shape[2])

        new_state, weights = [], []
        for block, before, speech in zip(self.blocks, state, source.layers, strict=True):
            x, after, looked = block(x, seen, before, heard, speech)
            new_state.append(after)
            weights.append(looked)
        log_probs = (self.norm(x) @ self.embedding.weight.T).log_softmax(-1)
        return log_probs, new_state, torch.stack(weights)


class DecoderBlock(nn.Module):
    """Read the text so far, read the speech, think; each after a normalisation and added to what came in."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = SelfAttention(MultiHead(ScaledDot(), dim, heads))
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_attention = MultiHead(ScaledDot(), dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(
        self,
        x: Tensor,
        seen: Tensor,
        past: KeyValue,
        heard: Tensor,
        source: KeyValue,
    ) -> tuple[Tensor, KeyValue, Tensor]:
        """x (batch, targets, dim) to the same, the new past, and weights (batch, heads, targets, frames)."""
        y = self.self_norm(x)
        context, _, past = self.self_attention(y, y, y, seen, past)
        x = x + context
        context, weights, _ = self.cross_attention.read(self.cross_norm(x), *source, heard)
        x = x + context
        assert weights is not None
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x)))), past, weights
