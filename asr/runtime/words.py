"""From tokens and their attention to words with times.

The path through the attention is Whisper's (openai/whisper, timing.py): each head's weights
are normalised over the tokens, smoothed with a median over 7 frames, averaged over the heads;
then the best monotonic path says at which frame each token begins. Here the path is found
frame by frame (each frame belongs to the token of the frame before or to the next), which is
dynamic time warping without two tokens on one frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

MEDIAN_FRAMES = 7
UNFINISHED = "\ufffd"  # how a tokenizer writes part of a character
WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}  # scripts that put no space between words


@dataclass(frozen=True)
class Span:
    """A word's text and its tokens: text[first:last]."""

    text: str
    first: int
    last: int


def spell(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    """The text of tokens; those that steer the decoder have none."""
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=True)
    return text


def tokens_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text's tokens as the tokenizer cuts it, none that steers the decoder among them."""
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return tokens


def pieces(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[str, ...]:
    """Each token's own text; empty where it holds part of a character."""
    return tuple("" if UNFINISHED in (text := spell(tokenizer, [token])) else text for token in tokens)


def word_spans(tokenizer: Tokenizer, tokens: Sequence[int], language: str) -> list[Span]:
    """Group tokens into words: a word begins with a space, or is one character where the script has no spaces.

    Signs stay with the word that they touch, those that stand alone with the word before. An unfinished
    character at the end is left out.
    """
    words: list[Span] = []
    for part in parts(tokenizer, tokens, language in WITHOUT_SPACES):
        if words and not any(map(str.isalnum, part.text)):
            words[-1] = joined(words[-1], part)
        else:
            words.append(part)
    return words


def parts(tokenizer: Tokenizer, tokens: Sequence[int], without_spaces: bool) -> Iterator[Span]:
    """The text cut before its spaces, or at each character; a lone space goes with what follows it."""
    part: Span | None = None
    for unit in characters(tokenizer, tokens):
        opens = unit.text.startswith(" ") or without_spaces
        if part is None:
            part = unit
        elif opens and not part.text.isspace():
            yield part
            part = unit
        else:
            part = joined(part, unit)
    if part is not None:
        yield part


def letters(text: str) -> int | None:
    """How many letters of a word are heard; None where it is written in figures."""
    return None if any(map(str.isdigit, text)) else sum(map(str.isalpha, text))


def joined(one: Span, next_one: Span) -> Span:
    return Span(one.text + next_one.text, one.first, next_one.last)


def characters(tokenizer: Tokenizer, tokens: Sequence[int]) -> Iterator[Span]:
    """The shortest runs of tokens that are whole characters."""
    first = 0
    for last in range(1, len(tokens) + 1):
        text = spell(tokenizer, tokens[first:last])
        if UNFINISHED not in text:
            yield Span(text, first, last)
            first = last


def token_starts(weights: NDArray[np.float32]) -> NDArray[np.intp]:
    """The frame at which each token begins.

    weights  (heads, tokens, frames), at least as many frames as tokens for a path through all
    returns  (tokens,) ascending; the first is 0
    """
    spread = weights.std(axis=1, keepdims=True)
    score = ((weights - weights.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)).mean(axis=0)
    return monotonic_path(smooth(score))


def starts_by_letters(written: Sequence[int], heard: NDArray[np.floating] | NDArray[np.intp]) -> NDArray[np.intp]:
    """The frame at which each token begins, for a model that does not tell where it looked: as far into what was heard
    as into what is written.

    written  letters of each token
    heard    (frames,) up to each: letters, or anything that grows while somebody speaks
    returns  (tokens + 1,) ascending, the end last
    """
    before = np.concatenate(([0], np.cumsum(written)))
    share = before / max(before[-1], 1)
    starts: NDArray[np.intp] = np.searchsorted(heard, share * heard[-1], side="right")
    return np.minimum(starts, len(heard) - 1)


def smooth(score: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over MEDIAN_FRAMES frames, the edges repeated: (tokens, frames) to the same."""
    half = MEDIAN_FRAMES // 2
    padded = np.pad(score, ((0, 0), (half, half)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_FRAMES, axis=1)
    return np.partition(windows, half, axis=-1)[..., half]


def monotonic_path(score: NDArray[np.float32]) -> NDArray[np.intp]:
    """The first frame of each token on the path of greatest sum from the first token to the last.

    total[token, frame] = score[token, frame] + max(total[token, frame - 1], total[token - 1, frame - 1])
    """
    tokens, frames = score.shape
    # by frame; a token before the first that nobody reaches, so that staying and moving are two views of one row
    total = np.full((frames, 1 + tokens), -np.inf)
    total[0, 1] = score[0, 0]
    by_frame = np.ascontiguousarray(score.T)
    for frame in range(1, frames):
        before, now = total[frame - 1], total[frame, 1:]
        np.maximum(before[1:], before[:-1], out=now)
        now += by_frame[frame]
    starts = np.zeros(tokens, np.intp)
    token = min(tokens, frames) - 1  # with fewer frames than tokens the last ones find no frame of their own
    starts[token + 1 :] = frames - 1
    for frame in range(frames - 1, 0, -1):
        if total[frame - 1, token] > total[frame - 1, token + 1]:  # it came from the token before
            starts[token] = frame
            token -= 1
    return starts


def entropies(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy of each row over the frames, in nats: (tokens, frames) to (tokens,)."""
    share = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-9)
    entropy: NDArray[np.float32] = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=-1)
    return entropy
