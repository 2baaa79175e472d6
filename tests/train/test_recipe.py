from pathlib import Path

import pytest

from asr.attention import Composition
from asr.errors import OptionError
from asr.model.config import ModelConfig
from asr.train.recipe import RECIPES, as_values, find_recipe, model_config, read_recipe, recipe_from

TEXT = """
name = "mine"
[model]
dim = 96
alignment_heads = [[0, 1]]
[data]
sets = ["a", "b"]
[optimiser]
learning_rate = 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_a_recipe_is_its_file_and_the_defaults(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.data.sets == ("a", "b")
    assert recipe.optimiser.learning_rate == 1.0
    assert recipe.optimiser.clip == 1.0
    assert str(recipe.folder) == "checkpoints/mine"


def test_a_name_where_a_list_is_wanted_says_how_a_list_is_written(path: Path) -> None:
    with pytest.raises(OptionError, match=r"data\.sets: must be a list, such as \[\"a\", \"b\"\] \(it is 'mine'\)"):
        read_recipe(path, ["data.sets=mine"])


def test_settings_come_after_the_file(path: Path) -> None:
    settings = ["optimiser.learning_rate=2e-4", "data.join_s=[5, 9]", "optimiser.rates.encoder=1e-5", "to=a folder"]
    recipe = read_recipe(path, settings)
    assert recipe.optimiser.learning_rate == 2e-4
    assert recipe.optimiser.rates == {"encoder": 1e-5}
    assert recipe.data.join_s == (5.0, 9.0)
    assert recipe.folder == Path("a folder")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimiser.lr=1", "unknown: optimiser.lr; known are learning_rate, rates, schedule"),
        ("optimizer.clip=1", "unknown: optimizer; known are name, start"),
        ("model.width=1", "unknown: model.width; known are vocabulary, mels, dim"),
        ("name.x=1", "name is not a section"),
        ("loop=3", r"\[loop\] must be a section"),
        ("loop.steps=many", "loop.steps: Input should be a valid integer.*'many'"),
        ("loop.precision=fp8", "'auto', 'fp32' or 'bf16'"),
        ("data.join_s=[9, 5]", "join_s is a range from low to high"),
        ("augment.room_share=1.5", "room_share is a probability, not 1.5"),
        ("data.weights.c=2", "data.weights names c, which data.sets does not have"),
        ("objective.features=1", "need objective.teacher"),
        ("objective.cross_entropy=0", "there is nothing to learn"),
        ("objective.chunks=[]", "objective.chunks is empty"),
        ("optimiser.warmup=1000", r"optimiser.warmup \(1000\) must be less than loop.steps \(1000\)"),
        ("data.batch_s=10", "shortest_s < longest_s <= batch_s"),
        ("clip", "--set wants KEY=VALUE"),
    ],
)
def test_what_does_not_fit_is_said(path: Path, setting: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_recipe(path, [setting])


def test_a_recipe_survives_its_own_values(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe_from(as_values(recipe)) == recipe


def test_a_missing_recipe_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no recipe at .*nothing\.toml; those that come with Heed are .*tiny"):
        read_recipe(tmp_path / "nothing.toml")


def test_a_damaged_recipe_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(OptionError, match="cannot read the recipe"):
        read_recipe(tmp_path / "bad.toml")


def test_the_model_is_the_bases_with_what_the_recipe_says(path: Path) -> None:
    config = model_config(read_recipe(path), ModelConfig(mels=40))
    assert (config.dim, config.mels, config.name) == (96, 40, "mine")
    assert config.alignment_heads == ((0, 1),)


def test_attention_is_composed_in_the_file_and_by_settings(path: Path) -> None:
    path.write_text(TEXT + '[model.cross_attention]\nscore = "additive"\n')
    settings = [
        "model.cross_attention.weights=entmax",
        'model.encoder_attention={ mask = "local", position = "rotary", heads = 4 }',
    ]
    recipe = read_recipe(path, settings)
    assert recipe_from(as_values(recipe)) == recipe
    config = model_config(recipe, ModelConfig())
    assert config.cross_attention == Composition("additive", "entmax")
    assert config.encoder_attention == Composition(mask="local", position="rotary", heads=4)
    assert config.encoder_heads == 4
    with pytest.raises(OptionError, match=r"cross_attention = .*; what goes with the rest: position = none$"):
        model_config(read_recipe(path, ["model.cross_attention.position=rotary"]), ModelConfig())


@pytest.mark.parametrize("shipped", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_one(shipped: Path) -> None:
    assert find_recipe(shipped.stem) == shipped
    recipe = read_recipe(shipped)
    assert recipe.data.sets
    if not recipe.start:
        model_config(recipe, ModelConfig())
