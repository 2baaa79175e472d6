"""CTranslate2 folders: model.bin (binary version 6, WhisperSpec), config.json, tokenizer.json.

model.bin, little-endian: version u32, spec name, spec revision u32, then the variables (count u32; each
name, rank u8, dimensions u32, type u8, size in bytes u32, data), then the aliases (count u32; name pairs).
A string is its length u16, final zero included, and its bytes.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.errors import FormatError
from asr.model.sources.imported import Imported, our_name

BINARY_VERSION = 6
TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}

OURS = {
    "/": ".",
    "layer_norm/gamma": "norm.weight",
    "layer_norm/beta": "norm.bias",
    "embeddings/": "embedding.",
    "position_encodings/encodings": "positions",
    "layer_": "blocks.",
    "ffn/layer_norm/gamma": "mlp_norm.weight",
    "ffn/layer_norm/beta": "mlp_norm.bias",
    "ffn/linear_0/": "up.",
    "ffn/linear_1/": "down.",
    "self_attention/layer_norm/gamma": "self_norm.weight",
    "self_attention/layer_norm/beta": "self_norm.bias",
    "self_attention/linear_0/": "self_attention.heads.query+key+value.",
    "self_attention/linear_1/": "self_attention.heads.out.",
    "/attention/layer_norm/gamma": ".cross_norm.weight",
    "/attention/layer_norm/beta": ".cross_norm.bias",
    "/attention/linear_0/": ".cross_attention.query.",
    "/attention/linear_1/": ".cross_attention.key+value.",
    "/attention/linear_2/": ".cross_attention.out.",
}


def read_ctranslate2(folder: Path) -> Imported:
    """Read a folder that ct2-transformers-converter wrote in float32 or float16."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        variables = dict(read_variables((folder / "model.bin").read_bytes()))
        encoder_heads, decoder_heads = int(variables["encoder/num_heads"]), int(variables["decoder/num_heads"])
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise FormatError(f"{folder} is not a CTranslate2 Whisper folder: {error}") from error
    weights: dict[str, Tensor] = {}
    for name, values in variables.items():
        if values.ndim and name != "decoder/projection/weight":  # scalars are settings; the output layer is tied
            weights.update(split_fused(our_name(name, OURS), values))
    tokenizer = folder / "tokenizer.json"
    return Imported(
        format="CTranslate2",
        weights=weights,
        tokenizer=tokenizer if tokenizer.exists() else None,
        encoder_heads=encoder_heads,
        decoder_heads=decoder_heads,
        alignment_heads=tuple((layer, head) for layer, head in config.get("alignment_heads", ())),
    )


def read_variables(content: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The named arrays of a model.bin."""
    at = 0

    def take(layout: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from(f"<{layout}", content, at)
        at += struct.calcsize(f"<{layout}")
        return values

    def take_bytes(size: int) -> bytes:
        nonlocal at
        if at + size > len(content):
            raise ValueError(f"model.bin ends at byte {len(content)}, in the middle of a variable")
        at += size
        return content[at - size : at]

    def take_string() -> str:
        return take_bytes(take("H")[0]).rstrip(b"\0").decode()

    version, spec = take("I")[0], take_string()
    if version != BINARY_VERSION or spec != "WhisperSpec":
        raise ValueError(f"model.bin is {spec!r} in binary version {version}; only WhisperSpec in version 6 is known")
    take("I")  # revision
    for _ in range(take("I")[0]):
        name, rank = take_string(), take("B")[0]
        shape = take(f"{rank}I")
        kind, size = take("BI")
        if name.endswith("_scale") or kind not in TYPES:
            raise ValueError(f"{name} is quantised; convert with --quantization float32 or float16")
        yield name, np.frombuffer(take_bytes(size), TYPES[kind]).reshape(shape)


def split_fused(name: str, values: NDArray[np.generic]) -> Iterator[tuple[str, Tensor]]:
    """Undo CTranslate2's fusion of projections; its bias of the key is zeros, and ours has none."""
    tensor = torch.from_numpy(values.astype(np.float32))
    parts = next((part for part in name.split(".") if "+" in part), None)
    if parts is None:
        yield name, tensor
        return
    names = parts.split("+")
    for part, values_of_part in zip(names, tensor.chunk(len(names)), strict=True):
        ours = name.replace(parts, part)
        if not ours.endswith("key.bias"):
            yield ours, values_of_part.clone()
