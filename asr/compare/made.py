"""A small set of speech made on the spot, for those who have none: ten words of a language of tones and hisses.

Each letter has a sound of its own, as vowels and consonants have: two bands of frequency, filled by a voice's harmonics
or by noise. Speakers differ in pitch, in the length of their throat and in haste, and those of the dev set are not
those of the training set. When each word is said is known to the sample.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE
from asr.train.manifest import MANIFEST

WORDS = ("bado", "kemi", "sita", "mota", "dike", "tobe", "sami", "keto", "dabi", "mose")
MOST_WORDS = 4  # in an utterance
NAME = "made"
SIZES = {"train": (800, 24), "dev": (80, 6)}  # utterances, speakers
HISS = 0.003  # of the room
EDGE_S = 0.01  # in which a sound comes and goes


@dataclass(frozen=True)
class Sound:
    voiced: bool
    bands_hz: tuple[float, float]
    duration_s: float


SOUNDS = {
    "a": Sound(True, (800, 1300), 0.11),
    "e": Sound(True, (500, 1900), 0.11),
    "i": Sound(True, (300, 2400), 0.11),
    "o": Sound(True, (450, 850), 0.11),
    "m": Sound(True, (250, 1100), 0.08),
    "b": Sound(True, (200, 700), 0.05),
    "d": Sound(True, (200, 3000), 0.05),
    "k": Sound(False, (1500, 2200), 0.05),
    "t": Sound(False, (3500, 4500), 0.05),
    "s": Sound(False, (5000, 6500), 0.10),
}


@dataclass(frozen=True)
class Speaker:
    name: str
    pitch_hz: float
    throat: float  # by which all bands are shifted
    haste: float


def write(root: Path, seed: int = 0) -> None:
    """Make ROOT/train/made and ROOT/dev/made, unless they are there."""
    for index, (part, (utterances, speakers)) in enumerate(SIZES.items()):
        folder = root / part / NAME
        if not (folder / MANIFEST).exists():
            write_set(folder, utterances, speakers, np.random.default_rng((seed, index)))


def write_set(folder: Path, utterances: int, speakers: int, random: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    voices = [
        Speaker(
            f"{folder.parent.name}-{n}", random.uniform(90, 240), random.uniform(0.87, 1.15), random.uniform(0.8, 1.25)
        )
        for n in range(speakers)
    ]
    lines = []
    for number in range(utterances):
        voice = voices[number % speakers]
        text = " ".join(random.choice(WORDS, random.integers(1, MOST_WORDS + 1)))
        samples, words = say(text, voice, random)
        soundfile.write(folder / f"{number:04d}.flac", samples, SAMPLE_RATE)
        lines.append(
            {
                "audio": f"{number:04d}.flac",
                "text": text,
                "speaker": voice.name,
                "duration": samples.size / SAMPLE_RATE,
                "source": NAME,
                "licence": "none: made by a program",
                "words": words,
            }
        )
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def say(
    text: str, voice: Speaker, random: np.random.Generator
) -> tuple[NDArray[np.float32], list[dict[str, str | float]]]:
    """Samples (n,) of the text, and its words as a manifest has them."""
    parts: list[NDArray[np.floating]] = [np.zeros(round(random.uniform(0.1, 0.3) * SAMPLE_RATE))]
    words: list[dict[str, str | float]] = []
    for word in text.split():
        start = sum(part.size for part in parts)
        parts += [sound(SOUNDS[letter], voice, random) for letter in word]
        end = sum(part.size for part in parts)
        words.append({"word": word, "start": round(start / SAMPLE_RATE, 4), "end": round(end / SAMPLE_RATE, 4)})
        parts.append(np.zeros(round(random.uniform(0.05, 0.25) * SAMPLE_RATE)))
    samples = np.concatenate(parts)
    samples = samples * random.uniform(0.3, 1.0) + HISS * random.standard_normal(samples.size)
    return samples.clip(-1, 1).astype(np.float32), words


def sound(what: Sound, voice: Speaker, random: np.random.Generator) -> NDArray[np.floating]:
    """One letter as a voice says it, at a loudness of about 0.3."""
    size = round(what.duration_s * random.uniform(0.8, 1.25) / voice.haste * SAMPLE_RATE)
    time_s = np.arange(size) / SAMPLE_RATE
    if what.voiced:
        pitch_hz = voice.pitch_hz * random.uniform(0.93, 1.07)
        harmonics_hz = pitch_hz * np.arange(1, int(SAMPLE_RATE / 2 / pitch_hz))
        wave = loudness(harmonics_hz, what, voice) @ np.sin(2 * np.pi * harmonics_hz[:, None] * time_s)
    else:
        spectrum = np.fft.rfft(random.standard_normal(size))
        wave = np.fft.irfft(spectrum * loudness(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), what, voice), size)
    edge = np.minimum(1, np.minimum(time_s, time_s[::-1]) / EDGE_S)
    result: NDArray[np.floating] = 0.3 * edge * wave / max(np.abs(wave).max(), 1e-9)
    return result


def loudness(frequencies_hz: NDArray[np.floating], what: Sound, voice: Speaker) -> NDArray[np.floating]:
    """How much of each frequency passes the throat: a bell around each band."""
    bands_hz = voice.throat * np.array(what.bands_hz)[:, None]
    bells = np.exp(-(((frequencies_hz - bands_hz) / (60 + 0.06 * bands_hz)) ** 2))
    total: NDArray[np.floating] = bells.sum(axis=0)
    return total
