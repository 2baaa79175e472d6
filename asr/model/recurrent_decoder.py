"""The recurrent decoder: Listen, Attend and Spell's (Chan et al. 2016, section 3.2, equations 6 to 8).

    s_i = RNN(s_{i-1}, [y_{i-1}; c_{i-1}])        the text so far, and what was last heard
    c_i = Attention(s_i, h)                       by any mechanism
    P(y_i) = softmax(MLP([s_i; c_i]))

Where the Transformer reads the text so far, this one remembers it, in vectors of fixed size. So each target waits for
the one before, in training too.
"""

from typing import cast

import torch
from torch import Tensor, nn

from asr.attention import MultiHead
from asr.attention.masks import padding_mask
from asr.attention.mechanism import Carried
from asr.model.attention import cross_attention
from asr.model.config import ModelConfig
from asr.model.decoder import Decoder, DecoderState, Source, look, named, remembered

CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class RecurrentDecoder(Decoder):
    """Recurrent cells over tokens, and one cross-attention that the last of them asks."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.dim
        self.embedding = nn.Embedding(config.vocabulary, dim)
        first = CELLS[config.decoder](2 * dim, dim)
        self.cells = nn.ModuleList([first, *(CELLS[config.decoder](dim, dim) for _ in range(1, config.decoder_layers))])
        self.cross_attention = cross_attention(config.cross_attention, dim, config.decoder_heads)
        self.both = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        vector = (Carried("hidden", (dim,), 0.0), Carried("cell", (dim,), 0.0))
        own = [named(vector[: 2 if config.decoder == "lstm" else 1], "self", layer) for layer in range(len(self.cells))]
        last = (Carried("context", (dim,), 0.0), *remembered(self.cross_attention))
        self.carried = [*own, named(last, "cross", 0)]

    @property
    def readers(self) -> list[MultiHead]:
        return [self.cross_attention]

    def forward(
        self, tokens: Tensor, source: Source, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        embedded = self.embedding(tokens)
        heard = padding_mask(source.lengths, source.layers[0][0].shape[2])
        steps, weights = [], []
        for target in range(tokens.shape[1]):
            hidden, state, looked = self.step(embedded[:, target], source, heard, state)
            steps.append(hidden)
            weights.append(looked)
        x = torch.stack(steps, 1)
        log_probs = (self.norm(x) @ self.embedding.weight.T).log_softmax(-1)
        if not self.has_weights:
            return log_probs, state, None
        return log_probs, state, torch.cat(cast(list[Tensor], weights), -2)[None]

    def step(
        self, token: Tensor, source: Source, heard: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """One token (batch, dim) to what comes after it (the same), state, and weights (batch, heads, 1, frames)."""
        *own, (context, *before) = state
        hidden = torch.cat([token, context], -1)
        after: DecoderState = []
        for cell, carried in zip(self.cells, own, strict=True):
            after.append(stepped(cell, hidden, carried))
            hidden = after[-1][0]
        found, weights, looked = look(self.cross_attention, hidden[:, None], source.layers[0], heard, tuple(before))
        context = found[:, 0]
        said = self.both(torch.cat([hidden, context], -1)).tanh()
        return said, [*after, (context, *looked)], weights


def stepped(cell: nn.Module, x: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The cell's next (hidden,) or (hidden, cell) after x (batch, dim)."""
    return tuple(cell(x, carried)) if isinstance(cell, nn.LSTMCell) else (cell(x, carried[0]),)
