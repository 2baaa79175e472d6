"""What model.json says of a model."""

from pathlib import Path

from tokenizers import Tokenizer

from asr.attention.mechanism import SOURCES, Carried
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, SAMPLE_RATE, ModelConfig
from asr.model.graphs import alignment_heads
from asr.model.model import outline
from asr.runtime.bundle import BATCH, FRAMES, Bundle, State
from asr.train.tokens import steering_tokens

LATENCY_MODES = {"full": 0, "1280ms": 64, "640ms": 32, "320ms": 16}  # frames of 20 ms


def describe(config: ModelConfig, tokenizer: Path) -> Bundle:
    """The description of a model in fp32; tokenizer is its tokenizer.json."""
    chunks, decoder = outline(config)
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
        right_context_frames=config.right_context,
        pad_s=config.pad_s,
        log_mel=config.log_mel,
        encoder_layers=config.encoder_layers,
        encoder_heads=config.encoder_heads,
        dim=config.dim,
        states=tuple(state(one) for each in decoder.carried for one in each),
        multi_token=decoder.several_tokens,
        alignment_heads=alignment_heads(config, decoder),
        ctc=config.ctc_alphabet,
        tokens=steering_tokens(Tokenizer.from_file(str(tokenizer)), config.languages),
        licence=config.licence,
        provenance=config.provenance,
        quantisation="none",
        chunks=chunks,
        word_times="attention" if config.ctc_alphabet is None else "ctc",
        decoder_heads=max((reader.heads for reader in decoder.readers), default=0) if decoder.has_weights else 0,
    )


def state(one: Carried) -> State:
    shape = (BATCH, *(FRAMES if size == SOURCES else size for size in one.shape))
    return State(one.name, shape, one.init, grows=shape.index(0) if 0 in shape else None)
