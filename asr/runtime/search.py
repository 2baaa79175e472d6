"""Search: from a decoder that scores the next token to a hypothesis. Knows no model, audio or text.

A draft (the previous hypothesis of a growing utterance, say) is verified in one pass of
the decoder: the longest part of it that greedy search would have said is kept, and search
goes on from there token by token. The result is greedy's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

LOOP_WORDS = 12  # as many words in repetitions of one phrase are a loop...
LOOP_TIMES = 4  # ...if there are at least so many repetitions
LONGEST_LOOPING = 32  # words in a phrase that can be recognised as looping

S = TypeVar("S")


class Stepper(Protocol[S]):
    """A decoder over one source."""

    @property
    def several_tokens(self) -> bool:
        """Whether many tokens at once equal one by one, and can be taken back."""

    def start(self) -> S:
        """The state before the first token."""

    def step(self, tokens: Sequence[int], state: S) -> tuple[NDArray[np.float32], NDArray[np.float32], S]:
        """Log-probabilities (n, vocabulary) after each token, attention (heads, n, frames), the new state."""

    def rewind(self, state: S, length: int) -> S:
        """The state after the first `length` tokens."""


@dataclass(frozen=True)
class Rules:
    """What search may say."""

    end: int
    max_tokens: int  # of text
    suppress: NDArray[np.intp]
    suppress_first: NDArray[np.intp]
    no_speech: int | None = None
    per_word: int = 1  # tokens of an ordinary word
    goes_on: int = -1  # after so many tokens of text the end is not believed


@dataclass(frozen=True, eq=False)
class Hypothesis(Generic[S]):
    """What was said, as far as search can tell; from a kept state, what was said after it."""

    tokens: tuple[int, ...]  # the end token not among them
    log_probs: NDArray[np.float32]  # (tokens,)
    weights: NDArray[np.float32]  # (heads, tokens + 1, frames): where each was found, the end last
    end_log_prob: float  # of the end where search stopped; 0 where a guard stopped it
    no_speech_prob: float
    complete: bool  # False: stopped by the limit on length or because it looped
    state: S  # the decoder's, after the prompt and at least all tokens but the last

    @property
    def avg_logprob(self) -> float:
        """Mean over the tokens and the end, as openai/whisper counts it."""
        return (float(self.log_probs.sum()) + self.end_log_prob) / (len(self.tokens) + 1)


def greedy(
    stepper: Stepper[S],
    prompt: Sequence[int],
    rules: Rules,
    forced: Sequence[int] = (),
    draft: Sequence[int] = (),
    kept: S | None = None,
) -> Hypothesis[S]:
    """The most probable token at each step, until the end token or a guard.

    prompt  tokens before the text, at least one
    forced  the text's first tokens, whatever their probability
    draft   a guess at what follows them; it changes the cost, never the result
    kept    the state after the prompt and all forced tokens but the last, from an earlier search: they are not
            decoded again, and the hypothesis is what follows them
    """
    forced = forced[: rules.max_tokens]
    if not stepper.several_tokens:
        draft = ()
    guessed = [*forced, *draft][: rules.max_tokens]
    known = 0 if kept is None else len(forced)  # tokens that the hypothesis leaves out
    log_probs, weights, state, no_speech_prob = begin(stepper, prompt, guessed, rules, known, kept)

    text: list[int] = list(forced[:known])
    scores: list[float] = []
    looked: list[NDArray[np.float32]] = []
    while True:
        for row in range(len(log_probs)):
            here = len(text)
            token = forced[here] if here < len(forced) else best(log_probs[row], rules, here)
            looked.append(weights[:, row])
            if token == rules.end or here == rules.max_tokens:
                complete = token == rules.end
                end = float(log_probs[row, token]) if complete else 0.0
                return hypothesis_of(text[known:], scores, looked, no_speech_prob, end, complete, state)
            text.append(token)
            scores.append(float(log_probs[row, token]))
            if here >= len(guessed) or token != guessed[here]:
                if here < len(guessed):  # the draft was wrong here: forget it from here on
                    state = stepper.rewind(state, len(prompt) + here)
                    guessed = []
                break
        if (once := loop_start(text, rules.per_word)) is not None and once >= len(forced):
            size = once - known
            return hypothesis_of(text[known:once], scores[:size], looked[: size + 1], no_speech_prob, 0.0, False, state)
        log_probs, weights, state = stepper.step([text[-1]], state)


def begin(
    stepper: Stepper[S], prompt: Sequence[int], text: Sequence[int], rules: Rules, known: int, kept: S | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], S, float]:
    """Feed the prompt and the text that is given, in one pass, or from a kept state what follows the `known` tokens.

    returns  log-probabilities (n, vocabulary) and attention (heads, n, frames) of the token after the known ones and of
             each that follows; the state; the probability of no speech, 0 from a kept state
    """
    first = len(prompt) + known - 1  # after this one comes the hypothesis's first
    if kept is not None:
        return *stepper.step([*prompt, *text][first:], kept), 0.0
    log_probs, weights, state = stepper.step([*prompt, *text], stepper.start())
    no_speech_prob = 0.0 if rules.no_speech is None else float(np.exp(log_probs[0, rules.no_speech]))
    return log_probs[first:], weights[:, first:], state, no_speech_prob


def best(log_probs: NDArray[np.float32], rules: Rules, here: int) -> int:
    """The most probable token that may be said after so many tokens of text."""
    return int(allowed(log_probs, rules, here).argmax())


def allowed(log_probs: NDArray[np.float32], rules: Rules, here: int) -> NDArray[np.float32]:
    """The log-probabilities (vocabulary,) of what may be said after so many tokens of text; of the rest -inf."""
    log_probs = log_probs.copy()
    log_probs[rules.suppress] = -np.inf
    if here == 0:
        log_probs[rules.suppress_first] = -np.inf
    if here == rules.goes_on:
        log_probs[rules.end] = -np.inf
    return log_probs


def loop_start(text: Sequence[int], per_word: int = 1) -> int | None:
    """If text, with so many tokens in a word, ends in a loop, where its first repetition ends; else None."""
    for size in range(1, LONGEST_LOOPING * per_word + 1):
        words = -(-size // per_word)
        times = max(LOOP_TIMES, -(-LOOP_WORDS // words))
        if len(text) < times * size:
            continue
        phrase = text[-size:]
        if all(text[-(n + 1) * size : len(text) - n * size] == phrase for n in range(times)):
            return len(text) - (times - 1) * size
    return None


def hypothesis_of(
    text: Sequence[int],
    scores: Sequence[float],
    looked: Sequence[NDArray[np.float32]],
    no_speech_prob: float,
    end_log_prob: float,
    complete: bool,
    state: S,
) -> Hypothesis[S]:
    """looked: (heads, frames) of each token of the text, and of the end."""
    weights = np.stack(looked, axis=1)
    return Hypothesis(tuple(text), np.array(scores, np.float32), weights, end_log_prob, no_speech_prob, complete, state)
