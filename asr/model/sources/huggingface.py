"""Hugging Face folders: config.json, model.safetensors, generation_config.json, tokenizer.json."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from asr.errors import FormatError
from asr.model.sources.imported import Heads, Imported, our_name

OURS = {
    "model.": "",
    ".embed_positions.weight": ".positions",
    ".embed_tokens": ".embedding",
    ".layers.": ".blocks.",
    ".layer_norm.": ".norm.",
    ".self_attn_layer_norm.": ".self_norm.",
    ".self_attn.": ".self_attention.heads.",
    ".encoder_attn_layer_norm.": ".cross_norm.",
    ".encoder_attn.": ".cross_attention.",
    ".final_layer_norm.": ".mlp_norm.",
    ".fc1.": ".up.",
    ".fc2.": ".down.",
    ".q_proj.": ".query.",
    ".k_proj.": ".key.",
    ".v_proj.": ".value.",
    ".out_proj.": ".out.",
}


def read_huggingface(folder: Path) -> Imported:
    """Read a folder that transformers wrote with safetensors."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        theirs = load_file(folder / "model.safetensors")
        encoder_heads, decoder_heads = config["encoder_attention_heads"], config["decoder_attention_heads"]
    except (OSError, ValueError, SafetensorError, KeyError) as error:
        raise FormatError(f"{folder} is not a Hugging Face Whisper folder: {error}") from error
    tokenizer = folder / "tokenizer.json"
    return Imported(
        format="Hugging Face",
        weights={our_name(name, OURS): tensor.float() for name, tensor in theirs.items() if name != "proj_out.weight"},
        tokenizer=tokenizer if tokenizer.exists() else None,
        encoder_heads=encoder_heads,
        decoder_heads=decoder_heads,
        alignment_heads=alignment_heads(folder),
    )


def alignment_heads(folder: Path) -> Heads:
    path = folder / "generation_config.json"
    if not path.exists():
        return ()
    pairs = json.loads(path.read_text(encoding="utf-8")).get("alignment_heads") or ()
    return tuple((layer, head) for layer, head in pairs)
