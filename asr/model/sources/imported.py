"""What every reader returns, and the shapes that say which Whisper it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from asr.errors import FormatError
from asr.model.config import ModelConfig

Heads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Imported:
    """Weights under our names, with what else their files said."""

    format: str  # whose
    weights: dict[str, Tensor]
    tokenizer: Path | None  # a tokenizer.json beside the weights
    encoder_heads: int
    decoder_heads: int
    alignment_heads: Heads  # (): the files do not say

    def config(self, name: str, languages: tuple[str, ...], provenance: str, licence: str) -> ModelConfig:
        """Every other dimension can be read off the tensors' shapes."""
        shape = {key: tuple(tensor.shape) for key, tensor in self.weights.items()}
        try:
            vocabulary, dim = shape["decoder.embedding.weight"]
            return ModelConfig(
                vocabulary=vocabulary,
                mels=shape["encoder.conv1.weight"][1],
                dim=dim,
                encoder_layers=count_blocks(shape, "encoder"),
                encoder_heads=self.encoder_heads,
                decoder_layers=count_blocks(shape, "decoder"),
                decoder_heads=self.decoder_heads,
                max_frames=shape["encoder.positions"][0],
                max_tokens=shape["decoder.positions"][0],
                alignment_heads=self.alignment_heads or later_half(count_blocks(shape, "decoder"), self.decoder_heads),
                name=name,
                languages=languages,
                provenance=provenance,
                licence=licence,
            )
        except KeyError as error:
            raise FormatError(f"these weights lack {error}: are they a whole Whisper model?") from error


def count_blocks(names: Mapping[str, object], part: str) -> int:
    return len({name.split(".")[2] for name in names if name.startswith(f"{part}.blocks.")})


def later_half(layers: int, heads: int) -> Heads:
    """All heads of the later half of the layers: openai-whisper's default where nobody chose heads."""
    return tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))


# Of our names; theirs are alike in both halves.
OURS_IN_ENCODER = {".self_norm.": ".attention_norm.", ".self_attention.": ".attention."}


def our_name(name: str, table: Mapping[str, str]) -> str:
    """Their dotted name as ours: each part that the table knows replaced, longest parts first."""
    ours = rename(name, table)
    return rename(ours, OURS_IN_ENCODER) if ours.startswith("encoder.") else ours


def rename(name: str, table: Mapping[str, str]) -> str:
    """Replace each known part of a dotted name, longest parts first."""
    for theirs in sorted(table, key=len, reverse=True):
        name = name.replace(theirs, table[theirs])
    return name
