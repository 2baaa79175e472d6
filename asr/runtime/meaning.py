"""What a hypothesis means: its words, when they were said, how sure they are, and where each token looked.

Search gives tokens and attention over the frames of a segment; a reading has words with times of the stream. It is told
here alone, so that what was searched for (reading.py) and what is known beforehand (known.py) have the same times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import times as timing
from asr.runtime import words as wording
from asr.runtime.beam import Beam
from asr.runtime.confidence import AROUND, confidence, evidence, in_company
from asr.runtime.loudness import STEP, sounding_frames, sounding_part
from asr.runtime.result import Row, Word
from asr.runtime.search import Hypothesis
from asr.runtime.sessions import DecoderState, Source
from asr.runtime.settled import Reading, Settled

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

LONGEST_ONSET_FRAMES = 30  # from where the first word begins to where its first token looks most
CONTEXT = 4  # settled tokens whose attention helps to tell where the next word begins


@dataclass(frozen=True)
class Place:
    """Where a segment stands in the stream, and where the stream stands."""

    start_s: float  # of the segment
    processed_s: float  # the stream is read up to here
    first_row: int  # the id of the segment's first token's row
    language: str  # as asked for: "auto" is told from the speech
    heads: bool = False  # rows are to have every head's weights
    word_times: str = ""  # one of times.SOURCES; "": what suits the model
    beam: Beam | None = None  # how to search; None: greedily


@dataclass(frozen=True, eq=False)
class HeardSegment:
    """A segment's sound, before anything is made of it."""

    source: Source
    letters: NDArray[np.intp] | None  # (frames,) that CTC heard up to each; None: nobody counted
    sounding: NDArray[np.bool_]  # (steps,) where there is sound


def understood(
    recognizer: "Recognizer",
    said: Hypothesis[DecoderState],
    segment: HeardSegment,
    settled: Settled,
    place: Place,
    language: str,
) -> Reading:
    """What a hypothesis says after the settled text: its words, when they were said and where they looked."""
    source = segment.source
    again = len(settled.tokens) if settled.state is None else 0  # settled tokens that were decoded again
    looking = len(recognizer.bundle.alignment_heads)
    tokens, weights = said.tokens[again:], said.weights[:looking, :, : source.heard]
    every = said.weights[looking:, again:-1, : source.heard]  # empty unless every head was asked for
    spans = tuple(wording.word_spans(recognizer.tokenizer, tokens, language))
    if not len(weights):
        frames = frames_by_letters(recognizer, settled.tokens + tokens, segment)[len(settled.tokens) :]
    else:
        frames = token_frames(weights, settled)[again:]
        if recognizer.bundle.grows and tokens:  # nothing says where sound before the first word ends
            frames = np.maximum(frames, weights[:, again].mean(axis=0).argmax() - LONGEST_ONSET_FRAMES)
    first_row = place.first_row + len(settled.tokens)
    spelled = heard_words(recognizer, spans, source, settled, place)
    by_ctc = spelled is not None and (place.word_times or recognizer.bundle.word_times) == "ctc"
    times = spelled.times if spelled is not None and by_ctc else timing.by_attention(spans, frames)
    fits = np.zeros(len(spans), np.float32) if spelled is None else spelled.fits
    wordless = Reading(
        tokens,
        spans,
        (),
        rows_of(recognizer, tokens, weights[:, again:-1], every, segment.sounding, first_row),
        said.log_probs[again:],
        settled.log_probs if settled.state is not None else said.log_probs[:again],
        source.heard,
        segment.letters,
        language,
        said.no_speech_prob if settled.state is None else settled.no_speech_prob,
        said.complete,
        said.state if source.grows and recognizer.bundle.multi_token else None,
    )
    return replace(wordless, words=words_of(recognizer, wordless, times, fits, segment.sounding, settled, place))


