"""A recogniser whose model is a few lines of numpy: it reads words that are tones of different loudness.

A word is WORD_FRAMES frames of one level, and its letter is the level's. The encoder hears each frame's level and keeps
the last ones in its cache; the decoder says the words whose frames it sees, each token looking around its word's
middle. Of a word that breaks off at the newest frame it guesses wrong, as real ones do.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asr.runtime.bundle import Bundle, State, Tokens
from asr.runtime.recognizer import Recognizer
from asr.runtime.sessions import Decoder, Encoder

HOP, LOOK_BACK, LOOK_AHEAD, LEFT_CONTEXT = 320, 520, 200, 128
WORD_FRAMES = 12
ALPHABET = " 'abcdefghijklmnopqrstuvwxyz"
WORDS = "abcdefghijklmnopqrst"
PIECES = ["<start>", "<end>", *(f"Ġ{word}" for word in WORDS), "Ġguess", "."]
START, END, FIRST_WORD, GUESS, STOP = 0, 1, 2, 2 + len(WORDS), 3 + len(WORDS)
QUIETEST, STEP = 0.3, 0.01  # level of the first word, and from word to word


def level_of(word: str) -> float:
    return QUIETEST + STEP * WORDS.index(word)


def spoken(text: str) -> np.ndarray:
    """Samples of a text of letters; "_" is a word's time of silence."""
    levels = [0.0 if word == "_" else level_of(word) for word in text.replace(" ", "")]
    samples = np.repeat(np.array(levels, np.float32), WORD_FRAMES * HOP)
    samples[::2] *= -1
    return samples


def runs(levels: np.ndarray) -> list[tuple[int, int, int]]:
    """The words that the frames' levels hold: (word, first frame, frames)."""
    words = np.where(levels > QUIETEST - STEP / 2, np.round((levels - QUIETEST) / STEP), -1).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(words)) + 1).tolist(), words.size]
    return [(int(words[a]), a, b - a) for a, b in pairwise(edges) if b > a and 0 <= words[a] < len(WORDS)]


def names(*each: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name) for name in each]


@dataclass
class Hearing:
    """encoder.onnx: the level of each frame, and a letter from CTC at each word's middle."""

    ctc: bool = True
    dull: bool = False  # whatever is not the whole segment at once sounds like the next letter
    calls: list[tuple[int, int, int]] = field(default_factory=list)  # position, frames, total

    def get_inputs(self):
        return names("samples", "position", "total", "cache_key_0")

    def get_outputs(self):
        return names("source_key_0", *(["ctc"] if self.ctc else []), "new_cache_key_0")

    def run(self, wanted, feed):
        window, position, total = feed["samples"][0], int(feed["position"][0]), int(feed["total"][0])
        frames = (window.size - LOOK_BACK - LOOK_AHEAD) // HOP
        self.calls.append((position, frames, total))
        cache = feed["cache_key_0"][0, 0, :, 0]
        assert cache.size == min(position, LEFT_CONTEXT), "the cache is what was encoded before, whole"
        levels = np.abs(window[LOOK_BACK : LOOK_BACK + frames * HOP].reshape(frames, HOP)).mean(axis=1)
        if self.dull and frames < total:
            levels[levels > QUIETEST - STEP / 2] += STEP
        made = {
            "source_key_0": levels[None, None, :, None],
            "ctc": self.letters(np.concatenate([cache, levels]), frames)[None],
            "new_cache_key_0": np.concatenate([cache, levels])[None, None, -LEFT_CONTEXT:, None],
        }
        return [made[name].astype(np.float32) for name in wanted]

    def letters(self, levels, frames):
        log_probs = np.full((levels.size, 1 + len(ALPHABET)), -9.0)
        log_probs[:, 0] = -1.0
        for word, first, count in runs(levels):
            if count > WORD_FRAMES // 2:
                log_probs[first + WORD_FRAMES // 2, 1 + ALPHABET.index(WORDS[word])] = 0.0
        return log_probs[-frames:]


@dataclass
class Saying:
    """decoder.onnx: its state is the tokens so far."""

    calls: list[tuple[int, int, int]] = field(default_factory=list)  # tokens before, tokens, frames

    def get_inputs(self):
        return names("tokens", "source_lengths", "source_key_0", "past")

    def get_outputs(self):
        return names("log_probs", "weights", "new_past")

    def run(self, wanted, feed):
        each = (feed[name] for name in ("past", "tokens", "source_lengths", "source_key_0"))
        made = [self.row(*row) for row in zip(*each, strict=True)]
        log_probs, weights, past = (np.stack(each) for each in zip(*made, strict=True))
        outputs = {"log_probs": log_probs, "weights": weights.swapaxes(0, 1), "new_past": past}
        self.calls.append((feed["past"].shape[1], feed["tokens"].shape[1], int(feed["source_lengths"][0])))
        return [outputs[name] for name in wanted]

    def row(self, past, tokens, frames, source):
        """Of one of the batch: log-probabilities, weights of the layers, the new past."""
        said = self.words(source[0, :frames, 0])
        log_probs = np.full((tokens.size, len(PIECES)), -9.0, np.float32)
        weights = np.zeros((1, 1, tokens.size, source.shape[1]), np.float32)
        for row in range(tokens.size):
            place = len(past) + row  # words said before this: all tokens but the start
            token, looked = said[place] if place < len(said) else (END, frames - 1)
            log_probs[row, token] = -0.1
            weights[0, 0, row, :frames] = np.maximum(0, 1 - np.abs(np.arange(frames) - looked) / (WORD_FRAMES / 2))
        return log_probs, weights, np.concatenate([past, tokens[:, None]]).astype(np.float32)

    def words(self, levels):
        """Tokens and where each looks. A remnant of a few frames is nothing, most of a word is the word."""
        return [
            (FIRST_WORD + word if count >= WORD_FRAMES - 3 else GUESS, first + min(count - 1, WORD_FRAMES // 2))
            for word, first, count in runs(levels)
            if count > 3
        ]


@pytest.fixture
def hearing():
    """Makes a recogniser of tones, its sessions at hand: recognizer.encoder.session, recognizer.decoder.session."""

    def make(ctc: bool = True, multi_token: bool = True, dull: bool = False, **changes) -> Recognizer:
        described = {
            "name": "tones", "languages": ("en",), "sample_rate": 16_000, "frame_hop_s": 0.02, "look_back": LOOK_BACK,
            "look_ahead": LOOK_AHEAD, "max_frames": 1_500, "max_tokens": 448,
            "latency_modes": {"full": 0, "1280ms": 64, "640ms": 32, "320ms": 16}, "left_context_frames": LEFT_CONTEXT,
            "pad_s": 0.0, "log_mel": "fixed", "encoder_layers": 1, "encoder_heads": 1, "dim": 1,
            "states": (State("past", ("batch", 0, 1), 0.0, 1),), "multi_token": multi_token,
            "alignment_heads": ((0, 0),), "decoder_heads": 1, "ctc": ALPHABET if ctc else None, "licence": "",
            "provenance": "",
            "tokens": Tokens((START,), {}, (), END, None, suppress_first=(END,)), "quantisation": "none",
        }  # fmt: skip
        bundle = Bundle(**{**described, **changes})
        tokenizer = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(PIECES)}, "<end>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return Recognizer(bundle, Encoder(bundle, Hearing(ctc, dull)), Decoder(bundle, Saying()), tokenizer)

    return make


@pytest.fixture
def speak():
    """Samples of a text of letters, each a word; "_" is as much silence."""
    return spoken
