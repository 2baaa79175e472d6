"""Samples of utterances, decoded once.

Decoding costs more than all else that a loader does. With a cache folder each recording is decoded by the first run
that wants it, and kept there as 16-bit samples:

    CACHE/NAME.pcm    int16 at 16 kHz, one recording after another, about an hour of them
    CACHE/NAME.jsonl  a line each: the file's path, size and time of change, how many samples it gave, or what is wrong

A pack is there once its .jsonl is, which comes last and at once; what a killed run left without one is not looked at.
Nothing is changed afterwards, so any number of processes read and add to one cache: two that decode the same recording
at the same time write it twice. A file that has changed since is decoded anew.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from asr.audio.resample import SAMPLE_RATE
from asr.errors import AudioError
from asr.train.manifest import Utterance, load

PACK_S = 3600.0  # of recordings in a pack: what is decoded anew after a kill
INT16_SCALE = 32768
SAMPLE_BYTES = 2
FEW = 32  # recordings that are not worth a process
FOREVER_S = 1e9
ROUNDING_S = 0.01  # that resampling may add; what is longer by no more is cut

Decoded = tuple[NDArray[np.int16], str]  # samples, or none and what is wrong


class Stamp(NamedTuple):
    """A file as it was when it was decoded."""

    audio: str
    size: int
    mtime_ns: int


class CachePlace(NamedTuple):
    """Where a cache keeps a recording's samples, or why it has none."""

    pack: Path
    start: int
    samples: int
    complaint: str


@dataclass(frozen=True, eq=False)
class Recordings(Sequence[NDArray[np.float32]]):
    """Samples by utterance: (n,) float32, mono, 16 kHz. AudioError where a recording turns out to be unusable."""

    utterances: Sequence[Utterance]  # those that can be used, as far as is known; with true durations after decoding
    sets: Sequence[str]  # the name of each one's set
    complaints: Sequence[str]  # what is wrong with the others
    places: Sequence[CachePlace] | None  # None: there is no cache
    longest_s: float = FOREVER_S

    def __len__(self) -> int:
        return len(self.utterances)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequence[NDArray[np.float32]]": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.float32] | Sequence[NDArray[np.float32]]":
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        samples = self._decoded(index) if self.places is None else _read(self.places[index])
        return samples[: round(self.longest_s * SAMPLE_RATE)]

    def _decoded(self, index: int) -> NDArray[np.float32]:
        """What the manifest says of the length has been believed so far."""
        utterance = self.utterances[index]
        samples = load(utterance)
        if complaint := length_complaint(utterance.audio, len(samples) / SAMPLE_RATE, 0.0, self.longest_s):
            raise AudioError(complaint)
        return samples


def open_recordings(
    sets: Mapping[str, Sequence[Utterance]], cache: str = "", shortest_s: float = 0.0, longest_s: float = FOREVER_S
) -> Recordings:
    """The recordings of sets by name, decoded now where there is a cache for them.

    What cannot be read, is empty, or is not of a length within these bounds is left out with a complaint. Without a
    cache the manifest's duration counts, and other faults show only when the samples are asked for.
    """
    names = [name for name, utterances in sets.items() for _ in utterances]
    utterances = [utterance for members in sets.values() for utterance in members]
    places = _cached(Path(cache), utterances) if cache else None
    if places is not None:
        utterances = [
            replace(utterance, duration_s=place.samples / SAMPLE_RATE)
            for utterance, place in zip(utterances, places, strict=True)
        ]
    complaints = [
        (places[index].complaint if places is not None else "")
        or length_complaint(utterance.audio, utterance.duration_s, shortest_s, longest_s)
        for index, utterance in enumerate(utterances)
    ]
    usable = [index for index, complaint in enumerate(complaints) if not complaint]
    return Recordings(
        utterances=[_at_most(utterances[index], longest_s) for index in usable],
        sets=[names[index] for index in usable],
        complaints=[complaint for complaint in complaints if complaint],
        places=None if places is None else [places[index] for index in usable],
        longest_s=longest_s,
    )


def _at_most(utterance: Utterance, longest_s: float) -> Utterance:
    return utterance if utterance.duration_s <= longest_s else replace(utterance, duration_s=longest_s)


