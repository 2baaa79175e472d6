"""What is compared: each run is the one recipe with a few settings changed. Here they are trained, exported and kept.

DIR/runs/NAME-SEED   what asr-train leaves, log.jsonl with it
DIR/models/NAME      the exported folder of the first seed

What is finished is not done again, so that a comparison that was stopped goes on where it was.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from asr.attention import MECHANISMS
from asr.errors import HeedError, OptionError
from asr.export.export import write_graphs
from asr.model.checkpoint import TOKENIZER, load_checkpoint
from asr.train import journal, state
from asr.train import train as training
from asr.train.description import describe
from asr.train.recipe import as_values, differences, find_recipe, read_recipe

MAIN = ("none", "additive", "location_aware", "monotonic", "multihead")  # with several seeds, the others with one
SEEDS = 3
QUICK = ("none", "additive", "multihead", "monotonic", "bottleneck_lstm")
QUICK_SETTINGS = ("loop.steps=500", "loop.validate_every=100", "loop.save_every=100")

NO_PLACES = "model.encoder_positions=none"  # of the encoder's input: the layers say themselves what stands where
RUNS: Mapping[str, tuple[str, ...]] = {
    # the cross-attention, by its name
    **{name: (f"model.cross_attention={name}",) for name in MECHANISMS if not name.startswith("self")},
    # what attention was invented to beat, and what it makes of the same recurrent encoder
    "bottleneck_lstm": ("model.encoder=lstm", NO_PLACES, "model.cross_attention=none"),
    "bottleneck_gru": ("model.encoder=gru", "model.decoder=gru", NO_PLACES, "model.cross_attention=none"),
    "lstm_attends": ("model.encoder=lstm", NO_PLACES, "model.cross_attention=additive"),
    # the Transformer's decoder, and heads by number
    "transformer": ("model.decoder=transformer", "model.decoder_layers=2"),
    "heads_1": ("model.decoder_heads=1", "model.encoder_heads=1"),
    "heads_8": ("model.decoder_heads=8", "model.encoder_heads=8"),
    # the encoder's self-attention
    "places_none": (NO_PLACES,),
    **{
        f"places_{name}": (NO_PLACES, f"model.encoder_attention=self_{name}")
        for name in ("learned", "shaw", "transformer_xl", "rotary")
    },
    **{
        f"self_{name}": (f"model.encoder_attention=self_{name}",)
        for name in ("local", "sparsemax", "entmax", "top_k", "linear")
    },
    # without what keeps a model from learning by heart
    "unregularised": (
        "augment.time_masks=0", "augment.frequency_masks=0", "augment.speed=[]", "optimiser.weight_decay=0.0",
        "objective.label_smoothing=0.0",
    ),
}  # fmt: skip

FAMILIES: Mapping[str, tuple[str, ...]] = {  # as figures show them; every run in one
    "nothing to attend with": ("none", "uniform", "bottleneck_lstm", "bottleneck_gru", "lstm_attends"),
    "soft": ("scaled_dot", "dot", "general", "concat", "additive", "location_aware"),
    "one frame, or in order": ("hard", "gumbel", "monotonic", "mocha"),
    "sparse, local, linear": ("sparsemax", "entmax", "top_k", "local", "local_m", "linear"),
    "heads and decoders": ("multihead", "heads_1", "heads_8", "transformer", "unregularised"),
    "places in the encoder": ("places_none", "places_learned", "places_shaw", "places_transformer_xl", "places_rotary"),
    "the encoder's attention": ("self_local", "self_sparsemax", "self_entmax", "self_top_k", "self_linear"),
}


@dataclass(frozen=True)
class Plan:
    """What all runs of a comparison share."""

    to: Path
    data: Path
    recipe: str
    settings: tuple[str, ...]

    def run(self, name: str, seed: int) -> Path:
        return self.to / "runs" / f"{name}-{seed}"

    def model(self, name: str) -> Path:
        return self.to / "models" / name

    def told(self, name: str, seed: int) -> list[str]:
        """The settings of one run, those of the comparison before its own."""
        return [
            f"data.root={self.data / 'train'}",
            f"data.dev_root={self.data / 'dev'}",
            *self.settings,
            *RUNS[name],
            f"loop.seed={seed}",
            f"name={name}",
            f"to={self.run(name, seed)}",
        ]


def wanted(names: Iterable[str], seeds: int) -> list[tuple[str, int]]:
    """(name, seed) of every run, first seeds first."""
    pairs = [(name, seed) for name in names for seed in range(seeds if name in MAIN else 1)]
    return sorted(pairs, key=lambda pair: pair[1])


def train_all(plan: Plan, pairs: Sequence[tuple[str, int]], jobs: int) -> dict[str, str]:
    """Train what is not trained, so many at once, and export the first seeds. Returns what failed, and why."""
    failed = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(train_one, plan, name, seed): f"{name}-{seed}" for name, seed in pairs}
        for future, told in waiting.items():
            try:
                future.result()
            except (HeedError, OSError, RuntimeError) as error:
                failed[told] = str(error)
    return failed


def train_one(plan: Plan, name: str, seed: int) -> None:
    """One run, on from where it stands, and the model that came of it."""
    folder = plan.run(name, seed)
    recipe = read_recipe(find_recipe(plan.recipe), plan.told(name, seed))
    begun = bool(state.checkpoints(folder))
    progress = state.load(folder)[2] if begun else None
    if progress is not None:
        refuse_changes(folder, differences(progress.recipe, as_values(recipe)))
    if progress is None or progress.step < recipe.loop.steps:
        training.run(recipe, resume=begun)
    if seed == 0 and not (plan.model(name) / "model.json").exists():
        export(folder, plan.model(name))


def refuse_changes(run: Path, changes: Sequence[str]) -> None:
    """A run goes on, or counts as done, only as what it was begun as; more steps are no other run."""
    if told := [change for change in changes if not change.startswith("loop.steps:")]:
        raise OptionError(
            f"{run} was begun with other settings ({'; '.join(told)}): remove it, or compare into another folder"
        )


def export(run: Path, to: Path) -> None:
    """The exported folder of a run, in fp32: whatever a mechanism does, its rows in 8 bits are another question."""
    torch.set_num_threads(1)
    part = to.with_name(f"{to.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    model = load_checkpoint(run)
    write_graphs(model, part, run / TOKENIZER)
    describe(model.config, run / TOKENIZER).save(part)
    shutil.rmtree(to, ignore_errors=True)
    part.rename(to)


@dataclass(frozen=True)
class Curve:
    """What a run's log tells of its training."""

    steps: tuple[int, ...]  # at which it was validated
    wer: tuple[float, ...]  # per cent, of all dev sets together
    loss: tuple[float, ...]  # of each step
    parameters: int
    audio_per_s: float  # seconds of audio learned from in a second


def read_curve(run: Path) -> Curve:
    events = [json.loads(line) for line in (run / journal.LOG).read_text(encoding="utf-8").splitlines()]
    of: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        of.setdefault(event["event"], []).append(event)
    steps, judged = of.get("step", []), of.get("validated", [])
    return Curve(
        steps=tuple(event["step"] for event in judged),
        wer=tuple(event["wer"]["pooled"] for event in judged),
        loss=tuple(event["losses"]["loss"] for event in steps),
        parameters=of["began"][0]["parameters"],
        audio_per_s=sum(event["audio_s"] for event in steps) / sum(event["wall_s"] for event in steps),
    )
