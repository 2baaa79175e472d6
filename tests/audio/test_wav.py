import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import decode
from asr.audio.wav import MAX_HEADER_BYTES, WavReader
from asr.errors import AudioError

CODECS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
LENGTH = slice(40, 44)  # where a plain WAV says how many bytes of samples it has
TITLES = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"


def heard(packets):
    reader = WavReader(lambda header: None)
    pieces = [piece for packet in packets for piece in reader.pieces(packet)]
    return np.concatenate([*(reader.accept(piece) for piece in pieces), reader.finish()])


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_gives_the_samples_of_the_file(speechlike, file_of, container, codec):
    stereo = np.stack([speechlike(12_000, 24_000), speechlike(12_000)], axis=1)
    content = file_of(stereo, 24_000, container, codec)
    assert np.abs(heard([content]) - np.concatenate(list(decode.read(content)))).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=12))
def test_cuts_change_no_bit(speechlike, file_of, cuts):
    content = file_of(speechlike(2_000), 16_000, "WAVEX", "PCM_24")
    edges = [0, *sorted(cuts), len(content)]
    assert heard([content[start:end] for start, end in pairwise(edges)]).tobytes() == heard([content]).tobytes()


def test_bytes_one_by_one_change_no_bit_and_titles_are_no_samples(speechlike, file_of):
    content = file_of(speechlike(501), codec="PCM_U8")
    content = content[:12] + TITLES + content[12:] + TITLES
    assert heard([bytes([byte]) for byte in content]).tobytes() == heard([content]).tobytes()
    assert heard([content]).size == 501


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_length_that_nobody_could_know_lasts_to_the_end(speechlike, file_of, length):
    content = bytearray(file_of(speechlike(5_000)))
    content[LENGTH] = struct.pack("<I", length)
    assert heard([bytes(content)]).size == 5_000


def test_more_samples_than_the_header_says_are_not_lost_unsaid(speechlike, file_of):
    content = bytearray(file_of(speechlike(5_000)))
    content[LENGTH] = struct.pack("<I", 1_000)
    with pytest.raises(AudioError, match="more audio comes than the WAV header says"):
        heard([bytes(content)])


def test_what_is_cut_within_a_sample_is_there_without_it(speechlike, file_of):
    assert heard([file_of(speechlike(1_000))[:-1]]).size == 999


def test_the_header_is_told_before_any_sample(speechlike, file_of):
    headers = []
    reader = WavReader(headers.append)
    assert list(reader.pieces(file_of(speechlike(100, 44_100), 44_100, codec="ULAW")[:58])) == []
    assert (headers[0].container, headers[0].codec, headers[0].sample_rate, headers[0].channels) == (
        "WAV",
        "ULAW",
        44_100,
        1,
    )


def changed(content, at, by):
    return content[:at] + by + content[at + len(by) :]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda wav: wav[:30], "ended within its WAV header"),
        (lambda wav: b"RIFX" + wav[4:], "big-endian"),
        (lambda wav: changed(wav, 16, struct.pack("<I", 4)), "its format takes 4 bytes"),
        (lambda wav: changed(wav, 20, struct.pack("<H", 17)), "holds format 17"),
        (lambda wav: changed(wav, 22, struct.pack("<H", 0)), r"0 channel\(s\)"),
        (lambda wav: changed(wav, 22, struct.pack("<H", 3)), r"3 channel\(s\)"),
        (lambda wav: changed(wav, 24, struct.pack("<I", 7)), "7 Hz"),
        (lambda wav: changed(wav, 12, b"JUNK"), "samples come before their format"),
        (lambda wav: wav[:12] + (b"JUNK" + bytes(4)) * (MAX_HEADER_BYTES // 8 + 1), "no samples in the first"),
    ],
)
def test_headers_that_make_no_sense_are_refused(file_of, change, said):
    with pytest.raises(AudioError, match=said):
        heard([change(file_of(np.zeros(100, np.float32)))])