def length_complaint(audio: Path, duration_s: float, shortest_s: float, longest_s: float) -> str:
    """What is wrong with a recording's length, "" where it is within these bounds."""
    if duration_s <= 0:
        return f"{audio}: it cannot be read, or holds no samples"
    if shortest_s <= duration_s <= longest_s + ROUNDING_S:
        return ""
    return f"{audio}: it lasts {duration_s:.2f} s, which is not within {shortest_s:g} to {longest_s:g} s"


def decode_all(utterances: Sequence[Utterance]) -> Iterator[Decoded]:
    """Every recording, in the order of the utterances, on all cores; with a progress bar on a terminal."""
    console = Console(stderr=True)
    bar = partial(
        track, total=len(utterances), description="decoding", console=console, disable=not console.is_terminal
    )
    processes = min(_cores(), len(utterances) // FEW)
    if processes < 2:
        yield from bar(map(_decode, utterances))
        return
    with ProcessPoolExecutor(processes) as executor:
        yield from bar(executor.map(_decode, utterances, chunksize=8))


def _decode(utterance: Utterance) -> Decoded:
    try:
        samples = load(utterance)
    except AudioError as error:
        return np.zeros(0, np.int16), str(error)
    return np.rint(samples * INT16_SCALE).clip(-INT16_SCALE, INT16_SCALE - 1).astype(np.int16), ""


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cached(folder: Path, utterances: Sequence[Utterance]) -> list[CachePlace]:
    """Where each one's samples are, after decoding those that the cache did not have."""
    stamps = [_stamp(utterance.audio) for utterance in utterances]
    # what could not be read is tried again: it may have been the disk, or a permission
    places = {stamp: place for stamp, place in _index(folder).items() if not place.complaint}
    missing = {stamp: one for stamp, one in zip(stamps, utterances, strict=True) if stamp not in places}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        places |= _add(folder, missing)
    return [places[stamp] for stamp in stamps]


def _stamp(audio: Path) -> Stamp:
    """What a file is known by. One that is not there has a stamp too."""
    path = os.path.abspath(audio)
    try:
        status = os.stat(path)
    except OSError:
        return Stamp(path, -1, 0)
    return Stamp(path, status.st_size, status.st_mtime_ns)


def _index(folder: Path) -> dict[Stamp, CachePlace]:
    """All that a cache holds. A pack that is damaged counts as not there."""
    places: dict[Stamp, CachePlace] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            places |= _pack_index(path)
    return places


def _pack_index(path: Path) -> dict[Stamp, CachePlace]:
    pack = path.with_suffix(".pcm")
    places: dict[Stamp, CachePlace] = {}
    start = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        audio, size, mtime_ns, samples, complaint = json.loads(line)
        places[Stamp(audio, size, mtime_ns)] = CachePlace(pack, start, samples, complaint)
        start += samples
    return places if pack.stat().st_size == start * SAMPLE_BYTES else {}


def _add(folder: Path, missing: dict[Stamp, Utterance]) -> dict[Stamp, CachePlace]:
    decoded = zip(missing, decode_all(list(missing.values())), strict=True)
    places: dict[Stamp, CachePlace] = {}
    while len(places) < len(missing):
        places |= _write_pack(folder / uuid.uuid4().hex, decoded)
    return places


def _write_pack(path: Path, decoded: Iterator[tuple[Stamp, Decoded]]) -> dict[Stamp, CachePlace]:
    """Take recordings until a pack is full, and write it: first the samples, then, at once, what they are."""
    pack = path.with_suffix(".pcm")
    places: dict[Stamp, CachePlace] = {}
    start = 0
    with pack.open("wb") as file:
        for stamp, (samples, complaint) in decoded:
            places[stamp] = CachePlace(pack, start, len(samples), complaint)
            file.write(samples.tobytes())
            start += len(samples)
            if start >= PACK_S * SAMPLE_RATE:
                break
        file.flush()
        os.fsync(file.fileno())
    lines = [json.dumps([*stamp, place.samples, place.complaint]) + "\n" for stamp, place in places.items()]
    path.with_suffix(".unfinished").write_text("".join(lines), encoding="utf-8")
    path.with_suffix(".unfinished").replace(path.with_suffix(".jsonl"))
    return places


def _read(place: CachePlace) -> NDArray[np.float32]:
    samples = np.fromfile(place.pack, np.int16, place.samples, offset=place.start * SAMPLE_BYTES)
    return samples.astype(np.float32) / np.float32(INT16_SCALE)
