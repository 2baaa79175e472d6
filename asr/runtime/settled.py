"""The text of a segment: what is settled, what a reading says after it, and how the one passes into the other.

What is settled only grows. So that decoding can go on from its last token, it keeps what the decoder knew there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import words as wording
from asr.runtime.policy import Evidence
from asr.runtime.result import Row, Word
from asr.runtime.sessions import DecoderState

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

EMPTY = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Settled:
    """The part of a segment's text that is never taken back, and what it takes to go on from there."""

    tokens: tuple[int, ...] = ()
    words: tuple[Word, ...] = ()
    rows: tuple[Row, ...] = ()
    log_probs: NDArray[np.float32] = field(default_factory=lambda: EMPTY)  # (tokens,)
    language: str = ""
    no_speech_prob: float = 0.0
    state: DecoderState | None = None  # after the prompt and all tokens but the last; None: to be decoded again
    heard: int | None = None  # letters that CTC heard in the segment so far; None: nobody counted

    @property
    def looked(self) -> int:
        """The frame that the last token looked at most; -1: there is none."""
        return self.rows[-1].peak if self.rows else -1


@dataclass(frozen=True, eq=False)
class Reading:
    """What one decoding says after the settled text; times are the stream's."""

    tokens: tuple[int, ...]
    spans: tuple[wording.Span, ...]  # of the words
    words: tuple[Word, ...]  # one for each span
    rows: tuple[Row, ...]  # one for each token; () where attention has no weights
    log_probs: NDArray[np.float32]  # (tokens,)
    settled_log_probs: NDArray[np.float32]  # (settled tokens,)
    frames: int  # of the segment, that were read
    letters: NDArray[np.intp] | None  # (frames,) that CTC heard up to each; None: nobody counted
    language: str
    no_speech_prob: float
    complete: bool
    state: DecoderState | None  # after all tokens but perhaps the last; None: it is not to be kept
    others: Callable[[], tuple["Other", ...]] = tuple  # what else it may say: worked out for who shows it alone

    def evidence(self, settled: Settled, before: tuple[int, ...]) -> Evidence:
        """What a policy judges; before: the tokens of the reading before this one."""
        return Evidence(
            self.tokens,
            before,
            self.complete,
            tuple(span.last for span in self.spans),
            self.bare_end(),
            tuple(wording.letters(span.text) for span in self.spans),
            np.array([row.peak for row in self.rows], np.intp),
            settled.looked,
            self.frames,
            self.letters,
            self.log_probs,
        )

    def bare_end(self) -> int:
        """The tokens up to the last word's last letter: the signs after it may turn out otherwise."""
        if not self.spans or not self.rows:
            return 0
        first, end = self.spans[-1].first, self.spans[-1].last
        while end > first and self.rows[end - 1].piece and not any(map(str.isalnum, self.rows[end - 1].piece)):
            end -= 1
        return end


@dataclass(frozen=True, eq=False)
class Other:
    """Another reading of the same audio."""

    reading: Reading
    odds: float  # 0 to 1: how many times as probable as the best one


def nothing(letters: NDArray[np.intp] | None = None) -> Reading:
    """Nobody speaks."""
    return Reading((), (), (), (), EMPTY, EMPTY, 0, letters, "", 0.0, True, None)


def settle(
    recognizer: "Recognizer", settled: Settled, reading: Reading, count: int | None = None
) -> tuple[Settled, Reading]:
    """The settled text with so many tokens of the reading after it, and what is left of the reading.

    count  tokens, to the end of a word or to where its signs begin; None: all that the reading says
    """
    count = len(reading.tokens) if count is None else count
    tokens = settled.tokens + reading.tokens[:count]
    taken, left = split(recognizer, reading, count)
    more = Settled(
        tokens,
        joined(settled.words, taken),
        settled.rows + tuple(replace(row, provisional=False) for row in reading.rows[:count]),
        np.concatenate([reading.settled_log_probs, reading.log_probs[:count]]),
        reading.language,
        reading.no_speech_prob,
        # It was computed over the frames that there were then. All tokens before looked well before their end, and
        # whoever reads the same audio in the same chunks gets the same state.
        recognizer.keep(reading.state, reading.language, len(tokens)) if reading.state is not None and tokens else None,
        None if reading.letters is None else int(reading.letters[-1]),
    )
    return more, replace(
        left, settled_log_probs=more.log_probs, others=lambda: tuple(alike(recognizer, reading, count))
    )


def alike(recognizer: "Recognizer", reading: Reading, count: int) -> Iterator[Other]:
    """What is left of the other readings that begin with the same tokens, and have a word's end after them."""
    for other in reading.others():
        tokens, spans = other.reading.tokens, other.reading.spans
        if tokens[:count] == reading.tokens[:count] and (count == 0 or any(span.last == count for span in spans)):
            yield replace(other, reading=split(recognizer, other.reading, count)[1])


def split(recognizer: "Recognizer", reading: Reading, count: int) -> tuple[tuple[Word, ...], Reading]:
    """The words of the reading's first tokens, and the reading of the others."""
    whole = sum(span.last <= count for span in reading.spans)
    taken, words, spans = reading.words[:whole], reading.words[whole:], reading.spans[whole:]
    if spans and spans[0].first < count:  # its signs are left
        span, word = spans[0], words[0]
        text, signs = (
            wording.spell(recognizer.tokenizer, reading.tokens[a:b])
            for a, b in ((span.first, count), (count, span.last))
        )
        taken = (*taken, replace(word, text=text))
        words = (replace(word, text=signs, start_s=word.end_s), *words[1:])
        spans = (wording.Span(signs, count, span.last), *spans[1:])
    return taken, replace(
        reading,
        tokens=reading.tokens[count:],
        spans=tuple(replace(span, first=span.first - count, last=span.last - count) for span in spans),
        words=words,
        rows=reading.rows[count:],
        log_probs=reading.log_probs[count:],
    )


def joined(words: tuple[Word, ...], new: tuple[Word, ...]) -> tuple[Word, ...]:
    """Words after words; signs that come after a word was settled still belong to it."""
    if not words or not new or any(map(str.isalnum, new[0].text)):
        return words + new
    return (*words[:-1], replace(words[-1], text=words[-1].text + new[0].text), *new[1:])
