"""How sure a word is, and how doubtful a segment: probabilities told from what is known when they are said.

Each is a logistic function of a few measures, sigma(bias + sum of weight x measure) (Platt 1999), whose weights are
fitted on recordings that the model was not trained on (asr-calibrate) and kept in model.json. A model that was never
calibrated gives a word the mean probability of its tokens, and a segment no doubt.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Of a word: what its tokens' probabilities say, what the CTC head says of its letters, how widely it looked, the
# logarithm of how surprising it is, which tells 0.99 from 0.9 as well as 0.5 from 0.05, and how probable its
# neighbours are: what is misheard is seldom one word alone.
FEATURES = ("mean_log_prob", "least_log_prob", "fit", "entropy", "short", "surprise", "around")
AROUND = 3  # words on either side
# Of a segment: the same on average, letters that only one of text and CTC head has, and how sharply its tokens looked.
SEGMENT_FEATURES = ("mean_log_prob", "least_log_prob", "fit", "entropy", "surprise", "unwritten", "unheard", "sharp")
BIAS = "bias"
LEAST = -8.0  # a logarithm of which more would say no more
LEAST_SURPRISE = 1e-3  # nats, below which less would say no more
FLATTEST = 1e-3  # a largest weight below which less would say no more

Calibration = Mapping[str, float]  # a weight for each measure and for BIAS; {}: none


def evidence(text: str, log_probs: NDArray[np.float32], fit: float, entropies: Sequence[float]) -> tuple[float, ...]:
    """The measures of a word by itself, in the order of FEATURES.

    log_probs  (tokens,) of its tokens
    fit        of its letters (times.Spelled); 0 where the model has no CTC head
    entropies  of its tokens' attention, in nats
    """
    mean, least = (max(float(value), LEAST) for value in (log_probs.mean(), log_probs.min()))
    spread = sum(entropies) / len(entropies) if entropies else 0.0
    short, surprise = 1 / (1 + sum(map(str.isalnum, text))), math.log(max(-mean, LEAST_SURPRISE))
    return mean, least, max(float(fit), LEAST), spread, short, surprise


def in_company(words: Sequence[tuple[float, ...]], before: Sequence[float] = ()) -> list[tuple[float, ...]]:
    """The measures of words that follow each other, each with that of its neighbours; a word without any is its own.

    words   evidence of each
    before  mean log-probabilities of the words before them
    """
    means = [*before, *(word[0] for word in words)]
    found = []
    for place, word in enumerate(words, start=len(before)):
        near = means[max(0, place - AROUND) : place] + means[place + 1 : place + 1 + AROUND]
        found.append((*word, sum(near) / len(near) if near else word[0]))
    return found


def segment_evidence(
    words: Sequence[tuple[float, ...]], written: int, heard: int | None, peaks: Sequence[float] = ()
) -> tuple[float, ...]:
    """The measures of a segment, in the order of SEGMENT_FEATURES.

    words    evidence of each
    written  letters of the text
    heard    letters that the CTC head heard; None: nobody counted
    peaks    the largest weight of each token's attention
    """
    mean, least, fit, spread, _, surprise = np.mean(words, axis=0).tolist()[:6] if words else (0.0,) * 6
    if heard is None:
        heard = written
    more = max(written, heard, 1)
    sharp = float(np.log(np.maximum(peaks, FLATTEST)).mean()) if len(peaks) else 0.0
    return mean, least, fit, spread, surprise, max(0, heard - written) / more, max(0, written - heard) / more, sharp


def probability(names: Sequence[str], measures: Sequence[float], weights: Calibration) -> float:
    """The logistic function of the measures, 0 to 1. One that the calibration did not know weighs nothing."""
    total = weights[BIAS] + sum(weights.get(name, 0.0) * value for name, value in zip(names, measures, strict=True))
    return sigmoid(total)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))


def confidence(measures: Sequence[float], log_probs: NDArray[np.float32], weights: Calibration) -> float:
    """Of a word."""
    return probability(FEATURES, measures, weights) if weights else float(np.exp(log_probs).mean())
