import gc
import threading
import time
import weakref

import grpc
import pytest

from asr.runtime.recognizer import Options
from asr.v1 import speech_pb2

RATE = 16_000
WAIT_S = 20
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def refused(call):
    """What came before the error, its status and what it says."""
    before = []
    with pytest.raises(grpc.RpcError) as error:
        before.extend(call)  # extends by what came, then raises
    return before, error.value.code(), error.value.details()


def ended(running):
    """Wait until no call runs."""
    running.run(running.calls.ended())


@pytest.fixture
def gate():
    """Holds whoever waits for it until it is opened; opened at the end whatever happens."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def held(live, gate):
    """Requests whose stream stays open until the gate opens."""

    return lambda parts=(), **config: live([*parts, gate], **config)


def test_text_comes_while_audio_goes(serve, held, pcm):
    call = serve().stub.StreamingRecognize(held([pcm(1)]))
    first = next(call)
    assert not first.results[0].is_final
    assert first.cursors.received.ToMilliseconds() == 1_000
    call.cancel()


def test_the_end_of_the_audio_finalises_the_rest(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(1), pcm(1.5)])))
    assert [response.results[0].is_final for response in responses] == [False, False, True]
    assert responses[-1].cursors.finalised.ToMilliseconds() == 2_500


def test_finals_alone_unless_interims_are_wanted(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(3)], interim=False)))
    assert [response.results[0].is_final for response in responses] == [True]


def test_every_response_has_cursors_and_either_results_or_an_event(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(2), "flush", pcm(2), "flush", "flush"])))
    assert all(response.HasField("cursors") for response in responses)
    assert all(bool(response.results) != response.HasField("event") for response in responses)


def test_a_flush_answers_with_the_final_and_then_its_event_and_the_stream_goes_on(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(1), "flush", pcm(2)], interim=False)))
    kinds = ["flushed" if response.HasField("event") else "final" for response in responses]
    assert kinds == ["final", "flushed", "final"]
    assert responses[1].event.type == speech_pb2.FLUSHED
    assert responses[1].event.time.ToMilliseconds() == responses[1].cursors.finalised.ToMilliseconds() == 1_000
    assert responses[2].results[0].result_end_time.ToMilliseconds() == 3_000


def test_a_flush_takes_what_the_resampler_holds(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(1, 8_000), "flush"], sample_rate_hertz=8_000)))
    assert responses[-1].event.time.ToMilliseconds() == 1_000


def test_a_stream_without_audio_says_nothing(serve, live):
    assert list(serve().stub.StreamingRecognize(live())) == []


@pytest.mark.parametrize("size", [7, 333, 64_000])
def test_packets_change_nothing_that_is_final(serve, fake, live, pcm, size):
    recognizer = fake()
    audio = pcm(0.1)[:-1] + b"\x01"
    packets = [audio[start : start + size] for start in range(0, len(audio), size)]
    (final,) = serve(recognizer).stub.StreamingRecognize(live(packets))
    assert final.results[0].result_end_time.ToMilliseconds() == 100
    assert recognizer.streams[0].received == 1_600


def test_640_ms_is_the_default(serve, fake, live):
    recognizer = fake()
    list(serve(recognizer).stub.StreamingRecognize(live(interim=False)))
    assert recognizer.asked == [Options("640ms", "", alignment=False, interim=False)]


@pytest.mark.parametrize("encoding", ["MULAW", "ALAW"])
def test_telephone_encodings_are_heard(serve, live, encoding):
    responses = list(serve().stub.StreamingRecognize(live([bytes(8_000)], encoding=encoding, sample_rate_hertz=8_000)))
    assert responses[-1].results[0].result_end_time.ToMilliseconds() == 1_000


@pytest.mark.parametrize("size", [7, 20_000])
@pytest.mark.parametrize(("container", "codec"), [("WAV", "PCM_24"), ("OGG", "OPUS")])
def test_a_stream_that_says_itself_what_it_is_needs_no_config(serve, fake, live, recording, container, codec, size):
    recognizer = fake()
    content = recording(0.5, 48_000, 2, container, codec)
    packets = [content[start : start + size] for start in range(0, len(content), size)]
    config = {"encoding": "AUDIO_ENCODING_UNSPECIFIED", "sample_rate_hertz": 0}
    responses = list(serve(recognizer).stub.StreamingRecognize(live(packets, **config)))
    assert responses[-1].results[0].result_end_time.ToMilliseconds() == 500
    assert recognizer.streams[0].received == 8_000


def test_raw_samples_of_which_nothing_is_said_are_refused(serve, live, pcm):
    unsaid = {"encoding": "AUDIO_ENCODING_UNSPECIFIED", "sample_rate_hertz": 0}
    _, code, details = refused(serve().stub.StreamingRecognize(live([pcm(1)], **unsaid)))
    assert code == INVALID
    assert "unspecified" in details


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ({"encoding": "FLAC"}, INVALID, "Recognize"),
        ({"sample_rate_hertz": 0}, INVALID, "sample_rate_hertz"),
        ({"sample_rate_hertz": 7_999}, INVALID, "7999 Hz"),
        ({"audio_channel_count": 100}, INVALID, "100"),
        ({"latency_mode": "1ms"}, INVALID, "1ms"),
        ({"model": "bigger"}, grpc.StatusCode.NOT_FOUND, "bigger"),
        ({"language_code": "tlh"}, grpc.StatusCode.NOT_FOUND, "tlh"),
        ({"enable_separate_recognition_per_channel": True, "audio_channel_count": 9}, INVALID, "up to 8 channels"),
        ({"speech_contexts": [{"phrases": ["?"]}]}, INVALID, "letter"),
        ({"beam_size": 99}, INVALID, "0 to 16"),
    ],
)
def test_a_config_that_cannot_be_served_has_its_status_and_reason(serve, live, config, status, said):
    _, code, details = refused(serve().stub.StreamingRecognize(live(**config)))
    assert code == status
    assert said in details


@pytest.mark.parametrize("packet_s", [0.5, 30])
def test_a_call_in_which_nobody_speaks_ends_well_however_much_is_still_sent(serve, fake, packet_s):
    recognizer = fake()
    running = serve(recognizer)

    def requests():
        config = {"config": {"encoding": "LINEAR16", "sample_rate_hertz": RATE}, "enable_voice_activity_events": True}
        config["voice_activity_timeout"] = {"speech_start_timeout": {"seconds": 2}}
        yield speech_pb2.StreamingRecognizeRequest(streaming_config=config)
        while True:
            yield speech_pb2.StreamingRecognizeRequest(audio_content=bytes(int(packet_s * RATE) * 2))

    responses = list(running.stub.StreamingRecognize(requests()))
    assert [response.event.type for response in responses] == [speech_pb2.SPEECH_ACTIVITY_TIMEOUT]
    assert recognizer.streams[0].finished
    ended(running)


def test_the_config_comes_first(serve):
    audio = speech_pb2.StreamingRecognizeRequest(audio_content=b"\0\0")
    _, code, details = refused(serve().stub.StreamingRecognize(iter([audio])))
    assert code == INVALID
    assert "first request" in details


def test_a_stream_that_ends_before_its_config_is_refused(serve):
    assert refused(serve().stub.StreamingRecognize(iter([])))[1] == INVALID


def test_the_config_comes_once(serve, live, pcm):
    _, code, details = refused(serve().stub.StreamingRecognize(iter([*live([pcm(1)]), *live()])))
    assert code == INVALID
    assert "one streaming_config" in details


def test_an_empty_request_is_refused(serve, live):
    requests = iter([*live(), speech_pb2.StreamingRecognizeRequest()])
    assert refused(serve().stub.StreamingRecognize(requests))[1] == INVALID


def test_audio_that_ends_within_a_sample_is_refused_by_number(serve, live, pcm):
    _, code, details = refused(serve().stub.StreamingRecognize(live([pcm(1) + b"x"])))
    assert code == INVALID
    assert "1 of the 2 bytes" in details


def test_a_stream_beyond_the_limit_is_refused_after_what_it_gave(serve, live, pcm):
    before, code, _ = refused(serve(max_recording_s=2).stub.StreamingRecognize(live([pcm(5)])))
    assert code == grpc.StatusCode.OUT_OF_RANGE
    assert [response.cursors.received.ToMilliseconds() for response in before] == [1_000, 2_000]


def test_a_packet_beyond_the_message_limit_is_refused(serve, live, pcm):
    stub = serve(max_message_bytes=2**16).stub
    assert refused(stub.StreamingRecognize(live([pcm(1), pcm(4)])))[1] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_worker_failure_is_an_error_not_a_short_transcript(serve, fake, live, pcm, speech_log):
    recognizer = fake()

    def break_in_the_third_second():
        if recognizer.streams[0].received >= 2 * 16_000:
            raise RuntimeError("no such file: /a/secret/place")

    recognizer.beside = break_in_the_third_second
    before, code, details = refused(serve(recognizer).stub.StreamingRecognize(live([pcm(5)])))
    assert len(before) == 2
    assert code == grpc.StatusCode.INTERNAL
    assert "secret" not in details
    assert [entry.levelname for entry in speech_log.records if entry.message == "a call failed"] == ["ERROR"]


def test_one_call_more_than_the_limit_is_told_so_and_a_cancelled_one_makes_room(serve, held, live, pcm):
    running = serve(max_streams=1)
    first = running.stub.StreamingRecognize(held([pcm(1)]))
    next(first)
    _, code, details = refused(running.stub.StreamingRecognize(live()))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "all its 1 places are taken" in details
    first.cancel()
    ended(running)
    assert list(running.stub.StreamingRecognize(live([pcm(1)])))


@pytest.mark.parametrize("end", ["error", "cancelled", "half-close"])
def test_every_end_of_a_call_lets_go_of_its_audio(serve, fake, held, live, pcm, end):
    recognizer = fake()
    running = serve(recognizer)
    gc.disable()  # it would find what is held in cycles, but only after many calls
    try:
        if end == "cancelled":
            call = running.stub.StreamingRecognize(held([pcm(1)]))
            next(call)
            call.cancel()
        elif end == "error":
            refused(running.stub.StreamingRecognize(live([pcm(1), b"x"])))
        else:
            list(running.stub.StreamingRecognize(live([pcm(1)])))
        ended(running)
        stream = weakref.ref(recognizer.streams.pop())
        running.workers.submit(int).result(WAIT_S)  # a worker holds its last work until the next
        until = time.monotonic() + WAIT_S
        while stream() is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert stream() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["error", "half-close"])
def test_every_end_of_a_call_makes_room(serve, live, pcm, end):
    running = serve(max_streams=1)
    for _ in range(3):
        if end == "error":
            refused(running.stub.StreamingRecognize(live(model="bigger")))
        else:
            list(running.stub.StreamingRecognize(live([pcm(1)])))
        ended(running)


def test_a_full_server_still_answers_about_itself(serve, held, pcm):
    running = serve(max_streams=1)
    next(running.stub.StreamingRecognize(held([pcm(1)])))
    assert running.stub.ListModels(speech_pb2.ListModelsRequest()).models


def test_cancellation_ends_the_work_on_a_huge_packet(serve, fake, gate, live, pcm):
    recognizer = fake()
    started = threading.Event()

    def work():
        started.set()
        gate.wait(WAIT_S)

    recognizer.beside = work
    running = serve(recognizer, workers=1)
    call = running.stub.StreamingRecognize(live([pcm(300)]))
    assert started.wait(WAIT_S)
    call.cancel()
    ended(running)
    gate.set()
    running.workers.submit(int).result(WAIT_S)  # behind all that is left of the call's work
    assert recognizer.streams[0].received <= 16_000


def test_a_deadline_is_logged_as_one(serve, fake, gate, live, pcm, speech_log):
    recognizer = fake(beside=lambda: gate.wait(WAIT_S))
    running = serve(recognizer)
    _, code, _ = refused(running.stub.StreamingRecognize(live([pcm(1)]), timeout=0.2))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    ended(running)
    (entry,) = [entry for entry in speech_log.records if entry.message == "call"]
    assert entry.fields["status"] == "DEADLINE_EXCEEDED"


def test_who_does_not_read_is_not_read_from(serve, fake, live, pcm):
    """The clock is a second stream that does read: it gets through its audio while the first one stands."""
    seconds = 1_500
    recognizer = fake(word="x" * 20_000)
    running = serve(recognizer)
    standing = running.stub.StreamingRecognize(live([pcm(1)] * seconds))
    next(standing)
    assert len(list(running.stub.StreamingRecognize(live([pcm(1)] * seconds)))) == seconds + 1
    assert recognizer.streams[0].received < seconds / 2 * 16_000
    standing.cancel()


def test_a_stream_gets_its_turn_beside_a_long_recording(serve, fake, live, whole, pcm):
    seconds = 2_000
    recognizer = fake()
    running = serve(recognizer, workers=1)
    in_work = threading.Event()
    recognizer.beside = in_work.set
    long = running.stub.Recognize.future(whole(pcm(seconds), encoding="LINEAR16", sample_rate_hertz=16_000))
    assert in_work.wait(WAIT_S)
    assert list(running.stub.StreamingRecognize(live([pcm(1)])))
    assert sum(stream.received for stream in recognizer.streams) < seconds * 16_000
    long.cancel()
