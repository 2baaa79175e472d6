import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import decode
from asr.errors import AudioError

WAV_CODECS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
FILES = [
    *(("WAV", codec) for codec in WAV_CODECS),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
USUAL = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
LOUDEST_NOISE = {
    "PCM_U8": 0.01,
    "ULAW": 0.02,
    "ALAW": 0.02,
    "VORBIS": 0.15,
    "OPUS": 0.3,
    "MPEG_LAYER_III": 0.2,
}  # else 16 bits or better
WAV_LENGTH = 40  # where the header of a plain WAV holds the bytes of its samples
FLAC_LENGTH = 21  # where a FLAC holds, in 36 bits, its frames


def samples_of(content):
    return np.concatenate([np.zeros(0, np.float32), *decode.read(content)])


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


@pytest.mark.parametrize(("container", "codec"), FILES)
def test_every_format_gives_its_samples(speechlike, file_of, container, codec):
    samples = speechlike(40_000)
    heard = samples_of(file_of(samples, container=container, codec=codec))
    assert heard.dtype == np.float32
    assert heard.size == samples.size
    assert np.abs(heard - samples).max() < LOUDEST_NOISE.get(codec, 1e-4)
    assert correlation(heard, samples) > 0.95


@pytest.mark.parametrize(("container", "codec"), FILES)
def test_the_header_is_known_before_decoding(speechlike, file_of, container, codec):
    stereo = np.stack([speechlike(24_000, 48_000)] * 2, axis=1)
    header = decode.open_recording(file_of(stereo, 48_000, container, codec)).header
    assert (header.sample_rate, header.channels, header.frames) == (48_000, 2, 24_000)
    assert header.duration_s == 0.5
    assert (header.container, header.codec) == (
        {"OGG": "Ogg", "FLAC": "FLAC", "MP3": "MP3"}.get(container, "WAV"),
        codec,
    )


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 192_000])
def test_other_rates_become_16_khz(speechlike, file_of, rate):
    assert samples_of(file_of(speechlike(rate * 2, rate), rate)).size == 32_000


def test_titles_before_an_mp3_are_passed_over(speechlike, file_of):
    mp3 = file_of(speechlike(20_000), container="MP3", codec="MPEG_LAYER_III")
    title = b"TIT2" + struct.pack(">I", 500) + b"\0\0" + b"\0Title" + b"\xff\xfb" * 247
    tag = b"ID3\x03\0\0" + bytes([0, 0, len(title) >> 7, len(title) & 0x7F]) + title
    assert samples_of(tag + mp3).tobytes() == samples_of(mp3).tobytes()


def test_blocks_are_small(speechlike, file_of):
    assert max(block.size for block in decode.read(file_of(speechlike(80_000)))) <= 8_000


def test_channels_are_mixed_to_their_mean(speechlike, file_of):
    left, right = speechlike(5_000), speechlike(5_000)[::-1]
    heard = samples_of(file_of(np.stack([left, right], axis=1), codec="FLOAT"))
    assert np.allclose(heard, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("codec", WAV_CODECS)
def test_a_file_without_samples_is_no_error(file_of, codec):
    assert list(decode.read(file_of(np.zeros(0, np.float32), codec=codec))) == []


def test_an_opus_file_may_be_called_by_its_clock_and_by_what_was_encoded(speechlike, file_of):
    header = decode.open_recording(file_of(speechlike(24_000, 24_000), 24_000, "OGG", "OPUS")).header
    assert header.has_rate(24_000)
    assert header.has_rate(48_000)
    assert not header.has_rate(44_100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"R", "no audio file"),
        (b"Dear diary, today I spoke to a machine.\n", "no audio file"),
        ("Liebes Tagebuch".encode("utf-16"), "no audio file"),
        (bytes(1_000), "no audio file"),
        (b"RIFF\x24\0\0\0AVI LIST", "no audio file"),
        (b"ID3\x04\0\0\0\0\0\0", "begins like MP3"),
        (b"\xff\xfb\x90\x64" + bytes(400), "begins like MP3"),
        (b"FORM\0\0\0\0AIFF", "this is AIFF"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "cut short or damaged"),
        (b"fLaC" + bytes(10), "cut short or damaged"),
        (b"OggS" + bytes(60), "cut short or damaged"),
    ],
)
def test_what_is_no_recording_is_named_for_what_it_is(content, said):
    with pytest.raises(AudioError, match=said):
        list(decode.read(content))


