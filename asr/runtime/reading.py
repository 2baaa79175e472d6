"""One reading of a segment: what is said after its settled text, its words with times, and where each token looked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import ctc
from asr.runtime import times as timing
from asr.runtime import words as wording
from asr.runtime.beam import Beam, Found, Judge
from asr.runtime.bundle import AUTO
from asr.runtime.confidence import (
    AROUND,
    SEGMENT_FEATURES,
    confidence,
    evidence,
    in_company,
    probability,
    segment_evidence,
)
from asr.runtime.loudness import STEP, STEP_S, levels, loud
from asr.runtime.policy import Evidence
from asr.runtime.result import Result, Row, Word
from asr.runtime.search import Hypothesis
from asr.runtime.sessions import DecoderState, Source

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

# Nobody speaks where both are passed. openai-whisper has 0.6 and -1.0 with timestamps; without them short
# true words score lower, and these two kept more of them and let less noise through.
NO_SPEECH_PROB, NO_SPEECH_LOGPROB = 0.4, -1.5
LONGEST_ONSET_FRAMES = 30  # from where the first word begins to where its first token looks most
# Where CTC hears no letter, and none with this probability anywhere, nobody speaks. A word of a third of a second may
# have no letter that is more probable than blank; noise seldom has one with a fifth.
FAINT = 0.15
# Where CTC hears no letter, the decoder has to be surer than this that there is text. Of 191 short training recordings
# without a letter (digits, words, names) 172 were read right, one of them less surely; noise often is below.
UNHEARD_LOGPROB = -1.1
EDGE_FRAMES = 8  # what lies nearer the newest frame, or the last token, is not missed yet
LEFT_OUT = 10  # letters that CTC heard and that no token looked at: something was left out
SEEN = 0.02  # weight of all tokens together on a frame that one of them looked at: an even look over a second
CONTEXT = 4  # settled tokens whose attention helps to tell where the next word begins

EMPTY = np.zeros(0, np.float32)


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
    if not settled.tokens and letters is not None and not letters[-1] and is_faint(source):
        return nothing(letters)
    language = place.language if settled.state is None else settled.language
    if language == AUTO:
        language = recognizer.detect_language(source)
    found = searched(recognizer, source, language, settled, draft, place)
    before = 0 if settled.state is None else len(settled.tokens)
    if leaves_out(recognizer, found[0].hypothesis, letters, settled):
        tokens = found[0].hypothesis.tokens
        found = searched(recognizer, source, language, settled, tokens, place, before + len(tokens))
    said = found[0].hypothesis
    if not settled.tokens and (not said.tokens or is_silence(said, letters)):
        return nothing(letters)

    def reading_of(one: Found[DecoderState]) -> Reading:
        return understood(recognizer, one.hypothesis, source, letters, sounding, settled, place, language)

    def others() -> tuple[Other, ...]:
        return tuple(Other(reading_of(one), one.odds) for one in distinct(recognizer, found, place)[1:])

    return replace(reading_of(found[0]), others=others)


def searched(
    recognizer: "Recognizer",
    source: Source,
    language: str,
    settled: Settled,
    draft: Sequence[int],
    place: Place,
    goes_on: int = -1,
) -> list[Found[DecoderState]]:
    """The best hypotheses after the settled text, best first; one of greedy search, which alone uses the draft."""
    if place.beam is not None:
        wanted = 1 if place.beam.wanted == 1 else place.beam.width  # not all of them will differ in words
        how = replace(place.beam, wanted=wanted, judge=judge_of(recognizer, source, settled, place))
        return recognizer.search(source, language, how, settled.tokens, settled.state, place.heads, goes_on)
    said = recognizer.decode(source, language, settled.tokens, draft, settled.state, place.heads, goes_on)
    return [Found(said, said.avg_logprob, 1.0)]


def judge_of(recognizer: "Recognizer", source: Source, settled: Settled, place: Place) -> Judge | None:
    """The CTC head, asked how well the letters of a text fit what it heard after the settled words."""
    alphabet = recognizer.bundle.ctc
    if source.ctc is None or alphabet is None:
        return None
    first = said_until(recognizer, source, settled, place)
    heard = source.ctc[first : source.heard]
    is_open = source.grows and source.frames == source.heard  # else silence stands after what was heard

    def judge(tokens: Sequence[int]) -> float:
        labels = ctc.labels_of_text(wording.spell(recognizer.tokenizer, tokens), alphabet)
        return ctc.best_path(heard, labels, open_start=first > 0, open_end=is_open)

    return judge


def said_until(recognizer: "Recognizer", source: Source, settled: Settled, place: Place) -> int:
    """The frame at which the last settled word ends."""
    said_s = settled.words[-1].end_s - place.start_s if settled.words else 0.0
    return min(max(0, int(said_s / recognizer.bundle.frame_hop_s)), source.heard)


def distinct(recognizer: "Recognizer", found: Sequence[Found[DecoderState]], place: Place) -> list[Found[DecoderState]]:
    """Of those that differ only in signs, spaces and capitals the best; as many as are wanted."""
    spoken: dict[str, Found[DecoderState]] = {}
    for one in found:
        text = wording.spell(recognizer.tokenizer, one.hypothesis.tokens)
        spoken.setdefault("".join(filter(str.isalnum, text.lower())), one)
    return list(spoken.values())[: place.beam.wanted if place.beam is not None else 1]


def leaves_out(
    recognizer: "Recognizer",
    said: Hypothesis[DecoderState],
    letters: NDArray[np.intp] | None,
    settled: Settled,
) -> bool:
    """Whether CTC heard letters after what any token of the hypothesis looked at, and not at the newest edge: the
    decoder, made to go on from settled text, at times takes a sentence's end for the speech's."""
    looking = len(recognizer.bundle.alignment_heads)
    if letters is None or not recognizer.bundle.grows or not looking or not said.complete:
        return False
    looked = max((row.peak for row in settled.rows), default=-1)
    if said.tokens:  # the furthest: signs at a sentence's end look anywhere
        looked = max(looked, int(said.weights[:looking, :-1, : len(letters)].mean(axis=0).argmax(axis=-1).max()))
    if looked < 0:
        return False
    newest = max(0, len(letters) - 1 - EDGE_FRAMES)
    return int(letters[newest]) - int(letters[min(looked + EDGE_FRAMES, newest)]) >= LEFT_OUT


def force(recognizer: "Recognizer", samples: NDArray[np.float32], tokens: Sequence[int], place: Place) -> Reading:
    """Read a segment as if it said just these tokens, one at least and as many as the model can say.

    samples  (n,) of the segment, at most the bundle's max_samples
    """
    source = recognizer.encoder.encode(samples)
    stepper = recognizer.decoder.over(source, place.heads)
    prompt = recognizer.bundle.tokens.prompt(place.language)
    log_probs, weights, state = stepper.step([*prompt, *tokens], stepper.start())
    first, no_speech = len(prompt) - 1, recognizer.bundle.tokens.no_speech
    said = Hypothesis(
        tuple(tokens),
        log_probs[np.arange(first, first + len(tokens)), list(tokens)],
        weights[:, first:],
        float(log_probs[-1, recognizer.bundle.tokens.end]),
        0.0 if no_speech is None else float(np.exp(log_probs[0, no_speech])),
        True,
        state,
    )
    letters, sounding = heard_letters(recognizer, source), loud(levels(samples))
    return understood(recognizer, said, source, letters, sounding, Settled(), place, place.language)


def understood(
    recognizer: "Recognizer",
    said: Hypothesis[DecoderState],
    source: Source,
    letters: NDArray[np.intp] | None,
    sounding: NDArray[np.bool_],
    settled: Settled,
    place: Place,
    language: str,
) -> Reading:
    """What a hypothesis says after the settled text: its words, when they were said and where they looked."""
    again = len(settled.tokens) if settled.state is None else 0  # settled tokens that were decoded again
    looking = len(recognizer.bundle.alignment_heads)
    tokens, weights = said.tokens[again:], said.weights[:looking, :, : source.heard]
    every = said.weights[looking:, again:-1, : source.heard]  # empty unless every head was asked for
    spans = tuple(wording.word_spans(recognizer.tokenizer, tokens, language))
    if not len(weights):
        frames = frames_by_letters(recognizer, settled.tokens + tokens, source, letters, sounding)[
            len(settled.tokens) :
        ]
    else:
        frames = token_frames(weights, settled)[again:]
        if recognizer.bundle.grows and tokens:  # nothing says where sound before the first word ends
            frames = np.maximum(frames, weights[:, again].mean(axis=0).argmax() - LONGEST_ONSET_FRAMES)
    rows = rows_of(recognizer, tokens, weights[:, again:-1], every, sounding, place.first_row + len(settled.tokens))
    spelled = heard_words(recognizer, spans, source, settled, place)
    by_ctc = spelled is not None and (place.word_times or recognizer.bundle.word_times) == "ctc"
    times = spelled.times if spelled is not None and by_ctc else timing.by_attention(spans, frames)
    fits = np.zeros(len(spans), np.float32) if spelled is None else spelled.fits
    return Reading(
        tokens,
        spans,
        words_of(recognizer, spans, times, fits, rows, said.log_probs[again:], sounding, settled, place),
        rows,
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


def is_faint(source: Source) -> bool:
    return source.ctc is not None and ctc.clearest(source.ctc[: source.heard]) < FAINT


def heard_words(
    recognizer: "Recognizer", spans: Sequence[wording.Span], source: Source, settled: Settled, place: Place
) -> timing.Spelled | None:
    """The words where the CTC head hears them, after the settled ones."""
    alphabet = recognizer.bundle.ctc
    if source.ctc is None or alphabet is None or not spans:
        return None
    first = said_until(recognizer, source, settled, place)
    return timing.by_ctc(spans, source.ctc[: source.heard], alphabet, first)


def is_silence(said: Hypothesis[DecoderState], letters: NDArray[np.intp] | None) -> bool:
    if letters is not None and not letters[-1] and said.avg_logprob < UNHEARD_LOGPROB:
        return True
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
    recognizer: "Recognizer",
    spans: Sequence[wording.Span],
    times: timing.Times,
    fits: NDArray[np.float32],
    rows: Sequence[Row],
    log_probs: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    settled: Settled,
    place: Place,
) -> tuple[Word, ...]:
    """The words with their times, none before the last settled word's end."""
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


