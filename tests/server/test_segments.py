"""Long files at full context: segments are read side by side where workers are idle, and nothing else is new."""

import asyncio
import gc
import threading
import time
import weakref
from itertools import count

import grpc
import numpy as np
import pytest

from asr.v1 import speech_pb2
from server import messages, service

RATE = 16_000
LONGEST_S = 30  # of the fake's segments; those of silence are a little longer than half of it
WAIT_S = 20  # for what must happen; nothing is measured by it
RAW = {"encoding": "LINEAR16", "sample_rate_hertz": RATE}


class Work:
    """What a fake's pieces of work do: they come, and go on when the gate opens."""

    def __init__(self):
        self.gate = threading.Event()
        self.came = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.now = self.most = 0  # at the same moment

    def __call__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.came.release()
        self.gate.wait(WAIT_S)
        with self.lock:
            self.now -= 1


@pytest.fixture
def work():
    work = Work()
    yield work
    work.gate.set()


@pytest.fixture
def heard(monkeypatch):
    """How many samples each block has that was decoded."""
    decode, heard = service.recording_blocks, []

    def counted(*arguments):
        for block in decode(*arguments):
            heard.append(block.size)
            yield block

    monkeypatch.setattr(service, "recording_blocks", counted)
    return heard


@pytest.fixture
def read(monkeypatch):
    """The samples of each segment that was read, as long as somebody holds them."""
    alone, read = service.read_alone, []

    def remembered(model, segment, samples, *how):
        read.append(weakref.ref(samples))
        return alone(model, segment, samples, *how)

    monkeypatch.setattr(service, "read_alone", remembered)
    return read


def test_a_long_file_is_answered_as_one_stream_hears_it(serve, recognizer, clip, whole):
    names = ["librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930", "goforward"]
    samples = np.concatenate([clip(name) for name in names * 2])
    content = (samples * 32_768).astype("<i2").tobytes()
    request = whole(content, alignment={"level": "FULL"}, enable_word_time_offsets=True, **RAW)
    wanted = messages.asked(request.config, messages.RECOGNIZE_MODE)
    stream = recognizer.stream(wanted.options)
    updates = [*stream.accept(samples), *stream.finish()]
    finals = [result for update in updates for result in update.results]
    assert len(finals) > 1
    answer = serve(recognizer, workers=2).stub.Recognize(request)
    assert answer == messages.recognize_response(finals, samples.size / RATE, wanted)


def test_one_call_has_as_many_segments_in_work_as_there_are_workers(serve, fake, whole, pcm, work, heard):
    recognizer = fake(beside=work)
    running = serve(recognizer, workers=2)
    call = running.stub.Recognize.future(whole(pcm(300), **RAW))
    for _ in range(2):
        assert work.came.acquire(timeout=WAIT_S)
    running.run(asyncio.sleep(0))  # the call has gone on as far as it may
    assert running.workers._work_queue.empty(), "it has no third piece of work"
    assert sum(heard) <= 3 * LONGEST_S * RATE, "two are in work, and no more than one beside them is decoded"
    work.gate.set()
    response = call.result(WAIT_S)
    assert work.most == 2
    assert sum(heard) == 300 * RATE
    assert response.audio_duration.ToMilliseconds() == 300_000
    assert len(response.results) == len(recognizer.streams) > 10
    ends_ms = [result.result_end_time.ToMilliseconds() for result in response.results]
    assert ends_ms == sorted(ends_ms)
    assert ends_ms[-1] == 300_000


def test_beside_another_call_each_has_its_share(serve, fake, whole, live, pcm, work):
    recognizer = fake()
    running = serve(recognizer, workers=2)
    other_ends = threading.Event()
    other = running.stub.StreamingRecognize(live([pcm(1), other_ends]))
    next(other)
    recognizer.beside = work
    work.gate.wait = lambda _: time.sleep(0.002)  # so that others would meet it, had they begun
    assert running.stub.Recognize(whole(pcm(300), **RAW)).results
    assert work.most == 1
    other_ends.set()
    list(other)


