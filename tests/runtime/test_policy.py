"""Policies against readings made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.runtime.policy import BACK_FRAMES, MARGIN_FRAMES, POLICIES, SURE, Evidence, agreement, align_att, wait

FRAMES = 200
SAFE = FRAMES - MARGIN_FRAMES - 1


def reading(looked, word_ends=None, **changes):
    """A token for each frame looked at; by default each is a word."""
    tokens = tuple(range(len(looked)))
    ends = tuple(word_ends or range(1, len(looked) + 1))
    letters, sure = (3,) * len(ends), np.zeros(len(looked), np.float32)
    evidence = Evidence(
        tokens, (), True, ends, ends[-1] if ends else 0, letters, np.array(looked), -1, FRAMES, None, sure
    )
    return replace(evidence, **changes)


def heard(*at):
    """CTC letters at these frames."""
    marks = np.zeros(FRAMES, int)
    np.add.at(marks, list(at), 1)
    return marks.cumsum()


looks = st.lists(st.integers(0, FRAMES - 1), max_size=12)


@given(looks, st.sampled_from(sorted(POLICIES)))
def test_what_is_stable_ends_with_a_word(looked, policy):
    evidence = reading(looked, word_ends=[*range(2, len(looked), 2), len(looked)] if looked else None)
    assert POLICIES[policy](evidence) in (0, *evidence.word_ends)


@given(looks)
def test_nothing_that_looks_near_the_newest_frame_is_stable(looked):
    stable = align_att(reading(looked))
    assert all(frame <= SAFE for frame in looked[:stable])


def test_a_word_that_is_not_sure_waits_until_two_readings_agree():
    log_probs = np.array([0.0, SURE - 0.1, 0.0], np.float32)
    assert align_att(reading([10, 50, 60], log_probs=log_probs)) == 1
    assert align_att(reading([10, 50, 60], log_probs=log_probs, before=(0, 1))) == 3
    assert align_att(reading([10, 50, 60], log_probs=log_probs, before=(0, 7))) == 1


def test_the_first_token_that_looks_too_near_stops_those_after_it():
    assert align_att(reading([10, 50, SAFE + 1, 60])) == 2
    assert align_att(reading([10, 50, SAFE, SAFE])) == 4


def test_a_word_is_stable_without_another_after_it_but_its_signs_are_not():
    assert align_att(reading([10, 50, 60])) == 3
    assert align_att(reading([10, 50, 60], word_ends=[1, 3], bare_end=2)) == 2


def test_a_word_whose_last_piece_is_not_safe_is_not_stable():
    assert align_att(reading([10, 50, SAFE + 5], word_ends=[1, 3])) == 1


def test_the_last_word_of_a_text_that_was_broken_off_is_not_stable():
    assert align_att(reading([10, 50, 60], complete=False)) == 2


def test_attention_that_jumps_back_stops_the_emission():
    assert align_att(reading([10, 90, 90 - BACK_FRAMES - 1, 120])) == 2
    assert align_att(reading([10, 20], settled_at=10 + BACK_FRAMES + 5)) == 0


def test_letters_that_were_skipped_stop_the_emission():
    steady = heard(*range(0, 60, 4))  # 15 letters up to frame 60
    assert align_att(reading([10, 30, 58], letters=(3, 5, 6), heard=steady)) == 3
    assert align_att(reading([10, 58], letters=(3, 4), heard=steady)) == 2
    crowded = heard(*range(20, 60, 2))
    assert align_att(reading([10, 58], letters=(3, 2), heard=crowded)) == 1


def test_letters_that_nobody_said_stop_the_emission():
    evidence = reading([10, 12, 14, 16], letters=(5, 5, 5, 5), heard=heard(2, 4, 6, 8, 10))
    assert align_att(evidence) == 2
    assert align_att(replace(evidence, letters=(5, None, 5, 5))) == 4, "a number's letters cannot be counted"


def test_only_letters_since_the_settled_text_count():
    before = heard(*range(0, 50), 60, 62, 64)
    assert align_att(reading([65], letters=(3,), heard=before, settled_at=50)) == 1
    assert align_att(reading([65], letters=(3,), heard=before)) == 0


def test_agreement_wants_the_same_tokens_twice_and_a_word_after_them():
    evidence = reading([1, 2, 3, 4], before=(0, 1, 2, 9))
    assert agreement(evidence) == 3
    assert agreement(replace(evidence, before=(0, 1, 2, 3))) == 3
    assert agreement(replace(evidence, before=(8, 1, 2, 3))) == agreement(replace(evidence, before=())) == 0
    assert agreement(reading([1, 2, 3, 4], before=(0, 1, 2, 9), word_ends=[2, 4])) == 2


@pytest.mark.parametrize("policy", POLICIES.values())
def test_no_reading_says_nothing(policy):
    assert policy(reading([])) == 0


def test_waiting_calls_nothing_stable():
    assert wait(reading([1, 2, 3])) == 0
