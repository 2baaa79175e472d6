"""The encoder: log-mel, two convolutions, Transformer blocks before normalisation (Radford et al. 2023, section 2.2).

One set of weights reads a segment at once, at once under a chunk mask (training),
or chunk by chunk with cached keys and values (streaming): all three agree. The layers
can read by another attention, not all of which can be chunked, or be recurrent (recurrent.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.attention import SelfAttention
from asr.attention.masks import chunk_mask
from asr.attention.positions import sinusoids
from asr.attention.self_attention import KeyValue
from asr.model.attention import self_attention
from asr.model.config import ModelConfig
from asr.model.front_end import FrontEnd
from asr.model.recurrent import RecurrentBlock

# Of each layer the keys and values of the frames before a chunk, the newest last, each
# (batch, heads, cached, dim / heads). Of a row's cached frames only min(cached, position)
# exist; the others are ignored whatever they hold. A pair a layer, not one stacked tensor:
# taking a stack apart would copy it at every call. [] where an encoder cannot go on from a cache.
EncoderCache = list[KeyValue]


class Encoder(nn.Module):
    """Samples to features, a frame each 20 ms."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads = config.encoder_heads
        self.left_context = config.left_context
        self.pad_frames = config.pad_frames
        self.front_end = FrontEnd(config)
        self.conv1 = Convolution(config.mels, config.dim, kernel_size=3)
        self.conv2 = Convolution(config.dim, config.dim, kernel_size=3, stride=2)
        self.register_buffer("positions", sinusoids(config.max_frames, config.dim))
        self.says_where = config.encoder_positions == "sinusoidal"
        self.blocks = nn.ModuleList(layer_of(config) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.positions: Tensor

    @property
    def chunks(self) -> bool:
        """Whether it can encode chunk by chunk what it would encode at once under the chunk mask."""
        return all(one.chunks for one in self.blocks)

    def empty_cache(self, batch: int) -> EncoderCache:
        """The cache of a segment's first chunk."""
        if not self.chunks:
            return []
        empty = self.positions.new_zeros(batch, self.heads, 0, self.positions.shape[1] // self.heads)
        return [(empty, empty) for _ in self.blocks]

    def forward(
        self, samples: Tensor, position: Tensor, total: Tensor, cache: EncoderCache, chunk: int | None = None
    ) -> tuple[Tensor, EncoderCache]:
        """Encode the next frames of each row's segment.

        samples   (batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)
        position  (batch,) index of the first of these frames in its segment
        total     (batch,) frames with audio in the segment; any larger number while more will come
        cache     keys and values of up to left_context frames before
        chunk     None: every frame sees all frames given and cached. A number, with an empty cache: as if called
                  with so many frames at a time
        returns   features (batch, frames, dim), meaningful up to max(total, pad_frames) - position; the new cache
        """
        log_mel, exists = self.front_end(samples, position, total)
        x = functional.gelu(self.conv1(log_mel)) * exists[:, 1:-1]  # what does not exist is conv2's padding
        x = functional.gelu(self.conv2(x))
        frames, cached = x.shape[1], cache[0][0].shape[2] if cache else 0

        if self.says_where:
            index = position[:, None] + torch.arange(frames, device=x.device)
            x = x + self.positions[index.clamp(max=self.positions.shape[0] - 1)]

        source = torch.arange(-cached, frames, device=x.device) + position[:, None]
        mask = ((source >= 0) & (source < total.clamp(min=self.pad_frames)[:, None]))[:, None]
        if chunk is not None:
            mask = mask & chunk_mask(frames, chunk, self.left_context, x.device)

        new_cache = []
        for layer, block in enumerate(self.blocks):
            x, (key, value) = block(x, mask, cache[layer] if cache else None)
            new_cache.append((key[:, :, -self.left_context :], value[:, :, -self.left_context :]))
        return self.norm(x), new_cache if cache else []


def layer_of(config: ModelConfig) -> "EncoderBlock | RecurrentBlock":
    """One layer, as the config asks for it."""
    if config.encoder != "transformer":
        return RecurrentBlock(config.encoder, config.dim, config.encoder_heads)
    return EncoderBlock(self_attention(config.encoder_attention, config.dim, config.encoder_heads), config.dim)


class Convolution(nn.Conv1d):
    """A convolution over time as one matrix product, (batch, time, in) to (batch, shorter time, out).

    onnxruntime's own convolution sums in another order for short inputs than for long ones; a matrix
    product sums each frame alike, so that a chunk gives the very bits that the whole recording gives.
    """

    def forward(self, x: Tensor) -> Tensor:
        taps, stride = self.kernel_size[0], self.stride[0]
        last = x.shape[1] - taps + 1
        windows = torch.cat([x[:, tap : last + tap : stride] for tap in range(taps)], dim=-1)
        matrix = self.weight.permute(2, 1, 0).reshape(-1, self.out_channels)
        assert self.bias is not None
        return windows @ matrix + self.bias


class EncoderBlock(nn.Module):
    """Self-attention, then two linear layers; each after a normalisation and added to what came in."""

    def __init__(self, attention: SelfAttention, dim: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    @property
    def chunks(self) -> bool:
        """Keys and values can be kept. Not sums, of which left_context frames cannot be told from all before, nor
        what has its place, counted from the first that is kept, in it."""
        return not self.attention.carried and self.attention.position is None

    def forward(self, x: Tensor, mask: Tensor, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """x (batch, frames, dim), mask (batch, 1 or frames, past + frames), past keys and values; both new."""
        y = self.attention_norm(x)
        context, _, past = self.attention(y, y, y, mask, past)
        x = x + context
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x)))), past
