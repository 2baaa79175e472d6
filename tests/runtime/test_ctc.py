from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.runtime.ctc import (
    LEAST,
    LOOSE,
    STAR,
    best_path,
    clearest,
    forced,
    labels_of,
    labels_of_text,
    letters,
    spelled,
)

ALPHABET = " 'ab"  # 1 to 4, after blank


def path(*best):
    log_probs = np.full((len(best), 1 + len(ALPHABET)), -5.0, np.float32)
    log_probs[np.arange(len(best)), best] = 0.0
    return log_probs


@pytest.mark.parametrize(
    ("best", "counted"),
    [
        ((3, 4), [1, 2]),
        ((3, 3, 3), [1, 1, 1]),  # one letter, held
        ((3, 0, 3), [1, 1, 2]),  # two, a blank between
        ((0, 1, 4, 1), [0, 0, 1, 1]),  # spaces are no letters
        ((0, 2, 0), [0, 1, 1]),
        ((), []),
    ],
)
def test_letters_are_counted_once(best, counted):
    assert letters(path(*best), ALPHABET).tolist() == counted


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_the_count_never_falls(best):
    said = letters(path(*best), ALPHABET)
    assert (np.diff(said) >= 0).all()
    assert spelled(said).sum() == said[-1]


def test_a_letter_is_spelled_where_it_begins():
    assert spelled(letters(path(0, 3, 3, 0, 1, 4), ALPHABET)).tolist() == [False, True, False, False, False, True]
    assert spelled(np.zeros(0, np.intp)).tolist() == []


def spoken(*frames):
    """(frames, 5) log-probabilities: each frame says its label with nine tenths."""
    log_probs = np.full((len(frames), 1 + len(ALPHABET)), np.log(0.1 / 4), np.float32)
    log_probs[np.arange(len(frames)), frames] = np.log(0.9)
    return log_probs


def best_by_trying(log_probs, labels):
    """The same by counting all paths, for texts without STAR: its score."""
    best = -np.inf
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        said = [label for index, label in enumerate(path) if label and (index == 0 or path[index - 1] != label)]
        if said == list(labels):
            best = max(best, sum(log_probs[frame, label] for frame, label in enumerate(path)))
    return best


def test_a_known_text_is_found_where_it_was_said():
    found = forced(spoken(0, 0, 3, 3, 0, 4, 0, 1, 3, 0), [3, 4, 1, 3])
    assert found.first.tolist() == [2, 5, 7, 8]
    assert found.last.tolist() == [3, 5, 7, 8]
    np.testing.assert_allclose(found.fit, 0, atol=1e-6)


def test_a_letter_said_twice_wants_a_blank_between():
    assert forced(spoken(3, 3, 3), [3, 3]).first.tolist() == [0, 2]
    assert forced(spoken(3, 3), [3, 3]) is None
    assert forced(spoken(3), []) is None


def test_a_text_that_was_not_said_fits_worse():
    log_probs = spoken(0, 3, 0, 4, 0)
    assert forced(log_probs, [3, 4]).fit.mean() > forced(log_probs, [4, 3]).fit.mean() + 1


def test_a_star_takes_what_nobody_can_spell():
    found = forced(spoken(0, 3, 0, 0, 4, 2, 4, 0, 3, 0), [3, STAR, 3])
    assert found.first.tolist()[0] == 1
    assert found.first.tolist()[2] == 8
    assert 2 <= found.first[1] <= 4
    assert 6 <= found.last[1] <= 7


def test_a_text_may_begin_and_end_amid_speech():
    found = forced(spoken(4, 2, 0, 3, 3, 0, 2, 4), [3])
    assert (found.first[0], found.last[0]) == (3, 4)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(3, 5))
def test_the_path_is_the_best_of_all(seed, labels, frames):
    values = np.random.default_rng(seed).normal(size=(frames, 5)).astype(np.float32)
    values[:, 0] += 2
    log_probs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    found = forced(log_probs, labels)
    best = best_by_trying(log_probs, labels)
    assert (found is None) == (best == -np.inf)
    if found is not None:
        assert (np.diff(found.first) > 0).all()
        assert (found.last >= found.first).all()
        inner = sum(
            log_probs[first : last + 1, label].sum()
            for first, last, label in zip(found.first, found.last, labels, strict=True)
        )
        covered = np.zeros(frames, bool)
        for first, last in zip(found.first, found.last, strict=True):
            covered[first : last + 1] = True
        frame = np.arange(frames)
        loose = (frame < found.first[0]) | (frame > found.last[-1])
        score = inner + log_probs[~covered & ~loose, 0].sum()
        score += np.maximum(log_probs[loose, 0], log_probs[loose].max(axis=1) - LOOSE).sum()
        assert score >= best - 1e-4


