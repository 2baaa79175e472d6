"""One reading of a segment: from its audio to what is said after its settled text.

Whether anybody speaks, which language, what search finds, and whether that left something out. What is found means is
meaning.py's to say, how much of it is kept settled.py's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import ctc
from asr.runtime import words as wording
from asr.runtime.beam import Found, Judge
from asr.runtime.bundle import AUTO
from asr.runtime.loudness import levels, loud
from asr.runtime.meaning import HeardSegment, Place, said_until, understood
from asr.runtime.search import Hypothesis
from asr.runtime.sessions import DecoderState, Source
from asr.runtime.settled import Other, Reading, Settled, nothing

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

# Nobody speaks where both are passed. openai-whisper has 0.6 and -1.0 with timestamps; without them short
# true words score lower, and these two kept more of them and let less noise through.
NO_SPEECH_PROB, NO_SPEECH_LOGPROB = 0.4, -1.5
# Where CTC hears no letter, and none with this probability anywhere, nobody speaks. A word of a third of a second may
# have no letter that is more probable than blank; noise seldom has one with a fifth.
FAINT = 0.15
# Where CTC hears no letter, the decoder has to be surer than this that there is text. Of 191 short training recordings
# without a letter (digits, words, names) 172 were read right, one of them less surely; noise often is below.
UNHEARD_LOGPROB = -1.1
EDGE_FRAMES = 8  # what lies nearer the newest frame, or the last token, is not missed yet
LEFT_OUT = 10  # letters that CTC heard and that no token looked at: something was left out


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
    segment = HeardSegment(source, letters, sounding)

    def reading_of(one: Found[DecoderState]) -> Reading:
        return understood(recognizer, one.hypothesis, segment, settled, place, language)

    def others() -> tuple[Other, ...]:
        return tuple(Other(reading_of(one), one.odds) for one in distinct(recognizer, found, place)[1:])

    return replace(reading_of(found[0]), others=others)


def heard_letters(recognizer: "Recognizer", source: Source) -> NDArray[np.intp] | None:
    alphabet = recognizer.bundle.ctc
    return None if source.ctc is None or alphabet is None else ctc.letters(source.ctc[: source.heard], alphabet)


def is_faint(source: Source) -> bool:
    return source.ctc is not None and ctc.clearest(source.ctc[: source.heard]) < FAINT


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


def is_silence(said: Hypothesis[DecoderState], letters: NDArray[np.intp] | None) -> bool:
    if letters is not None and not letters[-1] and said.avg_logprob < UNHEARD_LOGPROB:
        return True
    return said.no_speech_prob > NO_SPEECH_PROB and said.avg_logprob < NO_SPEECH_LOGPROB


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
    segment = HeardSegment(source, heard_letters(recognizer, source), loud(levels(samples)))
    return understood(recognizer, said, segment, Settled(), place, place.language)