@pytest.mark.parametrize(("container", "codec"), USUAL)
def test_of_a_file_cut_short_what_is_there_is_read(speechlike, file_of, container, codec):
    samples = speechlike(320_000)
    content = file_of(samples, container=container, codec=codec)
    heard = samples_of(content[: len(content) * 3 // 4])
    assert 0.6 * samples.size < heard.size < 0.8 * samples.size
    assert correlation(heard, samples[: heard.size]) > 0.95


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_whose_length_was_never_written_is_read_to_its_end(speechlike, file_of, length):
    content = bytearray(file_of(speechlike(20_000)))
    content[WAV_LENGTH : WAV_LENGTH + 4] = struct.pack("<I", length)
    content[4:8] = struct.pack("<I", length)
    assert samples_of(bytes(content)).size == 20_000


def test_titles_behind_an_empty_wav_are_not_samples(file_of):
    content = file_of(np.zeros(0, np.float32)) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert samples_of(content).size == 0


def test_a_flac_whose_length_was_never_written_is_read_to_its_last_sample(speechlike, file_of):
    samples = speechlike(20_123)
    content = bytearray(file_of(samples, container="FLAC"))
    content[FLAC_LENGTH] &= 0xF0
    content[FLAC_LENGTH + 1 : FLAC_LENGTH + 5] = bytes(4)
    assert decode.open_recording(bytes(content)).header.duration_s is None
    assert np.abs(samples_of(bytes(content)) - samples).max() < 1e-4


def test_a_header_that_claims_ten_hours_takes_no_memory(speechlike, file_of):
    content = bytearray(file_of(speechlike(20_000), container="FLAC"))
    claimed = 10 * 3600 * 16_000
    content[FLAC_LENGTH + 1 : FLAC_LENGTH + 5] = claimed.to_bytes(4, "big")
    recording = decode.open_recording(bytes(content))
    assert recording.header.duration_s == 36_000
    tracemalloc.start()
    read = sum(block.size for block in recording.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read == 20_000
    assert peak < 2_000_000


def test_damage_amid_a_file_is_an_error_that_names_the_second(speechlike, file_of):
    content = bytearray(file_of(speechlike(480_000), container="FLAC"))
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(500)
    with pytest.raises(AudioError, match=r"damaged 1[45]\.\d s after its start"):
        samples_of(bytes(content))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(speechlike, file_of, bad):
    samples = speechlike(20_000)
    samples[15_000] = bad
    with pytest.raises(AudioError, match="not numbers"):
        samples_of(file_of(samples, codec="FLOAT"))


def test_floats_beyond_full_scale_are_clipped(file_of):
    loud = np.array([3e38, -7, 0.5], np.float32)
    assert samples_of(file_of(loud, codec="FLOAT")).tolist() == [1.0, -1.0, 0.5]


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_a_rate_outside_the_limits_is_refused(file_of, rate):
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        decode.open_recording(file_of(np.zeros(100, np.float32), rate))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(USUAL),
    length=st.floats(0, 1),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
)
def test_any_damage_gives_samples_or_our_error(speechlike, file_of, kind, length, edits):
    content = bytearray(file_of(speechlike(4_000), container=kind[0], codec=kind[1]))
    for place, value in edits:
        content[int(place**3 * len(content))] = value  # mostly in the header
    try:
        heard = samples_of(bytes(content[: int(length * len(content))]))
    except AudioError:
        return
    assert np.isfinite(heard).all()
    assert np.abs(heard).max(initial=0) <= 2  # resampling may overshoot what was clipped
