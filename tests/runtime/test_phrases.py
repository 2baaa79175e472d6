"""The bonus for expected phrases: earned token by token, and taken back where nothing comes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.errors import OptionError
from asr.runtime.beam import Beam, beam
from asr.runtime.phrases import BOOST, LONGEST_PHRASE, MOST_PHRASES, Phrase, Phrases, check, opening, spellings
from asr.runtime.recognizer import Options
from asr.runtime.search import Rules

PIECES = (" Ann", "a", " New", " York", " City", ".", "Ann", " and", "polis", " Ol", "d", "")
ID = {piece: number for number, piece in enumerate(PIECES)}
OPENS = opening(PIECES)


def boosted(*texts, boost=1.0):
    return Phrases(((*each, boost) for each in map(tokens, texts)), OPENS)


def tokens(text):
    """A phrase's pieces, parted by "|", and the same at a text's start where its first piece has another form."""
    spaced = [ID[piece] for piece in text.split("|")]
    first = text.split("|")[0].strip()
    return spaced, [ID.get(first, spaced[0]), *spaced[1:]]


def earned(phrases, text, ended=True):
    known = phrases.start()
    for piece in text.split("|") if text else ():
        known = phrases.after(known, ID[piece])
    return phrases.at_end(known) if ended else phrases.so_far(known)


def test_each_token_of_a_phrase_earns_its_boost():
    phrases = boosted(" New| York| City")
    assert [earned(phrases, text, ended=False) for text in (" New", " New| York", " New| York| City")] == [1, 2, 3]
    assert earned(phrases, " and| New| York| City| and") == 3


@pytest.mark.parametrize("text", [" New", " New| York", " New| York| and", " New| York| New", " York| City", ""])
def test_an_unfinished_phrase_earns_nothing(text):
    assert earned(boosted(" New| York| City"), text) == 0


def test_a_name_earns_nothing_in_a_longer_word():
    phrases = boosted(" Ann")
    assert earned(phrases, " Ann") == earned(phrases, " Ann|.") == earned(phrases, " Ann| and") == 1
    assert earned(phrases, " Ann|a|polis") == 0
    assert earned(phrases, " and|Ann") == 0, "nor where it ends one"
    assert earned(phrases, "Ann| and") == 1, "but a text may begin with it"


def test_a_phrase_in_a_longer_one_is_kept_where_the_longer_one_breaks_off():
    phrases = boosted(" New| York", " New| York| City| and")
    assert earned(phrases, " New| York| City| New") == 2
    assert earned(phrases, " New| York| City| and") == 4


def test_where_one_phrase_breaks_off_another_may_have_begun():
    phrases = boosted(" Ann| and| New", " and| New| York")
    assert earned(phrases, " Ann| and| New| York") == 3, "both are there, but no token earns twice"
    assert earned(phrases, " Ann| and| New| and| New| York") == 6
    assert earned(boosted(" Ann| and| York", " and| New"), " Ann| and| New") == 2


def test_said_twice_is_earned_twice():
    assert earned(boosted(" Ann"), " Ann| Ann| Ann") == 3


texts = st.lists(st.sampled_from([piece for piece in PIECES if piece.startswith(" ")]), min_size=1, max_size=4)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.lists(st.integers(0, len(PIECES) - 1), max_size=8))
def test_what_each_token_would_change_is_what_it_does_change(written, said):
    phrases = boosted(*("|".join(one) for one in written))
    known = phrases.start()
    for place, token in enumerate(said):
        changes = phrases.changes(known, len(PIECES) + 3)
        assert not changes[len(PIECES) :].any() or phrases.so_far(known), "no token of ours"
        expected = [phrases.so_far(phrases.after(known, each)) - phrases.so_far(known) for each in range(len(PIECES))]
        assert changes[: len(PIECES)] == pytest.approx(expected)
        known = phrases.after(known, token)
        assert 0 <= phrases.at_end(known) <= phrases.so_far(known) <= phrases.most * (place + 1)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), texts)
def test_a_text_that_is_a_phrase_earns_all_its_tokens(written, text):
    phrases = boosted(*("|".join(one) for one in written), "|".join(text))
    assert earned(phrases, "|".join(text)) >= len(text)


def test_a_wrong_name_becomes_right_and_an_unheard_one_is_not_written():
    end = len(PIECES)

    class Hears:
        """ " Ol" at one in two, " Ann" at three in ten; then the end, or what makes it a longer word."""

        several_tokens = True

        def start(self):
            return ()

        def step(self, said, state):
            chances = {ID[" Ol"]: 0.5, ID[" Ann"]: 0.3} if len(state) + len(said) == 1 else {end: 0.9, ID["a"]: 0.1}
            told = np.log([chances.get(token, 1e-6) for token in range(end + 1)]).astype(np.float32)
            return np.tile(told, (len(said), 1)), np.zeros((0, len(said), 4), np.float32), (*state, *said)

        def step_each(self, said, states):
            made = [self.step([token], state) for token, state in zip(said, states, strict=True)]
            return np.concatenate([one[0] for one in made]), np.zeros((0, len(made), 4)), [one[2] for one in made]

    def heard(*names, boost=1.0):
        rules = Rules(end, 4, suppress=np.zeros(0, np.intp), suppress_first=np.zeros(0, np.intp))
        bonus = boosted(*names, boost=boost) if names else None
        return "".join(
            PIECES[token] for token in beam(Hears(), (end,), rules, Beam(4, bonus=bonus))[0].hypothesis.tokens
        )

    assert heard() == " Ol"
    assert heard(" Ann") == " Ann"
    assert heard(" Ann| New| York") == " Ol", "a bonus that would be taken back decides nothing"
    assert heard(" New| York", " City") == " Ol", "phrases that do not fit are not written"


def test_a_phrase_is_known_with_a_capital_and_at_the_start():
    written = list(spellings(Phrase("new  york", 2.0), lambda text: [text]))
    assert written == [([" new york"], ["new york"], 2.0), ([" New york"], ["New york"], 2.0)]
    assert list(spellings(Phrase("Ann"), lambda text: [text])) == [([" Ann"], ["Ann"], BOOST)]


@pytest.mark.parametrize(
    ("text", "boost", "said"),
    [
        ("", 1, "at least one letter"),
        (" ?!", 1, "at least one letter"),
        ("x" * (LONGEST_PHRASE + 1), 1, "at most 100"),
        ("x", -1, "0 .* to 20"),
        ("x", 20.5, "0 .* to 20"),
        ("x", float("nan"), "0 .* to 20"),
    ],
)
def test_a_phrase_that_makes_no_sense_is_refused(text, boost, said):
    with pytest.raises(OptionError, match=said):
        Phrase(text, boost)


def test_there_is_a_limit_to_phrases():
    check([Phrase("x")] * MOST_PHRASES)
    with pytest.raises(OptionError, match="1000 phrases"):
        check([Phrase("x")] * (MOST_PHRASES + 1))
    with pytest.raises(OptionError, match="20000 characters"):
        check([Phrase("x" * 100)] * 201)


def test_a_phrase_of_megabytes_is_refused_by_its_length():
    with pytest.raises(OptionError, match="has 1000000") as refused:
        Phrase("\x01" * 1_000_000)
    assert len(str(refused.value)) < 200


def test_all_channels_of_a_call_share_its_phrases(recognizer):
    asked = Options(phrases=(Phrase("heed"),))
    held = recognizer.beam_of(asked)
    assert recognizer.beam_of(Options(phrases=(Phrase("heed"),))) is held
    assert recognizer.beam_of(Options(phrases=(Phrase("heed", 3.0),))) is not held
