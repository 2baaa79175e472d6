"""What the model is given: a plan of an epoch, and batches of samples and texts made after it.

The plan comes first and from durations alone: how often each utterance comes, which are joined, at which speed, where
one is cut, and who shares a batch. So what a batch costs is known before anything is decoded, and a run that is resumed
has the same plan. The batches are then made in any process, in any order: what is random about one example comes from
that example's own seed.
"""

import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.audio.resample import SAMPLE_RATE
from asr.errors import AudioError
from asr.train.augment import Material, change_speed, corrupt, draw_speed
from asr.train.manifest import TimedWord, Utterance, read_manifest
from asr.train.recipe import Augment, Data, Range
from asr.train.recordings import Recordings, open_recordings

JITTER = 0.05  # of a duration, so that the same utterances do not meet in every epoch
NOTHING_S = 0.1  # silence that stands for a batch of which nothing can be read
PREFETCH = 4  # batches that a process makes ahead
CHOICE, PLAN = 1, 2  # what is drawn, so that the draws for one tell nothing of the other's


@dataclass(frozen=True)
class Example:
    """One row of a batch: utterances, one after another, and what was drawn about their timing."""

    parts: tuple[int, ...]  # indices of utterances
    seed: int  # of all that is drawn for its sound
    duration_s: float  # of the row, with all that follows
    speed: float = 1.0
    gaps_s: tuple[float, ...] = ()  # silence between the parts
    lead_s: float = 0.0  # silence before the first
    tail_s: float = 0.0  # silence after the last
    end_s: float | None = None  # where the row is cut


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of similar length, and what is said in each."""

    samples: Tensor  # (batch, samples) float32, zeros after each row's end
    clean: Tensor | None  # the same before it was corrupted, for the teacher; None where it is not asked for
    lengths: Tensor  # (batch,) int64, in samples
    texts: list[str]
    words: list[tuple[TimedWord, ...]]  # with times in the row; () where one of its parts has none
    cut: list[bool]  # whether speech goes on after the row's end
    ids: list[str]  # of the utterances, joined by "+"
    complaints: list[str]  # rows that are left out since a recording cannot be read


@dataclass(frozen=True, eq=False)
class Corpus:
    """All that batches are made of, and how."""

    recordings: Recordings
    material: Material
    augment: Augment
    clean: bool = False  # whether batches bring their clean samples


def open_corpus(sets: Mapping[str, Sequence[Utterance]], data: Data, augment: Augment, clean: bool = False) -> Corpus:
    """The recordings of the sets, with those that are mixed in; decoded now where the recipe has a cache."""
    recordings = open_recordings(sets, data.cache, data.shortest_s, data.longest_s)
    noises, rooms = (_material(data, names) for names in (augment.noise_sets, augment.room_sets))
    return Corpus(recordings, Material(noises, rooms), augment, clean)


def _material(data: Data, names: Sequence[str]) -> Recordings:
    """Sets without speech, which have manifests in every layout."""
    return open_recordings({name: read_manifest(Path(data.root) / name) for name in names}, data.cache)


def plan_epoch(
    utterances: Sequence[Utterance], sets: Sequence[str], data: Data, augment: Augment, seed: int, epoch: int
) -> list[tuple[Example, ...]]:
    """The batches of an epoch, in the order in which they come. The same arguments give the same plan.

    sets  the name of each utterance's set

    Over epochs every utterance of a set comes equally often: with weight 0.5 half of the set in one, the other half in
    the next. A batch holds similar durations, at most data.batch_s of them with padding.
    """
    random = np.random.default_rng([seed, epoch, PLAN])
    chosen = _choose(sets, data.weights, seed, epoch)
    random.shuffle(chosen)
    groups = _join(chosen, utterances, sets, data, random)
    examples = [_draw(parts, utterances, data, augment, random) for parts in groups]
    batches = _pack(examples, data.batch_s, random)
    return [batches[place] for place in random.permutation(len(batches))]


def _choose(sets: Sequence[str], weights: dict[str, float], seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices of the utterances that an epoch has, set by set.

    A set has one shuffled order, again and again without end, of which an epoch takes the next `weight` rounds.
    """
    members: dict[str, list[int]] = {}
    for index, name in enumerate(sets):
        members.setdefault(name, []).append(index)
    chosen = [np.zeros(0, np.int64)]
    for number, (name, indices) in enumerate(members.items()):
        order = np.random.default_rng([seed, number, CHOICE]).permutation(indices)
        rounds = weights.get(name, 1.0) * len(order)
        places = np.arange(round(epoch * rounds), round((epoch + 1) * rounds))
        chosen.append(order[places % len(order)])
    return np.concatenate(chosen)


