"""The loop: batches in, a better model out, checkpoints on the way.

What is random is drawn from the seed and the place in the run (epoch, batch), never from a state that runs along, so a
run that was killed goes on exactly as if it had not been, and so does one with another number of loader processes.

Several processes (torchrun) share each step's batches between them: gradients are sums over utterances, added up over
all processes and divided by the number of utterances, so that their number does not change what is learned.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.optim.swa_utils import AveragedModel

from asr.attention.fused import fuse
from asr.audio.resample import SAMPLE_RATE
from asr.errors import InputError, OptionError
from asr.model.checkpoint import TOKENIZER, load_checkpoint
from asr.model.model import SpeechModel
from asr.train import optimise, start, state
from asr.train.batches import Batch, Corpus, loader, open_corpus, plan_epoch, take
from asr.train.losses import losses
from asr.train.manifest import Utterance
from asr.train.recipe import Recipe, as_values, differences
from asr.train.score import Counts, pool
from asr.train.spec_augment import MaskedFrontEnd
from asr.train.start import Speller
from asr.train.state import Progress, Standing
from asr.train.validate import look, validate

PLACES = 1_000_003  # more than the batches of any epoch: keeps the seeds of two places apart


@dataclass(frozen=True)
class Began:
    """What the run works with."""

    step: int  # that it goes on from
    utterances: int
    audio_s: float
    silent: dict[str, int]  # by set, the utterances without a text: they teach to say nothing
    parameters: int
    learning: int  # of these, those that are not frozen
    device: str
    bf16: bool
    complaints: tuple[str, ...]  # recordings that are left out, and why
    changed: tuple[str, ...]  # in the recipe, since the checkpoint that the run goes on from


@dataclass(frozen=True)
class Step:
    """What one step did."""

    step: int
    epoch: int
    losses: dict[str, float]  # means over the step's utterances
    learning_rate: float
    gradient: float  # its length before clipping
    utterances: int
    audio_s: float  # without padding
    padded_s: float  # with it
    wall_s: float
    loading_s: float  # of these the wait for batches
    complaints: tuple[str, ...] = ()  # utterances that were left out, and why


@dataclass(frozen=True)
class Validated:
    """What the model makes of the dev sets; step 0 is before training."""

    step: int
    counts: dict[str, Counts]
    best: bool  # so far
    looked: NDArray[np.float32] | None = None  # (tokens, frames) of a dev utterance, where TensorBoard wants it


@dataclass(frozen=True)
class Saved:
    step: int
    folder: Path


Event = Began | Step | Validated | Saved


@dataclass(eq=False)
class Learner:
    """All that a step works on."""

    recipe: Recipe
    model: SpeechModel
    teacher: SpeechModel | None
    speller: Speller
    optimiser: torch.optim.AdamW
    average: AveragedModel | None
    device: torch.device
    bf16: bool
    rank: int = 0
    world: int = 1
    progress: Progress = field(default_factory=Progress)
    standing: Standing = field(default_factory=Standing)
    stopping: bool = False  # somebody asked for the end, in whichever process

    @property
    def kept(self) -> SpeechModel:
        """The model that is kept: the average where there is one."""
        model = self.model if self.average is None else self.average.module
        assert isinstance(model, SpeechModel)
        return model


def learn(
    recipe: Recipe, resume: bool = False, stop: Callable[[], bool] = lambda: False
) -> Generator[Event, None, None]:
    """Run a recipe, or go on with it from its newest checkpoint. Each event is given as it happens.

    stop  asked after each step; True in any process ends the run in all, with a checkpoint
    """
    set_threads(recipe)
    sets = start.read_sets(recipe)
    dev_sets, complaints = start.read_dev_sets(recipe)
    if not resume and state.checkpoints(recipe.folder):
        raise OptionError(
            f"{recipe.folder} holds a run already: go on with it by --resume, or name another folder by --set to=DIR"
        )
    learner = prepare(recipe, sets, resume)
    changed = restore(learner) if resume else []
    with first_alone(learner):  # who fills the cache for all
        corpus = open_corpus(sets, recipe.data, recipe.augment, clean=learner.teacher is not None)
    yield began(learner, corpus, [*complaints, *corpus.recordings.complaints], changed)
    if learner.rank == 0 and dev_sets and recipe.start and not learner.standing.before:
        counts = before(recipe, dev_sets)
        learner.standing.before = as_dictionaries(counts)
        state.save_standing(recipe.folder, learner.standing)
        yield Validated(0, counts, best=False)
    if resume:
        yield from keep(learner, dev_sets, resumed=True)
    for step in steps(learner, corpus, stop):
        yield step
        yield from keep(learner, dev_sets)
        if learner.stopping:
            break


def prepare(recipe: Recipe, sets: dict[str, list[Utterance]], resume: bool = False) -> Learner:
    """The learner of a new run."""
    device = pick_device()
    rank, world = processes()
    if recipe.optimiser.batches % world:
        raise OptionError(
            f"the {world} processes share optimiser.batches, which is {recipe.optimiser.batches}: "
            f"make it a multiple of them, as by --set optimiser.batches={world}"
        )
    model, speller = start.begin(recipe, sets, resume)
    model.encoder.front_end = MaskedFrontEnd(model.encoder.front_end, recipe.augment)  # type: ignore[assignment]
    optimise.freeze(model, recipe.optimiser.rates)
    model.to(device).train()
    teacher = start.teacher_of(recipe)
    for listener in filter(None, (model, teacher)):
        fuse(listener.encoder)
    decay = recipe.optimiser.average
    return Learner(
        recipe=recipe,
        model=model,
        teacher=None if teacher is None else teacher.to(device),
        speller=speller,
        optimiser=optimise.build(model, recipe.optimiser),
        average=optimise.average_of(model, decay) if decay else None,
        device=device,
        bf16=wants_bf16(recipe.loop.precision, device),
        rank=rank,
        world=world,
        progress=Progress(recipe=as_values(recipe)),
    )


def began(learner: Learner, corpus: Corpus, complaints: Sequence[str], changed: Sequence[str]) -> Began:
    recordings, parameters = corpus.recordings, list(learner.model.parameters())
    silent: dict[str, int] = {}
    for name, one in zip(recordings.sets, recordings.utterances, strict=True):
        if not one.text:
            silent[name] = silent.get(name, 0) + 1
    return Began(
        step=learner.progress.step,
        utterances=len(recordings),
        audio_s=sum(one.duration_s for one in recordings.utterances),
        silent=silent,
        parameters=sum(one.numel() for one in parameters),
        learning=sum(one.numel() for one in parameters if one.requires_grad),
        device=str(learner.device),
        bf16=learner.bf16,
        complaints=tuple(complaints),
        changed=tuple(changed),
    )


def steps(learner: Learner, corpus: Corpus, stop: Callable[[], bool]) -> Iterator[Step]:
    """Train from where progress stands to the recipe's last step."""
    recipe, progress = learner.recipe, learner.progress
    at_once, recordings = recipe.optimiser.batches, corpus.recordings
    while progress.step < recipe.loop.steps:
        plan = plan_epoch(
            recordings.utterances, recordings.sets, recipe.data, recipe.augment, recipe.loop.seed, progress.epoch
        )
        if len(plan) < at_once:
            raise InputError(f"an epoch is {len(plan)} batches, fewer than optimiser.batches ({at_once}): lower it")
        left = (len(plan) - progress.position) // at_once  # steps; batches that make no whole one are left out
        mine = plan[progress.position + learner.rank : progress.position + left * at_once : learner.world]
        batches = loader(corpus, mine, recipe.data.workers)
        for _ in range(min(left, recipe.loop.steps - progress.step)):
            yield one_step(learner, batches, stop)
        if progress.position + at_once > len(plan):
            progress.epoch, progress.position = progress.epoch + 1, 0


