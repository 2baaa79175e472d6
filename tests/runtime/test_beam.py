"""Beam search against decoders that are tables: every text they can say can be counted out."""

from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.runtime.beam import Beam, beam
from asr.runtime.search import Rules, greedy

END, SILENCE, PROMPT = 4, 5, (7, 8)
WORDS = (0, 1, 2, 3)
FRAMES = 6


def rules(max_tokens=3, **changes):
    given = Rules(END, max_tokens, suppress=np.array([3]), suppress_first=np.array([END]), no_speech=SILENCE)
    return replace(given, **changes)


@cache
def chance(*seed):
    return float(np.random.default_rng(seed).random())


class Table:
    """Another distribution after each text; the state is the tokens so far. Counts its calls."""

    several_tokens = True

    def __init__(self, seed, sure=1.0):
        self.seed = seed
        self.sure = sure
        self.calls = 0

    def start(self):
        return ()

    def after(self, text):
        random = np.random.default_rng([self.seed, *text])
        scores = self.sure * random.standard_normal(6)
        weights = random.random((2, FRAMES)).astype(np.float32)
        return (scores - np.log(np.exp(scores).sum())).astype(np.float32), weights

    def step(self, tokens, state):
        self.calls += 1
        made = [self.after((*state, *tokens[: count + 1])) for count in range(len(tokens))]
        return np.stack([one for one, _ in made]), np.stack([one for _, one in made], axis=1), (*state, *tokens)

    def step_each(self, tokens, states):
        made = [self.step([token], state) for token, state in zip(tokens, states, strict=True)]
        self.calls -= len(made) - 1
        return (
            np.concatenate([one[0] for one in made]),
            np.concatenate([one[1] for one in made], axis=1),
            [one[2] for one in made],
        )

    def rewind(self, state, length):
        return state[:length]


def ear(text):
    """A judge that hears something of its own."""
    return -3 * chance(8, *text)


class Hope:
    """A bonus for each token of one kind that follows another of it, taken back at the end for the last one."""

    most = 0.7

    def start(self):
        return (0.0, None)

    def after(self, known, token):
        return (known[0] + 0.7 * (token == known[1] == 1), token)

    def so_far(self, known):
        return known[0]

    def at_end(self, known):
        return known[0] - 0.7 * (known[0] > 0)

    def changes(self, known, vocabulary):
        return np.array([self.so_far(self.after(known, token)) - known[0] for token in range(vocabulary)], np.float32)


def all_texts(table, given, how):
    """Every text that comes to an end, best first, counted out without any search."""
    scored = []
    for size in range(1, given.max_tokens + 1):
        for text in product([token for token in (*WORDS, SILENCE) if token not in given.suppress], repeat=size):
            state, total = PROMPT, 0.0
            for token in (*text, END):
                total += (1 - how.judge_weight) * float(table.after(state)[0][token])
                state = (*state, token)
            if how.judge is not None:
                total += how.judge_weight * how.judge(text)
            if how.bonus is not None:
                known = how.bonus.start()
                for token in text:
                    known = how.bonus.after(known, token)
                total += how.bonus.at_end(known)
            scored.append((total / (size + 1) ** how.length_power, text))
    return sorted(scored, reverse=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("length_power", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("judge_weight", [0.0, 0.4])
@pytest.mark.parametrize("hopes", [False, True])
def test_a_beam_that_is_wide_enough_finds_the_best_texts_of_all(seed, length_power, judge_weight, hopes):
    how = Beam(800, 5, ear if judge_weight else None, judge_weight, Hope() if hopes else None, length_power)
    expected = all_texts(Table(seed), rules(), how)[:5]
    said = beam(Table(seed), PROMPT, rules(), how)
    assert [one.hypothesis.tokens for one in said] == [text for _, text in expected]
    assert [one.score for one in said] == pytest.approx([score for score, _ in expected], rel=1e-4)


texts = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.floats(0.5, 8), texts | st.just([]), st.booleans())
def test_one_hypothesis_at_a_time_is_greedy_search(seed, max_tokens, sure, forced, kept):
    """Loops, forced tokens, the limit and a kept state among it."""
    given = rules(max_tokens)
    state = (*PROMPT, *forced)[:-1] if kept and forced and len(forced) <= max_tokens else None
    one = greedy(Table(seed, sure), PROMPT, given, forced, kept=state)
    (other,) = beam(Table(seed, sure), PROMPT, given, Beam(1), forced, state)
    same_hypothesis(other.hypothesis, one)


def same_hypothesis(one, other):
    assert one.tokens == other.tokens
    assert np.array_equal(one.log_probs, other.log_probs)
    assert np.array_equal(one.weights, other.weights)
    assert (one.end_log_prob, one.no_speech_prob) == (other.end_log_prob, other.no_speech_prob)
    assert one.complete == other.complete


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6), texts)
def test_what_follows_forced_tokens_is_searched_for_whatever_they_cost(seed, width, forced):
    how = Beam(width, width, ear, 0.3, Hope())
    whole = beam(Table(seed), PROMPT, rules(8), how, forced)
    going_on = beam(Table(seed), PROMPT, rules(8), how, forced, (*PROMPT, *forced)[:-1])
    assert all(one.hypothesis.tokens[: len(forced)] == tuple(forced) for one in whole)
    assert [one.hypothesis.tokens[len(forced) :] for one in whole] == [one.hypothesis.tokens for one in going_on]
    assert [one.score for one in whole] == [one.score for one in going_on]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_hypotheses_are_different_and_ordered_and_the_best_has_the_odds_of_one(seed, width):
    said = beam(Table(seed), PROMPT, rules(6), Beam(width, width))
    assert len({one.hypothesis.tokens for one in said}) == len(said) <= width
    assert [one.score for one in said] == sorted((one.score for one in said), reverse=True)
    assert said[0].odds == 1
    assert all(1 >= one.odds >= other.odds > 0 for one, other in pairwise(said))