def _join(
    chosen: NDArray[np.int64],
    utterances: Sequence[Utterance],
    sets: Sequence[str],
    data: Data,
    random: np.random.Generator,
) -> list[tuple[int, ...]]:
    """Put data.join_share of the hours together to longer examples. The rest comes alone.

    Sets are kept apart, since one may be written in capitals and another with punctuation.
    """
    ends_s = np.cumsum([utterances[index].duration_s for index in chosen])
    joined = np.searchsorted(ends_s, data.join_share * ends_s[-1], side="right") if len(ends_s) else 0
    members: dict[str, list[int]] = {}
    for index in chosen[:joined].tolist():
        members.setdefault(sets[index], []).append(index)
    together = [group for indices in members.values() for group in _groups(indices, utterances, data, random)]
    return together + [(index,) for index in chosen[joined:].tolist()]


def _groups(
    indices: list[int], utterances: Sequence[Utterance], data: Data, random: np.random.Generator
) -> Iterator[tuple[int, ...]]:
    """Cut a row of utterances into groups that last, with the longest gaps, what is drawn from data.join_s."""
    most_s = min(data.join_s[1], data.longest_s)
    group: list[int] = []
    length_s, wanted_s = 0.0, random.uniform(*data.join_s)
    for index in indices:
        duration_s = utterances[index].duration_s
        if group and (length_s >= wanted_s or length_s + data.join_gap_s[1] + duration_s > most_s):
            yield tuple(group)
            group, length_s, wanted_s = [], 0.0, random.uniform(*data.join_s)
        length_s += duration_s + (data.join_gap_s[1] if group else 0.0)
        group.append(index)
    if group:
        yield tuple(group)


def _draw(
    parts: tuple[int, ...], utterances: Sequence[Utterance], data: Data, augment: Augment, random: np.random.Generator
) -> Example:
    """Decide on an example's timing. What a lower speed would make too long keeps its own."""
    seed = int(random.integers(2**63))
    spoken = [utterances[part] for part in parts]
    spoken_s = sum(utterance.duration_s for utterance in spoken)
    gaps_s = tuple(_between(data.join_gap_s, random) for _ in parts[1:])
    speed = draw_speed(augment, random)
    if spoken_s / speed + sum(gaps_s) > data.longest_s:
        speed = 1.0
    length_s = spoken_s / speed + sum(gaps_s)
    lead_s = min(_between(data.lead_s, random), max(data.longest_s - length_s, 0.0))
    length_s += lead_s
    if random.random() < data.cut_share and _timed(spoken):
        end_s = _between((min(lead_s + data.shortest_s, length_s), length_s), random)
        return Example(parts, seed, end_s, speed, gaps_s, lead_s, end_s=end_s)
    tail_s = min(_between(data.tail_s, random), max(data.longest_s - length_s, 0.0))
    return Example(parts, seed, length_s + tail_s, speed, gaps_s, lead_s, tail_s)


def _between(ends: Range, random: np.random.Generator) -> float:
    """As random.uniform, which takes ten times as long over one number."""
    low, high = ends
    return low + (high - low) * random.random()


def _timed(utterances: Sequence[Utterance]) -> bool:
    """Whether it is known of every word when it is said."""
    return any(utterance.words for utterance in utterances) and all(
        utterance.words or not utterance.text for utterance in utterances
    )


def _pack(examples: list[Example], batch_s: float, random: np.random.Generator) -> list[tuple[Example, ...]]:
    """Cut the examples, nearly in order of their durations, into batches of at most batch_s."""
    durations_s = np.array([example.duration_s for example in examples])
    order = np.argsort(-durations_s * random.uniform(1, 1 + JITTER, len(examples)), kind="stable")
    batches: list[tuple[Example, ...]] = []
    batch: list[Example] = []
    longest_s = 0.0
    for place in order:
        example = examples[place]
        longest_s = max(longest_s, example.duration_s)
        if batch and longest_s * (len(batch) + 1) > batch_s:
            batches.append(tuple(batch))
            batch, longest_s = [], example.duration_s
        batch.append(example)
    return [*batches, tuple(batch)] if batch else batches


def padding_share(batches: Sequence[tuple[Example, ...]]) -> float:
    """The share of the batches' seconds that no example fills."""
    filled_s = sum(example.duration_s for batch in batches for example in batch)
    padded_s = sum(len(batch) * max(example.duration_s for example in batch) for batch in batches)
    return 1 - filled_s / padded_s if padded_s else 0.0


