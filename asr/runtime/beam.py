"""Beam search: the best of many hypotheses, by what decoder and others think of them. Knows no model, audio or text.

    score = ((1 - w) x decoder + w x judge + bonus) / (tokens + 1) ** LENGTH_POWER

decoder  log-probability of the tokens and the end
judge    log-probability of the whole text by somebody who hears the same otherwise (Watanabe et al. 2017, "Hybrid
         CTC/attention architecture", its rescoring). It is asked of what has ended alone: of equally many tokens it
         would prefer those that have said least so far, and signs, which nobody hears, would stand everywhere
bonus    for phrases that the caller expects (phrases.py), in nats

All hypotheses under way are equally long, so that they are compared by the sum and take one pass of the decoder
together; those that have ended are compared by the score. With a beam of 1, no judge and no bonus it is greedy search.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.runtime.search import Hypothesis, Rules, Stepper, allowed, begin, hypothesis_of, loop_start

# 1: by the mean, as openai/whisper; 0: by the sum, which prefers what is short. Least errors on training recordings.
LENGTH_POWER = 0.5
CANDIDATES = 2  # for each place in the beam: of as many as the beam is wide all may be ends

S = TypeVar("S")
T = TypeVar("T")


class WideStepper(Stepper[S], Protocol[S]):
    """A decoder that takes many hypotheses at once."""

    def step_each(
        self, tokens: Sequence[int], states: Sequence[S]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], list[S]]:
        """A token after each of the equally long states: log-probabilities (n, vocabulary), attention
        (heads, n, frames), the new states."""


Judge = Callable[[Sequence[int]], float]  # of the text after the forced tokens: its log-probability


class Bonus(Protocol[T]):
    """What is added for tokens that the caller hopes for."""

    @property
    def most(self) -> float:
        """What a token may earn: all together earn no more than so much each."""

    def start(self) -> T:
        """What is known before the first token."""

    def after(self, known: T, token: int) -> T:
        """The same after one token more."""

    def so_far(self, known: T) -> float:
        """In nats, with what may yet be taken back."""

    def at_end(self, known: T) -> float:
        """In nats, were the text over."""

    def changes(self, known: T, vocabulary: int) -> NDArray[np.float32]:
        """(vocabulary,) what each next token would change in so_far."""


@dataclass(frozen=True)
class Beam:
    """How to search."""

    width: int  # hypotheses under way
    wanted: int = 1  # hypotheses to be found, at most
    judge: Judge | None = None
    judge_weight: float = 0.0  # w, 0 to 1
    bonus: Bonus[Any] | None = None
    length_power: float = LENGTH_POWER


@dataclass(frozen=True, eq=False)
class Found(Generic[S]):
    """A hypothesis that search came to, with what it is worth."""

    hypothesis: Hypothesis[S]
    score: float
    odds: float  # how many times as probable as the best one it is: 1 of the best, else at most 1


@dataclass(frozen=True, eq=False)
class Node(Generic[S]):
    """A hypothesis under way."""

    text: tuple[int, ...]  # forced tokens among them
    scores: tuple[float, ...]  # log-probabilities of its tokens, as far as the hypothesis tells of them
    looked: tuple[NDArray[np.float32], ...]  # (heads, frames) of each of these
    total: float  # of what came after the forced tokens: by it the equally long are compared
    hoped: Any
    state: S
    next: NDArray[np.float32]  # (vocabulary,) log-probabilities of the next token
    looks: NDArray[np.float32]  # (heads, frames) while it says that


@dataclass(frozen=True, eq=False)
class Ended(Generic[S]):
    """A hypothesis that is over."""

    node: Node[S]
    tokens: int  # of the node's text that are kept
    complete: bool
    score: float


def beam(
    stepper: WideStepper[S],
    prompt: Sequence[int],
    rules: Rules,
    how: Beam,
    forced: Sequence[int] = (),
    kept: S | None = None,
) -> list[Found[S]]:
    """The best hypotheses, best first; at least one. Arguments as of search.greedy.

    One that loops, or is longer than the rules allow, is kept, cut, for where no other comes to an end. rules.goes_on
    here means: up to so many tokens no end is believed.
    """
    search = _Search(stepper, rules, how, len(forced[: rules.max_tokens]))
    node, no_speech_prob, known = search.begin(prompt, forced, kept)
    active, ended = [node], list[Ended[S]]()
    while active:
        over, growing = search.grow(active)
        ended += over
        if len(active[0].text) == rules.max_tokens:
            ended += [search.cut(one, len(one.text)) for one in active]
            break
        active = search.step(growing) if not search.is_over(ended, growing) else []
    return search.ranked(ended, no_speech_prob, known)


@dataclass(frozen=True, eq=False)
class Candidate(Generic[S]):
    """A node with one token more, that the decoder has not taken yet."""

    node: Node[S]
    token: int
    total: float
    hoped: Any


class _Search(Generic[S]):
    """The steps of one search; nothing changes in it."""

    def __init__(self, stepper: WideStepper[S], rules: Rules, how: Beam, forced: int):
        self.stepper = stepper
        self.rules = rules
        self.how = how
        self.forced = forced  # tokens

    def begin(self, prompt: Sequence[int], forced: Sequence[int], kept: S | None) -> tuple[Node[S], float, int]:
        """The node after the forced tokens, the probability of no speech, and how many tokens hypotheses leave out."""
        forced = forced[: self.rules.max_tokens]
        known = 0 if kept is None else len(forced)
        log_probs, weights, state, no_speech_prob = begin(self.stepper, prompt, forced, self.rules, known, kept)
        said = forced[known:]
        hoped = self.how.bonus.start() if self.how.bonus is not None else None
        for token in forced:
            hoped = self._hoped(hoped, token)
        node = Node(
            tuple(forced),
            tuple(float(log_probs[row, token]) for row, token in enumerate(said)),
            tuple(weights[:, row] for row in range(len(said))),
            0.0,
            hoped,
            state,
            log_probs[-1],
            weights[:, -1],
        )
        return node, no_speech_prob, known

    def grow(self, active: Sequence[Node[S]]) -> tuple[list[Ended[S]], list[Candidate[S]]]:
        """What comes of the nodes with one token more: those that are over, and the best that go on."""
        width, end = self.how.width, self.rules.end
        likely = [one for node in active for one in self._likeliest(node)]
        likely.sort(key=lambda one: -one.total)  # stable: of equals the first, as argmax has it
        over = [self._end(one) for one in likely[:width] if one.token == end]
        growing: list[Candidate[S]] = []
        for one in [one for one in likely if one.token != end][:width]:
            once = loop_start((*one.node.text, one.token), self.rules.per_word)
            if once is None or once < self.forced:
                growing.append(one)
            else:
                over.append(self.cut(one.node, once))
        return over, growing

    def step(self, growing: Sequence[Candidate[S]]) -> list[Node[S]]:
        """The decoder takes each one's token."""
        if not growing:
            return []
        log_probs, weights, states = self.stepper.step_each(
            [one.token for one in growing], [one.node.state for one in growing]
        )
        return [
            Node(
                (*one.node.text, one.token),
                (*one.node.scores, float(one.node.next[one.token])),
                (*one.node.looked, one.node.looks),
                one.total,
                one.hoped,
                state,
                after,
                weights[:, row],
            )
            for row, (one, after, state) in enumerate(zip(growing, log_probs, states, strict=True))
        ]

    def cut(self, node: Node[S], tokens: int) -> Ended[S]:
        """A node that comes to no end by itself, after so many tokens of its text."""
        first = len(node.scores) - (len(node.text) - self.forced)
        said = node.scores[first : first + tokens - self.forced]
        return Ended(node, tokens, False, sum(said) / (len(said) + 1))

    def is_over(self, ended: Sequence[Ended[S]], growing: Sequence[Candidate[S]]) -> bool:
        """Whether as many have ended as the beam is wide, or none under way can still be among those that are wanted,
        were decoder and judge sure of all that is to come (end detection)."""
        scores = sorted((one.score for one in ended if one.complete), reverse=True)
        if len(scores) >= self.how.width:
            return True
        if len(scores) < self.how.wanted:
            return False
        return all(self._hope(one) <= scores[self.how.wanted - 1] for one in growing)

    def ranked(self, ended: Sequence[Ended[S]], no_speech_prob: float, known: int) -> list[Found[S]]:
        complete = [one for one in ended if one.complete]
        best = sorted(complete or ended, key=lambda one: -one.score)[: self.how.wanted]
        size = (best[0].tokens - self.forced + 1) ** self.how.length_power
        return [
            Found(
                self._hypothesis(one, no_speech_prob, known),
                one.score,
                float(np.exp((one.score - best[0].score) * size)),
            )
            for one in best
        ]

    def _hypothesis(self, one: Ended[S], no_speech_prob: float, known: int) -> Hypothesis[S]:
        node, size = one.node, one.tokens - known
        end = float(node.next[self.rules.end]) if one.complete else 0.0
        looked = [*node.looked, node.looks][: size + 1]
        text, scores = node.text[known : one.tokens], node.scores[:size]
        return hypothesis_of(text, scores, looked, no_speech_prob, end, one.complete, node.state)

    def _likeliest(self, node: Node[S]) -> list[Candidate[S]]:
        """The node with each of its likeliest next tokens, by the decoder and the bonus."""
        here, bonus, count = len(node.text), self.how.bonus, CANDIDATES * self.how.width
        after = allowed(node.next, self.rules, here)
        if here < self.rules.goes_on:
            after[self.rules.end] = -np.inf
        quick = (1 - self._weight) * after
        if bonus is not None:
            quick += bonus.changes(node.hoped, len(quick))
            over = bonus.at_end(node.hoped) - bonus.so_far(node.hoped)
            quick[self.rules.end] = (1 - self._weight) * after[self.rules.end] + over
        least = np.partition(quick, -count)[-count] if count < len(quick) else -np.inf
        (tokens,) = np.nonzero((quick >= least) & (quick > -np.inf))
        tokens = tokens[np.argsort(-quick[tokens], kind="stable")][:count]
        return [
            Candidate(
                node,
                int(token),
                node.total + float(quick[token]),
                node.hoped if token == self.rules.end else self._hoped(node.hoped, int(token)),
            )
            for token in tokens
        ]

    def _end(self, one: Candidate[S]) -> Ended[S]:
        text, total = one.node.text, one.total
        if self.how.judge is not None:
            total += self.how.judge_weight * self.how.judge(text[self.forced :])
        return Ended(one.node, len(text), True, self._normalised(total, len(text)))

    def _hope(self, one: Candidate[S]) -> float:
        """More than the score of anything that can come of it."""
        here = len(one.node.text) + 1
        most = one.total + (self.rules.max_tokens * self.how.bonus.most if self.how.bonus is not None else 0.0)
        return self._normalised(most, self.rules.max_tokens if most < 0 else here)

    def _normalised(self, total: float, tokens: int) -> float:
        return float(total / (tokens - self.forced + 1) ** self.how.length_power)

    @property
    def _weight(self) -> float:
        return self.how.judge_weight if self.how.judge is not None else 0.0

    def _hoped(self, hoped: Any, token: int) -> Any:
        return hoped if self.how.bonus is None else self.how.bonus.after(hoped, token)
