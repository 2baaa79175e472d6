import numpy as np
import pytest

from asr.audio import decode
from asr.errors import AudioError, NotSupportedError

FILES = [  # (container as FFmpeg writes it, codec it writes, container and codec as they are called here)
    ("mp4", "aac", "MP4", "AAC"),
    ("ipod", "aac", "MP4", "AAC"),
    ("mp4", "alac", "MP4", "ALAC"),
    ("mp4", "libopus", "MP4", "OPUS"),
    ("adts", "aac", "AAC", "AAC"),
    ("webm", "libopus", "WebM", "OPUS"),
    ("webm", "vorbis", "WebM", "VORBIS"),
]
ENCODER_DELAY = 700  # samples at 16 kHz: bare AAC does not say how much of its start is none


def samples_of(content):
    return np.concatenate(list(decode.read(content)))


def likeness(heard, samples):
    """The best correlation within the delay that an encoder may have."""
    size = min(heard.size, samples.size) - ENCODER_DELAY
    return max(np.corrcoef(heard[lag : lag + size], samples[:size])[0, 1] for lag in range(0, ENCODER_DELAY, 2))


@pytest.fixture(scope="module")
def stereo(speechlike):
    return np.stack([speechlike(96_000, 48_000), 0.5 * speechlike(96_000, 48_000)], axis=1)


@pytest.mark.parametrize(("container", "codec", "container_name", "codec_name"), FILES)
def test_every_format_gives_its_samples(stereo, media_of, resampled, container, codec, container_name, codec_name):
    recording = decode.open_recording(media_of(stereo, 48_000, container, codec))
    header = recording.header
    assert (header.container, header.codec, header.sample_rate, header.channels) == (
        container_name,
        codec_name,
        48_000,
        2,
    )
    blocks = list(recording.blocks())
    assert max(block.size for block in blocks) < 12_000
    heard = np.concatenate(blocks)
    assert heard.dtype == np.float32
    assert abs(heard.size - 32_000) <= ENCODER_DELAY
    assert likeness(heard, resampled(stereo.mean(axis=1), 48_000)) > 0.95


def test_the_header_says_how_long_it_is_before_anything_is_decoded(speechlike, media_of):
    header = decode.open_recording(media_of(speechlike(480_000, 48_000))).header
    assert header.duration_s == pytest.approx(10, abs=0.1)


def test_bare_aac_and_a_live_webm_leave_their_length_open(speechlike, media_of):
    samples = speechlike(96_000, 48_000)
    live = media_of(samples, container="webm", codec="libopus", live="1")
    assert decode.open_recording(live).header.duration_s is None
    assert decode.open_recording(media_of(samples, container="adts")).header.duration_s is None


@pytest.mark.parametrize(("container", "codec"), [("adts", "aac"), ("webm", "libopus")])
def test_of_a_file_cut_short_what_is_there_is_read(speechlike, media_of, container, codec):
    content = media_of(speechlike(480_000, 48_000), 48_000, container, codec)
    assert 100_000 < samples_of(content[: len(content) * 3 // 4]).size < 130_000


@pytest.mark.parametrize("container", ["adts", "mp4"])
def test_damage_amid_a_file_is_an_error_that_names_the_second(speechlike, media_of, container):
    content = bytearray(media_of(speechlike(480_000, 48_000), 48_000, container))
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(255 - byte for byte in content[middle : middle + 500])
    with pytest.raises(AudioError, match=r"damaged [45]\.\d s after its start"):
        samples_of(bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x20ftypM4A " + bytes(100),
        b"\x1a\x45\xdf\xa3" + bytes(100),
        b"\xff\xf1\x50\x80" + bytes(100),
        b"\0\0\0\x20ftypM4A ",
    ],
)
def test_a_file_that_only_begins_like_one_is_damaged(media_of, content):
    with pytest.raises(AudioError, match=r"cut short or damaged|holds no sound|holds no samples"):
        decode.open_recording(content)


def test_other_codecs_are_named(speechlike, media_of):
    with pytest.raises(AudioError, match="holds sound as ac3"):
        decode.open_recording(media_of(speechlike(48_000, 48_000), container="mp4", codec="ac3"))


def test_a_playlist_opens_nothing(tmp_path):
    for content in (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"):
        with pytest.raises(AudioError, match="no audio file"):
            decode.open_recording(content)


@pytest.mark.parametrize(
    ("content", "name"), [(b"\0\0\0\x20ftypM4A ", "MP4"), (b"\x1a\x45\xdf\xa3", "WebM"), (b"\xff\xf1\x50\x80", "AAC")]
)
def test_without_the_extra_the_error_names_it(without_av, content, name):
    with pytest.raises(NotSupportedError, match=rf"does not read {name}: it needs the extra 'media'.*heed\[media\]"):
        decode.open_recording(content)
