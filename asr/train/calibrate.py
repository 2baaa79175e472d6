"""asr-calibrate: fit how sure a word is, and how doubtful a segment, on recordings with their texts.

    asr-calibrate --model DIR --data DATA/train --sets accented,read --noises noise,music --limit 150

Each utterance is recognised in each mode, whole, broken off and amid noise, and the noises alone: what is easy teaches
little of when to doubt. A word is right where the true text has it in its place, a segment is bad where half of its
words or more are wrong, or where nothing was said. Logistic regression (confidence.py has the measures) goes into
model.json, whose other parts stay as they are.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

import jiwer
import numpy as np
from numpy.typing import NDArray

from asr.errors import HeedError, InputError
from asr.runtime.bundle import Bundle
from asr.runtime.confidence import BIAS, FEATURES, SEGMENT_FEATURES
from asr.runtime.recognizer import Options, Recognizer
from asr.train.cases import Case, amid_noise, whole_and_cut
from asr.train.evaluate import names_in, read_sets
from asr.train.manifest import Utterance
from asr.train.peers import language_of
from asr.train.score import normalise

MODES = ("full", "640ms")
RIDGE = 1e-3  # keeps the weights of measures that tell little near 0
ROUNDS = 50
BINS = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """Measures and whether what they are of was right."""

    measures: NDArray[np.float64]  # (n, features)
    right: NDArray[np.bool_]  # (n,)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("asr-calibrate", description="Fit word confidence and segment doubt.")
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="the exported folder whose model.json is written")
    add("--data", type=Path, required=True, metavar="DIR", help="the folder of sets, not those that are reported on")
    add("--sets", type=names_in, metavar="A,B", help="of these (all)")
    add("--noises", type=names_in, default=[], metavar="A,B", help="sets where nobody speaks (none)")
    add("--limit", type=int, default=150, metavar="N", help="utterances of each set (%(default)s)")
    add("--threads", type=int, default=1, metavar="N", help="of onnxruntime (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        recognizer = Recognizer.load(options.model, options.threads)
        sets = read_sets(options.data, options.sets and [*options.sets, *options.noises])
        said = [one for name, each in sets.items() if name not in options.noises for one in spread(each, options.limit)]
        noises = [one for name in options.noises for one in spread(sets[name], options.limit)]
        words, segments = judge(recognizer, chain(whole_and_cut([*said, *noises]), amid_noise(said, noises)))
        confidence, doubt = fit(words, FEATURES), fit(replace(segments, right=~segments.right), SEGMENT_FEATURES)
        bundle = replace(Bundle.load(options.model), confidence=confidence, doubt=doubt)
        bundle.save(options.model)
    except (HeedError, OSError) as error:
        print(f"asr-calibrate: {error}", file=sys.stderr)
        return 1
    shares = f"{words.right.mean():.1%} of {words.right.size} words right, {(~segments.right).sum()} of "
    print(f"{shares}{segments.right.size} segments bad")
    print(json.dumps({"confidence": confidence, "doubt": doubt}, indent=1))
    return 0


def spread(utterances: Sequence[Utterance], most: int) -> list[Utterance]:
    """So many of them, evenly from all: neighbours often share a speaker."""
    places = np.unique(np.linspace(0, len(utterances) - 1, min(most, len(utterances))).round().astype(int))
    return [utterances[place] for place in places]


def judge(recognizer: Recognizer, cases: Iterable[Case]) -> tuple[Judged, Judged]:
    """Words and segments with whether they were right; InputError where all or none were."""
    bundle, language = recognizer.bundle, language_of(recognizer)
    words: list[tuple[tuple[float, ...], bool]] = []
    segments: list[tuple[tuple[float, ...], bool]] = []
    for case in cases:
        for mode in (mode for mode in MODES if mode in bundle.latency_modes):
            finals = recognizer.transcribe(case.samples, Options(mode, language, interim=False)).segments
            heard = [word for final in finals for word in final.words]
            words += zip((word.evidence for word in heard), right_words(case.text, heard), strict=True)
            if len(finals) == 1:  # else nobody knows which words of the text belong to which
                segments.append((finals[0].evidence, not case.is_bad(finals[0].text)))
    return as_judged(words, "words"), as_judged(segments, "segments")


def as_judged(pairs: Sequence[tuple[tuple[float, ...], bool]], what: str) -> Judged:
    right = np.array([right for _, right in pairs], bool)
    if not right.any() or right.all():
        raise InputError(f"of {right.size} {what} {right.sum()} are right: there is nothing to tell apart")
    return Judged(np.array([measures for measures, _ in pairs]), right)


class Written(Protocol):
    """A word as a system wrote it."""

    @property
    def text(self) -> str: ...


def right_words(text: str, words: Sequence[Written]) -> list[bool]:
    """Whether each word is in the true text at its place. A word that the normaliser drops is neither: right."""
    plain = [normalise(word.text).split() for word in words]
    written = [part for parts in plain for part in parts]
    hits = np.zeros(len(written), bool)
    if written and normalise(text):
        (chunks,) = jiwer.process_words(normalise(text), " ".join(written)).alignments
        for chunk in chunks:
            if chunk.type == "equal":
                hits[chunk.hyp_start_idx : chunk.hyp_end_idx] = True
    right, place = [], 0
    for parts in plain:
        right.append(bool(hits[place : place + len(parts)].all()))
        place += len(parts)
    return right


def fit(judged: Judged, names: Sequence[str]) -> dict[str, float]:
    """Logistic regression by Newton's method (iteratively reweighted least squares), with a ridge."""
    mean, spread = judged.measures.mean(axis=0), np.maximum(judged.measures.std(axis=0), 1e-6)
    inputs = np.column_stack([np.ones(len(judged.right)), (judged.measures - mean) / spread])
    weights = np.zeros(inputs.shape[1])
    ridge = RIDGE * len(inputs) * np.diag([0.0, *np.ones(len(names))])
    for _ in range(ROUNDS):
        said = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (judged.right - said) - ridge @ weights
        curve = (inputs * (said * (1 - said))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(weights)), slope)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    scaled = weights[1:] / spread
    return {BIAS: round(float(weights[0] - scaled @ mean), 5)} | {
        name: round(float(value), 5) for name, value in zip(names, scaled, strict=True)
    }


def area(right: NDArray[np.bool_], sure: NDArray[np.floating]) -> float | None:
    """Area under the receiver's curve: how often what is right is surer than what is wrong (Mann and Whitney 1947)."""
    if right.all() or not right.any():
        return None
    _, places, counts = np.unique(sure, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    wins = ranks[right].sum() - right.sum() * (right.sum() + 1) / 2
    return float(wins / (right.sum() * (~right).sum()))


def calibration_error(right: NDArray[np.bool_], sure: NDArray[np.floating]) -> float:
    """Mean distance of how sure to how often right, over BINS bins of equal width (Naeini et al. 2015)."""
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    off = [abs(right[bins == one].mean() - sure[bins == one].mean()) * (bins == one).sum() for one in np.unique(bins)]
    return float(sum(off) / right.size)


if __name__ == "__main__":
    sys.exit(main())