def test_other_latency_modes_are_heard_by_one_stream(serve, fake, whole, pcm):
    recognizer = fake()
    assert serve(recognizer).stub.Recognize(whole(pcm(100), latency_mode="640ms", **RAW)).results
    assert len(recognizer.streams) == 1


def test_the_log_has_what_was_heard_until_a_segment_failed(serve, fake, whole, pcm, speech_log):
    times = count()

    def fails_in_the_second():
        if next(times) == 2:  # each is accepted, then finished
            raise RuntimeError("no memory")

    running = serve(fake(beside=fails_in_the_second), workers=1)
    with pytest.raises(grpc.RpcError) as error:
        running.stub.Recognize(whole(pcm(300), **RAW))
    assert error.value.code() == grpc.StatusCode.INTERNAL
    running.run(running.calls.ended())
    (entry,) = [entry for entry in speech_log.records if entry.message == "call"]
    assert 30 <= entry.fields["audio_s"] < 100
    assert entry.fields["results"] == 0


def test_more_heads_than_a_message_holds_end_the_call_before_all_is_read(serve, fake, whole, recording):
    recognizer = fake(tokens=500)
    stub = serve(recognizer, max_message_bytes=2**16, workers=1).stub
    with pytest.raises(grpc.RpcError) as error:
        stub.Recognize(whole(recording(400, 8_000, container="FLAC"), alignment={"level": "FULL"}))
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert 0 < len(recognizer.streams) < 10


@pytest.mark.parametrize("end", ["error", "cancelled", "answer"])
def test_every_end_of_a_call_lets_go_of_its_segments(serve, fake, whole, pcm, work, read, end):
    recognizer = fake(beside=work)
    running = serve(recognizer, workers=2)
    gc.disable()  # it would find what is held in cycles, but only after many calls
    try:
        call = running.stub.Recognize.future(whole(pcm(300), **RAW))
        for _ in range(2):
            assert work.came.acquire(timeout=WAIT_S)
        if end == "error":
            recognizer.beside = fail
            work.gate.set()
            assert call.code() == grpc.StatusCode.INTERNAL
        elif end == "cancelled":
            call.cancel()
            running.run(running.calls.ended())
            work.gate.set()
        else:
            work.gate.set()
            assert call.result(WAIT_S).results
        running.run(running.calls.ended())
        both = threading.Barrier(2, timeout=WAIT_S)  # a worker holds its last work until the next
        for waiting in [running.workers.submit(both.wait) for _ in range(2)]:
            waiting.result(WAIT_S)
        until = time.monotonic() + WAIT_S
        while any(samples() is not None for samples in read) and time.monotonic() < until:
            time.sleep(0.01)
        assert [samples() for samples in read if samples() is not None] == []
        if end == "cancelled":
            assert len(read) == 2, "none is read for nobody"
    finally:
        gc.enable()


def fail():
    raise RuntimeError("no memory")


def test_phrases_are_prepared_once_for_all_segments(serve, fake, whole, pcm, monkeypatch):
    recognizer, made, given = fake(), [], []
    monkeypatch.setattr(recognizer, "beam_of", lambda options: made.append(options) or "a beam", raising=False)
    stream = recognizer.stream
    monkeypatch.setattr(
        recognizer, "stream", lambda options, start, beam: given.append(beam) or stream(options, start, beam)
    )
    serve(recognizer).stub.Recognize(whole(pcm(100), speech_contexts=[{"phrases": ["heard"]}], **RAW))
    assert len(made) == 1
    assert set(given) == {"a beam"}
    assert len(given) > 2


def test_a_recording_that_breaks_off_late_is_refused(serve, whole, pcm):
    with pytest.raises(grpc.RpcError) as error:
        serve().stub.Recognize(speech_pb2.RecognizeRequest(config=RAW, audio_content=pcm(100) + b"x"))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