class Batches(Dataset[Batch]):
    """The batches of a plan, each made when it is asked for."""

    def __init__(self, corpus: Corpus, plan: Sequence[tuple[Example, ...]]):
        self.corpus = corpus
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, place: int) -> Batch:
        rows: list[_Row] = []
        complaints: list[str] = []
        with _one_thread():
            for example in self.plan[place]:
                try:
                    rows.append(_row(example, self.corpus))
                except AudioError as error:
                    complaints.append(str(error))
        return _batch(rows or [_nothing()], complaints, self.corpus.clean)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As torch's loader processes have, for sums that several threads share are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def loader(corpus: Corpus, batches: Sequence[tuple[Example, ...]], workers: int) -> Iterator[Batch]:
    """The batches of a plan, in its order, made ahead by so many processes; 0: by this one, when each is asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more than cores: as was asked
        return iter(
            DataLoader(
                Batches(corpus, batches),
                batch_size=None,
                num_workers=workers,
                prefetch_factor=PREFETCH if workers else None,
                worker_init_fn=_leave_signals,
                generator=torch.Generator(),  # torch's own draws a seed from the global state, which is the loop's
            )
        )


def _leave_signals(worker: int) -> None:
    """A stop is the training process's to answer: it ends its loaders itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True, eq=False)
class _Row:
    samples: NDArray[np.float32]
    clean: NDArray[np.float32]
    text: str
    words: tuple[TimedWord, ...]
    cut: bool
    id: str


def _row(example: Example, corpus: Corpus) -> _Row:
    """Put an example's parts one after another, cut them, and corrupt what is left. AudioError where one is bad."""
    utterances = [corpus.recordings.utterances[part] for part in example.parts]
    pieces = [np.zeros(round(example.lead_s * SAMPLE_RATE), np.float32)]
    texts: list[str] = []
    words: list[TimedWord] = []
    for part, utterance, silence_s in zip(example.parts, utterances, (*example.gaps_s, example.tail_s), strict=True):
        heard = corpus.recordings[part]
        spoken = change_speed(heard, example.speed)
        start_s = sum(map(len, pieces)) / SAMPLE_RATE
        text, timed = utterance.text, _moved(utterance.words, start_s, len(spoken) / len(heard))
        if example.end_s is not None:
            text, timed = _said_by(example.end_s, text, timed)
        pieces += [spoken, np.zeros(round(silence_s * SAMPLE_RATE), np.float32)]
        texts.append(text)
        words += timed
    end = None if example.end_s is None else round(example.end_s * SAMPLE_RATE)
    clean = np.concatenate(pieces)[:end]
    random = np.random.default_rng(example.seed)
    return _Row(
        samples=corrupt(clean, corpus.augment, corpus.material, partial(_anyone, corpus.recordings), random),
        clean=clean,
        text=" ".join(filter(None, texts)),
        words=tuple(words) if _timed(utterances) else (),
        cut=end is not None,
        id="+".join(utterance.id for utterance in utterances),
    )


def _anyone(recordings: Recordings, random: np.random.Generator) -> NDArray[np.float32]:
    return recordings[int(random.integers(len(recordings)))]


def _moved(words: tuple[TimedWord, ...], start_s: float, stretch: float) -> tuple[TimedWord, ...]:
    return tuple(TimedWord(w.word, start_s + w.start_s * stretch, start_s + w.end_s * stretch) for w in words)


def _said_by(end_s: float, text: str, words: tuple[TimedWord, ...]) -> tuple[str, tuple[TimedWord, ...]]:
    """What is over by then; as the text writes it where its words are those that are timed."""
    over = tuple(word for word in words if word.end_s <= end_s)
    written = text.split()
    spelled = written[: len(over)] if len(written) == len(words) else [word.word for word in over]
    return " ".join(spelled), over


def _nothing() -> _Row:
    """Silence, in which nothing is said, so that a batch always has a row."""
    silence = np.zeros(round(NOTHING_S * SAMPLE_RATE), np.float32)
    return _Row(silence, silence, "", (), False, "")


def _batch(rows: list[_Row], complaints: list[str], clean: bool) -> Batch:
    return Batch(
        samples=_padded([row.samples for row in rows]),
        clean=_padded([row.clean for row in rows]) if clean else None,
        lengths=torch.tensor([len(row.samples) for row in rows]),
        texts=[row.text for row in rows],
        words=[row.words for row in rows],
        cut=[row.cut for row in rows],
        ids=[row.id for row in rows],
        complaints=complaints,
    )


def take(batch: Batch, rows: Sequence[int], complaints: Sequence[str]) -> Batch:
    """Some rows of a batch, with complaints about the others. Padding stays: who is left hears what it would have."""
    picked = list(rows)
    return Batch(
        samples=batch.samples[picked],
        clean=None if batch.clean is None else batch.clean[picked],
        lengths=batch.lengths[picked],
        texts=[batch.texts[row] for row in picked],
        words=[batch.words[row] for row in picked],
        cut=[batch.cut[row] for row in picked],
        ids=[batch.ids[row] for row in picked],
        complaints=[*batch.complaints, *complaints],
    )


def _padded(rows: list[NDArray[np.float32]]) -> Tensor:
    padded = torch.zeros(len(rows), max(map(len, rows)))
    for row, samples in zip(padded, rows, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    return padded
