"""Segments read side by side, over a model that hears tones (conftest.py): what one stream gives."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.runtime.phrases import Phrase
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Transcript
from asr.runtime.segments import IN_STEP, Cutter, Segment, add, grouped, in_step, read_alone, read_group, segments

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"
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
    stream = hearing().stream(ALIGNED)
    updates = [*stream.accept(samples), *stream.finish()]
    finals = tuple(result for update in updates for result in update.results)
    one_by_one = Transcript(finals, samples.size / 16_000, "en")
    assert compared(hearing().transcribe(samples, ALIGNED, abreast)) == compared(one_by_one)


def test_alternatives_too_are_what_one_stream_gives(hearing, speak):
    samples, asked = speak(speech(3, 200)), Options(alternatives=3)
    stream = hearing().stream(asked)
    finals = tuple(result for update in [*stream.accept(samples), *stream.finish()] for result in update.results)
    assert any(final.alternatives for final in finals)
    said = hearing().transcribe(samples, asked, abreast=2).segments
    assert [one.alternatives for one in said] == [one.alternatives for one in finals]


def test_phrases_are_prepared_once_for_all_segments(hearing, speak, monkeypatch):
    recognizer, made = hearing(), []
    make = recognizer.beam_of
    monkeypatch.setattr(recognizer, "beam_of", lambda options: made.append(options) or make(options))
    asked = Options(phrases=(Phrase("b"),))
    said = recognizer.transcribe(speak(speech(3, 200)), asked, abreast=2)
    assert len(said.segments) > 1
    assert made == [asked]


def test_where_no_thread_is_left_for_a_segment_the_others_do_not_wait_for_it(hearing, speak, monkeypatch):
    class Few(ThreadPoolExecutor):
        def submit(self, *call):
            if self._work_queue.qsize() + len(self._threads) >= 2:
                raise RuntimeError("can't start new thread")
            return super().submit(*call)

    monkeypatch.setattr("asr.runtime.segments.ThreadPoolExecutor", Few)
    group = [Segment(first, first + 16_000, first + 16_000) for first in range(0, 64_000, 16_000)]
    with pytest.raises(RuntimeError, match="new thread"):
        read_group(hearing(), speak("abcdefghijklmnopqrst"), ALIGNED, None, group)


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


@pytest.mark.parametrize("block", [8_000, 16_001, LONGEST, 4 * LONGEST])
def test_a_recording_in_blocks_is_cut_in_the_same_places(speak, block):
    samples = speak(speech(4, 300))
    cutter = Cutter(LONGEST)
    cut = []
    for first in range(0, samples.size, block):
        cut += cutter.accept(samples[first : first + block])
        assert cutter.size < LONGEST, "what is cut is held no longer"
        assert cut[-1][0].seen <= first + block if cut else first + block < LONGEST, "it is cut when it is heard"
    cut += cutter.finish()
    assert len(cut) > 2
    assert [segment for segment, _ in cut] == list(segments(samples, LONGEST))
    assert all(np.array_equal(heard, samples[segment.first : segment.last]) for segment, heard in cut)


@pytest.mark.parametrize("asked", [ALIGNED, Options(alternatives=3, phrases=(Phrase("b"),)), Options(language="auto")])
def test_a_recording_in_blocks_read_segment_by_segment_is_what_one_stream_gives(hearing, speak, asked):
    samples = speak(speech(3, 200))
    stream = hearing().stream(asked)
    updates = [*stream.accept(samples), *stream.finish()]
    one_by_one = tuple(result for update in updates for result in update.results)
    recognizer, cutter, finals = hearing(), Cutter(LONGEST), []
    beam = recognizer.beam_of(asked)
    cut = [each for first in range(0, samples.size, 8_000) for each in cutter.accept(samples[first : first + 8_000])]
    for segment, heard in [*cut, *cutter.finish()]:
        add(finals, read_alone(recognizer, segment, heard, asked, beam))
    assert len(finals) > 2
    assert compared(Transcript(tuple(finals), 0.0, "")) == compared(Transcript(one_by_one, 0.0, ""))


@pytest.mark.parametrize(
    ("quiet", "expected_s"),  # where nobody speaks
    [([(5.0, 7.0), (17.0, 17.6), (20.0, 24.0)], 17.3), ([(13.6, 14.4), (22.0, 22.35)], 22.2), ([(29.7, 40.0)], 29.85)],
)
def test_a_long_recording_is_cut_at_the_first_pause_of_its_last_part(quiet, expected_s):
    """Or else at its quietest point: what comes too early, or is short, is no such pause."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(LONGEST + 16_000).astype(np.float32)
    for first_s, last_s in quiet:
        samples[int(first_s * 16_000) : int(last_s * 16_000)] *= 0.001
    first = next(segments(samples, LONGEST))
    assert first.last / 16_000 == pytest.approx(expected_s, abs=0.1)
    assert first.seen == LONGEST


def test_a_failure_in_one_segment_is_the_callers_to_see(hearing, speak):
    recognizer = hearing()
    encode, times = recognizer.encoder.encode, count()

    def fails_at_the_second(samples):
        if next(times) == 1:
            raise RuntimeError("no memory")
        return encode(samples)

    recognizer.encoder.encode = fails_at_the_second
    with pytest.raises(RuntimeError, match="no memory"):
        recognizer.transcribe(speak("abcdefghijklmnopqrst" * 18), abreast=2)


@pytest.mark.parametrize(
    ("every", "abreast", "most"), [(1, 1, 4), (5, 1, 4), (60, 2, 4), (3, 2, 4), (7, 2, 1), (1, 3, 4)]
)
def test_groups_are_neighbours_of_nearly_one_size(every, abreast, most):
    groups = grouped([Segment(first, first + 1, first + 1) for first in range(every)], abreast, most)
    sizes = [len(group) for group in groups]
    assert [segment.first for group in groups for segment in group] == list(range(every))
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) >= min(abreast, every)


def test_what_would_not_be_the_same_beside_others_is_read_alone(hearing, recognizer):
    assert in_step(recognizer, ALIGNED) == 1, "at two threads a batch is not its rows"
    assert in_step(hearing(), ALIGNED) == 1, "nor without 8 bits"
    assert in_step(hearing(quantisation="int8"), replace(ALIGNED, beam=4)) == 1, "nor a beam, whose rows are a batch"
    assert in_step(hearing(quantisation="int8"), ALIGNED) == IN_STEP


@pytest.mark.parametrize("abreast", [1, 2])
def test_real_recordings_in_step_are_what_one_stream_gives(clip, abreast):
    recognizer = Recognizer.load(SHIPPED, threads=1)
    names = ["librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930", "goforward"]
    pause = np.zeros(8_000, np.float32)
    samples = np.concatenate([part for name in names * 2 for part in (clip(name), pause)])
    stream = recognizer.stream(ALIGNED)
    updates = [*stream.accept(samples), *stream.finish()]
    finals = tuple(result for update in updates for result in update.results)
    one_by_one = Transcript(finals, samples.size / 16_000, "en")
    assert len(one_by_one.segments) > 2
    assert compared(recognizer.transcribe(samples, ALIGNED, abreast)) == compared(one_by_one)