def one_step(learner: Learner, batches: Iterator[Batch], stop: Callable[[], bool] = lambda: False) -> Step:
    """Take this process's batches of one step, and move the weights once."""
    recipe, progress = learner.recipe, learner.progress
    begin, loading_s = time.perf_counter(), 0.0
    learner.optimiser.zero_grad(set_to_none=True)
    sums: dict[str, float] = {}
    complaints: list[str] = []
    audio_s = padded_s = 0.0
    for place in range(learner.rank, recipe.optimiser.batches, learner.world):
        asked = time.perf_counter()
        batch = next(batches)
        loading_s += time.perf_counter() - asked
        batch = fitting(batch, learner.speller)
        complaints += batch.complaints
        seed = (recipe.loop.seed * PLACES + progress.epoch) * PLACES + progress.position + place
        for name, value in backward(learner, batch, seed).items():
            sums[name] = sums.get(name, 0.0) + value
        sums["utterances"] = sums.get("utterances", 0.0) + len(batch.texts)
        audio_s += float(batch.lengths.sum()) / SAMPLE_RATE
        padded_s += batch.samples.numel() / SAMPLE_RATE
    sums = add_up(learner, {**sums, "audio_s": audio_s, "padded_s": padded_s, "stop": float(stop())})
    learner.stopping = sums.pop("stop") > 0
    utterances = max(1.0, sums.pop("utterances"))
    audio_s, padded_s = sums.pop("audio_s"), sums.pop("padded_s")
    learning = [one for one in learner.model.parameters() if one.requires_grad]
    for parameter in learning:
        if parameter.grad is not None:
            parameter.grad /= utterances
    gradient = optimise.clip(learning, recipe.optimiser.clip)
    if not torch.isfinite(torch.tensor(gradient)):
        raise InputError(
            f"the gradient at step {progress.step + 1} is {gradient}: lower optimiser.learning_rate, "
            "or look for a broken recording with asr-train --check"
        )
    share = optimise.share(progress.step + 1, recipe.loop.steps, recipe.optimiser)
    optimise.set_rates(learner.optimiser, share)
    learner.optimiser.step()
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    wall_s = time.perf_counter() - begin
    progress.step += 1
    progress.position += recipe.optimiser.batches
    progress.audio_s += audio_s
    progress.wall_s += wall_s
    return Step(
        step=progress.step,
        epoch=progress.epoch,
        losses={name: value / utterances for name, value in sums.items()},
        learning_rate=share * recipe.optimiser.learning_rate,
        gradient=gradient,
        utterances=int(utterances),
        audio_s=audio_s,
        padded_s=padded_s,
        wall_s=wall_s,
        loading_s=loading_s,
        complaints=tuple(complaints),
    )


