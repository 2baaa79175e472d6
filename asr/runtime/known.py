"""A recording and its known text: where each word lies, and whether it is what was said.

What fits one segment is read with the text forced. Of a longer recording the pauses are found by recognising it; the
text is matched with what was heard, word by word, cut where the recording is cut, and each part
forced in its own segment. So a text with gaps or slips is still aligned where it does belong.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.errors import InputError, OptionError, TooLongError
from asr.runtime import words as wording
from asr.runtime.bundle import AUTO
from asr.runtime.confidence import sigmoid
from asr.runtime.loudness import levels, loud
from asr.runtime.meaning import Place
from asr.runtime.quality import coverage, monotonicity
from asr.runtime.reading import force
from asr.runtime.result import Alignment, Row, Word
from asr.runtime.settled import Reading

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer

MOST_WORDS = 20_000  # of a text: two hours of quick speech
BOTH, SAID_ONLY, HEARD_ONLY = range(3)  # steps of `matched`
LEAST_SHARE = 1 / 3  # of the words, that a text is judged by
# Fitted with the model that ships, on 200 training recordings with their texts, other texts, and texts of which a third
# was replaced: there one is 0.5 where as many right as wrong ones have it (asr-bench --table known).
SCORE_BIAS, SCORE_WEIGHT = 5.7, 1.24


@dataclass(frozen=True, eq=False)
class Known:
    """A known text where it lies in a recording."""

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    alignment: Alignment
    score: float  # 0 to 1: how well the text belongs to the recording
    avg_logprob: float  # mean natural-log probability of the tokens
    language: str
    duration_s: float


@dataclass(frozen=True)
class Part:
    """A stretch of the recording, in samples, and the words of the text that belong there."""

    first: int
    last: int
    words: tuple[str, ...]


def align(recognizer: "Recognizer", samples: NDArray[np.float32], text: str, options: "Options") -> Known:
    """Find a text in a recording.

    samples  (n,) mono at the bundle's rate, of any length
    text     what is said there; words are parted by white space
    raises   OptionError for a text without words; InputError where more is written than anyone can say in that time
    """
    said = text.split()
    if not any(map(str.isalnum, text)):
        raise OptionError("there is no text to align: it must hold at least one word")
    if len(said) > MOST_WORDS:
        raise TooLongError(f"the text has {len(said)} words; at most {MOST_WORDS} are aligned at once")
    if not samples.size:
        raise InputError("the recording is empty: there is nothing to align the text with")
    language = recognizer.language(options.language)
    if language == AUTO:
        language = recognizer.detect_language(recognizer.encoder.encode(samples[: recognizer.bundle.max_samples]))
    readings = list(read_parts(recognizer, samples, said, language, options))
    return joined(recognizer, samples, readings, language)


def read_parts(
    recognizer: "Recognizer", samples: NDArray[np.float32], said: Sequence[str], language: str, options: "Options"
) -> Iterator[tuple[Part, Reading]]:
    rows = 0
    for part in parts(recognizer, samples, said, options):
        rate = recognizer.bundle.sample_rate
        place = Place(part.first / rate, samples.size / rate, rows, language, options.heads, options.word_times)
        reading = force(recognizer, samples[part.first : part.last], tokens_of(recognizer, part.words), place)
        rows += len(reading.tokens)
        yield part, reading


def tokens_of(recognizer: "Recognizer", words: Sequence[str]) -> list[int]:
    """As the model writes them: each word with a space before it."""
    return wording.tokens_of(recognizer.tokenizer, " " + " ".join(words))


def parts(
    recognizer: "Recognizer", samples: NDArray[np.float32], said: Sequence[str], options: "Options"
) -> list[Part]:
    """The whole, where the model can hear and say it at once; else as many parts as it takes."""
    bundle = recognizer.bundle
    if samples.size <= bundle.max_samples and fits(recognizer, said):
        return [Part(0, samples.size, tuple(said))]
    # what is heard only tells where to cut
    plainly = replace(options, alignment=False, heads=False, interim=False, beam=1, alternatives=1, phrases=())
    heard = recognizer.transcribe(samples, plainly)
    hop = bundle.frame_hop
    lasts = [round(segment.end_s * bundle.sample_rate / hop) * hop for segment in heard.segments] or [samples.size]
    firsts = [0, *lasts[:-1]]
    texts = shared(said, [segment.text.split() for segment in heard.segments] or [[]])
    made = []
    for first, last, text in zip(firsts, lasts, texts, strict=True):
        if not text:
            continue
        if not fits(recognizer, text):
            raise InputError(
                f"{len(text)} words of the text would have to be said between {first / bundle.sample_rate:.1f} and "
                f"{last / bundle.sample_rate:.1f} s, which nobody can: is it the text of this recording?"
            )
        # silence may make a part longer than the model hears: its end is what is kept
        made.append(Part(max(first, last - bundle.max_samples), last, tuple(text)))
    return made


def fits(recognizer: "Recognizer", words: Sequence[str]) -> bool:
    bundle = recognizer.bundle
    return len(tokens_of(recognizer, words)) + len(bundle.tokens.prompt(bundle.languages[0])) < bundle.max_tokens


def shared(said: Sequence[str], heard: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of a text by the segment in which they were heard.

    A word that nobody heard goes where the next one is that somebody did.
    """
    owners = [segment for segment, words in enumerate(heard) for _ in words] or [0]
    places = matched([plain(word) for word in said], [plain(word) for words in heard for word in words])
    found: list[list[str]] = [[] for _ in heard]
    for word, place in zip(said, places, strict=True):
        found[owners[min(place, len(owners) - 1)]].append(word)
    return found


