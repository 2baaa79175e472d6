"""How sure a word is, and how doubtful a segment: probabilities told from what is known when they are said.

Each is a logistic function of a few measures, sigma(bias + sum of weight x measure) (Platt 1999), whose weights are
fitted on recordings that the model was not trained on (asr-calibrate) and kept in model.json. A model that was never
calibrated gives a word the mean probability of its tokens, and a segment no doubt.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Of a word: what its tokens' probabilities say, what the CTC head says of its letters, and how widely it looked.
FEATURES = ("mean_log_prob", "least_log_prob", "fit", "entropy", "short")
# Of a segment: the same on average, and letters that only one of text and CTC head has.
SEGMENT_FEATURES = ("mean_log_prob", "least_log_prob", "fit", "entropy", "unwritten", "unheard")
BIAS = "bias"
LEAST = -8.0  # a logarithm of which more would say no more

Calibration = Mapping[str, float]  # a weight for each measure and for BIAS; {}: none


def evidence(text: str, log_probs: NDArray[np.float32], fit: float, entropies: Sequence[float]) -> tuple[float, ...]:
    """The measures of a word, in the order of FEATURES.

    log_probs  (tokens,) of its tokens
    fit        of its letters (times.Spelled); 0 where the model has no CTC head
    entropies  of its tokens' attention, in nats
    """
    mean, least = (max(float(value), LEAST) for value in (log_probs.mean(), log_probs.min()))
    spread = sum(entropies) / len(entropies) if entropies else 0.0
    return mean, least, max(float(fit), LEAST), spread, 1 / (1 + sum(map(str.isalnum, text)))


def segment_evidence(words: Sequence[tuple[float, ...]], written: int, heard: int | None) -> tuple[float, ...]:
    """The measures of a segment, in the order of SEGMENT_FEATURES.

    words    evidence of each
    written  letters of the text
    heard    letters that the CTC head heard; None: nobody counted
    """
    mean, least, fit, spread, _ = np.mean(words, axis=0).tolist() if words else (0.0,) * len(FEATURES)
    if heard is None:
        heard = written
    more = max(written, heard, 1)
    return mean, least, fit, spread, max(0, heard - written) / more, max(0, written - heard) / more


def probability(names: Sequence[str], measures: Sequence[float], weights: Calibration) -> float:
    """The logistic function of the measures, 0 to 1."""
    total = weights[BIAS] + sum(weights[name] * value for name, value in zip(names, measures, strict=True))
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, total))))


def confidence(measures: Sequence[float], log_probs: NDArray[np.float32], weights: Calibration) -> float:
    """Of a word."""
    return probability(FEATURES, measures, weights) if weights else float(np.exp(log_probs).mean())
