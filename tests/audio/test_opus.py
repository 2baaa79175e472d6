import io
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.opus import OPUS_RATE, Decoder, OpusReader, samples_of
from asr.errors import AudioError, NotSupportedError

SECONDS = 2
HEAD = b"OpusHead\x01\x01" + struct.pack("<HIhB", 312, OPUS_RATE, 0, 0)
TAGS = b"OpusTags" + bytes(8)
QUIET_20_MS = bytes([0xF8, 0xFF, 0xFE])  # what libopus writes for silence
QUIET_120_MS = bytes([0xFB, 6])  # the same as six frames without a byte in them


def heard(packets, check=lambda header: None):
    reader = OpusReader(check)
    pieces = [piece for packet in packets for piece in reader.pieces(packet)]
    return np.concatenate([*(reader.accept(piece) for piece in pieces), reader.finish()])


@pytest.fixture(scope="module")
def ogg(speechlike, file_of):
    """(rate, channels) to a file of two seconds."""
    files = {}
    for rate, channels in ((48_000, 1), (48_000, 2), (16_000, 1)):
        sides = [speechlike(rate * SECONDS, rate), speechlike(rate * SECONDS, rate)[::-1]][:channels]
        files[rate, channels] = file_of(np.stack(sides, axis=1), rate, "OGG", "OPUS")
    return files


@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_gives_what_libsndfile_gives_of_the_file(ogg, channels, resampled):
    content = ogg[48_000, channels]
    theirs, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    ours = heard([content])
    assert ours.size == SECONDS * 16_000
    assert np.abs(ours - resampled(theirs.mean(axis=1), 48_000)).max() < 1e-5


def test_what_was_encoded_at_another_rate_has_its_length_too(ogg, speechlike):
    ours = heard([ogg[16_000, 1]])
    assert ours.size == SECONDS * 16_000
    assert np.corrcoef(ours, speechlike(SECONDS * 16_000))[0, 1] > 0.95


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=12))
def test_cuts_change_no_bit(ogg, cuts):
    content = ogg[48_000, 2]
    edges = [0, *sorted(int(cut * len(content)) for cut in cuts), len(content)]
    assert heard([content[start:end] for start, end in pairwise(edges)]).tobytes() == heard([content]).tobytes()


def test_pieces_last_about_a_second_and_are_counted_before_they_are_decoded(ogg_pages):
    packets = [HEAD, TAGS, *[QUIET_120_MS] * 1_000]  # 3 kB: two minutes
    reader = OpusReader(lambda header: None)
    pieces = reader.pieces(ogg_pages(packets, per_page=250))
    first = next(pieces)
    assert sum(sound.samples for sound in first) == 9 * 5_760  # the least that is a second
    assert reader.received_s == pytest.approx(9 * 0.12 - 312 / OPUS_RATE)
    assert reader.decoder is None
    assert sum(sound.samples for piece in pieces for sound in piece) == (1_000 - 9) * 5_760


def test_pages_without_a_sound_are_paused_at_too(ogg_pages):
    silent = ogg_pages([HEAD, TAGS], closed=False) + ogg_pages([], serial=7)
    reader = OpusReader(lambda header: None)
    others = b"".join(ogg_pages([b"of another stream"], serial=8) for _ in range(200))
    assert list(reader.pieces(silent + others)) == [[], [], []]


@pytest.mark.parametrize(("granule", "samples"), [(960 * 10, 9_600 - 312), (8_000, 8_000 - 312), (9_000, 9_000 - 312)])
def test_the_last_page_says_where_the_sound_ends(ogg_pages, granule, samples):
    packets = [HEAD, TAGS, *[QUIET_20_MS] * 10]
    granules = [0, 0, *range(960, 9 * 960 + 1, 960), granule]
    assert heard([ogg_pages(packets, granules, per_page=5)]).size == round(samples / 3)


def test_a_live_stream_that_was_joined_late_ends_where_its_own_clock_says(ogg_pages):
    packets = [HEAD, TAGS, *[QUIET_20_MS] * 10]
    granules = [0, 0, *(1_000_000 + 960 * number for number in range(1, 10)), 1_000_000 + 9_000]
    assert heard([ogg_pages(packets, granules)]).size == (9_000 - 312) / 3


