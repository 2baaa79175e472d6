"""Counting errors: what was said against what was written. Pure functions; nothing here knows models or files.

Texts are compared after Whisper's English normaliser (lower case, no punctuation, numbers as digits, American
spelling), the field's common ground: a recogniser is not charged for writing "Mr." where the reference has "mister".
Rates are in per cent. A rate over nothing (no words were said) is None, not 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import jiwer
import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

COVERAGE = (2.5, 97.5)  # percentiles that enclose 95 %


@dataclass(frozen=True)
class Counts:
    """Edits of one utterance, or of many added up."""

    words: int = 0  # in the reference
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    characters: int = 0  # in the reference, spaces between words included
    character_errors: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.characters + other.characters,
            self.character_errors + other.character_errors,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float | None:
        return _per_cent(self.errors, self.words)

    @property
    def cer(self) -> float | None:
        return _per_cent(self.character_errors, self.characters)


def normalise(text: str) -> str:
    """The text as it is compared. Fillers ("um"), brackets and what is in them ("[music]") vanish."""
    return str(_normaliser()(text)).strip()


def count(reference: str, hypothesis: str) -> Counts:
    """Edits from reference to hypothesis, both normalised here. Of an empty reference every word is an insertion."""
    said, written = normalise(reference), normalise(hypothesis)
    words = jiwer.process_words(said, written)
    characters = jiwer.process_characters(said, written)
    return Counts(
        words=words.hits + words.substitutions + words.deletions,
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        characters=characters.hits + characters.substitutions + characters.deletions,
        character_errors=characters.substitutions + characters.deletions + characters.insertions,
    )


def right(reference: str, hypothesis: str) -> list[tuple[str, bool]]:
    """Each word of the reference, normalised, and whether the hypothesis has it there."""
    words = jiwer.process_words(normalise(reference), normalise(hypothesis))
    found = [False] * len(words.references[0])
    for chunk in words.alignments[0]:
        if chunk.type == "equal":
            found[chunk.ref_start_idx : chunk.ref_end_idx] = [True] * (chunk.ref_end_idx - chunk.ref_start_idx)
    return list(zip(words.references[0], found, strict=True))


def pool(counts: Iterable[Counts]) -> Counts:
    """Edits added up, so that a long utterance weighs by its words."""
    return sum(counts, Counts())


def wer_interval(counts: list[Counts], rounds: int, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the pooled WER, by bootstrap over utterances. None without rounds or without words."""
    sums = resample([[c.errors, c.words] for c in counts], rounds, seed)
    return _interval(100 * sums[:, 0], sums[:, 1])


def ratio(ours: list[Counts], theirs: list[Counts]) -> float | None:
    """Our pooled errors over theirs, on the same utterances: below 1 we are the better. None where they made none."""
    _check_pairs(ours, theirs)
    errors = pool(theirs).errors
    return pool(ours).errors / errors if errors else None


def ratio_interval(ours: list[Counts], theirs: list[Counts], rounds: int, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of `ratio`, paired: each round draws the same utterances for both."""
    _check_pairs(ours, theirs)
    sums = resample([[a.errors, b.errors] for a, b in zip(ours, theirs, strict=True)], rounds, seed)
    return _interval(sums[:, 0], sums[:, 1])


def resample(rows: list[list[int]], rounds: int, seed: int) -> NDArray[np.float64]:
    """Draw as many rows as there are, with replacement, and add them up: (rounds, columns) sums."""
    table = np.array(rows, np.float64).reshape(len(rows), 2)
    random = np.random.default_rng(seed)
    sums = [table[random.integers(len(table), size=len(table))].sum(axis=0) for _ in range(rounds if rows else 0)]
    return np.array(sums).reshape(-1, 2)


def _interval(over: NDArray[np.float64], under: NDArray[np.float64]) -> tuple[float, float] | None:
    """Percentiles of over / under, None without a finite one. Rounds of 0 / 0 say nothing; n / 0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = over / under
    rates = rates[~np.isnan(rates)]
    if not len(rates):
        return None
    # Nearest, since between infinite rates there is nothing to interpolate.
    low, high = np.percentile(rates, COVERAGE, method="nearest")
    return (float(low), float(high)) if np.isfinite(high) else None


def _check_pairs(ours: list[Counts], theirs: list[Counts]) -> None:
    if [c.words for c in ours] != [c.words for c in theirs]:
        raise ValueError("a ratio needs both systems' counts on the same utterances, in the same order")


def _per_cent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


@cache
def _normaliser() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
