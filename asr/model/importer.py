"""asr-import: a Whisper checkpoint of another project becomes one of ours.

asr-import --from tiny.en.pt --to checkpoints/tiny.en
asr-import --from FOLDER --to DIR        Hugging Face (safetensors) or CTranslate2
asr-import --from tiny.en --to DIR       by name, from OpenAI's place on the Hugging Face hub
"""

import argparse
import sys
from pathlib import Path

from tokenizers import Tokenizer

from asr.errors import FormatError, HeedError, NotFoundError
from asr.model.checkpoint import save_checkpoint
from asr.model.config import ModelConfig
from asr.model.model import SpeechModel
from asr.model.sources.ctranslate2 import read_ctranslate2
from asr.model.sources.huggingface import read_huggingface
from asr.model.sources.imported import Imported
from asr.model.sources.openai import read_openai

NAMES = ("tiny", "base", "small", "medium", "large", "large-v2", "large-v3", "large-v3-turbo")
NAMES_OF_ENGLISH = ("tiny.en", "base.en", "small.en", "medium.en")
SHIPPED_TOKENIZER = Path(__file__).parents[1] / "models" / "tiny.en-streaming" / "tokenizer.json"
SHIPPED_VOCABULARY = 51_864  # of every English-only Whisper
END, START, TRANSLATE = "<|endoftext|>", "<|startoftranscript|>", "<|translate|>"
LAST_ENGLISH_PIECE = 50_256  # the end token, right after the text pieces of the English-only vocabulary
LICENCE = "MIT (weights: OpenAI Whisper)"


def import_whisper(source: str, tokenizer: Path | None = None, name: str = "") -> tuple[SpeechModel, Path]:
    """Read weights from a path or by name; returns the model and the tokenizer.json that belongs to it."""
    path = Path(source)
    if not path.exists():
        path = download(source)
    imported = read(path)
    tokenizer = tokenizer or imported.tokenizer or shipped_tokenizer(imported)
    name = name or (source if source in NAMES + NAMES_OF_ENGLISH else path.stem if path.is_file() else path.name)
    config = imported.config(
        name,
        whisper_languages(read_tokenizer(tokenizer)),
        f"OpenAI Whisper {name}, imported from {imported.format} weights",
        LICENCE,
    )
    return build(config, imported), tokenizer


def read(path: Path) -> Imported:
    """Tell the three formats apart by what lies in the folder."""
    if path.is_file():
        return read_openai(path)
    if (path / "model.safetensors").exists():
        return read_huggingface(path)
    if (path / "model.bin").exists():
        return read_ctranslate2(path)
    raise FormatError(
        f"{path} holds neither model.safetensors (Hugging Face) nor model.bin (CTranslate2), "
        "and is no .pt file (OpenAI)"
    )


def download(name: str) -> Path:
    """Fetch by name into the Hugging Face cache."""
    if name not in NAMES + NAMES_OF_ENGLISH:
        raise NotFoundError(
            f"{name!r} is neither a path that exists nor a known name ({', '.join(NAMES_OF_ENGLISH + NAMES)})"
        )
    from huggingface_hub import snapshot_download  # only here: it is slow to import and needed by few

    try:
        wanted = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
        return Path(snapshot_download(f"openai/whisper-{name}", allow_patterns=wanted))
    except Exception as error:  # the hub's client raises a dozen unrelated classes for "no network"
        raise NotFoundError(
            f"could not fetch openai/whisper-{name} from the Hugging Face hub ({error}); "
            "with no network, give the path of a checkpoint instead"
        ) from error


def shipped_tokenizer(imported: Imported) -> Path:
    """A lone .pt has no tokenizer; every English-only Whisper has the one that we ship."""
    vocabulary = imported.weights["decoder.embedding.weight"].shape[0]
    if vocabulary == SHIPPED_VOCABULARY and SHIPPED_TOKENIZER.exists():
        return SHIPPED_TOKENIZER
    raise FormatError(
        "there is no tokenizer.json beside these weights; give one with --tokenizer "
        "(Hugging Face's openai/whisper-* folders have it)"
    )


def read_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing narrower
        raise FormatError(f"cannot read a tokenizer.json at {path}: {error}") from error


def whisper_languages(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Language codes in the vocabulary's order: they stand between two special tokens; the English-only
    vocabulary has the same ones by accident, but one piece of text less."""
    ids = {name: tokenizer.token_to_id(name) for name in (END, START, TRANSLATE)}
    end, start, translate = ids[END], ids[START], ids[TRANSLATE]
    if end is None or start is None or translate is None:
        raise FormatError(f"the tokenizer is not a Whisper vocabulary: it lacks one of {', '.join(ids)}")
    if end <= LAST_ENGLISH_PIECE:
        return ("en",)
    return tuple(str(tokenizer.id_to_token(token)).strip("<|>") for token in range(start + 1, translate))


def build(config: ModelConfig, imported: Imported) -> SpeechModel:
    model = SpeechModel(config)
    try:
        model.load_state_dict(imported.weights)
    except RuntimeError as error:
        raise FormatError(f"these weights do not fit the model that their shapes describe: {error}") from error
    return model.eval()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="asr-import", description="Turn a Whisper checkpoint into one of Heed's.")
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="PATH|NAME",
        help="an OpenAI .pt file, a Hugging Face or CTranslate2 folder, or a name such as tiny.en, which is fetched "
        "from the Hugging Face hub",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the checkpoint folder to write")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="a tokenizer.json, where none lies beside the weights (English-only models take the bundled one)",
    )
    parser.add_argument("--name", default="", help="what the model is to be called (as the source is)")
    options = parser.parse_args(arguments)
    try:
        model, tokenizer = import_whisper(options.source, options.tokenizer, options.name)
        save_checkpoint(model, tokenizer, options.to)
    except (HeedError, OSError) as error:
        print(f"asr-import: {error}", file=sys.stderr)
        return 1
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{options.to}: {model.config.name}, {parameters / 1e6:.1f} M parameters, "
        f"{len(model.config.languages)} language(s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
