"""Channels heard each by itself are what they would be alone; mixed down they are their mean."""

import struct
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import decode
from asr.audio.apart import ApartRecording
from asr.audio.channels import MAX_SEPARATE, Channels
from asr.audio.opus import OpusReader
from asr.audio.pcm import Encoding, PacketReader, PcmFormat
from asr.audio.wav import WavReader
from asr.errors import AudioError

RATE = 44_100


@pytest.fixture(scope="module")
def sides(speechlike):
    """(n, 3), each channel another."""
    one = speechlike(RATE, RATE)
    return np.stack([one, one[::-1], 0.5 * one], axis=1)


def read_through(reader, packets):
    blocks = [reader.accept(piece) for packet in packets for piece in reader.pieces(packet)]
    return np.concatenate([block for block in (*blocks, reader.finish()) if block.size])


def cut(content, cuts):
    edges = [0, *sorted(int(at * len(content)) for at in cuts), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=8), wav=st.booleans())
def test_a_channel_of_a_stream_is_what_it_would_be_alone(sides, file_of, cuts, wav):
    def heard(samples, separate):
        content = file_of(samples, RATE)
        if wav:
            return read_through(WavReader(lambda header: None, separate), cut(content, cuts))
        raw = PcmFormat(Encoding.LINEAR16, RATE, samples.shape[1])
        return read_through(PacketReader(raw, separate), cut(content[44:], cuts))

    together = heard(sides, separate=True)
    assert together.shape == (16_000, 3)
    for number in range(3):
        alone = heard(sides[:, [number]], separate=False)
        assert together[:, number].tobytes() == alone.tobytes()


@pytest.mark.parametrize(("container", "codec"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16")])
def test_a_channel_of_a_file_is_what_it_would_be_alone(sides, file_of, container, codec):
    make = partial(file_of, sample_rate=RATE, container=container, codec=codec)
    together = list(ApartRecording(make(sides), separate=True).blocks())
    assert max(map(len, together)) <= 8_500  # blocks are no longer than of one channel
    for number in range(3):
        alone = np.concatenate(list(decode.read(make(sides[:, number]))))
        assert np.concatenate(together)[:, number].tobytes() == alone.tobytes()


@pytest.mark.parametrize(("container", "codec"), [("mp4", "alac"), ("webm", "libopus")])
def test_ffmpegs_files_have_channels_too(sides, media_of, container, codec):
    content = media_of(sides[:, :2], 48_000, container, codec)
    together = np.concatenate(list(decode.open_recording(content, separate=True).blocks()))
    mixed = np.concatenate(list(decode.read(content)))
    assert together.shape == (mixed.size, 2)
    assert np.abs(together.mean(axis=1) - mixed).max() < 1e-5
    assert np.abs(together[:, 0] - together[:, 1]).max() > 0.1


def test_ogg_opus_has_channels_too(sides, file_of):
    content = file_of(sides[:, :2], 48_000, "OGG", "OPUS")
    together = read_through(OpusReader(lambda header: None, separate=True), cut(content, [0.1, 0.5]))
    mixed = read_through(OpusReader(lambda header: None), [content])
    assert together.shape == (mixed.size, 2)
    assert np.abs(together.mean(axis=1) - mixed).max() < 1e-5


def test_an_ogg_stream_may_not_change_its_number_of_channels(sides, file_of):
    links = [file_of(sides[:, :count], 48_000, "OGG", "OPUS") for count in (2, 1)]
    assert read_through(OpusReader(lambda header: None), links).ndim == 1
    with pytest.raises(AudioError, match="changes its number of channels"):
        read_through(OpusReader(lambda header: None, separate=True), links)


def test_one_channel_by_itself_is_still_one_of_many():
    channels = Channels(16_000, 1, separate=True)
    assert channels.accept(np.zeros((5, 1), np.float32)).shape == (5, 1)
    assert channels.finish().shape == (0, 1)


def test_more_channels_than_anybody_speaks_in_are_mixed_or_refused(file_of):
    many = np.zeros((100, MAX_SEPARATE + 1), np.float32)
    content = file_of(many)
    assert sum(block.size for block in decode.read(content)) == 100
    for refused in (
        lambda: ApartRecording(content, separate=True),
        lambda: read_through(WavReader(lambda header: None, separate=True), [content]),
        lambda: PacketReader(PcmFormat(Encoding.LINEAR16, 16_000, MAX_SEPARATE + 1), separate=True),
    ):
        with pytest.raises(AudioError, match="up to 8 channels"):
            refused()


def test_the_fewest_frames_of_the_most_channels_fit_a_frame_of_the_dialogue(file_of):
    noise = np.random.default_rng(0).uniform(-1, 1, (192_000 * 2, MAX_SEPARATE)).astype(np.float32)
    blocks = ApartRecording(file_of(noise, 192_000), separate=True).blocks()
    assert sum(map(len, blocks)) == 32_000


def test_a_wav_may_lie_about_its_channels(file_of):
    content = bytearray(file_of(np.zeros((100, 2), np.float32)))
    content[22:24] = struct.pack("<H", 7)  # of a frame of four bytes
    with pytest.raises(AudioError):
        read_through(WavReader(lambda header: None, separate=True), [bytes(content)])
