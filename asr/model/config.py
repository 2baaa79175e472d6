"""The shape of a model, and every fact that is fixed when its weights are trained.

The defaults are OpenAI Whisper tiny.en's, so that every Whisper checkpoint is a
valid starting point and a model trained from scratch differs in its config alone.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from asr.attention import Composition
from asr.errors import FormatError, OptionError
from asr.model.attention import AttentionChoice, asked

SAMPLE_RATE = 16_000
MEL_HOP = 160  # samples: 10 ms
MEL_WINDOW = 400  # samples: 25 ms
FRAME_HOP = 2 * MEL_HOP  # samples an encoder frame stands for: 20 ms, for the second convolution has stride 2

# A frame's centre is FRAME_HOP * index. Through both convolutions and the mel window
# it hears this far to each side (2 mel hops for the convolutions, half a window).
RECEPTIVE_HALF = 2 * MEL_HOP + MEL_WINDOW // 2  # 520 samples, 32.5 ms
LOOK_BACK = RECEPTIVE_HALF  # samples before a chunk's first frame
LOOK_AHEAD = RECEPTIVE_HALF - FRAME_HOP  # samples after the chunk's own


@dataclass(frozen=True)
class ModelConfig:
    """One encoder-decoder.

    Attention is chosen by its name in asr.attention.MECHANISMS, or composed of parts by a table, whose keys are
    asr.attention.Composition's. A table's heads count in the place of encoder_heads or decoder_heads.
    """

    vocabulary: int = 51_864
    mels: int = 80
    dim: int = 384
    encoder_layers: int = 4
    encoder_heads: int = 6
    decoder_layers: int = 4
    decoder_heads: int = 6
    encoder: Literal["transformer", "lstm", "gru"] = "transformer"
    encoder_attention: AttentionChoice = "self"  # of a Transformer's layers; a name begins with "self"
    encoder_positions: Literal["sinusoidal", "none"] = "sinusoidal"  # added to what the first layer reads
    decoder: Literal["transformer", "lstm", "gru"] = "transformer"
    decoder_attention: AttentionChoice = "self"
    decoder_positions: Literal["learned", "none"] = "learned"  # of a Transformer; recurrence needs none
    cross_attention: AttentionChoice = "multihead"  # from text to speech; a name does not begin with "self"
    max_frames: int = 1_500  # of a segment: 30 s
    max_tokens: int = 448  # of a segment, prompt included
    log_mel: Literal["whisper", "fixed"] = "whisper"  # floor 8 below the window's maximum, or at a constant
    pad_s: float = 30.0  # what segments are padded to; 0 for weights trained at true length
    left_context: int = 512  # frames seen before a chunk, a whole number of chunks in every latency mode
    right_context: int = 0  # frames after a chunk that it also sees, in use; they are encoded again in their own
    ctc_alphabet: str | None = None  # characters of the CTC head after blank; None: no head
    alignment_heads: tuple[tuple[int, int], ...] = ()  # (decoder layer, head) whose mean is the alignment; (): all
    name: str = "unnamed"
    languages: tuple[str, ...] = ("en",)
    licence: str = ""
    provenance: str = ""

    def __post_init__(self) -> None:
        self._read_attention()
        for part in ("encoder", "decoder"):
            heads = getattr(self, f"{part}_heads")
            if self.dim % heads:
                raise FormatError(f"dim ({self.dim}) must be a whole multiple of {part}_heads ({heads})")
        for name, choices in get_type_hints(ModelConfig).items():
            if get_origin(choices) is Literal and getattr(self, name) not in get_args(choices):
                raise FormatError(f"{name} is {getattr(self, name)!r}; it can be {' or '.join(get_args(choices))}")
        if not 0 <= self.right_context <= self.left_context:
            raise FormatError(f"right_context is {self.right_context} frames; it can be 0 to {self.left_context}")
        for layer, head in self.alignment_heads:
            if not (0 <= layer < self.decoder_layers and 0 <= head < self.cross_heads):
                raise FormatError(
                    f"alignment head ({layer}, {head}) is outside the decoder's "
                    f"{self.decoder_layers} layers of {self.cross_heads} heads"
                )

    def _read_attention(self) -> None:
        """Tables become compositions. What the encoder caches is by encoder_heads, so a table's heads become these."""
        for part in ("encoder", "decoder", "cross"):
            option, heads = f"{part}_attention", self.encoder_heads if part == "encoder" else self.decoder_heads
            told = asked(option, getattr(self, option), self.dim, heads, reads_itself=part != "cross")
            object.__setattr__(self, option, told)
        if isinstance(self.encoder_attention, Composition) and self.encoder_attention.heads is not None:
            object.__setattr__(self, "encoder_heads", self.encoder_attention.heads)

    @property
    def cross_heads(self) -> int:
        """Of a cross-attention that has heads."""
        own = self.cross_attention.heads if isinstance(self.cross_attention, Composition) else None
        return self.decoder_heads if own is None else own

    @property
    def pad_frames(self) -> int:
        """The fewest frames that the encoder sees of a segment: what has no audio is padding."""
        return round(self.pad_s * SAMPLE_RATE / FRAME_HOP)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a config; FormatError names a file that is absent, damaged, or has keys we do not know."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(f"cannot read a model config at {path}: {error}") from error
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise FormatError(f"{path} has unknown keys {sorted(unknown)}; known are {sorted(known)}")
        values["alignment_heads"] = tuple((layer, head) for layer, head in values.get("alignment_heads", ()))
        values["languages"] = tuple(values.get("languages", ("en",)))
        try:
            return cls(**values)
        except OptionError as error:
            raise FormatError(f"{path}: {error}") from error
