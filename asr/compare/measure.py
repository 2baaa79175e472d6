"""What a trained mechanism does, measured on the folder that ships, by the runtime that serves it."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray

from asr.model.config import FRAME_HOP, SAMPLE_RATE
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Row, Word
from asr.train.manifest import TimedWord, Utterance, load
from asr.train.score import Counts, count, normalise, pool

TIMES = (1, 2, 4, 8)  # as long as what was trained on
GAP_S = 0.2  # between utterances that are joined
MOST_S = 28.0  # of what is joined: within one segment
HOP_S = FRAME_HOP / SAMPLE_RATE  # of the frames that weights are over
SLACK_S = 0.05

Samples = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Clip:
    """Something to hear, and what is said in it."""

    samples: Samples
    text: str
    words: tuple[TimedWord, ...] = ()


@dataclass(frozen=True, eq=False)
class HeardClip:
    """What a model made of a clip."""

    text: str
    words: tuple[Word, ...]
    rows: tuple[Row, ...]
    wall_s: float


@dataclass(frozen=True)
class Length:
    """Clips of one length."""

    times: int
    clips: int
    seconds: float  # on average
    counts: Counts
    first: float  # share of clips whose first word is right
    last: float


@dataclass(frozen=True)
class Measured:
    """One mechanism. None where there is nothing to measure: no weights, no known word times."""

    lengths: tuple[Length, ...]
    entropy: float | None  # of a token's weights, in nats
    forward: float | None  # share of tokens that look no farther back than the token before
    inside: float | None  # share of the weight that lies within the time of the token's own word
    onset_s: float | None  # median distance of a word's start, as it is served, from the true one
    real_time_factor: float
    tokens_per_s: float  # of the decoder alone


def clips_of(sets: Iterable[Sequence[Utterance]]) -> list[Clip]:
    """Every utterance in which something is said."""
    return [Clip(load(one), one.text, one.words) for utterances in sets for one in utterances if one.text]


def shown(clips: Sequence[Clip]) -> Clip:
    """The one that figures are of: of those with most to walk along, the shortest."""
    by_length = sorted(clips, key=lambda clip: clip.samples.size)
    return by_length[3 * len(by_length) // 4]


def joined(clips: Sequence[Clip], times: int) -> list[Clip]:
    """So many neighbours in one, each clip in one of them, as far as they fit a segment."""
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    groups = [clips[first : first + times] for first in range(0, len(clips) - times + 1, times)]
    together = [
        Clip(
            np.concatenate([part for clip in group for part in (clip.samples, gap)]),
            " ".join(clip.text for clip in group),
        )
        for group in groups
    ]
    return [clip for clip in together if clip.samples.size <= MOST_S * SAMPLE_RATE]


def measure(folder: Path, clips: Sequence[Clip]) -> Measured:
    """What the exported model of a folder makes of the clips, alone and joined; one clip at least."""
    recognizer = Recognizer.load(folder)
    hear(recognizer, clips[0])  # the first one warms up
    lengths, alone = [], []
    for times in TIMES:
        some = list(clips) if times == 1 else joined(clips, times)
        heard = [hear(recognizer, clip) for clip in some]
        if some:
            lengths.append(length(times, some, heard))
        if times == 1:
            alone = heard
    rows = [row for one in alone for row in one.rows]
    steps = [after >= before for one in alone for before, after in pairwise(looked(one.rows))]
    shares = [share for clip, one in zip(clips, alone, strict=True) for share in inside(clip, one)]
    onsets = [off for clip, one in zip(clips, alone, strict=True) for off in onset_errors(clip, one)]
    return Measured(
        lengths=tuple(lengths),
        entropy=mean(row.entropy for row in rows) if rows else None,
        forward=mean(steps) if steps else None,
        inside=mean(shares) if shares else None,
        onset_s=median(onsets) if onsets else None,
        real_time_factor=sum(one.wall_s for one in alone) * SAMPLE_RATE / sum(clip.samples.size for clip in clips),
        tokens_per_s=decoder_speed(recognizer, clips),
    )


def hear(recognizer: Recognizer, clip: Clip) -> HeardClip:
    """One clip through the runtime, with its alignment."""
    begin = time.perf_counter()
    said = recognizer.transcribe(clip.samples, Options(alignment=True))
    wall_s = time.perf_counter() - begin
    rows = tuple(row for one in said.segments if one.alignment is not None for row in one.alignment.rows)
    return HeardClip(said.text, tuple(word for one in said.segments for word in one.words), rows, wall_s)


def length(times: int, clips: Sequence[Clip], heard: Sequence[HeardClip]) -> Length:
    """The score of clips that are so many times as long as the first ones."""
    texts = [
        (normalise(clip.text).split(), normalise(one.text).split()) for clip, one in zip(clips, heard, strict=True)
    ]
    return Length(
        times,
        len(clips),
        mean(clip.samples.size for clip in clips) / SAMPLE_RATE,
        pool(count(clip.text, one.text) for clip, one in zip(clips, heard, strict=True)),
        mean(said[:1] == written[:1] for said, written in texts),
        mean(said[-1:] == written[-1:] for said, written in texts),
    )


def looked(rows: Sequence[Row]) -> list[int]:
    """The frame at which each token looked most."""
    return [int(row.weights.argmax()) for row in rows]


def all_heard(clip: Clip, heard: HeardClip) -> bool:
    """Whether word times are known, and every word was heard."""
    said = [normalise(word.word) for word in clip.words]
    return bool(said) and said == [normalise(word.text) for word in heard.words]


def onset_errors(clip: Clip, heard: HeardClip) -> list[float]:
    """Seconds between where words begin and where they are said to."""
    if not all_heard(clip, heard):
        return []
    return [abs(one.start_s - true.start_s) for one, true in zip(heard.words, clip.words, strict=True)]


def inside(clip: Clip, heard: HeardClip) -> list[float]:
    """Of each letter the share of its weight that lies within its word's time, or SLACK_S beside it."""
    if not all_heard(clip, heard):
        return []
    shares, word = [], -1
    for row in heard.rows:
        word += row.piece.startswith(" ")
        if row.piece.strip() and 0 <= word < len(clip.words):
            time_s = np.arange(len(row.weights)) * HOP_S
            true = clip.words[word]
            there = (time_s >= true.start_s - SLACK_S) & (time_s <= true.end_s + SLACK_S)
            shares.append(float((row.weights * there).sum()))
    return shares


def decoder_speed(recognizer: Recognizer, clips: Sequence[Clip], most: int = 20) -> float:
    """Tokens in a second of the decoder's time, on one thread."""
    tokens, wall_s = 0, 0.0
    for clip in clips[:most]:
        source = recognizer.encoder.encode(clip.samples)
        begin = time.perf_counter()
        tokens += len(recognizer.decode(source, recognizer.language("")).tokens) + 1
        wall_s += time.perf_counter() - begin
    return tokens / wall_s


def party(clip: Clip, other: Clip) -> Clip:
    """A second speaker in the room, as loud as the first."""
    size = min(clip.samples.size, other.samples.size)
    mixed = clip.samples.copy()
    mixed[:size] += other.samples[:size] * (rms(clip.samples) / max(rms(other.samples), 1e-9))
    return replace(clip, samples=mixed.clip(-1, 1))


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))
