import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.ogg import CHECKSUM, HEAD, PacketJoiner, PageReader, checksum_of
from asr.errors import AudioError


def pages_in(packets):
    reader = PageReader()
    return [page for packet in packets for page in reader.accept(packet)]


def joined(ogg, max_bytes=300_000):
    joiner = PacketJoiner(max_bytes)
    return [packet for page in pages_in([ogg]) for packet in joiner.accept(page)]


@pytest.fixture(scope="module")
def ogg(speechlike, file_of):
    return file_of(speechlike(96_000, 48_000), 48_000, "OGG", "OPUS")


def test_our_checksum_is_that_of_another_writer(ogg):
    pages = [b"OggS" + rest for rest in ogg.split(b"OggS")[1:]]
    assert len(pages) > 2
    for page in pages:
        assert struct.pack("<I", checksum_of(page)) == page[CHECKSUM]


def test_a_file_is_its_pages(ogg):
    pages = pages_in([ogg])
    assert [page.sequence for page in pages] == list(range(len(pages)))
    assert pages[0].is_first
    assert pages[-1].is_last
    assert pages[0].pieces[0].startswith(b"OpusHead")
    assert pages[1].pieces[0].startswith(b"OpusTags")


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=12))
def test_cuts_change_no_page(ogg, cuts):
    edges = [0, *sorted(int(cut * len(ogg)) for cut in cuts), len(ogg)]
    assert pages_in([ogg[start:end] for start, end in pairwise(edges)]) == pages_in([ogg])


def test_a_page_comes_when_its_last_byte_has_come(ogg):
    end = ogg.index(b"OggS", 4)
    reader = PageReader()
    assert list(reader.accept(ogg[: end - 1])) == []
    assert len(list(reader.accept(ogg[end - 1 : end]))) == 1
    assert not reader.held


@pytest.mark.parametrize("at", [5, 10, 20, 24, 30, 60])
def test_any_wrong_byte_is_seen(ogg, at):
    damaged = bytearray(ogg)
    damaged[at] ^= 1
    with pytest.raises(AudioError, match="damaged: the checksum of page"):
        pages_in([bytes(damaged)])


@pytest.mark.parametrize("first", [b"Ogg", b"O", b"OggX", b"garbage", bytes(100)])
def test_what_is_no_page_is_refused_at_once_and_what_may_become_one_waited_for(first):
    if b"OggS".startswith(first):
        assert pages_in([first]) == []
    else:
        with pytest.raises(AudioError, match="a page does not begin"):
            pages_in([first])


def test_packets_that_span_pages_are_joined(ogg_pages):
    packets = [np.random.default_rng(size).bytes(size) for size in (0, 254, 255, 256, 1_000, 200_000, 3)]
    assert joined(ogg_pages(packets)) == packets


def test_a_packet_without_end_is_refused(ogg_pages):
    with pytest.raises(AudioError, match="longer than 100000 bytes"):
        joined(ogg_pages([bytes(10), bytes(200_000)]), 100_000)


def test_a_page_that_is_missing_is_named(ogg):
    starts = [at for at in range(len(ogg)) if ogg.startswith(b"OggS", at)]
    without = ogg[: starts[1]] + ogg[starts[2] :]
    with pytest.raises(AudioError, match="2 came where 1 belongs"):
        joined(without)


def test_the_head_of_a_page_is_27_bytes():
    assert HEAD.size == 27  # RFC 3533, section 6
