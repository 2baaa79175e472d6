"""Recurrent layers in the Transformer's place: frame after frame, with all of the past in a vector of fixed size.

They read forwards only, so that padding behind a row changes nothing, a stream goes on from where it was, and the
last frame holds the whole utterance, which is what "none" gives the decoder (Sutskever et al. 2014). Listen, Attend
and Spell (Chan et al. 2016) reads both ways: more accurate, but neither of the first two would hold.
"""

from torch import Tensor, nn
from torch.nn import functional

from asr.attention.self_attention import KeyValue

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentBlock(nn.Module):
    """A recurrent layer after a normalisation, added to what came in.

    What it carries has the form of an attention layer's keys and values with a single row, so that chunks are
    encoded, cached and served alike: the hidden vector, and an LSTM's cell; a GRU has no cell and says it twice.
    """

    chunks = True  # always: the last row is all of the past

    def __init__(self, kind: str, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.layer = LAYERS[kind](dim, dim, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor, past: KeyValue) -> tuple[Tensor, KeyValue]:
        """As EncoderBlock; the past alone decides what a frame hears, whatever the mask."""
        hidden, cell = (self.newest(kept) for kept in past)
        if isinstance(self.layer, nn.LSTM):
            y, (hidden, cell) = self.layer(self.norm(x), (hidden, cell))
        else:
            y, hidden = self.layer(self.norm(x), hidden)
            cell = hidden
        return x + y, (self.as_row(hidden), self.as_row(cell))

    def newest(self, kept: Tensor) -> Tensor:
        """The last row (1, batch, dim) of what was kept, (batch, heads, 0 or 1, dim / heads); zeros at the start."""
        return functional.pad(kept, (0, 0, 1, 0))[:, :, -1].reshape(1, kept.shape[0], -1).clone()

    def as_row(self, carried: Tensor) -> Tensor:
        batch, dim = carried.shape[1:]
        return carried.view(batch, self.heads, 1, dim // self.heads)
