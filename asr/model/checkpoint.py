"""The checkpoint: a folder with config.json, model.safetensors and tokenizer.json."""

import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from asr.errors import FormatError
from asr.model.config import ModelConfig
from asr.model.model import SpeechModel

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


def save_checkpoint(model: SpeechModel, tokenizer: Path, folder: Path) -> None:
    """Write the folder, made if absent; tokenizer is the tokenizer.json to copy into it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save(folder / CONFIG)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors makes it its owner's alone
    if tokenizer.resolve() != (folder / TOKENIZER).resolve():
        shutil.copyfile(tokenizer, folder / TOKENIZER)


def load_checkpoint(folder: Path) -> SpeechModel:
    """Read the folder; the model is in evaluation mode. FormatError says what does not fit."""
    config = ModelConfig.load(folder / CONFIG)
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"cannot read weights at {folder / WEIGHTS}: {error}") from error
    model = SpeechModel(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise FormatError(f"{folder / WEIGHTS} does not fit {CONFIG} beside it: {error}") from error
    return model.eval()
