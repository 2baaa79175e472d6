"""OpenAI's own checkpoints: a .pt file with `dims` and `model_state_dict`."""

from pathlib import Path

import torch

from asr.errors import FormatError
from asr.model.sources.imported import Imported, our_name

OURS = {
    ".positional_embedding": ".positions",
    ".token_embedding": ".embedding",
    ".ln_post.": ".norm.",
    "decoder.ln.": "decoder.norm.",
    ".attn_ln.": ".self_norm.",
    ".attn.": ".self_attention.heads.",
    ".cross_attn_ln.": ".cross_norm.",
    ".cross_attn.": ".cross_attention.",
    ".mlp_ln.": ".mlp_norm.",
    ".mlp.0.": ".up.",
    ".mlp.2.": ".down.",
}


def read_openai(path: Path) -> Imported:
    """Read a .pt file; nothing in it is executed (weights_only)."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        dims, theirs = checkpoint["dims"], checkpoint["model_state_dict"]
    except Exception as error:  # of bytes that are no pickle torch's reader raises whatever it stumbles over
        reason = str(error).partition("\n")[0].partition(". ")[0]  # what follows is advice to trust the file
        raise FormatError(f"{path} is not an OpenAI Whisper checkpoint: {reason}") from error
    beside = path.parent / "tokenizer.json"
    return Imported(
        format="OpenAI",
        weights={our_name(name, OURS): tensor.float() for name, tensor in theirs.items() if name != "decoder.mask"},
        tokenizer=beside if beside.exists() else None,
        encoder_heads=dims["n_audio_head"],
        decoder_heads=dims["n_text_head"],
        alignment_heads=(),
    )
