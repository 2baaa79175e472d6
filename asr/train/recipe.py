"""A recipe: everything that a training run is told, as TOML over one dataclass.

    [data]
    sets = ["accented", "read"]

    [optimiser]
    learning_rate = 1e-4

Each option is written once, here, with its default and what it means. An unknown key is an error that lists the known
ones. Where a run starts from a checkpoint, [model] names only what is to differ from it.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from asr.errors import OptionError
from asr.model.config import FRAME_HOP, SAMPLE_RATE, ModelConfig
from asr.model.model import outline

Range = tuple[float, float]  # both ends belong to it; a value is drawn evenly between them
FULL = 0  # the chunk size that stands for full context


@dataclass(frozen=True)
class Vocabulary:
    """What text is cut into, for a run from scratch; one from a checkpoint keeps the checkpoint's."""

    kind: Literal["characters", "bpe"] = "characters"
    size: int = 500  # of "bpe"
    lower_case: bool = True  # learn from and write lower-case text


@dataclass(frozen=True)
class Data:
    """What is learned from. Paths are relative to where the command runs."""

    root: str = "data"  # the folder of sets
    layout: Literal["manifest", "librispeech", "common_voice", "lhotse"] = "manifest"
    sets: tuple[str, ...] = ()  # of the root: folders (manifest), subsets (librispeech), splits (common_voice)
    weights: dict[str, float] = field(default_factory=dict)  # how often a set's utterances come in an epoch (1.0)
    dev_root: str = ""  # the root of dev_sets; "": root
    dev_sets: tuple[str, ...] = ()  # what is decoded at validation
    dev_limit: int = 50  # utterances of each
    shortest_s: float = 0.1  # what is shorter or longer is reported and left out
    longest_s: float = 30.0
    batch_s: float = 120.0  # seconds of audio in a batch, padding included
    join_share: float = 0.0  # share of the hours that comes joined to longer utterances
    join_s: Range = (10.0, 30.0)  # how long these become
    join_gap_s: Range = (0.1, 0.8)  # silence between the parts
    cut_share: float = 0.0  # share of the utterances with known word times that end at a random point
    lead_s: Range = (0.0, 0.0)  # silence added before the speech, as far as longest_s allows
    tail_s: Range = (0.0, 0.0)  # and after it; a model that does not pad is served with 0.3 s
    language: str = ""  # what is spoken, for a start that knows several languages; "": the model's first
    sentence_case: bool = False  # write texts that are all upper or all lower case as sentences, as Whisper does
    cache: str = ""  # a folder for decoded recordings, read again by the next run; "": decode each time
    workers: int = 1  # processes that load ahead; 0: the training process itself


@dataclass(frozen=True)
class Augment:
    """What is done to the audio. A share is the probability for an utterance; an empty range or 0.0: never."""

    speed: tuple[float, ...] = ()  # factors, one drawn evenly; tempo and pitch change together
    gain_db: Range = (0.0, 0.0)
    noise_sets: tuple[str, ...] = ()  # of the root: recordings without speech
    noise_share: float = 0.0
    noise_db: Range = (5.0, 25.0)  # speech over noise
    babble_share: float = 0.0  # other utterances of the same sets, talking over each other
    babble_db: Range = (10.0, 25.0)
    room_sets: tuple[str, ...] = ()  # of the root: impulse responses
    room_share: float = 0.0
    equaliser_share: float = 0.0  # other microphones: a random gain in each octave
    equaliser_db: float = 8.0  # at most, up or down
    telephone_share: float = 0.0  # 300 to 3400 Hz at 8 kHz, through mu-law
    codec_share: float = 0.0  # mu-law, or Opus at a low rate
    time_masks: int = 0  # SpecAugment (Park et al. 2019), in log-mel frames of 10 ms and in mel bands
    time_mask_frames: int = 40
    frequency_masks: int = 0
    frequency_mask_bands: int = 15


@dataclass(frozen=True)
class Objective:
    """The loss: a weighted sum of these parts, each 0.0 where it is not wanted."""

    cross_entropy: float = 1.0  # of the next token, the true text given
    label_smoothing: float = 0.1
    ctc: float = 0.0  # over normalised characters
    teacher: str = ""  # the checkpoint that is distilled
    features: float = 0.0  # squared distance of the encoder's output to the teacher's at full context
    tokens: float = 0.0  # Kullback-Leibler divergence from the teacher's next-token distribution
    alignment: float = 0.0  # attention of the alignment heads that lies outside a word's time
    alignment_slack_s: float = 0.1  # how far outside a word's time may still be looked
    chunks: tuple[int, ...] = (FULL,)  # frames; one drawn for each batch; 0: full context