def said_until(recognizer: "Recognizer", source: Source, settled: Settled, place: Place) -> int:
    """The frame at which the last settled word ends."""
    said_s = settled.words[-1].end_s - place.start_s if settled.words else 0.0
    return min(max(0, int(said_s / recognizer.bundle.frame_hop_s)), source.heard)


def heard_words(
    recognizer: "Recognizer", spans: Sequence[wording.Span], source: Source, settled: Settled, place: Place
) -> timing.Spelled | None:
    """The words where the CTC head hears them, after the settled ones."""
    alphabet = recognizer.bundle.ctc
    if source.ctc is None or alphabet is None or not spans:
        return None
    first = said_until(recognizer, source, settled, place)
    return timing.by_ctc(spans, source.ctc[: source.heard], alphabet, first)


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


def frames_by_letters(recognizer: "Recognizer", tokens: Sequence[int], segment: HeardSegment) -> NDArray[np.intp]:
    """The same where nobody knows where tokens looked: by the letters that CTC heard, or else evenly in the sound."""
    heard = segment.letters
    if heard is None:
        steps = np.arange(segment.source.heard) * recognizer.bundle.frame_hop / STEP
        heard = np.interp(steps, np.arange(segment.sounding.size), segment.sounding.cumsum())
    written = [sum(map(str.isalpha, piece)) for piece in wording.pieces(recognizer.tokenizer, tokens)]
    return wording.starts_by_letters(written, heard)


def rows_of(
    recognizer: "Recognizer",
    tokens: Sequence[int],
    weights: NDArray[np.float32],
    every: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    first_row: int,
) -> tuple[Row, ...]:
    """A row for each token.

    weights  (heads, tokens, frames) of the alignment heads; without heads where attention has none
    every    (layers x heads, tokens, frames), or empty
    """
    if not len(weights):
        return ()
    bundle, mean = recognizer.bundle, weights.mean(axis=0)
    quiet = ~sounding_frames(sounding, mean.shape[1], bundle.frame_hop)
    silence = (mean * quiet).sum(axis=1) / np.maximum(mean.sum(axis=1), 1e-9)
    pieces = wording.pieces(recognizer.tokenizer, tokens)
    per_token = zip(tokens, pieces, mean, wording.entropies(mean), silence, strict=True)
    return tuple(
        Row(
            token,
            piece,
            first_row + index,
            looked,
            float(entropy),
            provisional=True,
            silence=float(unheard),
            heads=every[:, index].reshape(-1, bundle.decoder_heads, mean.shape[1]) if len(every) else None,
        )
        for index, (token, piece, looked, entropy, unheard) in enumerate(per_token)
    )


def words_of(
    recognizer: "Recognizer",
    wordless: Reading,
    times: timing.Times,
    fits: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    settled: Settled,
    place: Place,
) -> tuple[Word, ...]:
    """The words of a reading that has all else, with their times, none before the last settled word's end.

    fits  (words,) how well what CTC heard is their letters
    """
    spans, rows, log_probs = wordless.spans, wordless.rows, wordless.log_probs
    said_s = settled.words[-1].end_s - place.start_s if settled.words else -np.inf
    hop_s, weights = recognizer.bundle.frame_hop_s, recognizer.bundle.confidence
    alone = [
        evidence(
            span.text,
            log_probs[span.first : span.last],
            fit,
            [row.entropy for row in rows[span.first : span.last]],
        )
        for span, fit in zip(spans, fits, strict=True)
    ]
    before = [word.evidence[0] for word in settled.words[-AROUND:]]
    words = []
    for span, start, end, measures in zip(spans, times.starts, times.ends, in_company(alone, before), strict=True):
        first_s, last_s = sounding_part(max(start * hop_s, said_s), max(end * hop_s, said_s), sounding)
        sure = confidence(measures, log_probs[span.first : span.last], weights)
        words.append(
            Word(span.text, place.start_s + first_s, place.start_s + last_s, sure, place.processed_s, measures)
        )
    return tuple(words)