def fitting(batch: Batch, speller: Speller) -> Batch:
    """The batch without the rows whose text the decoder cannot hold."""
    faults = [speller.too_long(text) for text in batch.texts]
    if not any(faults):
        return batch
    rows = [row for row, fault in enumerate(faults) if not fault]
    told = [f"{id}: {fault}" for id, fault in zip(batch.ids, faults, strict=True) if fault]
    return take(batch, rows, told)


def backward(learner: Learner, batch: Batch, seed: int) -> dict[str, float]:
    """Add the gradients of a batch's utterances up; returns the sums of their losses."""
    if not batch.texts:
        return {}
    torch.manual_seed(seed % 2**63)
    objective = learner.recipe.objective
    chunk = objective.chunks[int(torch.randint(len(objective.chunks), ()))]
    targets = learner.speller.targets(batch.texts, batch.words).to(learner.device)
    clean = None if batch.clean is None else batch.clean.to(learner.device)
    samples, lengths = batch.samples.to(learner.device), batch.lengths.to(learner.device)
    with torch.autocast(learner.device.type, torch.bfloat16, enabled=learner.bf16):
        parts = losses(learner.model, samples, lengths, targets, objective, chunk, learner.teacher, clean)
    parts["loss"].sum().backward()  # type: ignore[no-untyped-call]
    return {name: float(part.detach().sum()) for name, part in parts.items()}


def add_up(learner: Learner, sums: dict[str, float]) -> dict[str, float]:
    """Gradients and sums of all processes, on each of them."""
    if learner.world == 1:
        return sums
    learning = [one for one in learner.model.parameters() if one.requires_grad]
    for parameter in learning:  # a part that a process's batches did not use still takes part
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in learning if parameter.grad is not None])
    distributed.all_reduce(flat)
    for parameter, piece in zip(learning, torch.split(flat, [one.numel() for one in learning]), strict=True):
        parameter.grad = piece.view_as(parameter)
    names = sorted(sums)
    values = torch.tensor([sums[name] for name in names], dtype=torch.float64, device=learner.device)
    distributed.all_reduce(values)
    return dict(zip(names, values.tolist(), strict=True))


