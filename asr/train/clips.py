"""Sound for the bench: what one speaker after another says, with pauses or without any, and what holds no speech."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, zip_longest

import numpy as np
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE
from asr.errors import InputError
from asr.runtime.loudness import STEP, levels, loud
from asr.train.manifest import Utterance, load

PACKET = SAMPLE_RATE // 50  # samples that come at once: 20 ms, as microphones and telephones send them
PAUSES_S = (0.4, 2.5, 0.7, 1.2)  # between clips, in turn: some end a segment, some do not
LONGEST_GAP_S = 0.2  # what is left of a pause where there are to be none
HISS_DB = -75.0  # of a quiet room: below full scale

Samples = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Clip:
    text: str
    samples: Samples  # (n,) mono at 16 kHz


def choose(sets: Mapping[str, Sequence[Utterance]], most_s: float) -> list[Clip]:
    """One utterance of each set in turn, until they last most_s or there are no more."""
    clips: list[Clip] = []
    length_s = 0.0
    for utterance in (one for turn in zip_longest(*sets.values()) for one in turn if one is not None):
        if length_s >= most_s:
            break
        clips.append(Clip(utterance.text, load(utterance)))
        length_s += clips[-1].samples.size / SAMPLE_RATE
    return clips


def packets(samples: Samples) -> Iterator[Samples]:
    """The samples as they come in; the last packet may be shorter."""
    return (samples[first : first + PACKET] for first in range(0, samples.size, PACKET))


def spaced(clips: Sequence[Clip], first: int = 0) -> Iterator[Samples]:
    """Clips without end, from the given one on, each with a pause after it."""
    order = [*clips[first % len(clips) :], *clips[: first % len(clips)]]
    for clip, pause_s in zip(cycle(order), cycle(PAUSES_S), strict=False):
        yield clip.samples
        yield hiss(pause_s)


def joined(clips: Sequence[Clip], seconds: float) -> Clip:
    """Clips with pauses between, all of them again where they are too few, until they last so long."""
    texts: list[str] = []
    parts: list[Samples] = []
    size = 0
    for clip, pause_s in zip(cycle(clips), cycle(PAUSES_S), strict=False):
        texts.append(clip.text)
        parts += [clip.samples, hiss(pause_s)]
        size += parts[-2].size + parts[-1].size
        if size >= seconds * SAMPLE_RATE:
            return Clip(" ".join(texts), np.concatenate(parts))
    raise InputError("there is no clip to make a long recording of")


def limited(parts: Iterable[Samples], seconds: float) -> Iterator[Samples]:
    """The first so many seconds."""
    left = round(seconds * SAMPLE_RATE)
    for part in parts:
        if left <= part.size:
            yield part[:left]
            return
        yield part
        left -= part.size


def unbroken(samples: Samples) -> Samples:
    """The samples without their pauses: of what is quiet, at most LONGEST_GAP_S is left."""
    sounding = loud(levels(samples))
    around = np.ones(1 + round(LONGEST_GAP_S * SAMPLE_RATE / STEP), np.intp)
    kept = np.convolve(sounding, around)[around.size // 2 :][: sounding.size] > 0
    whole: Samples = samples[: kept.size * STEP].reshape(-1, STEP)[kept].ravel()
    return whole


def hiss(seconds: float) -> Samples:
    """The noise of a quiet room, the same each time."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE), np.float32)
    quiet: Samples = noise * np.float32(10 ** (HISS_DB / 20))
    return quiet