def sounding_frames(sounding: NDArray[np.bool_], frames: int, frame_hop: int) -> NDArray[np.bool_]:
    """The frames in which there is sound, of steps in which there is."""
    steps = frame_hop // STEP
    whole = np.zeros(frames * steps, bool)
    there = sounding[: whole.size]
    whole[: there.size] = there
    return np.asarray(whole.reshape(frames, steps).any(axis=1))


def sounding_part(first_s: float, last_s: float, sounding: NDArray[np.bool_]) -> tuple[float, float]:
    """The same stretch without the silence at either end."""
    first, last = max(0, round(first_s / STEP_S)), round(last_s / STEP_S)
    heard = np.flatnonzero(sounding[first:last])
    if not heard.size:
        return first_s, last_s
    return (first + int(heard[0])) * STEP_S, (first + int(heard[-1]) + 1) * STEP_S


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


def judged(final: Result, said: Settled, samples: NDArray[np.float32], recognizer: "Recognizer") -> Result:
    """A segment's final with what can be told of it as a whole; samples: the segment's."""
    bundle, alignment = recognizer.bundle, final.alignment
    if alignment is not None and alignment.rows:
        alignment = replace(
            alignment,
            monotonicity=monotonicity(alignment.rows),
            coverage=coverage(alignment.rows, loud(levels(samples)), bundle.frame_hop),
        )
    written = [wording.letters(word.text) for word in said.words]
    heard = None if None in written else said.heard  # figures: nobody knows how many letters they are
    measures = segment_evidence(
        [word.evidence for word in said.words],
        sum(n or 0 for n in written),
        heard,
        [float(row.weights.max()) for row in said.rows],
    )
    doubt = probability(SEGMENT_FEATURES, measures, bundle.doubt) if bundle.doubt else 0.0
    return replace(final, alignment=alignment, doubt=doubt, evidence=measures)


def monotonicity(rows: Sequence[Row]) -> float:
    """The share of tokens that look no earlier than the one before; 1.0 of a single one."""
    peaks = np.array([row.peak for row in rows])
    return float((np.diff(peaks) >= 0).mean()) if len(rows) > 1 else 1.0


def coverage(rows: Sequence[Row], sounding: NDArray[np.bool_], frame_hop: int) -> float:
    """The share of the sounding frames that all tokens together looked at, SEEN or more."""
    frames = max(row.offset + row.weights.size for row in rows)
    looked = np.zeros(frames)
    for row in rows:
        looked[row.offset : row.offset + row.weights.size] += row.weights
    sound = sounding_frames(sounding, frames, frame_hop)
    return float((looked[sound] >= SEEN).mean()) if sound.any() else 0.0


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