def keep(learner: Learner, dev_sets: dict[str, list[Utterance]], resumed: bool = False) -> Iterator[Event]:
    """Save, validate and publish where it is time for it.

    resumed  do what a kill may have prevented after the checkpoint was written
    """
    loop, step = learner.recipe.loop, learner.progress.step
    last = step == loop.steps
    to_validate = bool(dev_sets) and (last or step % loop.validate_every == 0)
    if to_validate or last or resumed or learner.stopping or step % loop.save_every == 0:
        if learner.rank == 0:
            folder = save(learner)
            yield Saved(step, folder)
            if to_validate and learner.standing.validated < step:
                yield judge(learner, dev_sets, folder)
            elif not dev_sets:
                state.publish(folder, learner.recipe.folder)
        if learner.world > 1:
            distributed.barrier()


def judge(learner: Learner, dev_sets: dict[str, list[Utterance]], folder: Path) -> Validated:
    """Validate a step's model, and publish it where it is the best so far."""
    recipe, standing, step = learner.recipe, learner.standing, learner.progress.step
    counts = validate(learner.kept, learner.speller.file, dev_sets, recipe.loop.validate_chunks)
    so_far = pool(from_dictionaries(standing.best).values()).wer
    wer = pool(counts.values()).wer
    assert wer is not None, "dev sets hold utterances with a text"
    best = so_far is None or wer < so_far
    if best:
        state.publish(folder, recipe.folder)
        standing.published, standing.best = step, as_dictionaries(counts)
    standing.validated = step
    state.save_standing(recipe.folder, standing)
    return Validated(step, counts, best, picture(learner, dev_sets) if recipe.loop.tensorboard else None)


def as_dictionaries(counts: dict[str, Counts]) -> dict[str, dict[str, int]]:
    return {name: asdict(found) for name, found in counts.items()}


def from_dictionaries(values: dict[str, dict[str, int]]) -> dict[str, Counts]:
    return {name: Counts(**found) for name, found in values.items()}


def picture(learner: Learner, dev_sets: dict[str, list[Utterance]]) -> NDArray[np.float32]:
    """Where the words of the first dev utterance look: always the same one, so that pictures can be compared."""
    first = next(one for utterances in dev_sets.values() for one in utterances)
    return look(learner.kept, learner.speller.file, first)


def save(learner: Learner) -> Path:
    values: dict[str, Any] = {"model": learner.model.state_dict(), "optimiser": learner.optimiser.state_dict()}
    if learner.average is not None:
        values["average"] = learner.average.state_dict()
    recipe = learner.recipe
    return state.save(recipe.folder, learner.kept, learner.speller.file, values, learner.progress, recipe.loop.keep)


def restore(learner: Learner) -> list[str]:
    """Go to the newest checkpoint; returns what its recipe said otherwise."""
    recipe = learner.recipe
    folder, values, progress = state.load(recipe.folder)
    fresh = optimise.build(learner.model, recipe.optimiser).param_groups
    try:
        learner.model.load_state_dict(values["model"])
        learner.optimiser.load_state_dict(values["optimiser"])
        if learner.average is not None:
            learner.average.load_state_dict(values["average"])
        for group, told in zip(learner.optimiser.param_groups, fresh, strict=True):
            group |= {name: told[name] for name in ("peak", "betas", "weight_decay")}  # as the recipe now says
    except (KeyError, ValueError, RuntimeError) as error:
        raise OptionError(f"the recipe no longer fits the checkpoint {folder}: {error}") from error
    changed = differences(progress.recipe, as_values(recipe))
    learner.progress, learner.standing = progress, state.load_standing(recipe.folder)
    learner.progress.recipe = as_values(recipe)
    return changed


def before(recipe: Recipe, dev_sets: dict[str, list[Utterance]]) -> dict[str, Counts]:
    """What the checkpoint that the run starts from makes of the dev sets, as it was given."""
    folder = Path(recipe.start)
    return validate(load_checkpoint(folder), folder / TOKENIZER, dev_sets, recipe.loop.validate_chunks)


@contextlib.contextmanager
def first_alone(learner: Learner) -> Iterator[None]:
    """The first process goes before all others."""
    if learner.world > 1 and learner.rank > 0:
        distributed.barrier()
    yield
    if learner.world > 1 and learner.rank == 0:
        distributed.barrier()


def pick_device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", processes()[0] % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def processes() -> tuple[int, int]:
    """This process's rank, and how many there are; (0, 1) without torchrun."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether to multiply in bfloat16. A processor that only imitates it would be slower, not faster."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_threads(recipe: Recipe) -> None:
    if recipe.loop.threads:
        torch.set_num_threads(recipe.loop.threads)
