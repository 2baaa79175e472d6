"""Decoders: text so far and encoded speech to the next token, and where each token looked.

What every decoder is to those who call it, and the Transformer's; recurrent_decoder.py is Listen, Attend and Spell's.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.attention import Mechanism, MultiHead
from asr.attention.local import Local
from asr.attention.masks import causal_mask, padding_mask
from asr.attention.mechanism import SOURCES, Carried
from asr.attention.positions import Relative, Rotary
from asr.attention.self_attention import KeyValue
from asr.errors import FormatError
from asr.model.attention import cross_attention, self_attention
from asr.model.config import ModelConfig

DISTANT = (Local, Relative, Rotary)  # tell by the number of targets where these stand


class Source(NamedTuple):
    """Speech as the decoder reads it: projected once, read at each token."""

    layers: list[KeyValue]  # of each cross-attention, each (batch, heads, frames, dim / heads)
    lengths: Tensor  # (batch,) frames that exist


# What each layer carries from token to token, as Decoder.carried describes it, each (batch, ...).
DecoderState = list[tuple[Tensor, ...]]


class Decoder(nn.Module):
    """Tokens and source to the next tokens' log-probabilities."""

    carried: list[tuple[Carried, ...]]  # by layer; a size of 0 is the axis along which each token adds one
    embedding: nn.Embedding

    @property
    def readers(self) -> list[MultiHead]:
        """The cross-attentions, in order."""
        raise NotImplementedError(f"{type(self).__name__} does not say what reads its source")

    @property
    def several_tokens(self) -> bool:
        """Whether the exported graph takes many tokens at once, and all that it carries can be cut back."""
        return False

    @property
    def has_weights(self) -> bool:
        return all(reader.has_weights for reader in self.readers)

    def source(self, features: Tensor, lengths: Tensor) -> Source:
        """Project features (batch, frames, dim) to the keys and values of every cross-attention."""
        return Source([reader.project(features) for reader in self.readers], lengths)

    def start(self, source: Source) -> DecoderState:
        """The state before the first token."""
        key = source.layers[0][0]
        batch, frames = key.shape[0], key.shape[2]
        like = self.embedding.weight
        return [tuple(like.new_full((batch, *sizes(one, frames)), one.init) for one in each) for each in self.carried]

    def forward(
        self, tokens: Tensor, source: Source, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """The next-token distribution after each of the tokens.

        tokens   (batch, targets), those that follow the state's
        returns  log-probabilities (batch, targets, vocabulary), the new state, and cross-attention weights
                 (cross-attentions, batch, heads, targets, frames), None where the mechanism has none
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it decodes")


class TransformerDecoder(Decoder):
    """Transformer blocks before normalisation (Radford et al. 2023, section 2.2)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        self.positions = (
            nn.Parameter(torch.zeros(config.max_tokens, config.dim)) if config.decoder_positions == "learned" else None
        )
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.01)
        self.carried = [block.carried(layer) for layer, block in enumerate(self.layers)]
        if self.positions is not None and not self.grows:
            raise FormatError(
                f"decoder_attention {config.decoder_attention} does not count the tokens before, which learned "
                'positions need: set decoder_positions to "none"'
            )

    @property
    def layers(self) -> list["DecoderBlock"]:
        return cast(list[DecoderBlock], list(self.blocks))

    @property
    def readers(self) -> list[MultiHead]:
        return [block.cross_attention for block in self.layers]

    @property
    def grows(self) -> bool:
        """Whether self-attention keeps every token's keys and values."""
        return not self.layers[0].self_attention.carried

    @property
    def several_tokens(self) -> bool:
        parts = [part for part in self.modules() if isinstance(part, Mechanism)]
        promised = all(part.several_tokens and not isinstance(part, DISTANT) for part in parts)
        return promised and all(0 in one.shape for each in self.carried for one in each)

    def forward(
        self, tokens: Tensor, source: Source, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        targets, past = tokens.shape[1], state[0][0].shape[2] if self.grows else 0
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions[past : past + targets]
        seen = causal_mask(targets, past, x.device)
        heard = padding_mask(source.lengths, source.layers[0][0].shape[2])

        new_state, weights = [], []
        for block, before, speech in zip(self.blocks, state, source.layers, strict=True):
            x, after, looked = block(x, seen, before, heard, speech)
            new_state.append(after)
            weights.append(looked)
        log_probs = (self.norm(x) @ self.embedding.weight.T).log_softmax(-1)
        return log_probs, new_state, torch.stack(weights) if self.has_weights else None


class DecoderBlock(nn.Module):
    """Read the text so far, read the speech, think; each after a normalisation and added to what came in."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.dim
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = self_attention(config.decoder_attention, dim, config.decoder_heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_attention = cross_attention(config.cross_attention, dim, config.decoder_heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)
        heads = self.self_attention.heads.heads
        past = Carried("key", (heads, 0, dim // heads), 0.0)
        self.past = self.self_attention.carried or (past, past._replace(name="value"))

    def carried(self, layer: int) -> tuple[Carried, ...]:
        """What the layer of this number carries: the text's first, then what the cross-attention does."""
        return *named(self.past, "self", layer), *named(remembered(self.cross_attention), "cross", layer)

    def forward(
        self,
        x: Tensor,
        seen: Tensor,
        state: tuple[Tensor, ...],
        heard: Tensor,
        source: KeyValue,
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """x (batch, targets, dim) to the same, the new state, and weights (batch, heads, targets, frames)."""
        past, before = state[: len(self.past)], state[len(self.past) :]
        y = self.self_norm(x)
        context, _, past = self.self_attention(y, y, y, seen, past)
        x = x + context
        context, weights, after = look(self.cross_attention, self.cross_norm(x), source, heard, before)
        x = x + context
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x)))), (*past, *after), weights


def remembered(reader: MultiHead) -> tuple[Carried, ...]:
    """What a cross-attention carries from token to token. Sums of sources seen are not of it: each token sees all."""
    return () if reader.steps else reader.carried


def look(
    reader: MultiHead, query: Tensor, source: KeyValue, heard: Tensor, before: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """Context, weights and what the reader then carries, for query (batch, targets, dim)."""
    context, weights, after = reader.read(query, *source, heard, before or None)
    return context, weights, after if before else ()


def named(carried: tuple[Carried, ...], what: str, layer: int) -> tuple[Carried, ...]:
    return tuple(one._replace(name=f"{what}_{one.name}_{layer}") for one in carried)


def sizes(one: Carried, frames: int, past: int = 0) -> list[int]:
    """Its shape after the batch, over a source of so many frames and after so many tokens."""
    free = {SOURCES: frames, 0: past}
    return [free[size] if size in free else int(size) for size in one.shape]
