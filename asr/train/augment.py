"""What is done to the audio of an utterance, so that the model has heard rooms, noise, telephones and codecs.

Each effect is a function from samples to samples of the same length and timing, so that the times of words stay true;
only a change of speed makes them longer or shorter. Samples are (n,) float32 at 16 kHz in [-1, 1), and are never
written to. What is random comes from the generator that is given, and from nothing else.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from asr.train.recipe import Augment, Range
from asr.train.torchaudio_parts import add_noise, convolve, mu_law

Samples = NDArray[np.float32]

SAMPLE_RATE = 16_000
LOUDEST = 1 - 2**-15  # what 16 bits can hold
SILENCE = 1e-10  # mean power, -100 dB, below which it makes no sense to ask how loud the noise should be

VOICES = (3, 6)  # at least and at most that babble at once

OCTAVES = tuple(62.5 * 2**octave for octave in range(8))  # Hz, where an equaliser's gains are drawn

TELEPHONE_RATE = 8_000
TELEPHONE_BAND = (300, 3_400)  # Hz (ITU-T G.712)
TELEPHONE_TAPS = 201  # a slope of 130 Hz

OPUS_SHARE = 0.25  # of what goes through a codec; the rest goes through mu-law, which takes a hundredth of the time
OPUS_RATES = (6_000, 24_000)  # bits per second
OPUS_LEVELS = (6_000, 256_000)  # bits per second at libsndfile's compression levels 1 and 0


@dataclass(frozen=True, eq=False)
class Material:
    """What is mixed in. Where a list is empty, its effect does not occur."""

    noises: Sequence[Samples]  # recordings without speech
    rooms: Sequence[Samples]  # impulse responses


def draw_speed(augment: Augment, random: np.random.Generator) -> float:
    """One of the factors; 1.0 where none are asked for."""
    return augment.speed[random.integers(len(augment.speed))] if augment.speed else 1.0


def change_speed(samples: Samples, factor: float) -> Samples:
    """(n,) to about (n / factor,): tempo and pitch together, as a tape does."""
    return samples if factor == 1.0 or not samples.size else _resample(samples, factor, 1.0)


def corrupt(
    samples: Samples,
    augment: Augment,
    material: Material,
    babble: Callable[[np.random.Generator], Samples],
    random: np.random.Generator,
) -> Samples:
    """What may happen to sound on its way, in the order of the way: (n,) to (n,), the same moments at the same places.

    babble gives the samples of another utterance each time that it is called. What has become too loud is made
    quieter as a whole, never clipped, but for a gain that asks for it.
    """
    if not samples.size:
        return samples
    if random.random() < augment.room_share and material.rooms:
        samples = in_room(samples, _one(material.rooms, random))
    if random.random() < augment.babble_share:
        samples = with_noise(samples, _babble(babble, len(samples), random), random.uniform(*augment.babble_db))
    if random.random() < augment.noise_share and material.noises:
        noise = _stretch(_one(material.noises, random), len(samples), random)
        samples = with_noise(samples, noise, random.uniform(*augment.noise_db))
    if random.random() < augment.equaliser_share:
        samples = equalised(samples, random.uniform(-augment.equaliser_db, augment.equaliser_db, len(OCTAVES)))
    if random.random() < augment.telephone_share:
        samples = over_telephone(samples)
    if random.random() < augment.codec_share:
        samples = _through_codec(samples, random)
    return _amplify(samples, augment.gain_db, random)


def in_room(samples: Samples, response: Samples) -> Samples:
    """Heard in the room of an impulse response, as loud as before, each sound when it comes straight from the mouth."""
    if _power(response) < SILENCE or _power(samples) < SILENCE:
        return samples
    straight = int(np.abs(response).argmax())
    heard = convolve(samples, response)[straight : straight + len(samples)]
    return _not_clipped(heard * math.sqrt(_power(samples) / max(_power(heard), SILENCE)))


def with_noise(samples: Samples, noise: Samples, ratio_db: float) -> Samples:
    """samples and noise (n,), added so that the mean power of the samples is ratio_db over that of the noise."""
    if _power(noise) < SILENCE or _power(samples) < SILENCE:
        return samples
    return _not_clipped(add_noise(samples, noise, ratio_db))


def equalised(samples: Samples, gains_db: Sequence[float] | NDArray[np.float64]) -> Samples:
    """As another microphone hears it: a gain for each of OCTAVES, straight lines of dB per octave in between."""
    spectrum = np.fft.rfft(samples)
    octave = np.log2(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE).clip(min=OCTAVES[0]))
    gain = 10 ** (np.interp(octave, np.log2(OCTAVES), gains_db) / 20)
    heard = np.asarray(np.fft.irfft(spectrum * gain, len(samples)), np.float32)
    return _not_clipped(heard * np.float32(math.sqrt(_power(samples) / max(_power(heard), SILENCE))))


def over_telephone(samples: Samples) -> Samples:
    """300 to 3400 Hz at 8 kHz, in mu-law."""
    narrow = _resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    edge = TELEPHONE_TAPS // 2
    band = np.convolve(narrow, _band_pass())[edge : edge + len(narrow)]
    wide = _resample(mu_law(_not_clipped(band)), TELEPHONE_RATE, SAMPLE_RATE)
    return _not_clipped(_fit(wide, len(samples)))


def through_opus(samples: Samples, bits_per_second: int) -> Samples:
    """Encoded at a rate and decoded. The decoder takes back the delay of the encoder (RFC 7845, section 4.2)."""
    best, smallest = OPUS_LEVELS[1], OPUS_LEVELS[0]
    level = (best - bits_per_second) / (best - smallest)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _not_clipped(_fit(decoded, len(samples)))


def _through_codec(samples: Samples, random: np.random.Generator) -> Samples:
    if random.random() < OPUS_SHARE:
        return through_opus(samples, int(random.integers(*OPUS_RATES, endpoint=True)))
    return _not_clipped(mu_law(samples))


def _amplify(samples: Samples, gain_db: Range, random: np.random.Generator) -> Samples:
    """By a gain of the range, with what then goes beyond full scale cut off."""
    gain = 10 ** (random.uniform(*gain_db) / 20)
    return samples if gain == 1.0 else (samples * np.float32(gain)).clip(-1, LOUDEST)


def _babble(babble: Callable[[np.random.Generator], Samples], length: int, random: np.random.Generator) -> Samples:
    """(length,) of several voices at once, all equally loud."""
    mixed = np.zeros(length, np.float32)
    for _ in range(random.integers(*VOICES, endpoint=True)):
        voice = _stretch(babble(random), length, random)
        mixed += voice / math.sqrt(max(_power(voice), SILENCE))
    return mixed


def _one(recordings: Sequence[Samples], random: np.random.Generator) -> Samples:
    return recordings[int(random.integers(len(recordings)))]


def _stretch(recording: Samples, length: int, random: np.random.Generator) -> Samples:
    """A part of the recording of that length, from anywhere; one that is shorter is repeated."""
    if not recording.size:
        return np.zeros(length, np.float32)
    starts = len(recording) - length + 1 if len(recording) >= length else len(recording)
    start = int(random.integers(starts))
    if start + length <= len(recording):
        return recording[start : start + length]
    return np.resize(np.roll(recording, -start), length)


def _band_pass() -> Samples:
    """The taps of a filter for the telephone's band: two ideal low-passes, one less the other, in a Hamming window."""
    time = np.arange(TELEPHONE_TAPS) - TELEPHONE_TAPS // 2
    low, high = (2 * edge / TELEPHONE_RATE for edge in TELEPHONE_BAND)
    taps = high * np.sinc(high * time) - low * np.sinc(low * time)
    return np.asarray(taps * np.hamming(TELEPHONE_TAPS), np.float32)


def _resample(samples: Samples, from_rate: float, to_rate: float) -> Samples:
    resampled: Samples = soxr.resample(samples, from_rate, to_rate)
    return resampled


def _fit(samples: Samples, length: int) -> Samples:
    """Cut at the end, or filled with silence."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _not_clipped(samples: Samples) -> Samples:
    """Quieter as a whole where it would go beyond full scale."""
    peak = max(samples.max(), -samples.min())
    return samples if peak <= LOUDEST else samples * np.float32(LOUDEST / peak)


def _power(samples: Samples) -> float:
    """Mean power; 0.0 of nothing."""
    return float(np.dot(samples, samples)) / max(1, samples.size)
