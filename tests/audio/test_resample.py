import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.resample import HIGHEST_RATE, LOWEST_RATE, Resampler
from asr.errors import AudioError

RATES = (8_000, 11_025, 22_050, 44_100, 48_000, 192_000)


def resample(pieces, rate):
    resampler = Resampler(rate)
    return np.concatenate([*(resampler.accept(piece) for piece in pieces), resampler.finish()])


@settings(max_examples=40, deadline=None)
@given(rate=st.sampled_from(RATES), cuts=st.lists(st.integers(0, 9_000), max_size=12))
def test_cuts_change_no_bit(speechlike, rate, cuts):
    samples = speechlike(9_000, rate)
    whole = resample([samples], rate)
    assert resample(np.split(samples, sorted(cuts)), rate).tobytes() == whole.tobytes()


@pytest.mark.parametrize("rate", RATES)
def test_packets_of_one_sample_change_no_bit(speechlike, rate):
    samples = speechlike(3_001, rate)
    assert resample(samples.reshape(-1, 1), rate).tobytes() == resample([samples], rate).tobytes()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("count", [0, 1, 79, 80, 81, 12_345])
def test_the_length_is_that_of_the_same_time(speechlike, rate, count):
    assert abs(resample([speechlike(count, rate)], rate).size - count * 16_000 / rate) <= 0.5


def test_at_16_khz_samples_pass_untouched(speechlike):
    samples = speechlike(1_000)
    resampler = Resampler(16_000)
    assert resampler.accept(samples) is samples
    assert resampler.finish().size == 0


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_that_tone_to_its_end(rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    heard = resample([tone], rate)
    edge = 400  # samples in which a tone that starts or stops at once rings
    assert np.abs(heard - expected)[edge:-edge].max() < 1e-3
    assert np.abs(heard[-edge:]).max() > 0.9


def test_what_16_khz_cannot_hold_is_taken_out():
    whistle = np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert np.abs(resample([whistle], 48_000))[400:-400].max() < 1e-3


def test_after_finish_a_resampler_is_as_new(speechlike):
    samples = speechlike(5_003, 44_100)
    resampler = Resampler(44_100)
    first = np.concatenate([resampler.accept(samples), resampler.finish()])
    second = np.concatenate([resampler.accept(samples), resampler.finish()])
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("rate", [-1, 0, LOWEST_RATE - 1, HIGHEST_RATE + 1])
def test_a_rate_outside_the_limits_is_refused_by_number(rate):
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        Resampler(rate)
