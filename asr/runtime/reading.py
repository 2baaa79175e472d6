"""One reading of a segment: what is said after its settled text, its words with times, and where each token looked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import ctc
from asr.runtime import words as wording
from asr.runtime.loudness import STEP, levels, loud
from asr.runtime.policy import Evidence
from asr.runtime.result import Row, Word
from asr.runtime.search import Hypothesis
from asr.runtime.sessions import DecoderState, Source

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

# Nobody speaks where both are passed. openai-whisper has 0.6 and -1.0 with timestamps; without them short
# true words score lower, and these two kept more of them and let less noise through.
NO_SPEECH_PROB, NO_SPEECH_LOGPROB = 0.4, -1.5
LONGEST_ONSET_FRAMES = 30  # from where the first word begins to where its first token looks most
CONTEXT = 4  # settled tokens whose attention helps to tell where the next word begins

EMPTY = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Place:
    """Where a segment stands in the stream, and where the stream stands."""

    start_s: float  # of the segment
    processed_s: float  # the stream is read up to here
    first_row: int  # the id of the segment's first token's row
    language: str  # as asked for: "auto" is told from the speech


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

    @property
    def looked(self) -> int:
        """The frame that the last token looked at most; -1: there is none."""
        return int(self.rows[-1].weights.argmax()) if self.rows else -1


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

    def evidence(self, settled: Settled, before: tuple[int, ...]) -> Evidence:
        """What a policy judges; before: the tokens of the reading before this one."""
        return Evidence(
            self.tokens,
            before,
            self.complete,
            tuple(span.last for span in self.spans),
            self.bare_end(),
            tuple(wording.letters(span.text) for span in self.spans),
            np.array([row.weights.argmax() for row in self.rows], np.intp),
            settled.looked,
            self.frames,
            self.letters,
        )

    def bare_end(self) -> int:
        """The tokens up to the last word's last letter: the signs after it may turn out otherwise."""
        if not self.spans or not self.rows:
            return 0
        first, end = self.spans[-1].first, self.spans[-1].last
        while end > first and self.rows[end - 1].piece and not any(map(str.isalnum, self.rows[end - 1].piece)):
            end -= 1
        return end


def read(
    recognizer: "Recognizer",
    samples: NDArray[np.float32],
    encode: Callable[[], Source],
    settled: Settled,
    draft: Sequence[int],
    place: Place,
) -> Reading:
    """Read what a segment says after its settled text.

    samples  (n,) of the segment, at most the bundle's max_samples
    encode   gives their encoding; called where there is sound
    draft    a guess at the tokens (search.greedy)
    """
    sounding = loud(levels(samples))
    if not settled.tokens and not sounding.any():
        return nothing()
    source = encode()
    letters = heard_letters(recognizer, source)
    if not settled.tokens and letters is not None and not letters[-1]:
        return nothing(letters)
    language = place.language if settled.state is None else settled.language
    if language == "auto":
        language = recognizer.detect_language(source)
    said = recognizer.decode(source, language, settled.tokens, draft, settled.state)
    if not settled.tokens and (not said.tokens or is_silence(said)):
        return nothing(letters)
    again = len(settled.tokens) if settled.state is None else 0  # settled tokens that were decoded again
    tokens, weights = said.tokens[again:], said.weights[:, :, : source.heard]
    spans = tuple(wording.word_spans(recognizer.tokenizer, tokens, language))
    if not len(weights):
        frames = frames_by_letters(recognizer, settled.tokens + tokens, source, letters, sounding)[
            len(settled.tokens) :
        ]
    else:
        frames = token_frames(weights, settled)[again:]
        if recognizer.bundle.grows and tokens:  # nothing says where sound before the first word ends
            frames = np.maximum(frames, weights[:, again].mean(axis=0).argmax() - LONGEST_ONSET_FRAMES)
    return Reading(
        tokens,
        spans,
        words_of(spans, frames * recognizer.bundle.frame_hop_s, said.log_probs[again:], sounding, settled, place),
        rows_of(recognizer, tokens, weights[:, again:-1], place.first_row + len(settled.tokens)),
        said.log_probs[again:],
        settled.log_probs if settled.state is not None else said.log_probs[:again],
        source.heard,
        letters,
        language,
        said.no_speech_prob if settled.state is None else settled.no_speech_prob,
        said.complete,
        said.state if source.grows and recognizer.bundle.multi_token else None,
    )


