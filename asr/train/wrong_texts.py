"""Whether the score of an alignment tells a text that is not of its recording.

right     the text as it is
another   the text of another recording of the set
a third   the right text, each third word replaced by one from elsewhere in the set

AUC is how often a right text scores more than a wrong one; the threshold is where the shares of right texts that are
taken and of wrong ones that are refused are most in sum, over all sets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr.errors import HeedError
from asr.runtime.recognizer import Options, Recognizer
from asr.train.calibrate import area
from asr.train.markdown import number, table
from asr.train.peers import language_of
from asr.train.score import normalise

EACH = 3  # of so many words one is replaced
SEED = 0

Samples = NDArray[np.float32]


@dataclass
class Scores:
    """Of a set; a wrong text that cannot be aligned at all scores 0."""

    set: str
    right: list[float] = field(default_factory=list)
    another: list[float] = field(default_factory=list)
    third: list[float] = field(default_factory=list)

    @property
    def wrong(self) -> list[float]:
        return self.another + self.third


def scores(recognizer: Recognizer, name: str, clips: Sequence[tuple[Samples, str]]) -> Scores:
    """Of (samples, text) each."""
    random = np.random.default_rng(SEED)
    texts = [text for _, text in clips]
    pool = [word for text in texts for word in text.split()]
    found = Scores(name)
    for samples, text in clips:
        found.right.append(score(recognizer, samples, text))
        drawn = (texts[index] for index in random.permutation(len(texts)).tolist())
        if another := next((other for other in drawn if normalise(other) != normalise(text)), ""):
            found.another.append(score(recognizer, samples, another))
        if (slipped := replaced(text, pool, random)) != text:
            found.third.append(score(recognizer, samples, slipped))
    return found


def score(recognizer: Recognizer, samples: Samples, text: str) -> float:
    try:
        return recognizer.align(samples, text, Options(language=language_of(recognizer))).score
    except HeedError:
        return 0.0


def replaced(text: str, pool: Sequence[str], random: np.random.Generator) -> str:
    """The text with one of each EACH words, one at least, replaced; as it is where the pool has no others."""
    words = text.split()
    for place in random.choice(len(words), max(1, len(words) // EACH), replace=False):
        drawn = (pool[index] for index in random.permutation(len(pool)).tolist())
        words[place] = next((word for word in drawn if normalise(word) != normalise(words[place])), words[place])
    return " ".join(words)


def separated(right: Sequence[float], wrong: Sequence[float]) -> float | None:
    """AUC."""
    return area(np.array([True] * len(right) + [False] * len(wrong)), np.array([*right, *wrong]))


def threshold(rows: Iterable[Scores]) -> float | None:
    """The least score that a text should have to be taken for right; None where there is nothing to tell apart."""
    rows = list(rows)
    right = np.array([value for row in rows for value in row.right])
    wrong = np.array([value for row in rows for value in row.wrong])
    if not right.size or not wrong.size:
        return None
    values = np.unique([*right, *wrong])
    gains = [(right >= value).mean() + (wrong < value).mean() for value in values]
    return float(values[int(np.argmax(gains))])


def as_text(rows: Sequence[Scores]) -> str:
    least = threshold(rows)
    head = [
        "set",
        "texts",
        "median score: right",
        "another",
        "a third replaced",
        "AUC: another",
        "a third",
        "right taken",
    ]
    head += ["another refused", "a third refused"]
    body = []
    for row in rows:
        kinds = (row.right, row.another, row.third)
        cells = [row.set, str(len(row.right)), *(number(_median(kind), 2) for kind in kinds)]
        cells += [number(separated(row.right, kind), 3) for kind in kinds[1:]]
        cells.append(_share([value >= least for value in row.right] if least is not None else []))
        cells += [_share([value < least for value in kind] if least is not None else []) for kind in kinds[1:]]
        body.append(cells)
    return table(head, body) + f"\n\nTaken for right: a score of {number(least, 2)} or more, the best of all sets."


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _share(held: Sequence[bool]) -> str:
    return f"{100 * np.mean(held):.0f} %" if held else "-"
