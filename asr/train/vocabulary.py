"""What text is cut into: the tokenizer of a model from scratch, and what decoder and CTC head are to say of a text.

Pieces are byte-level, a word carries the space before it, as in Whisper's own vocabulary, so that what serves a Whisper
serves these too.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

import inflect
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from asr.errors import InputError, OptionError
from asr.runtime.bundle import Tokens
from asr.runtime.words import tokens_of
from asr.train.recipe import Vocabulary
from asr.train.tokens import END, START

CTC_ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"
LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "’": "'", "‘": "'"}
)
SAID = str.maketrans({"&": " and ", "%": " percent ", "+": " plus ", "@": " at ", "=": " equals "})
UNSAID = re.compile(r"[\s.,;:!?\"“”„«»()\[\]{}…‐‑‒–—-]+")  # signs that stand for no sound
NUMBER = re.compile(
    r"(?<![\d.,/–-])"  # ranges, fractions and dates are said in too many ways
    r"(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:(?P<parts>\.\d+)|(?P<ordinal>st|nd|rd|th))?"
    r"(?![^\W_]|[.,/–-]\d)"
)
YEARS = range(1100, 2100)  # nobody says "one thousand nine hundred eighty-four", nor every such number as a year
MOST_DIGITS = 4  # of a number without commas; a longer one is spelled, or said in groups


def build(texts: Iterable[str], wanted: Vocabulary) -> Tokenizer:
    """A vocabulary of the bytes that the texts hold, and with "bpe" of their most frequent pieces.

    The texts must be as the model is to write them; what they do not hold cannot be written later.
    The same texts give the same vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    size = wanted.size if wanted.kind == "bpe" else 0  # 0: no room for more than the bytes
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END, START], show_progress=False)
    tokenizer.train_from_iterator(filter(None, map(spaced, texts)), trainer)
    pieces: int = tokenizer.get_vocab_size()
    if pieces == len((END, START)):
        raise InputError("no text to build a vocabulary from: every utterance's is empty")
    if size and pieces > size:
        raise OptionError(f"vocabulary.size is {size}, but single bytes and special tokens alone are {pieces}")
    return tokenizer


def spaced(text: str) -> str:
    """A text as the decoder writes it: single spaces, one of them at the start; "" stays."""
    return "".join(f" {word}" for word in text.split())


def prompt(tokens: Tokens, language: str = "en") -> tuple[int, ...]:
    """What the decoder is told before the text."""
    if tokens.languages and language not in tokens.languages:
        raise OptionError(f"the vocabulary knows no language {language!r}; it knows {', '.join(tokens.languages)}")
    return tokens.prompt(language)


def target(tokenizer: Tokenizer, tokens: Tokens, text: str, language: str = "en") -> list[int]:
    """What the decoder is to say: the prompt, the text's pieces, the end."""
    return [*prompt(tokens, language), *tokens_of(tokenizer, spaced(text)), tokens.end]


def ctc_text(text: str) -> str | None:
    """The text in the letters of CTC_ALPHABET, numbers in words; None where it cannot be told how it is spoken."""
    plain = unicodedata.normalize("NFD", text.lower().translate(LETTERS))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = NUMBER.sub(said, plain).translate(SAID)
    words = (word.strip("'") for word in UNSAID.split(plain))
    line = " ".join(filter(None, words))
    return line if set(line) <= set(CTC_ALPHABET) else None


def said(number: re.Match[str]) -> str:
    """The number in words, or as it is where there is more than one way to say it."""
    whole = number["whole"]
    if len(whole) > 1 and whole[0] == "0":
        return number[0]
    if "," not in whole and (len(whole) > MOST_DIGITS or int(whole) in YEARS):
        return number[0]
    return f" {speller().number_to_words(number[0].replace(',', ''), andword='', comma='')} "


@cache
def speller() -> inflect.engine:
    return inflect.engine()
