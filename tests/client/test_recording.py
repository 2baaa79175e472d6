from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from client import FileError
from client.recording import Recording, pcm


@pytest.mark.parametrize("packet_ms", [1, 7, 100, 10**6])
def test_packets_joined_are_the_recording(recording: Callable[..., Path], packet_ms: int) -> None:
    path = recording(seconds=0.5, rate=11025)
    packets = list(Recording(path).packets(packet_ms))
    samples, rate = soundfile.read(path, dtype="int16")
    assert b"".join(packets) == samples.astype("<i2").tobytes()
    assert {len(packet) for packet in packets[:-1]} <= {2 * (rate * packet_ms // 1000)}


def test_channels_are_mixed_down(recording: Callable[..., Path]) -> None:
    path = recording(channels=3, seconds=0.1)
    samples, _ = soundfile.read(path)
    (packet,) = Recording(path).packets(1000)
    np.testing.assert_allclose(np.frombuffer(packet, "<i2"), samples.mean(axis=1) * 32768, atol=0.51)


def test_what_is_too_loud_is_clipped_not_wrapped() -> None:
    assert np.frombuffer(pcm(np.array([2.0, -2.0], np.float32)), "<i2").tolist() == [32767, -32768]


@pytest.mark.parametrize("name", ["talk.flac", "talk.ogg", "talk.mp3"])
def test_compressed_recordings_are_decoded(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(16000), 16000)
    recording = Recording(tmp_path / name)
    assert recording.sample_rate == 16000
    assert sum(map(len, recording.packets(100))) >= 32000


def test_a_stretch_is_what_lies_there(recording: Callable[..., Path]) -> None:
    path = recording(seconds=1.0)
    samples, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(Recording(path).between(0.25, 0.5), samples[4000:8000])
    assert len(Recording(path).between(0.75, 2.0)) == 4000
    assert len(Recording(path).between(5.0, 6.0)) == 0


@pytest.mark.parametrize("content", [b"", b"This is a letter.", b"RIFF\x24\0\0\0WAVEfmt "])
def test_what_is_no_recording_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(content)
    with pytest.raises(FileError, match="cannot be decoded"):
        Recording(path)


def test_raw_samples_say_nothing_of_themselves(tmp_path: Path) -> None:
    (tmp_path / "talk.raw").write_bytes(bytes(1000))
    with pytest.raises(FileError):
        Recording(tmp_path / "talk.raw")
