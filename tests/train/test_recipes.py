"""The recipes that come with Heed, each on a miniature of what it is meant for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.model.checkpoint import load_checkpoint
from asr.train.loop import Step, Validated, learn
from asr.train.recipe import Recipe, find_recipe, read_recipe

SMALL = ["dim=16", "encoder_layers=1", "encoder_heads=2", "decoder_layers=1", "decoder_heads=2", "mels=20"]
SHORT = ["optimiser.batches=1", "optimiser.warmup=1", "loop.steps=2", "loop.threads=1", "data.workers=0"]
TEXTS = ["THE CAT SAT", "A DOG RAN", "BIRDS SING", "THE DOG SAT"]


def sound(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * np.random.default_rng(seed).standard_normal(16_000 + 1_000 * seed)
    soundfile.write(path, noise.astype(np.float32), 16_000)


def librispeech(root: Path) -> None:
    for subset in ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other"):
        chapter = root / subset / "19" / "198"
        ids = [f"19-198-000{number}" for number in range(len(TEXTS))]
        for number, name in enumerate(ids):
            sound(chapter / f"{name}.flac", number)
        said = [f"{name} {text}" for name, text in zip(ids, TEXTS, strict=True)]
        (chapter / "19-198.trans.txt").write_text("\n".join(said) + "\n")


def common_voice(root: Path) -> None:
    for split in ("train", "dev"):
        rows = ["client_id\tpath\tsentence"]
        for number, text in enumerate(TEXTS):
            name = f"{split}-{number}.mp3"
            sound(root / "clips" / name, number)
            rows.append(f"speaker\t{name}\t{text.capitalize()}.")
        (root / f"{split}.tsv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("name", "make", "more", "casing"),
    [
        ("librispeech", librispeech, ["vocabulary.size=30"], str.lower),
        ("common_voice", common_voice, ["vocabulary.size=40"], str),
    ],
)
def test_a_corpus_is_trained_on_as_it_is_unpacked(
    tmp_path: Path, name: str, make: Callable[[Path], None], more: list[str], casing: Callable[[str], str]
) -> None:
    make(tmp_path / "corpus")
    recipe: Recipe = read_recipe(
        find_recipe(name),
        [
            *(f"model.{one}" for one in SMALL),
            *SHORT,
            *more,
            f"data.root={tmp_path / 'corpus'}",
            f"to={tmp_path / 'run'}",
        ],
    )
    events = list(learn(recipe))
    assert len([event for event in events if isinstance(event, Step)]) == 2
    (validated,) = (event for event in events if isinstance(event, Validated))
    assert set(validated.counts) == set(recipe.data.dev_sets)
    assert load_checkpoint(tmp_path / "run").config.dim == 16
    letters = set((tmp_path / "run" / "tokenizer.json").read_text())
    assert letters >= set(casing("T"))
