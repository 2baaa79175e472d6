"""What model.json says of a model."""

from pathlib import Path

from tokenizers import Tokenizer

from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, SAMPLE_RATE, ModelConfig
from asr.model.graphs import alignment_heads, per_layer
from asr.runtime.bundle import BATCH, Bundle, State
from asr.train.tokens import steering_tokens

LATENCY_MODES = {"full": 0, "1280ms": 64, "640ms": 32, "320ms": 16}  # frames of 20 ms


def describe(config: ModelConfig, tokenizer: Path) -> Bundle:
    """The description of a model in fp32; tokenizer is its tokenizer.json."""
    width = config.dim // config.decoder_heads
    names = per_layer("self", config.decoder_layers)
    return Bundle(
        name=config.name,
        languages=config.languages,
        sample_rate=SAMPLE_RATE,
        frame_hop_s=FRAME_HOP / SAMPLE_RATE,
        look_back=LOOK_BACK,
        look_ahead=LOOK_AHEAD,
        max_frames=config.max_frames,
        max_tokens=config.max_tokens,
        latency_modes=LATENCY_MODES,
        left_context_frames=config.left_context,
        pad_s=config.pad_s,
        log_mel=config.log_mel,
        encoder_layers=config.encoder_layers,
        encoder_heads=config.encoder_heads,
        dim=config.dim,
        states=tuple(State(name, (BATCH, config.decoder_heads, 0, width), init=0.0, grows=2) for name in names),
        multi_token=True,
        alignment_heads=alignment_heads(config),
        ctc=config.ctc_alphabet,
        tokens=steering_tokens(Tokenizer.from_file(str(tokenizer)), config.languages),
        licence=config.licence,
        provenance=config.provenance,
        quantisation="none",
    )