@dataclass(frozen=True)
class Optimiser:
    """AdamW, with a warm-up and a decay of the learning rate."""

    learning_rate: float = 1e-3  # at the end of the warm-up
    rates: dict[str, float] = field(default_factory=dict)  # for parameters whose name begins so; 0.0 freezes them
    schedule: Literal["cosine", "linear", "inverse_sqrt", "constant"] = "cosine"
    warmup: int = 100  # steps
    last: float = 0.0  # share of the learning rate at the end (cosine and linear)
    weight_decay: float = 0.01
    betas: Range = (0.9, 0.98)
    clip: float = 1.0  # longest gradient; 0.0: any
    batches: int = 1  # in a step, over all processes
    average: float = 0.0  # decay of the running average of weights, which is what is kept; 0.0: none


@dataclass(frozen=True)
class Loop:
    """How long, how often, and in what precision."""

    steps: int = 1_000
    seed: int = 0
    threads: int = 0  # torch's; 0: a core each
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the processor multiplies in it
    save_every: int = 100  # steps
    validate_every: int = 500  # steps
    validate_chunks: tuple[int, ...] = (FULL,)  # frames: the dev sets are decoded once under each of these masks
    keep: int = 2  # checkpoints
    tensorboard: bool = False


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str = "unnamed"  # of the model that comes out
    start: str = ""  # the checkpoint to start from; "": from scratch
    to: str = ""  # the folder that the run writes; "": checkpoints/NAME
    licence: str = ""
    provenance: str = ""
    model: dict[str, Any] = field(default_factory=dict)  # of model.ModelConfig
    vocabulary: Vocabulary = Vocabulary()
    data: Data = Data()
    augment: Augment = Augment()
    objective: Objective = Objective()
    optimiser: Optimiser = Optimiser()
    loop: Loop = Loop()

    def __post_init__(self) -> None:
        _known(self.model, ModelConfig, "model")
        objective, data, loop = self.objective, self.data, self.loop
        wants_teacher = objective.features > 0 or objective.tokens > 0
        if wants_teacher and not objective.teacher:
            raise OptionError("objective.features and objective.tokens need objective.teacher, a checkpoint folder")
        if not any((objective.cross_entropy, objective.ctc, objective.features, objective.tokens)):
            raise OptionError("every part of the objective has weight 0: there is nothing to learn")
        if not objective.chunks:
            raise OptionError("objective.chunks is empty; [0] is full context alone")
        for name, least in (("steps", 1), ("save_every", 1), ("validate_every", 1), ("keep", 1), ("threads", 0)):
            if getattr(loop, name) < least:
                raise OptionError(f"loop.{name} is at least {least}, not {getattr(loop, name)}")
        if self.optimiser.batches < 1 or self.optimiser.warmup < 0:
            raise OptionError("optimiser.batches is at least 1, and optimiser.warmup at least 0")
        if data.dev_sets and data.dev_limit < 1:
            raise OptionError(
                f"data.dev_limit is at least 1, not {data.dev_limit}; without dev_sets nothing is validated"
            )
        if self.optimiser.warmup >= loop.steps:
            raise OptionError(f"optimiser.warmup ({self.optimiser.warmup}) must be less than loop.steps ({loop.steps})")
        if unknown := set(data.weights) - set(data.sets):
            raise OptionError(f"data.weights names {', '.join(sorted(unknown))}, which data.sets does not have")
        if not 0 < data.shortest_s < data.longest_s <= data.batch_s:
            raise OptionError("data wants 0 < shortest_s < longest_s <= batch_s")
        if any(factor <= 0 for factor in self.augment.speed):
            raise OptionError(f"augment.speed holds factors above 0, such as 0.9, not {list(self.augment.speed)}")
        for section in (data, self.augment):
            _check_ranges(section)

    @property
    def folder(self) -> Path:
        return Path(self.to or f"checkpoints/{self.name}")


def read_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `settings` are SECTION.KEY=VALUE and come after it. OptionError says what does not fit."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise OptionError(f"no recipe at {path}; those that come with Heed are {known}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the recipe {path}: {error}") from error
    for setting in settings:
        _set(values, setting)
    return recipe_from(values)


RECIPES = Path(__file__).parents[1] / "recipes"