def nothing(letters: NDArray[np.intp] | None = None) -> Reading:
    """Nobody speaks."""
    return Reading((), (), (), (), EMPTY, EMPTY, 0, letters, "", 0.0, True, None)


def heard_letters(recognizer: "Recognizer", source: Source) -> NDArray[np.intp] | None:
    alphabet = recognizer.bundle.ctc
    return None if source.ctc is None or alphabet is None else ctc.letters(source.ctc[: source.heard], alphabet)


def is_silence(said: Hypothesis[DecoderState]) -> bool:
    return said.no_speech_prob > NO_SPEECH_PROB and said.avg_logprob < NO_SPEECH_LOGPROB


def token_frames(weights: NDArray[np.float32], settled: Settled) -> NDArray[np.intp]:
    """The frame at which each token begins, the end last: (heads, tokens + 1, frames) to (tokens + 1,).

    Where decoding went on from a kept state, the last settled tokens are set before the others: a path is found by
    comparing neighbours. Their attention is no longer known head by head, so that their mean stands for each.
    """
    if settled.state is None:
        return wording.token_starts(weights)
    context = [row.weights for row in settled.rows[-CONTEXT:]]
    first = int(context[0].argmax())
    before = np.zeros((len(context), weights.shape[-1]), np.float32)
    for row, looked in zip(before, context, strict=True):
        row[: looked.size] = looked  # there were fewer frames then
    both = np.concatenate([np.broadcast_to(before, (len(weights), *before.shape)), weights], axis=1)
    return first + wording.token_starts(both[:, :, first:])[len(context) :]


def frames_by_letters(
    recognizer: "Recognizer",
    tokens: Sequence[int],
    source: Source,
    letters: NDArray[np.intp] | None,
    sounding: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """The same where nobody knows where tokens looked: by the letters that CTC heard, or else evenly in the sound."""
    steps = np.arange(source.heard) * recognizer.bundle.frame_hop / STEP
    heard = np.interp(steps, np.arange(sounding.size), sounding.cumsum()) if letters is None else letters
    written = [sum(map(str.isalpha, piece)) for piece in wording.pieces(recognizer.tokenizer, tokens)]
    return wording.starts_by_letters(written, heard)


def words_of(
    spans: Sequence[wording.Span],
    starts: NDArray[np.floating],
    log_probs: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    settled: Settled,
    place: Place,
) -> tuple[Word, ...]:
    """The words with their times, none before the last settled word's end."""
    if settled.words:
        starts = np.maximum(starts, settled.words[-1].end_s - place.start_s)
    return tuple(word_at(span, starts, log_probs, sounding, place.start_s, place.processed_s) for span in spans)


def rows_of(
    recognizer: "Recognizer", tokens: Sequence[int], weights: NDArray[np.float32], first_row: int
) -> tuple[Row, ...]:
    """A row for each token; weights (heads, tokens, frames), without heads where attention has none."""
    if not len(weights):
        return ()
    mean = weights.mean(axis=0)
    pieces = wording.pieces(recognizer.tokenizer, tokens)
    per_token = zip(tokens, pieces, mean, wording.entropies(mean), strict=True)
    return tuple(
        Row(token, piece, first_row + index, looked, float(entropy), provisional=True)
        for index, (token, piece, looked, entropy) in enumerate(per_token)
    )


def word_at(
    span: wording.Span,
    starts: NDArray[np.floating],
    log_probs: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    start_s: float,
    emission_s: float,
) -> Word:
    """A word from its first token's start to the next word's, without the silence at either end."""
    first_s, last_s = float(starts[span.first]), float(starts[span.last])
    step_s = STEP / 16_000
    first, last = round(first_s / step_s), round(last_s / step_s)
    heard = np.flatnonzero(sounding[first:last])
    if heard.size:
        first_s, last_s = (first + int(heard[0])) * step_s, (first + int(heard[-1]) + 1) * step_s
    confidence = float(np.exp(log_probs[span.first : span.last]).mean())
    return Word(span.text, start_s + first_s, start_s + last_s, confidence, emission_s)


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
    )
    return more, replace(left, settled_log_probs=more.log_probs)


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
