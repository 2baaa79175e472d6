import io
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.pcm import Encoding, PacketReader, PcmFormat, samples_from
from asr.errors import AudioError

FORMATS = [
    PcmFormat(encoding, rate, channels)
    for encoding in Encoding
    for rate, channels in ((16_000, 1), (16_000, 2), (8_000, 1), (44_100, 3))
]


AUDIO_BYTES = 7_200  # whole frames of each of them


def noise(pcm, seed=0):
    """Bytes that mean something in this encoding: not every float is a number."""
    random = np.random.default_rng(seed)
    if pcm.encoding in (Encoding.FLOAT32, Encoding.FLOAT64):
        kind = "<f4" if pcm.encoding is Encoding.FLOAT32 else "<f8"
        return random.uniform(-2, 2, AUDIO_BYTES).astype(kind).tobytes()[:AUDIO_BYTES]
    return random.bytes(AUDIO_BYTES)


def read(packets, pcm):
    reader = PacketReader(pcm)
    return np.concatenate([*(reader.accept(packet) for packet in packets), reader.finish()])


@settings(max_examples=60, deadline=None)
@given(pcm=st.sampled_from(FORMATS), cuts=st.lists(st.integers(0, AUDIO_BYTES), max_size=12), seed=st.integers(0, 9))
def test_packets_change_no_bit(pcm, cuts, seed):
    audio = noise(pcm, seed)
    edges = [0, *sorted(cuts), len(audio)]
    packets = [audio[start:end] for start, end in pairwise(edges)]
    assert read(packets, pcm).tobytes() == read([audio], pcm).tobytes()


@pytest.mark.parametrize("pcm", FORMATS, ids=str)
def test_packets_of_one_byte_change_no_bit(pcm):
    audio = noise(pcm)[:720]
    assert read([bytes([byte]) for byte in audio], pcm).tobytes() == read([audio], pcm).tobytes()


def test_16_bits_reach_from_minus_one_to_just_below_one():
    samples = samples_from(np.array([-32768, 0, 1, 32767], "<i2").tobytes(), Encoding.LINEAR16)
    assert samples.tolist() == [-1.0, 0.0, 1 / 32768, 32767 / 32768]


@pytest.mark.parametrize(
    ("encoding", "pcm", "samples"),
    [
        (Encoding.UNSIGNED8, b"\x00\x80\xff", [-1.0, 0.0, 127 / 128]),
        (Encoding.LINEAR24, b"\x00\x00\x80\xff\xff\xff\x00\x00\x40", [-1.0, -1 / 2**23, 0.5]),
        (Encoding.LINEAR32, b"\x00\x00\x00\x80\x00\x00\x00\x40", [-1.0, 0.5]),
        (Encoding.FLOAT32, np.array([0.25, -7, 3e38], "<f4").tobytes(), [0.25, -1.0, 1.0]),
        (Encoding.FLOAT64, np.array([0.25, -7, 1e300], "<f8").tobytes(), [0.25, -1.0, 1.0]),
    ],
)
def test_every_width_has_its_scale_and_what_is_beyond_is_clipped(encoding, pcm, samples):
    assert samples_from(pcm, encoding).tolist() == samples


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_refused(bad):
    with pytest.raises(AudioError, match="not numbers"):
        samples_from(np.array([0, bad], "<f4").tobytes(), Encoding.FLOAT32)


# the codes of largest, smallest and a middle magnitude, from the tables of G.711 scaled to 16 bits
@pytest.mark.parametrize(
    ("encoding", "code", "level"),
    [
        (Encoding.MULAW, 0x00, -32124),
        (Encoding.MULAW, 0x80, 32124),
        (Encoding.MULAW, 0xFF, 0),
        (Encoding.MULAW, 0x7F, 0),
        (Encoding.MULAW, 0xEF, 132),
        (Encoding.ALAW, 0x2A, -32256),
        (Encoding.ALAW, 0xAA, 32256),
        (Encoding.ALAW, 0xD5, 8),
        (Encoding.ALAW, 0x55, -8),
        (Encoding.ALAW, 0xC5, 264),
    ],
)
def test_g711_codes_have_their_levels(encoding, code, level):
    assert samples_from(bytes([code]), encoding) * 32768 == level


@pytest.mark.parametrize(("encoding", "subtype"), [(Encoding.MULAW, "ULAW"), (Encoding.ALAW, "ALAW")])
def test_all_256_codes_are_those_of_libsndfile(encoding, subtype):
    codes = bytes(range(256))
    theirs, _ = soundfile.read(
        io.BytesIO(codes), format="RAW", subtype=subtype, samplerate=8_000, channels=1, dtype="float32"
    )
    assert np.array_equal(samples_from(codes, encoding), theirs)


def test_channels_are_mixed_to_their_mean():
    stereo = np.array([[16384, 0], [-16384, 16384], [8192, 8192]], "<i2").tobytes()
    assert read([stereo], PcmFormat(Encoding.LINEAR16, 16_000, 2)).tolist() == [0.25, 0.0, 0.25]


@pytest.mark.parametrize(("channels", "audio_bytes", "left"), [(1, 1_001, 1), (2, 1_003, 3), (3, 1_001, 5)])
def test_audio_that_ends_within_a_frame_is_refused_by_number(channels, audio_bytes, left):
    reader = PacketReader(PcmFormat(Encoding.LINEAR16, 16_000, channels))
    reader.accept(bytes(audio_bytes))
    with pytest.raises(AudioError, match=f"{left} of the {2 * channels} bytes"):
        reader.finish()


def test_a_flush_gives_what_the_resampler_held_and_loses_nothing(speechlike):
    audio = (speechlike(8_000, 8_000) * 32767).astype("<i2").tobytes()
    reader = PacketReader(PcmFormat(Encoding.LINEAR16, 8_000))
    before = reader.accept(audio[:8_001]).size + reader.flush().size
    after = reader.accept(audio[8_001:]).size + reader.finish().size
    assert (before, after) == (8_000, 8_000)


@pytest.mark.parametrize("channels", [-1, 0, 65])
def test_a_channel_count_outside_the_limits_is_refused(channels):
    with pytest.raises(AudioError, match=f"has {channels}"):
        PcmFormat(Encoding.LINEAR16, 16_000, channels)