@pytest.mark.parametrize(
    ("text", "alphabet", "labels"),
    [
        (" Ab,", " 'ab", [3, 4]),
        (" a\u2019b", " 'ab", [3, 2, 4]),
        (" \u00e1", " 'ab", [3]),
        (" 5", " 'ab", [STAR]),
        (" a5", " 'ab", [STAR]),
        (" ...", " 'ab", []),
        ("'", " 'ab", []),
    ],
)
def test_a_word_is_spelled_as_the_head_spells(text, alphabet, labels):
    assert labels_of(text, alphabet) == labels


def test_the_clearest_letter_is_the_frame_that_is_least_blank():
    log_probs = spoken(0, 0, 0)
    assert clearest(log_probs) == pytest.approx(0.1, abs=1e-6)
    log_probs[1, 0] = np.log(0.7)
    assert clearest(log_probs) == pytest.approx(0.3, abs=1e-6)


def test_a_text_is_its_words_with_spaces_between():
    a, b = 3, 4
    assert labels_of_text(" A, b-a!", ALPHABET) == [a, 1, b, 1, a]
    assert labels_of_text(" ba 7", ALPHABET) == [b, a, 1, STAR]
    assert labels_of_text("ab ab", "ab") == [1, 2, 1, 2], "an alphabet may have no space"
    assert labels_of_text(" ...", ALPHABET) == []


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.sampled_from([1, 3, 4]), max_size=4))
def test_a_text_is_as_probable_as_its_best_path(seed, labels):
    scores = np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)
    assert best_path(scores, labels) == pytest.approx(max(best_by_trying(scores, labels), LEAST), abs=1e-4)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.lists(st.sampled_from([1, 3, 4, STAR]), max_size=4), st.booleans(), st.booleans())
def test_what_is_open_is_left_out_at_a_price(seed, labels, open_start, open_end):
    scores = 3 * np.random.default_rng(seed).standard_normal((6, 5)).astype(np.float32)
    loose = np.maximum(scores[:, 0], scores.max(axis=1) - LOOSE)
    expected = [
        float(loose[:first].sum() + loose[last:].sum()) + best_path(scores[first:last], labels)
        for first in (range(7) if open_start else [0])
        for last in (range(first, 7) if open_end else [6])
        if first < last or not labels
    ]
    expected = [one for one in expected if one > LEAST / 2]
    said = best_path(scores, labels, open_start, open_end)
    assert said == pytest.approx(max(expected, default=LEAST), rel=1e-4, abs=1e-4)


def test_a_word_with_figures_is_whatever_is_said_there():
    said = spoken(3, 0, 1, 4, 3, 4, 0, 1, 3)
    exact = best_path(said, labels_of_text(" a bab a", ALPHABET))
    figures = best_path(said, labels_of_text(" a 77 a", ALPHABET))
    assert exact == pytest.approx(9 * np.log(0.9), abs=1e-4)
    assert figures == pytest.approx(exact - 3 * LOOSE, abs=1e-4), "three frames sound in it"
    assert best_path(said, labels_of_text(" a b a", ALPHABET)) < figures - 3


def test_what_is_open_may_hold_more_than_the_text():
    said = spoken(3, 0, 1, 4, 3, 4)
    text = labels_of_text("a", ALPHABET)
    assert best_path(said, text) < -10
    assert best_path(said, text, open_end=True) > -2
    assert best_path(said[3:], labels_of_text("b", ALPHABET), open_start=True) > -2


def test_what_no_path_can_say_is_as_bad_as_anything_else_of_its_kind():
    assert best_path(spoken(3, 3), [3, 3]) == best_path(spoken(3), [3, 4]) == best_path(spoken()[:0], [3]) == LEAST
    assert best_path(spoken()[:0], []) == 0
