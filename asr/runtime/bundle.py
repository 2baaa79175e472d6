"""The exported folder and its description, model.json: one reader and one writer.

encoder.onnx  decoder.onnx  tokenizer.json  model.json

Everything a runtime needs to know of a model stands here; nothing is guessed from its name.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from asr.errors import FormatError

DESCRIPTION = "model.json"
GRAPHS = ("encoder.onnx", "decoder.onnx")
TOKENIZER = "tokenizer.json"
BATCH = "batch"  # in a state's shape: one for each row
FRAMES = "frames"  # in a state's shape: one for each source frame
AUTO = "auto"  # in the place of a language: to be told from the speech


@dataclass(frozen=True)
class State:
    """What the decoder carries from step to step: it goes in as `name` and comes out as `new_name`."""

    name: str
    shape: tuple[int | str, ...]  # "batch" first, then numbers and "frames"; 0 along the axis that grows
    init: float  # the value it starts with
    grows: int | None  # the axis along which each token adds one, so that tokens can be taken back; None: none


@dataclass(frozen=True)
class Tokens:
    """The tokens that steer the decoder."""

    start: tuple[int, ...]  # the prompt up to the language
    languages: dict[str, int]  # code to token; {}: the prompt does not say the language
    after_language: tuple[int, ...]  # the rest of the prompt
    end: int
    no_speech: int | None  # its probability after the prompt's first token says that nobody speaks
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()  # as the first token alone
    per_word: int = 1  # tokens of an ordinary word

    def prompt(self, language: str) -> tuple[int, ...]:
        """What comes before the text; a model that does not say the language has one prompt for all."""
        return (*self.start, *((self.languages[language],) if self.languages else ()), *self.after_language)


@dataclass(frozen=True)
class Bundle:
    """model.json."""

    name: str
    languages: tuple[str, ...]
    sample_rate: int
    frame_hop_s: float
    look_back: int  # samples that the encoder wants before the first frame of a call
    look_ahead: int  # samples that it wants after the last
    max_frames: int  # of a segment
    max_tokens: int  # of a segment, prompt included
    latency_modes: dict[str, int]  # name to frames per chunk; 0: the whole segment
    left_context_frames: int
    pad_s: float  # what a segment is padded to, for weights that need it to know when to stop; 0: nothing
    log_mel: str
    encoder_layers: int
    encoder_heads: int
    dim: int
    states: tuple[State, ...]
    multi_token: bool  # several tokens can be verified in one pass
    alignment_heads: tuple[tuple[int, int], ...]  # (decoder layer, head); (): attention has no weights
    ctc: str | None  # alphabet after blank
    tokens: Tokens
    licence: str
    provenance: str
    quantisation: str  # "none" or "int8"
    right_context_frames: int = 0  # after a chunk, that it also sees; they are encoded again in their own
    chunks: bool = True  # the encoder can go on from what it kept of the chunks before
    decoder_heads: int = 0  # of the cross-attention of a layer; 0: written before this was told
    word_times: str = "attention"  # when words begin and end: one of times.SOURCES
    confidence: dict[str, float] = field(default_factory=dict)  # confidence.py; {}: never calibrated
    doubt: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)  # WER in per cent by set
    sha256: dict[str, str] = field(default_factory=dict)  # of the files beside

    @property
    def frame_hop(self) -> int:
        """Samples of one encoder frame."""
        return round(self.frame_hop_s * self.sample_rate)

    @property
    def max_samples(self) -> int:
        """Samples of the longest segment."""
        return self.max_frames * self.frame_hop

    @property
    def ahead(self) -> int:
        """Samples after a chunk that it waits for."""
        return self.right_context_frames * self.frame_hop + self.look_ahead

    @property
    def grows(self) -> bool:
        """Whether a segment can be encoded while it is spoken: weights that know true lengths, and features that need
        no look at the future. Else it is read anew as it grows."""
        return self.pad_s == 0 and self.log_mel == "fixed"

    def save(self, folder: Path) -> None:
        """Write model.json, with the digests of the files as they now are."""
        digests = {name: digest(folder / name) for name in (*GRAPHS, TOKENIZER)}
        text = json.dumps(asdict(replace(self, sha256=digests)), indent=1, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, verify: bool = True) -> Self:
        """Read model.json; FormatError says what is absent, unknown or damaged. verify: check the digests too."""
        path = folder / DESCRIPTION
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            bundle = cls(**parsed(values))
        except FileNotFoundError as error:
            raise FormatError(f"{folder} is not an exported model: it has no {DESCRIPTION}") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FormatError(f"{path} does not describe a model: {error}") from error
        for name in (*GRAPHS, TOKENIZER):
            if not (folder / name).exists():
                raise FormatError(f"{folder} is not a whole model: it has no {name}")
        if verify:
            bundle.verify(folder)
        return bundle

    def verify(self, folder: Path) -> None:
        """FormatError where a file beside is not the one that this was written for."""
        for name in (*GRAPHS, TOKENIZER):
            if digest(folder / name) != self.sha256.get(name):
                raise FormatError(f"{folder / name} is not the file that {DESCRIPTION} was written for: export again")


def parsed(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists and objects as the dataclasses want them."""
    known = {item.name for item in fields(Bundle)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    tokens = dict(values["tokens"])
    for name in ("start", "after_language", "suppress", "suppress_first"):
        tokens[name] = tuple(tokens[name])
    return {
        **values,
        "languages": tuple(values["languages"]),
        "alignment_heads": tuple((layer, head) for layer, head in values["alignment_heads"]),
        "states": tuple(State(**{**state, "shape": tuple(state["shape"])}) for state in values["states"]),
        "tokens": Tokens(**tokens),
    }


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
