import numpy as np
import pytest

from client.spectrogram import LOW_HZ, MELS, RANGE_DB, TOP_HZ, mel, mel_spectrogram


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("hz", [200, 1000, 3500])
def test_a_tone_is_seen_at_its_pitch(rate: int, hz: int) -> None:
    samples = np.sin(2 * np.pi * hz * np.arange(rate) / rate).astype(np.float32)
    loudness = mel_spectrogram(samples, rate)
    assert loudness.shape == (MELS, pytest.approx(200, abs=2))
    assert loudness.max() == 0
    assert loudness.min() >= -RANGE_DB
    mels = np.linspace(mel(LOW_HZ), mel(TOP_HZ), MELS + 2)[1:-1]
    heard = mels[loudness[:, 100].argmax()]
    assert abs(heard - mel(hz)) <= mels[1] - mels[0]
