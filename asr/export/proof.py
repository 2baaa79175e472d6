"""The import proof: an imported Whisper says what the original implementation says.

    python -m asr.export.proof --from FOLDER --data SET [--clips 30] [--language en|auto]

On each recording both get the same log-mel features, padded to 30 s, and search greedily without
timestamps. The original is the openai-whisper package, given these weights under its own names;
where FOLDER is CTranslate2's, that library is asked too, with the weights as it reads them itself.
Both packages are wanted for the proof alone and are no part of Heed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from asr.errors import HeedError
from asr.model.importer import import_whisper
from asr.model.model import SpeechModel
from asr.model.sources import openai
from asr.model.sources.imported import our_name
from asr.runtime.search import Rules, greedy
from asr.train.manifest import load, read_manifest
from asr.train.tokens import steering_tokens

WINDOW = 480_000  # samples: the 30 s that Whisper's weights want
FRAMES = 1_500
MEL_FRAMES = 3_000
TOKENS = 224  # openai-whisper's limit: half its context

Says = Callable[[NDArray[np.float32], str], tuple[str, tuple[int, ...]]]  # log-mel, language to language, tokens


class GivenFeatures(nn.Module):
    """Stands where the front end is, and returns log-mel that was computed elsewhere."""

    def __init__(self, log_mel: NDArray[np.float32]):
        super().__init__()
        padded = torch.zeros(1, MEL_FRAMES + 3, log_mel.shape[0])
        padded[0, 2 : 2 + MEL_FRAMES] = torch.from_numpy(log_mel).T
        self.log_mel = padded
        self.exists = torch.zeros(1, MEL_FRAMES + 3, 1, dtype=torch.bool)
        self.exists[0, 2 : 2 + MEL_FRAMES] = True

    def forward(self, samples: Tensor, position: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_mel, self.exists


class TorchStepper:
    """The torch model as the search wants a decoder."""

    several_tokens = False

    def __init__(self, model: SpeechModel):
        self.model = model
        with torch.inference_mode():
            features, lengths = model.encode(torch.zeros(1, WINDOW), torch.tensor([WINDOW]))
            self.source = model.decoder.source(features, lengths)

    def start(self) -> Any:
        return self.model.decoder.start(self.source)

    def step(self, tokens: Sequence[int], state: Any) -> tuple[NDArray[np.float32], NDArray[np.float32], Any]:
        with torch.inference_mode():
            log_probs, state, weights = self.model.decoder(torch.tensor([tokens]), self.source, state)
        return log_probs[0].numpy(), weights[-1, 0].numpy(), state

    def rewind(self, state: Any, length: int) -> Any:
        raise NotImplementedError("without drafts nothing is taken back")


def ours(model: SpeechModel, tokenizer: Tokenizer) -> Says:
    steering = steering_tokens(tokenizer, model.config.languages)

    def say(log_mel: NDArray[np.float32], language: str) -> tuple[str, tuple[int, ...]]:
        setattr(model.encoder, "front_end", GivenFeatures(log_mel))  # noqa: B010  (another class on purpose)
        stepper = TorchStepper(model)
        if language == "auto":
            log_probs, _, _ = stepper.step(steering.start, stepper.start())
            language = max(steering.languages, key=lambda code: float(log_probs[-1, steering.languages[code]]))
        suppress, first = (np.array(tokens) for tokens in (steering.suppress, steering.suppress_first))
        rules = Rules(steering.end, TOKENS, suppress, first)
        return language, greedy(stepper, steering.prompt(language), rules).tokens

    return say


def original(model: SpeechModel) -> Says:
    """openai-whisper's own model and decoding, with our weights under its names."""
    import whisper

    config = model.config
    dims = whisper.model.ModelDimensions(
        config.mels, config.max_frames, config.dim, config.encoder_heads, config.encoder_layers,
        config.vocabulary, config.max_tokens, config.dim, config.decoder_heads, config.decoder_layers,
    )  # fmt: skip
    theirs = whisper.model.Whisper(dims)
    weights = model.state_dict()
    theirs.load_state_dict({name: weights[our_name(name, openai.OURS)] for name in theirs.state_dict()})
    theirs.eval()

    def say(log_mel: NDArray[np.float32], language: str) -> tuple[str, tuple[int, ...]]:
        options = whisper.DecodingOptions(
            language=None if language == "auto" else language, without_timestamps=True, fp16=False, temperature=0.0
        )
        result = whisper.decode(theirs, torch.from_numpy(log_mel), options)
        return result.language, tuple(result.tokens)

    return say


def ctranslate2(folder: Path, model: SpeechModel, tokenizer: Tokenizer) -> Says:
    """CTranslate2, reading its own file."""
    import ctranslate2

    steering = steering_tokens(tokenizer, model.config.languages)
    theirs = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="float32")

    def say(log_mel: NDArray[np.float32], language: str) -> tuple[str, tuple[int, ...]]:
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(log_mel[None]))
        if language == "auto":
            language = theirs.detect_language(features)[0][0][0].strip("<|>")
        prompt = list(steering.prompt(language))
        found = theirs.generate(
            features, [prompt], beam_size=1, max_length=len(prompt) + TOKENS, suppress_tokens=list(steering.suppress)
        )
        return language, tuple(token for token in found[0].sequences_ids[0] if token != steering.end)

    return say


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asr.export.proof", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", required=True, help="as asr-import takes it")
    parser.add_argument("--data", required=True, type=Path, help="a folder with manifest.jsonl")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--language", default="en", help='a code, or "auto" to detect it')
    options = parser.parse_args(arguments)
    try:
        model, tokenizer_path = import_whisper(options.source)
        clips = read_manifest(options.data)[: options.clips]
        recordings = [load(clip) for clip in clips]
    except HeedError as error:
        print(f"proof: {error}", file=sys.stderr)
        return 1
    import whisper

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    systems = {"openai-whisper": original(model)}
    if (Path(options.source) / "model.bin").exists():
        systems["CTranslate2"] = ctranslate2(Path(options.source), model, tokenizer)
    say = ours(model, tokenizer)
    equal = dict.fromkeys(systems, 0)
    for clip, samples in zip(clips, recordings, strict=True):
        log_mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), model.config.mels).numpy()
        mine = say(log_mel, options.language)
        for name, system in systems.items():
            theirs = system(log_mel, options.language)
            equal[name] += mine == theirs
            if mine != theirs:
                texts = (f"{language}: {tokenizer.decode(list(tokens))}" for language, tokens in (mine, theirs))
                print(f"{clip.id}: ours {next(texts)!r}, {name} {next(texts)!r}")
    for name, count in equal.items():
        print(f"{model.config.name}: greedy tokens and language equal to {name} on {count} of {len(clips)} clips")
    return 0 if equal["openai-whisper"] == len(clips) else 1


if __name__ == "__main__":
    sys.exit(main())
