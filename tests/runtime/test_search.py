"""Search against a decoder of three lines: it wants to say a fixed text."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.runtime.search import LOOP_TIMES, Rules, greedy, loop_start

END, VOCABULARY, FRAMES = 9, 12, 20
RULES = Rules(end=END, max_tokens=40, suppress=np.array([10]), suppress_first=np.array([END]), no_speech=11)
PROMPT = (7, 8)


class Says:
    """Says `text`, then the end; the state is the tokens so far. Counts its calls."""

    def __init__(self, text, several_tokens=True):
        self.text = [*text, END]
        self.several_tokens = several_tokens
        self.calls = 0

    def start(self):
        return ()

    def step(self, tokens, state):
        self.calls += 1
        state = (*state, *tokens)
        said = np.arange(len(state) - len(tokens), len(state)) - len(PROMPT) + 1
        log_probs = np.full((len(tokens), VOCABULARY), -9.0, np.float32)
        for row, index in enumerate(said):
            agrees = state[len(PROMPT) : len(PROMPT) + index] == tuple(self.text[:index]) if index > 0 else True
            wanted = self.text[min(max(index, 0), len(self.text) - 1)] if agrees else 5
            log_probs[row, wanted] = -0.1
            log_probs[row, 10] = 0.0  # suppressed everywhere
        return log_probs, np.ones((2, len(tokens), FRAMES), np.float32), state

    def rewind(self, state, length):
        return state[:length]


texts = st.lists(st.integers(0, 6), min_size=1, max_size=10)


def test_greedy_says_what_the_decoder_says():
    said = greedy(Says([1, 2, 3]), PROMPT, RULES)
    assert said.tokens == (1, 2, 3)
    assert said.complete
    assert said.log_probs == pytest.approx([-0.1] * 3)
    assert said.weights.shape == (2, 4, FRAMES), "a row for each token and one for the end"


@given(texts, texts)
def test_a_draft_changes_the_cost_never_the_result(text, draft):
    plain, drafted = Says(text), Says(text)
    expected, said = greedy(plain, PROMPT, RULES), greedy(drafted, PROMPT, RULES, draft=draft)
    assert said.tokens == expected.tokens
    assert np.array_equal(said.log_probs, expected.log_probs)
    assert said.weights.shape == expected.weights.shape
    assert drafted.calls <= plain.calls


def test_a_right_draft_is_verified_in_one_call():
    decoder = Says([1, 2, 3, 4])
    assert greedy(decoder, PROMPT, RULES, draft=[1, 2, 3, 4]).tokens == (1, 2, 3, 4)
    assert decoder.calls == 1


def test_a_decoder_that_takes_one_token_at_a_time_gets_no_draft():
    decoder = Says([1, 2], several_tokens=False)
    assert greedy(decoder, PROMPT, RULES, draft=[1, 5, 5]).tokens == (1, 2)


@given(texts, texts)
def test_forced_tokens_are_said_whatever_the_decoder_wants(text, forced):
    said = greedy(Says(text), PROMPT, RULES, forced=forced)
    assert said.tokens[: len(forced)] == tuple(forced)


def test_the_end_may_not_come_first_when_suppressed_there():
    assert greedy(Says([]), PROMPT, RULES).tokens != ()


def test_a_text_without_end_stops_at_the_limit():
    said = greedy(Says(list(range(7)) * 20), PROMPT, Rules(END, 15, np.array([10]), np.array([END])))
    assert len(said.tokens) == 15
    assert not said.complete


def test_a_loop_is_cut_after_its_first_time():
    said = greedy(Says([1, 2, *[3, 4, 5] * 9]), PROMPT, RULES)
    assert said.tokens == (1, 2, 3, 4, 5)
    assert not said.complete
    assert said.weights.shape[1] == 6


def test_words_said_thrice_are_no_loop():
    text = [1, 2, 3, 4, 5] * (LOOP_TIMES - 1)
    assert loop_start(text) is None
    assert greedy(Says(text), PROMPT, RULES).tokens == tuple(text)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=24), st.integers(1, 12))
def test_a_loop_is_judged_in_words_not_in_tokens(tokens, times):
    spelled = [letter for token in tokens for letter in (7 * token, 7 * token + 1, 7 * token + 2)] * times
    cut, cut_spelled = loop_start(tokens * times), loop_start(spelled, per_word=3)
    assert cut_spelled == (None if cut is None else 3 * cut)


def test_a_word_may_be_said_as_often_whether_it_is_one_token_or_spelled():
    word = [1, 2, 3, 4, 5]
    assert loop_start(word * 11, per_word=6) is None
    assert loop_start(word * 12, per_word=6) == len(word)
    assert loop_start(word * 4) == len(word), "five words said four times are a loop"


def test_no_speech_is_read_after_the_prompts_first_token():
    class Silence(Says):
        def step(self, tokens, state):
            log_probs, weights, after = super().step(tokens, state)
            if not state:
                log_probs[0, 11] = np.log(0.75)
            return log_probs, weights, after

    assert greedy(Silence([1]), PROMPT, RULES).no_speech_prob == pytest.approx(0.75)


@given(texts, st.data())
def test_going_on_from_a_kept_state_says_what_decoding_all_again_says(text, data):
    known = data.draw(st.integers(1, len(text)))
    draft = data.draw(texts)
    first = greedy(Says(text), PROMPT, RULES)
    kept = Says(text).rewind(first.state, len(PROMPT) + known - 1)
    again = greedy(Says(text), PROMPT, RULES, forced=text[:known])
    decoder = Says(text)
    said = greedy(decoder, PROMPT, RULES, forced=text[:known], draft=draft, kept=kept)
    assert said.tokens == again.tokens[known:]
    assert np.array_equal(said.log_probs, again.log_probs[known:])
    assert said.weights.shape[1] == len(said.tokens) + 1
    assert said.state[: len(PROMPT) + known] == (*PROMPT, *text[:known])
    assert decoder.calls <= len(said.tokens) + 1


def test_a_loop_that_began_in_kept_tokens_is_cut_after_them():
    text = [1, 2, *[3, 4, 5] * 9]
    state = (*PROMPT, *text[:7])
    said = greedy(Says(text), PROMPT, RULES, forced=text[:8], kept=state)
    assert not said.complete
    assert said.weights.shape[1] == len(said.tokens) + 1
    assert [*text[:8], *said.tokens] == text[: 8 + len(said.tokens)]


def test_the_end_is_not_believed_where_more_was_heard():
    says = Says([1, 2])
    rules = replace(RULES, goes_on=2, max_tokens=4)
    said = greedy(says, PROMPT, rules, draft=(1, 2))
    assert said.tokens[:2] == (1, 2)
    assert len(said.tokens) > 2, "something else had to be said"
    assert greedy(Says([1, 2]), PROMPT, rules, draft=(1, 2)).tokens == said.tokens
    assert greedy(Says([1, 2, 3]), PROMPT, rules).tokens == (1, 2, 3), "who goes on anyway is not disturbed"
