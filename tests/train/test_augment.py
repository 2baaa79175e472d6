import sys
from dataclasses import replace

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.errors import NotFoundError
from asr.train import augment
from asr.train.augment import Material, change_speed, corrupt, draw_speed
from asr.train.recipe import Augment

RATE = 16_000
Samples = NDArray[np.float32]

EVERYTHING = Augment(
    speed=(0.9, 1.0, 1.1),
    gain_db=(-6.0, 6.0),
    noise_share=1.0,
    babble_share=1.0,
    room_share=1.0,
    equaliser_share=1.0,
    telephone_share=1.0,
    codec_share=1.0,
)
SHARED = ("noise", "babble", "room", "equaliser", "telephone", "codec")
ONE_EACH = {name: Augment(**{f"{name}_share": 1.0}) for name in SHARED} | {"gain": Augment(gain_db=(-12.0, -6.0))}


def voice(duration_s: float, seed: int = 0) -> Samples:
    """Noise within 300 to 3400 Hz that swells and fades like syllables, with a silence before it."""
    n = round(duration_s * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    sound = np.fft.irfft(spectrum * ((frequency > 400) & (frequency < 3_000)), n)
    swell = np.sin(2 * np.pi * 3 * np.arange(n) / RATE).clip(0)
    return (0.5 * sound * swell / np.abs(sound).max()).astype(np.float32)


def decay(duration_s: float, straight: int = 40) -> Samples:
    """A room: nothing, the straight sound, then its echoes dying away."""
    n = round(duration_s * RATE)
    echoes = 0.1 * np.random.default_rng(1).standard_normal(n) * np.exp(-np.arange(n) / 1500)
    echoes[:straight] = 0
    echoes[straight] = 1
    return echoes.astype(np.float32)


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def lag(samples: Samples, other: Samples) -> int:
    """By how many samples `other` comes later than `samples`."""
    size = 2 * len(samples)
    product = np.fft.irfft(np.fft.rfft(other, size) * np.fft.rfft(samples, size).conj(), size)
    return (int(product.argmax()) + len(samples)) % size - len(samples)


def band_db(samples: Samples, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(10 * np.log10(power[(frequency >= low) & (frequency < high)].mean()))


@pytest.fixture(scope="module")
def material() -> Material:
    hiss = np.random.default_rng(2).uniform(-0.1, 0.1, 3 * RATE).astype(np.float32)
    return Material([hiss, hiss[:1_000]], [decay(0.3), decay(0.05, straight=0)])


def babble(random: np.random.Generator) -> Samples:
    return voice(0.7, int(random.integers(100)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 5_000), seed=st.integers(0, 2**32), loudness=st.sampled_from([0.0, 1e-20, 1e-6, 0.1, 1.0]))
def test_whatever_happens_the_length_is_kept_and_samples_stay_in_range(
    material: Material, n: int, seed: int, loudness: float
) -> None:
    samples = (rng(seed).uniform(-1, 1, n) * loudness).astype(np.float32)
    heard = samples.copy()
    heard.setflags(write=False)
    out = corrupt(heard, EVERYTHING, material, babble, rng(seed))
    assert out.shape == (n,)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert not n or (out.min() >= -1 and out.max() < 1)
    np.testing.assert_array_equal(heard, samples)


@pytest.mark.parametrize("effect", ONE_EACH)
def test_each_effect_changes_sound_and_no_time(effect: str, material: Material) -> None:
    samples = voice(2.0)
    out = corrupt(samples, ONE_EACH[effect], material, babble, rng())
    assert not np.array_equal(out, samples)
    assert lag(samples, out) == 0


@pytest.mark.parametrize("bits_per_second", [6_000, 12_000, 24_000])
@pytest.mark.parametrize("n", [700, 32_000, 32_123])
def test_opus_comes_back_at_the_same_place(bits_per_second: int, n: int) -> None:
    samples = voice(3.0)[1_000 : 1_000 + n]
    out = augment.through_opus(samples, bits_per_second)
    assert out.shape == samples.shape
    assert abs(lag(samples, out)) <= 1


def test_opus_at_a_lower_rate_loses_more() -> None:
    samples = voice(2.0)
    least, more, most = (np.std(augment.through_opus(samples, rate) - samples) for rate in (24_000, 12_000, 6_000))
    assert least < more < most


def test_a_codec_is_sometimes_opus_and_sometimes_mu_law(monkeypatch: pytest.MonkeyPatch, material: Material) -> None:
    rates: list[int] = []
    monkeypatch.setattr(augment, "through_opus", lambda samples, rate: (rates.append(rate), samples)[1])
    for seed in range(40):
        corrupt(voice(0.1), ONE_EACH["codec"], material, babble, rng(seed))
    assert 5 < len(rates) < 35
    assert all(6_000 <= rate <= 24_000 for rate in rates)


def test_the_same_generator_gives_the_same_samples(material: Material) -> None:
    samples = voice(1.0)
    first, again, other = (corrupt(samples, EVERYTHING, material, babble, rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_shares_nothing_happens(material: Material) -> None:
    np.testing.assert_array_equal(corrupt(voice(0.5), Augment(), material, babble, rng()), voice(0.5))


def test_a_share_is_a_probability(material: Material) -> None:
    samples, half = voice(0.2), Augment(telephone_share=0.5)
    changed = sum(
        not np.array_equal(corrupt(samples, half, material, babble, rng(seed)), samples) for seed in range(100)
    )
    assert 30 < changed < 70


def test_without_material_its_effects_do_not_occur() -> None:
    asked = Augment(noise_share=1.0, room_share=1.0)
    np.testing.assert_array_equal(corrupt(voice(0.5), asked, Material([], []), babble, rng()), voice(0.5))


def test_silence_stays_silent_in_rooms_and_noise(material: Material) -> None:
    asked = Augment(noise_share=1.0, room_share=1.0, babble_share=1.0)
    assert not corrupt(np.zeros(800, np.float32), asked, material, babble, rng()).any()


def test_recordings_of_nothing_do_no_harm() -> None:
    nothing = [np.zeros(0, np.float32), np.zeros(500, np.float32)]
    asked = Augment(noise_share=1.0, room_share=1.0, babble_share=1.0)
    for seed in range(8):
        out = corrupt(voice(0.5), asked, Material(nothing, nothing), lambda random: nothing[0], rng(seed))
        np.testing.assert_array_equal(out, voice(0.5))


@pytest.mark.parametrize("effect", ["noise", "babble"])
def test_noise_is_as_loud_as_the_range_says(effect: str, material: Material) -> None:
    asked = replace(ONE_EACH[effect], noise_db=(7.0, 7.0), babble_db=(7.0, 7.0))
    samples = voice(2.0)
    added = corrupt(samples, asked, material, babble, rng()) - samples
    assert level_db(samples) - level_db(added) == pytest.approx(7.0, abs=0.1)


def test_noise_starts_anywhere_and_goes_on(material: Material) -> None:
    ramp = np.linspace(0.1, 0.2, 500, dtype=np.float32)  # shorter than what it is added to
    asked = Augment(noise_share=1.0, noise_db=(0.0, 0.0))
    samples = voice(0.2)
    added = [corrupt(samples, asked, Material([ramp], []), babble, rng(seed)) - samples for seed in (1, 2)]
    assert not np.allclose(*added, atol=1e-3)
    for noise in added:
        assert np.abs(noise).min() > 0.01
        np.testing.assert_allclose(noise[:500], noise[500:1000], atol=1e-5)


def test_several_voices_babble() -> None:
    asked: list[Samples] = []

    def count(random: np.random.Generator) -> Samples:
        asked.append(babble(random))
        return asked[-1]

    for seed in range(20):
        corrupt(voice(0.2), ONE_EACH["babble"], Material([], []), count, rng(seed))
    assert 20 * 3 <= len(asked) <= 20 * 6


def test_a_room_echoes_and_is_no_louder() -> None:
    click = np.zeros(8_000, np.float32)
    click[1_000] = 0.5
    out = augment.in_room(click, decay(0.3))
    assert np.abs(out).argmax() == 1_000
    assert np.abs(out[:1_000]).max() < 1e-5
    assert np.abs(out[1_100:3_000]).max() > 0.005
    speech = voice(2.0)
    assert level_db(augment.in_room(speech, decay(0.3))) == pytest.approx(level_db(speech), abs=0.1)


def test_an_equaliser_raises_and_lowers_octaves() -> None:
    hiss = rng().uniform(-0.3, 0.3, RATE).astype(np.float32)
    out = augment.equalised(hiss, [0, 0, 0, 0, 0, 0, -12, -12])
    change = [band_db(out, *band) - band_db(hiss, *band) for band in ((50, 1_900), (4_000, 8_000))]
    assert change[1] - change[0] == pytest.approx(-12, abs=0.5)
    assert level_db(out) == pytest.approx(level_db(hiss), abs=0.1)
    assert lag(hiss, out) == 0


def test_a_telephone_carries_its_band_alone() -> None:
    hiss = rng().uniform(-0.5, 0.5, RATE).astype(np.float32)
    out = augment.over_telephone(hiss)
    inside = band_db(out, 500, 3_200)
    assert inside == pytest.approx(band_db(hiss, 500, 3_200), abs=0.5)
    assert band_db(out, 0, 150) < inside - 25
    assert band_db(out, 4_100, 8_000) < inside - 40


def test_gain_is_what_was_asked(material: Material) -> None:
    for gain_db in (-6.0, 5.0):
        out = corrupt(voice(0.5), Augment(gain_db=(gain_db, gain_db)), material, babble, rng())
        assert level_db(out) - level_db(voice(0.5)) == pytest.approx(gain_db, abs=0.01)


def test_only_gain_clips() -> None:
    samples = 1.9 * voice(1.0)
    loud = Material([voice(1.0, seed=9)], [decay(0.3)])
    at_top = [
        np.sum(np.abs(corrupt(samples, asked, loud, babble, rng())) > 0.999)
        for asked in (Augment(noise_share=1.0, noise_db=(-5.0, -5.0), room_share=1.0), Augment(gain_db=(20.0, 20.0)))
    ]
    assert at_top[0] <= 2 < 100 < at_top[1]


def test_speed_changes_tempo_and_pitch() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE).astype(np.float32) / 2
    for factor in (0.9, 1.1, 1.037):
        out = change_speed(tone, factor)
        assert len(out) == pytest.approx(RATE / factor, abs=1)
        pitch = np.abs(np.fft.rfft(out * np.hanning(len(out)))).argmax() * RATE / len(out)
        assert pitch == pytest.approx(1_000 * factor, rel=0.002)


def test_at_another_speed_everything_comes_in_proportion() -> None:
    samples = voice(2.0)
    back = soxr.resample(change_speed(samples, 1.25), 4, 5)[: len(samples)]
    assert lag(samples, np.pad(back, (0, len(samples) - len(back)))) == 0


def test_speed_one_and_no_samples_are_left_alone() -> None:
    samples = voice(0.1)
    assert change_speed(samples, 1.0) is samples
    assert change_speed(samples[:0], 1.1).shape == (0,)


def test_each_factor_is_drawn() -> None:
    random = rng()
    assert {draw_speed(EVERYTHING, random) for _ in range(50)} == {0.9, 1.0, 1.1}
    assert draw_speed(Augment(), random) == 1.0


def test_torchaudio_is_needed_only_by_what_uses_it(monkeypatch: pytest.MonkeyPatch, material: Material) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    corrupt(change_speed(voice(0.2), 1.1), Augment(gain_db=(3.0, 3.0)), material, babble, rng())
    with pytest.raises(NotFoundError, match="pip install"):
        corrupt(voice(0.2), ONE_EACH["noise"], material, babble, rng())