def matched(said: Sequence[str], heard: Sequence[str]) -> list[int]:
    """Of each word of a text, the place in what was heard that it stands for, or stands before (Levenshtein)."""
    codes: dict[str, int] = {}
    one, other = (np.array([codes.setdefault(word, len(codes)) for word in words]) for words in (said, heard))
    steps = np.arange(len(heard) + 1)
    cost = steps.copy()  # of turning the text so far into the first words heard
    moves = np.empty((len(said) + 1, len(heard) + 1), np.int8)
    moves[0] = HEARD_ONLY
    for row, word in enumerate(one, start=1):
        both = np.concatenate([[cost[0] + 1], cost[:-1] + (other != word)])
        below = np.minimum(both, cost + 1)
        new = np.minimum.accumulate(below - steps) + steps
        moves[row] = np.where(new == both, BOTH, np.where(new == cost + 1, SAID_ONLY, HEARD_ONLY))
        moves[row, 0] = SAID_ONLY
        cost = new
    places, place, row = [0] * len(said), len(heard), len(said)
    while row:
        move = moves[row, place]
        place -= move != SAID_ONLY
        if move != HEARD_ONLY:
            row -= 1
            places[row] = int(place)
    return places


def plain(word: str) -> str:
    return "".join(sign for sign in word.lower() if sign.isalnum()) or word


def joined(
    recognizer: "Recognizer", samples: NDArray[np.float32], readings: Sequence[tuple[Part, Reading]], language: str
) -> Known:
    """The parts in one; frames count from the recording's start."""
    bundle = recognizer.bundle
    rows: list[Row] = []
    for part, reading in readings:
        offset = part.first // bundle.frame_hop
        rows += [replace(row, offset=row.offset + offset, provisional=False) for row in reading.rows]
    words = tuple(word for _, reading in readings for word in reading.words)
    log_probs = np.concatenate([reading.log_probs for _, reading in readings])
    alignment = Alignment(bundle.frame_hop_s, 0.0, tuple(rows))
    if rows:
        sounding = loud(levels(samples))
        alignment = replace(
            alignment,
            monotonicity=monotonicity(rows),
            coverage=coverage(rows, sounding, bundle.frame_hop),
        )
    return Known(
        text="".join(wording.spell(recognizer.tokenizer, reading.tokens) for _, reading in readings),
        tokens=tuple(token for _, reading in readings for token in reading.tokens),
        words=words,
        alignment=alignment,
        score=score(words, readings),
        avg_logprob=float(log_probs.mean()),
        language=language,
        duration_s=samples.size / bundle.sample_rate,
    )


def score(words: Sequence[Word], readings: Sequence[tuple[Part, Reading]]) -> float:
    """How probable it is that just this was said, by its least probable words, less what was heard and is not written.

    In a text that is right but for a slip most words are as probable as ever; their mean would hide it.
    """
    means = np.sort([word.evidence[0] for word in words])
    sure = sigmoid(SCORE_BIAS + SCORE_WEIGHT * float(means[: math.ceil(LEAST_SHARE * means.size)].mean()))
    heard = [0 if reading.letters is None else int(reading.letters[-1]) for _, reading in readings]
    written = [sum(wording.letters(span.text) or 0 for span in reading.spans) for _, reading in readings]
    figures = any(wording.letters(word.text) is None for word in words)
    if not sum(heard) or figures:
        return sure
    return sure * min(1.0, sum(written) / sum(heard))
