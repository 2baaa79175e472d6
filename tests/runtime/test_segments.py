"""Segments read side by side, over a model that hears tones (conftest.py): what one stream gives."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.runtime.recognizer import Options
from asr.runtime.segments import segments

LONGEST = 30 * 16_000
ALIGNED = Options(alignment=True, heads=True)


def compared(transcript):
    """All that a transcript says, down to the bits."""
    said = [vars(replace(segment, alignment=None)) for segment in transcript.segments]
    alignments = [segment.alignment for segment in transcript.segments if segment.alignment is not None]
    rows = [
        {**vars(row), "weights": row.weights.tobytes(), "heads": None if row.heads is None else row.heads.tobytes()}
        for alignment in alignments
        for row in alignment.rows
    ]
    wholes = [vars(replace(alignment, rows=())) for alignment in alignments]
    return said, rows, wholes, transcript.duration_s, transcript.language


def speech(seed, words):
    """A text of letters with many pauses, long and short."""
    random = np.random.default_rng(seed)
    text = ""
    for _ in range(words):
        text += "abcdefghijklmnopqrst"[random.integers(20)]
        text += "_" * int(random.choice([0, 0, 0, 1, 3, 9]))
    return text


@given(seed=st.integers(0, 999), words=st.integers(1, 300), abreast=st.integers(2, 5))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_segments_read_side_by_side_are_what_one_stream_gives(hearing, speak, seed, words, abreast):
    samples = speak(speech(seed, words))
    one_by_one = hearing().transcribe(samples, ALIGNED)
    assert compared(hearing().transcribe(samples, ALIGNED, abreast)) == compared(one_by_one)


def test_segments_read_side_by_side_count_their_tokens_on(hearing, speak):
    said = hearing().transcribe(speak(speech(1, 400)), ALIGNED, abreast=3)
    assert len(said.segments) > 3
    ids = [row.row_id for segment in said.segments for row in segment.alignment.rows]
    assert ids == list(range(len(ids)))


def test_segments_are_read_at_the_same_moment(hearing, speak):
    recognizer = hearing()
    together = threading.Barrier(3, timeout=10)
    encode = recognizer.encoder.encode
    recognizer.encoder.encode = lambda samples: (together.wait(), encode(samples))[1]
    samples = speak("abcdefghijklmnopqrst" * 18)  # 86 s: three segments
    assert len(list(segments(samples, LONGEST))) == 3
    assert recognizer.transcribe(samples, abreast=3).text


def test_a_stream_in_chunks_is_read_in_order_whatever_is_asked(hearing, speak):
    samples = speak(speech(2, 200))
    live = replace(ALIGNED, latency_mode="640ms")
    assert compared(hearing().transcribe(samples, live, abreast=4)) == compared(hearing().transcribe(samples, live))


@pytest.mark.parametrize("samples", [0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST])
def test_segments_follow_one_another_to_the_end(samples):
    cut = list(segments(np.random.default_rng(0).standard_normal(samples).astype(np.float32), LONGEST))
    assert [segment.first for segment in cut] == [0, *(segment.last for segment in cut[:-1])][: len(cut)]
    assert sum(segment.last - segment.first for segment in cut) == samples
    assert all(LONGEST / 2 <= segment.last - segment.first <= LONGEST for segment in cut[:-1])


def test_a_failure_in_one_segment_is_the_callers_to_see(hearing, speak):
    recognizer = hearing()
    encode = recognizer.encoder.encode

    def fails_late(samples):
        if samples.size < LONGEST / 3:
            raise RuntimeError("no memory")
        return encode(samples)

    recognizer.encoder.encode = fails_late
    with pytest.raises(RuntimeError, match="no memory"):
        recognizer.transcribe(speak("abcdefghijklmnopqrst" * 18)[: 2 * LONGEST + 20_000], abreast=2)


def test_real_recordings_side_by_side_are_what_one_stream_gives(recognizer, clip):
    names = ["librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930", "goforward"]
    pause = np.zeros(8_000, np.float32)
    samples = np.concatenate([part for name in names for part in (clip(name), pause)])
    one_by_one = recognizer.transcribe(samples, ALIGNED)
    assert len(one_by_one.segments) > 1
    assert compared(recognizer.transcribe(samples, ALIGNED, abreast=2)) == compared(one_by_one)