def find_recipe(name: str) -> Path:
    """A path, or the name of a recipe that comes with Heed."""
    shipped = RECIPES / f"{name}.toml"
    return shipped if shipped.is_file() and not Path(name).exists() else Path(name)


def recipe_from(values: dict[str, Any]) -> Recipe:
    """Values as TOML or JSON has them, checked against the dataclasses."""
    _known(values, Recipe, "")
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {_wanted(one)} (it is {one['input']!r})" for one in error.errors()]
        raise OptionError("the recipe does not fit: " + "; ".join(told)) from error


def _wanted(error: Any) -> str:
    """In TOML there are no tuples, and on a command line a list is hard to guess."""
    return 'must be a list, such as ["a", "b"]' if error["type"] == "tuple_type" else str(error["msg"])


def differences(before: dict[str, Any], now: dict[str, Any], where: str = "") -> list[str]:
    """What changed between two recipes' values, as "section.key: old, now new"."""
    found = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{where}{key}.")
        elif old != new:
            found.append(f"{where}{key}: {old}, now {new}")
    return found


def read_data(settings: Sequence[str]) -> Data:
    """The [data] that settings alone make, as for a check."""
    values: dict[str, Any] = {}
    for setting in settings:
        _set(values, setting)
    return recipe_from(values).data


def as_values(recipe: Recipe) -> dict[str, Any]:
    """What recipe_from reads, as JSON has it."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return values


def _known(values: Any, dataclass_type: Any, where: str) -> None:
    """Refuse keys that the dataclass, or a section of it, does not have."""
    if not isinstance(values, dict):
        raise OptionError(f"[{where}] must be a section of keys, not {values!r}")
    hints = get_type_hints(dataclass_type)
    known = [item.name for item in fields(dataclass_type)]
    dot = f"{where}." if where else ""
    if unknown := [key for key in values if key not in known]:
        raise OptionError(f"unknown: {', '.join(dot + key for key in unknown)}; known are {', '.join(known)}")
    for key, value in values.items():
        if is_dataclass(hints[key]) and not is_dataclass(value):
            _known(value, hints[key], dot + key)


def _set(values: dict[str, Any], setting: str) -> None:
    """Put KEY=VALUE, the key with dots between sections, into values. A VALUE that is no TOML is a string."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise OptionError(f"--set wants KEY=VALUE, such as optimiser.learning_rate=1e-4, not {setting!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise OptionError(f"--set {setting}: {section} is not a section")
    values[last] = value


def _check_ranges(section: Any) -> None:
    for name, hint in get_type_hints(type(section)).items():
        value = getattr(section, name)
        if hint == Range and value[0] > value[1]:
            raise OptionError(f"{name} is a range from low to high, not {list(value)}")
        if name.endswith("_share") and not 0 <= value <= 1:
            raise OptionError(f"{name} is a probability, not {value}")


def check_model(recipe: Recipe, config: ModelConfig) -> None:
    """OptionError where a model of this config cannot be trained as the recipe says."""
    model = outline(config)
    for chunk in {*recipe.objective.chunks, *recipe.loop.validate_chunks} - {FULL}:
        if chunk < 0 or config.left_context % chunk:
            raise OptionError(f"chunks divide model.left_context ({config.left_context} frames); {chunk} does not")
    if {*recipe.objective.chunks, *recipe.loop.validate_chunks} - {FULL} and not model.chunks:
        raise OptionError(
            f"an encoder with {config.encoder_attention} attention reads whole segments: "
            "objective.chunks and loop.validate_chunks can only be [0]"
        )
    if recipe.objective.alignment and not model.decoder.has_weights:
        raise OptionError(f"objective.alignment wants weights, which {config.cross_attention} attention has none of")
    if recipe.objective.ctc and config.ctc_alphabet is None:
        raise OptionError("objective.ctc wants model.ctc_alphabet, the letters that the CTC head writes")
    longest_s = config.max_frames * FRAME_HOP / SAMPLE_RATE
    if recipe.data.longest_s > longest_s:
        raise OptionError(f"data.longest_s is {recipe.data.longest_s:g}, but this model hears {longest_s:g} s at once")


def model_config(recipe: Recipe, base: ModelConfig) -> ModelConfig:
    """The config of the model that the run trains: the base's, with what the recipe says."""
    told = {"name": recipe.name, "licence": recipe.licence, "provenance": recipe.provenance}
    changes: dict[str, Any] = {key: _tuples(value) for key, value in recipe.model.items()}
    changes |= {key: value for key, value in told.items() if value}
    return replace(base, **changes)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
