"""Vocabularies built from texts, and what is to be said of a text."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from asr.errors import FormatError, InputError, OptionError
from asr.runtime.words import spell
from asr.train.recipe import Vocabulary
from asr.train.tokens import END, START, per_word, steering_tokens
from asr.train.vocabulary import CTC_ALPHABET, build, ctc_text, prompt, target

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"
TEXTS = ["one two three", "three two, one!", "a naïve one", "", "  I   said two  "]
CHARACTERS = Vocabulary("characters")
PIECES = Vocabulary("bpe", size=40)


@pytest.fixture(scope="module")
def whisper() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))


def text_of(tokenizer: Tokenizer, tokens: list[int]) -> str:
    return spell(tokenizer, tokens)


@pytest.mark.parametrize("wanted", [CHARACTERS, PIECES])
def test_what_is_built_writes_its_texts_back(wanted):
    tokenizer = build(TEXTS, wanted)
    tokens = steering_tokens(tokenizer, ("en",))
    for text in TEXTS:
        line = target(tokenizer, tokens, text)
        assert (line[0], line[-1]) == (tokens.start[0], tokens.end)
        assert text_of(tokenizer, line[1:-1]) == "".join(f" {word}" for word in text.split())


def test_characters_are_a_token_a_byte():
    tokenizer = build(TEXTS, CHARACTERS)
    tokens = steering_tokens(tokenizer, ("en",))
    assert len(target(tokenizer, tokens, "one naïve")) == 2 + len(" one naïve".encode())
    assert tokenizer.get_vocab_size() == 2 + len(set(" ".join(TEXTS).encode()))


def test_pieces_are_as_many_as_asked_for_and_shorten_the_line():
    letters, pieces = build(TEXTS, CHARACTERS), build(TEXTS, PIECES)
    assert pieces.get_vocab_size() == 40
    lines = [target(tokenizer, steering_tokens(tokenizer, ("en",)), TEXTS[0]) for tokenizer in (letters, pieces)]
    assert len(lines[1]) < len(lines[0])


@pytest.mark.parametrize("wanted", [CHARACTERS, PIECES])
def test_the_same_texts_give_the_same_vocabulary(wanted):
    assert build(TEXTS, wanted).get_vocab() == build(list(TEXTS), wanted).get_vocab()


def test_a_file_of_it_is_the_same(tmp_path):
    tokenizer = build(TEXTS, PIECES)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokens = steering_tokens(again, ("en",))
    assert tokens == steering_tokens(tokenizer, ("en",))
    assert target(again, tokens, TEXTS[0]) == target(tokenizer, tokens, TEXTS[0])


def test_a_size_with_no_room_for_the_bytes_is_refused():
    with pytest.raises(OptionError, match=r"vocabulary\.size is 5"):
        build(TEXTS, Vocabulary("bpe", size=5))


def test_no_text_is_no_vocabulary():
    with pytest.raises(InputError, match="no text"):
        build(["", " "], CHARACTERS)


def test_the_specials_are_no_text():
    tokenizer = build(TEXTS, CHARACTERS)
    specials = [tokenizer.token_to_id(name) for name in (START, END)]
    assert text_of(tokenizer, specials) == ""
    assert not set(specials) & set(target(tokenizer, steering_tokens(tokenizer, ("en",)), TEXTS[0])[1:-1])


def test_a_built_vocabulary_may_say_nothing_and_never_starts_anew():
    tokens = steering_tokens(build(TEXTS, CHARACTERS), ("en",))
    assert tokens.end not in (*tokens.suppress, *tokens.suppress_first)
    assert tokens.start[0] in tokens.suppress
    assert tokens.languages == {}
    assert tokens.no_speech is None


def test_whispers_target_is_its_prompt_the_text_and_the_end(whisper):
    tokens = steering_tokens(whisper, ("en",))
    line = target(whisper, tokens, "Hello there.")
    assert whisper.decode(line, skip_special_tokens=False) == (
        "<|startoftranscript|><|notimestamps|> Hello there.<|endoftext|>"
    )
    assert prompt(tokens) == (*tokens.start, *tokens.after_language)


def test_a_language_that_the_vocabulary_lacks_is_refused(whisper):
    tokens = replace(steering_tokens(whisper, ("en",)), languages={"de": 7})
    assert prompt(tokens, "de") == (*tokens.start, 7, *tokens.after_language)
    with pytest.raises(OptionError, match="'en'; it knows de"):
        prompt(tokens)


def test_a_tokenizer_without_start_or_end_is_refused():
    with pytest.raises(FormatError, match=r"no <\|startoftranscript\|>"):
        steering_tokens(Tokenizer(models.BPE()), ("en",))


def test_a_word_takes_one_of_whispers_pieces_or_its_letters(whisper):
    assert per_word(whisper) == 1
    assert per_word(build(TEXTS, CHARACTERS)) == 6
    assert 1 < per_word(build(TEXTS, PIECES)) < 6


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello, world!", "hello world"),
        ("It's the 21st of May; 3.14!", "it's the twenty first of may three point one four"),
        ("1,250 dogs' tails", "one thousand two hundred fifty dogs tails"),
        ("don’t 'quote' at 10:30", "don't quote at ten thirty"),
        ("a Café–Straße", "a cafe strasse"),
        ("5% & more", "five percent and more"),
        ("...", ""),
        ("", ""),
    ],
)
def test_ctc_text_is_what_is_spoken(text, spoken):
    assert ctc_text(text) == spoken


@pytest.mark.parametrize("text", ["in 1984", "$5", "007", "1/2", "the 90s", "3-5", "123456", "5,00", "你好"])
def test_what_can_be_spoken_in_several_ways_or_in_other_letters_is_left_out(text):
    assert ctc_text(text) is None


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_ctc_text_keeps_to_its_alphabet(text):
    spoken = ctc_text(text)
    assert spoken is None or set(spoken) <= set(CTC_ALPHABET)
    assert spoken is None or spoken == " ".join(spoken.split())


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_numbers_are_words(number):
    spoken = ctc_text(f"{number:,}")
    assert spoken is not None
    assert spoken.replace(" ", "").isalpha()
