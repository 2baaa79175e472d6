from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asr.runtime.recognizer import open_tokenizer
from asr.runtime.words import (
    entropies,
    monotonic_path,
    pieces,
    spell,
    starts_by_letters,
    token_starts,
    tokens_of,
    word_spans,
)

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))


@pytest.fixture(scope="module")
def spelling() -> Tokenizer:
    """A token for each byte, the space too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: index for index, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def best_by_trying_all(score):
    """The starts of the best path, by trying every one."""
    tokens, frames = score.shape
    best, found = -np.inf, None
    for starts in combinations(range(1, frames), tokens - 1):
        bounds = [0, *starts, frames]
        total = sum(score[token, bounds[token] : bounds[token + 1]].sum() for token in range(tokens))
        if total > best:
            best, found = total, [0, *starts]
    return best, found


@given(st.integers(1, 4), st.integers(4, 8), st.integers(0, 1000))
@settings(deadline=None)
def test_the_path_is_the_best_of_all_paths(tokens, frames, seed):
    score = np.random.default_rng(seed).standard_normal((tokens, frames))
    best, _ = best_by_trying_all(score)
    starts = monotonic_path(score)
    bounds = [*starts, frames]
    assert starts[0] == 0
    assert np.isclose(sum(score[t, bounds[t] : bounds[t + 1]].sum() for t in range(tokens)), best)


def test_more_tokens_than_frames_still_gives_ascending_starts():
    starts = monotonic_path(np.random.default_rng(0).standard_normal((6, 3)))
    assert (np.diff(starts) >= 0).all()
    assert starts.max() < 3


def test_starts_follow_a_diagonal_of_attention():
    tokens, width = 6, 12
    weights = np.full((2, tokens, tokens * width), 1e-3, np.float32)
    for token in range(tokens):
        weights[:, token, token * width : (token + 1) * width] = 0.1
    assert np.abs(token_starts(weights) - np.arange(tokens) * width).max() <= 1


def test_entropy_is_nought_on_one_frame_and_log_n_on_all():
    weights = np.array([[0, 1, 0, 0], [0.25] * 4, [0] * 4], np.float32)
    assert entropies(weights) == pytest.approx([0, np.log(4), 0], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" Hello, world.", [" Hello,", " world."]),
        (" It's the 21st.", [" It's", " the", " 21st."]),
        (' "Yes," he said - twice.', [' "Yes,"', " he", " said -", " twice."]),
        (' He said "yes" (a lie).', [" He", " said", ' "yes"', " (a", " lie)."]),
        (" I, a b.", [" I,", " a", " b."]),
        ("one", ["one"]),
        ("", []),
    ],
)
@pytest.mark.parametrize("pieces_of", ["whisper", "bytes"])
def test_words_begin_with_a_space_and_keep_their_punctuation(tokenizer, spelling, text, words, pieces_of):
    tokenizer = tokenizer if pieces_of == "whisper" else spelling
    tokens = encode(tokenizer, text)
    spans = word_spans(tokenizer, tokens, "en")
    assert [span.text for span in spans] == words
    assert "".join(span.text for span in spans) == text
    assert [span.first for span in spans[1:]] == [span.last for span in spans[:-1]]
    assert not spans or (spans[0].first, spans[-1].last) == (0, len(tokens))


def test_bytes_of_one_character_stay_together(spelling):
    tokens = encode(spelling, " é a")
    assert [span.text for span in word_spans(spelling, tokens, "en")] == [" é", " a"]
    assert pieces(spelling, tokens) == (" ", "", "", " ", "a")
    assert [span.text for span in word_spans(spelling, tokens[:2], "en")] == [" "]


def test_scripts_without_spaces_give_a_word_a_character(tokenizer):
    assert [span.text for span in word_spans(tokenizer, encode(tokenizer, "你好。"), "zh")] == ["你", "好。"]


def test_part_of_a_character_is_no_piece_and_no_word(tokenizer):
    tokens = encode(tokenizer, " 你")
    assert "" in pieces(tokenizer, tokens)
    assert [span.text for span in word_spans(tokenizer, tokens[:-1], "en")] in ([], [" "])
    assert spell(tokenizer, tokens) == " 你"


def test_without_attention_tokens_begin_where_as_many_letters_were_heard():
    heard = np.array([0, 0, 1, 2, 2, 4, 6, 6])
    assert starts_by_letters([2, 0, 4], heard).tolist() == [2, 5, 5, 7]
    assert starts_by_letters([0], np.zeros(3)).tolist() == [2, 2]


def test_what_steers_the_decoder_cannot_be_written_by_a_caller():
    tokenizer = open_tokenizer(SHIPPED)
    text = " say <|endoftext|> now"
    tokens = tokens_of(tokenizer, text)
    assert tokenizer.token_to_id("<|endoftext|>") not in tokens
    assert spell(tokenizer, tokens) == text