class Says(Table):
    """Probabilities by hand: {text: {token: probability}}, after other texts the end."""

    def __init__(self, table):
        super().__init__(0)
        self.table = table

    def after(self, text):
        told = self.table.get(text[len(PROMPT) :], {END: 1.0})
        probabilities = np.array([told.get(token, 1e-9) for token in range(6)])
        return np.log(probabilities).astype(np.float32), np.ones((2, FRAMES), np.float32)


def test_a_better_text_that_begins_worse_is_found():
    table = {(): {0: 0.6, 1: 0.4}, (0,): {0: 0.3, 1: 0.3, 2: 0.3}, (1,): {2: 0.9}}
    assert greedy(Says(table), PROMPT, rules()).tokens[0] == 0
    assert beam(Says(table), PROMPT, rules(), Beam(2))[0].hypothesis.tokens == (1, 2)


def test_what_loops_is_cut_and_gives_way_to_what_ends():
    looping = {(0,) * size: {0: 0.9, END: 0.01, 1: 0.09} for size in range(1, 40)} | {(): {0: 0.9, 1: 0.1}}
    (alone,) = beam(Says(looping), PROMPT, rules(40), Beam(1))
    assert (alone.hypothesis.tokens, alone.hypothesis.complete) == ((0,), False)
    assert alone.hypothesis.weights.shape == (2, 2, FRAMES), "a row for the token, one for where it was cut"
    assert all(one.hypothesis.complete for one in beam(Says(looping), PROMPT, rules(40), Beam(3, 3)))


def test_where_nothing_ends_the_limit_does():
    endless = {text: {0: 0.5, 1: 0.5, END: 1e-9} for size in range(9) for text in product((0, 1), repeat=size)}
    said = beam(Says(endless), PROMPT, rules(5), Beam(2, 2))
    assert all(len(one.hypothesis.tokens) == 5 and not one.hypothesis.complete for one in said)


def test_search_is_over_when_nothing_under_way_can_win():
    table = Says({(): {0: 0.98, 1: 0.01, 2: 0.01}, (0,): {END: 0.9, 0: 0.05}, (1,): {0: 0.9}, (2,): {0: 0.9}})
    beam(table, PROMPT, rules(40), Beam(3, length_power=0.0))
    assert table.calls == 2, "the prompt, and the second token: after it the best has ended at nine in ten"


def test_the_end_is_not_believed_before_what_was_heard_is_said():
    table = {(): {0: 0.9, 1: 0.1}, (0,): {END: 0.9, 1: 0.1}, (1,): {END: 0.99}}
    assert beam(Says(table), PROMPT, rules(), Beam(3))[0].hypothesis.tokens == (0,)
    assert beam(Says(table), PROMPT, rules(goes_on=1), Beam(3))[0].hypothesis.tokens == (0, 1)


def test_a_judge_who_hears_another_word_is_listened_to():
    def hears_one(text):
        return -5.0 * sum(token != 1 for token in text)

    table = {(): {0: 0.6, 1: 0.4}}
    assert beam(Says(table), PROMPT, rules(), Beam(2))[0].hypothesis.tokens == (0,)
    assert beam(Says(table), PROMPT, rules(), Beam(2, 1, hears_one, 0.3))[0].hypothesis.tokens == (1,)
