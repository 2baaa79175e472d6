"""Channels heard each by itself, over a model that hears tones (conftest.py)."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import OptionError
from asr.runtime.channels import ChannelStreams
from asr.runtime.recognizer import Options
from asr.runtime.result import Kind

TEXTS = ("abcd________efghij__klm________", "____________nop_qrst", "")
LIVE = Options(latency_mode="640ms", alignment=True, activity=True)


@pytest.fixture
def sides(speak):
    """(n, 3): three people, one of whom is silent."""
    spoken = [speak(text) if text else np.zeros(0, np.float32) for text in TEXTS]
    longest = max(samples.size for samples in spoken)
    return np.stack([np.pad(samples, (0, longest - samples.size)) for samples in spoken], axis=1)


def told(stream, packets):
    updates = [update for packet in packets for update in stream.accept(packet)]
    return [*updates, *stream.finish()]


def essence(update, channel=0):
    """All but the cursors, down to the bits; as if it were of that channel."""
    return (
        [
            (
                {**vars(replace(result, channel=channel)), "alignment": None},
                [(row.row_id, row.provisional, row.weights.tobytes()) for row in result.alignment.rows],
            )
            for result in update.results
        ],
        update.event and replace(update.event, channel=channel),
    )


def channel_of(update):
    (channel,) = {each.channel for each in (*update.results, *filter(None, [update.event]))}
    return channel


@pytest.mark.parametrize("mode", ["full", "640ms", "320ms"])
def test_each_says_what_it_would_say_alone(hearing, sides, mode):
    recognizer, options = hearing(), replace(LIVE, latency_mode=mode, activity=mode != "full")
    together = told(ChannelStreams(recognizer, options), [sides])
    assert {channel_of(update) for update in together} == {1, 2}
    for number in range(3):
        alone = told(recognizer.stream(options), [np.ascontiguousarray(sides[:, number])])
        ours = [update for update in together if channel_of(update) == number + 1]
        assert list(map(essence, ours)) == list(map(essence, alone))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.floats(0, 1), max_size=12))
def test_packets_change_neither_words_nor_order_nor_cursors(hearing, sides, cuts):
    recognizer = hearing()

    def heard(edges):
        updates = told(ChannelStreams(recognizer, LIVE), [sides[start:end] for start, end in pairwise(edges)])
        return [(essence(update, channel_of(update)), update.cursors) for update in updates]

    assert heard([0, *sorted(int(cut * len(sides)) for cut in cuts), len(sides)]) == heard([0, len(sides)])


def test_what_becomes_known_first_is_told_first_of_equals_the_first_channel(hearing, sides):
    updates = told(ChannelStreams(hearing(), LIVE), [sides])
    order = [(result.emission_s, result.channel) for update in updates for result in update.results]
    assert order == sorted(order)
    assert len(order) > 10


def test_cursors_are_those_of_the_channel_that_is_furthest_behind(hearing, sides):
    stream = ChannelStreams(hearing(), LIVE)
    for sample in range(0, len(sides), 320):
        for update in stream.accept(sides[sample : sample + 320]):
            assert update.cursors.received_s >= update.cursors.processed_s >= update.cursors.finalised_s
            each = [one.cursors for one in stream.streams]
            assert update.cursors.finalised_s <= min(one.finalised_s for one in each)
            assert update.cursors.processed_s <= min(one.processed_s for one in each)
    assert update.cursors.finalised_s > 4  # who is silent holds nobody back


def test_no_later_result_speaks_of_what_the_cursor_called_final(hearing, sides):
    finalised_s = 0.0
    for update in told(ChannelStreams(hearing(), LIVE), [sides]):
        assert all(result.start_s >= finalised_s for result in update.results)
        assert update.cursors.finalised_s >= finalised_s
        finalised_s = update.cursors.finalised_s


def test_a_flush_is_answered_once_after_the_finals_of_all(hearing, sides):
    stream = ChannelStreams(hearing(), LIVE)
    stream.accept(sides[: len(sides) // 2])
    *finals, flushed = stream.flush()
    assert flushed.event.kind is Kind.FLUSHED
    assert flushed.event.channel == 0
    assert flushed.cursors.processed_s == flushed.cursors.finalised_s == len(sides) // 2 / 16_000
    assert all(update.event is None or update.event.kind is not Kind.FLUSHED for update in finals)
    assert stream.accept(sides[len(sides) // 2 :])


def test_nothing_said_is_nothing_told_and_a_flush_is_answered_all_the_same(hearing):
    stream = ChannelStreams(hearing(), LIVE)
    assert stream.accept(np.zeros(0, np.float32)) == []
    (flushed,) = stream.flush()
    assert flushed.event.kind is Kind.FLUSHED
    assert stream.finish() == []


@pytest.mark.parametrize("name", ["start_timeout_s", "end_timeout_s"])
def test_a_timeout_of_all_at_once_is_refused(hearing, name):
    with pytest.raises(OptionError, match="one by one"):
        ChannelStreams(hearing(), replace(LIVE, **{name: 1.0}))


def test_options_are_checked_before_audio_comes(hearing):
    with pytest.raises(OptionError, match="latency mode"):
        ChannelStreams(hearing(), Options(latency_mode="1ms"))