def test_a_stream_that_just_stops_gives_what_was_whole(ogg):
    content = ogg[48_000, 1]
    assert SECONDS * 8_000 < heard([content[: len(content) - 10]]).size < SECONDS * 16_000


def test_a_recorder_that_was_stopped_and_started_is_heard_on(ogg):
    once, other = heard([ogg[48_000, 1]]), heard([ogg[48_000, 2]])
    both = heard([ogg[48_000, 1] + ogg[48_000, 2]])
    assert both.size == once.size + other.size
    assert np.abs(both[: once.size - 500] - once[:-500]).max() == 0
    assert np.abs(both[once.size + 500 :] - other[500:]).max() < 1e-5


def test_titles_of_any_size_are_passed_over(ogg_pages):
    packets = [HEAD, TAGS + bytes(100_000), QUIET_20_MS, QUIET_20_MS]
    assert heard([ogg_pages(packets, [0, 0, 960, 1_920])]).size == (1_920 - 312) / 3


def test_the_header_is_told_and_may_be_refused(ogg):
    headers = []
    heard([ogg[16_000, 1]], headers.append)
    (header,) = headers
    assert (header.container, header.codec, header.channels) == ("Ogg", "OPUS", 1)
    assert header.has_rate(16_000)
    assert header.has_rate(48_000)
    assert not header.has_rate(44_100)


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        ([HEAD[:-1], TAGS], "header is damaged"),
        ([HEAD[:8] + b"\x10" + HEAD[9:]], "of a version that does not exist"),
        ([HEAD[:9] + b"\x03" + HEAD[10:]], "3 channels in mapping family 0"),
        ([HEAD[:18] + b"\xff"], "mapping family 255"),
        ([b"\x01vorbis" + bytes(23)], "is not Opus"),
        ([HEAD, TAGS, b""], "a packet is empty"),
        ([HEAD, TAGS, b"\xfb"], "how many frames"),
        ([HEAD, TAGS, b"\xfb\x07" + bytes(70)], "longer than 120 ms"),
        ([HEAD, TAGS, b"\xfb\x00"], "or not at all"),
        ([HEAD, TAGS, b"\xfa\xff" + bytes(3)], "cannot be decoded"),
    ],
)
def test_streams_that_make_no_sense_are_refused(ogg_pages, packets, said):
    with pytest.raises(AudioError, match=said):
        heard([ogg_pages(packets)])


def test_a_stream_from_its_middle_is_refused(ogg):
    second_page = ogg[48_000, 1].index(b"OggS", 4)
    with pytest.raises(AudioError, match="without an Opus header"):
        heard([ogg[48_000, 1][second_page:]])


def test_nothing_but_half_a_page_is_refused(ogg):
    with pytest.raises(AudioError, match="ended before its Opus header"):
        heard([ogg[48_000, 1][:40]])


# table 2 of RFC 6716, a packet of one frame for each row's shortest and longest
@pytest.mark.parametrize(
    ("config", "ms"),
    [(0, 10), (3, 60), (4, 10), (7, 60), (11, 60), (12, 10), (13, 20), (15, 20), (16, 2.5), (19, 20), (31, 20)],
)
def test_the_first_byte_says_how_long_a_packet_lasts(config, ms):
    assert samples_of(bytes([config << 3])) == ms * 48
    if ms <= 60:
        assert samples_of(bytes([config << 3 | 1])) == samples_of(bytes([config << 3 | 3, 2])) == 2 * ms * 48


def test_without_the_extra_the_error_names_it(ogg, without_av):
    with pytest.raises(NotSupportedError, match=r"heed\[media\]"):
        heard([ogg[48_000, 1]])


def test_a_decoder_is_made_by_the_first_packet_alone(ogg):
    reader = OpusReader(lambda header: None)
    (piece, *_) = reader.pieces(ogg[48_000, 1])
    reader.accept(piece)
    assert isinstance(reader.decoder, Decoder)
