"""What other searches than the greedy one are worth: a beam, the CTC head's opinion, phrases that are expected.

Expected are, of each recording, the rare words that are said in it: those that no other of the recordings has. How many
of them are right is counted apart from the other words, which should lose nothing by it. A second list has the rare
words of all recordings, as a caller has who does not know which of his names will be said.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE
from asr.runtime.phrases import MOST_PHRASES, Phrase
from asr.runtime.recognizer import Options, Recognizer
from asr.train.manifest import Utterance, load
from asr.train.markdown import number, table
from asr.train.peers import language_of
from asr.train.score import Counts, count, normalise, pool, right

SHORTEST = 5  # letters of a rare word: a name rather than a word for something
Said = Callable[[Sequence[str]], Options]  # from a recording's rare words to how it is to be searched
Clock = Callable[[], float]


@dataclass(frozen=True)
class SearchTrial:
    """A recording in one search."""

    counts: Counts
    rare: int  # words that are said
    rare_right: int
    audio_s: float
    took_s: float


@dataclass(frozen=True)
class Row:
    """A search over all recordings."""

    search: str
    words: int
    wer: float | None
    rare: int
    rare_right: int
    wer_of_others: float | None  # errors in all words but the rare ones, what is inserted among them
    real_time_factor: float


def searches(plain: Options, everything: Sequence[str], boost: float = 0.0) -> Mapping[str, Said]:
    """The searches by name; everything: the rare words of all recordings."""

    def expecting(words: Sequence[str]) -> Options:
        return replace(plain, beam=4, phrases=tuple(Phrase(word, boost) for word in words))

    def expecting_all(own: Sequence[str]) -> Options:
        return expecting(list(dict.fromkeys([*own, *everything]))[:MOST_PHRASES])

    return {
        "greedy": lambda own: plain,
        "beam of 4": lambda own: replace(plain, beam=4),
        "beam of 4, without CTC": lambda own: replace(plain, beam=4, ctc_weight=0.0),
        "beam of 8": lambda own: replace(plain, beam=8),
        "its rare words expected": expecting,
        f"{min(len(everything), MOST_PHRASES)} rare words expected": expecting_all,
    }


def rare_words(utterances: Sequence[Utterance]) -> list[list[str]]:
    """Of each utterance the words that no other has, as they are compared."""
    texts = [dict.fromkeys(normalise(utterance.text).split()) for utterance in utterances]
    known = Counter(word for words in texts for word in words)
    return [
        [word for word in words if known[word] == 1 and len(word) >= SHORTEST and word.isalpha()] for words in texts
    ]


def listen(
    recognizer: Recognizer,
    utterances: Sequence[Utterance],
    clock: Clock = time.process_time,  # of other work on the machine it counts none
    note: Callable[[str, SearchTrial], None] = lambda name, trial: None,
    boost: float = 0.0,
) -> list[Row]:
    """Each utterance through all searches in turn, so that a noisy machine is noisy for all alike."""
    rare = rare_words(utterances)
    plain = Options(language=language_of(recognizer))
    asked = searches(plain, [word for words in rare for word in words], boost)
    tried: dict[str, list[SearchTrial]] = {name: [] for name in asked}
    for utterance, own in zip(utterances, rare, strict=True):
        samples = load(utterance)
        for name, options in asked.items():
            tried[name].append(trial(recognizer, samples, utterance.text, own, options(own), clock))
            note(name, tried[name][-1])
    return [summed(name, trials) for name, trials in tried.items()]


def trial(
    recognizer: Recognizer,
    samples: NDArray[np.float32],
    text: str,
    own: Sequence[str],
    options: Options,
    clock: Clock,
) -> SearchTrial:
    begin = clock()
    heard = recognizer.transcribe(samples, options).text
    took_s = clock() - begin
    found = [is_right for word, is_right in right(text, heard) if word in own]
    return SearchTrial(count(text, heard), len(found), sum(found), samples.size / SAMPLE_RATE, took_s)


def summed(name: str, trials: Sequence[SearchTrial]) -> Row:
    counts = pool(trial.counts for trial in trials)
    rare, found = sum(trial.rare for trial in trials), sum(trial.rare_right for trial in trials)
    others = counts.words - rare
    return Row(
        name,
        counts.words,
        counts.wer,
        rare,
        found,
        100 * (counts.errors - (rare - found)) / others if others else None,
        sum(trial.took_s for trial in trials) / max(sum(trial.audio_s for trial in trials), 1e-9),
    )


def as_text(rows: Sequence[Row]) -> str:
    head = ["search", "WER", "rare words right", "WER of the others", "processor time / audio"]
    body = [
        [
            row.search,
            number(row.wer, 1),
            f"{row.rare_right} of {row.rare}",
            number(row.wer_of_others, 1),
            number(row.real_time_factor, 3),
        ]
        for row in rows
    ]
    return table(head, body)
