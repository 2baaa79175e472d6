"""Callers that mean harm, or know no better, against a server with the shipped model, over its socket.

    FUZZ_CASES=5000 FUZZ_SEED=7 pytest tests/e2e/test_hostile.py -s

Whatever they send ends in a status that says whose fault it is; the server goes on, its other callers get every bit
that they get alone, and its memory stays where it was. The suite spends a few seconds on it. A case that fails is
shrunk and printed; everything stays on this machine, a bounded number of calls at a time.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import soundfile
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from asr.v1 import speech_pb2, speech_pb2_grpc

CASES = int(os.environ.get("FUZZ_CASES", "30"))
SEED = int(os.environ.get("FUZZ_SEED", "13"))
WAIT_S = 60  # for what must happen; nothing is measured by it
MOST_GROWTH_KB = 50_000
PLACES = 8
RATE = 16_000
SERVICE = "/asr.v1.SpeechRecognition/"
RESPONSES = {
    "Recognize": speech_pb2.RecognizeResponse,
    "Align": speech_pb2.AlignResponse,
    "ListModels": speech_pb2.ListModelsResponse,
}
CALLERS_FAULT = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE"}
CLIP = Path(__file__).parents[1] / "data" / "goforward.wav"
SPEECH = soundfile.read(CLIP, dtype="int16")[0].astype("<i2").tobytes()
LIVE = speech_pb2.StreamingRecognizeRequest(
    streaming_config={
        "config": {"encoding": "LINEAR16", "sample_rate_hertz": RATE, "alignment": {"level": "MEAN_U8"}},
        "interim_results": True,
    }
)
FLUSH = speech_pb2.StreamingRecognizeRequest(flush={}).SerializeToString()

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
lasting = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def audio(packet):
    return speech_pb2.StreamingRecognizeRequest(audio_content=packet)


def ordinary(stub):
    """What a well-behaved caller gets, to the bit."""
    packets = [audio(SPEECH[start : start + 6_400]) for start in range(0, len(SPEECH), 6_400)]
    responses = stub.StreamingRecognize(iter([LIVE, *packets]), timeout=WAIT_S)
    return [response.SerializeToString(deterministic=True) for response in responses]


@pytest.fixture(scope="module")
def server(start_shared_server):
    """With what an ordinary caller gets, and the memory that it takes after as much as honest callers ask at once.

    onnxruntime keeps what its largest calls needed, so only beyond that anything would be lost.
    """
    server = start_shared_server("--max_streams", str(PLACES), "--max_recording_s", "30")
    server.expected = ordinary(server.speech)
    assert any(b"forward" in response for response in server.expected)
    everything = {"encoding": "LINEAR16", "sample_rate_hertz": RATE, "alignment": {"level": "FULL"}}
    server.speech.Recognize(speech_pb2.RecognizeRequest(config=everything, audio_content=SPEECH * 8))
    with ThreadPoolExecutor(PLACES) as callers:
        list(callers.map(ordinary, [server.speech] * PLACES))
    server.before_kb = memory_kb(server)
    return server


@pytest.fixture(autouse=True)
def goes_on_as_before(server):
    """After each test of this file."""
    yield
    assert ordinary(server.speech) == server.expected
    assert memory_kb(server) - server.before_kb < MOST_GROWTH_KB
    entries = [json.loads(line) for line in server.stderr.read_text().splitlines() if line.startswith("{")]
    assert [entry for entry in entries if entry["level"] == "error"] == []


def memory_kb(server):
    fields = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(field.split()[1]) for field in fields if field.startswith("VmRSS:"))


def status_of(call):
    """Its name, and what came before it."""
    responses = []
    try:
        for response in call():
            responses.append(response)
    except grpc.RpcError as error:
        return error.code().name, responses
    return "OK", responses


# --- what they send ---

NAMED = {  # what is long has a name, so that a failing case can be read
    "": b"",
    "one byte": b"\0",
    "silence": bytes(3_200),
    "much silence": bytes(100_000),
    "half a word": SPEECH[:20_001],
    "speech": SPEECH,
    "RIFF": b"RIFF",
    "OggS": b"OggS",
    "a file": CLIP.read_bytes(),
    "a file cut": CLIP.read_bytes()[:5_000],
}


def content_of(named):
    return NAMED[named] if isinstance(named, str) else named


integers = st.sampled_from([0, 1, -1, 2, 9, 65, 8_000, 16_000, 44_100, 2**31 - 1, -(2**31)]) | st.integers(
    -(2**31), 2**31 - 1
)
floats = st.floats(width=32) | st.sampled_from([0.0, 0.5, 1.0, -1.0])
words = st.sampled_from(["", "en", "auto", "full", "640ms", "tiny.en-streaming", "\0", "../.."]) | st.text(max_size=20)
endpoints = st.fixed_dictionaries(
    {},
    optional={
        **{f"{name}_history{end}": integers for name, end in (("start", ""), ("stop", ""), ("stop", "_eou"))},
        **{f"{name}_threshold{end}": floats for name, end in (("start", ""), ("stop", ""), ("stop", "_eou"))},
    },
)
durations = st.fixed_dictionaries(
    {}, optional={"seconds": st.integers(-(2**63), 2**63 - 1), "nanos": st.integers(-(2**31), 2**31 - 1)}
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "encoding": st.sampled_from([0, 1, 2, 3, 6, 8, 9, 20, -1, 99, 2**31 - 1]),
        "sample_rate_hertz": integers,
        "audio_channel_count": integers,
        "enable_separate_recognition_per_channel": st.booleans(),
        "max_alternatives": integers,
        "enable_word_time_offsets": st.booleans(),
        "language_code": words,
        "model": words,
        "latency_mode": words,
        "rescore_finals": st.booleans(),
        "alignment": st.fixed_dictionaries({}, optional={"level": st.integers(-1, 6), "top_k": integers}),
        "endpointing_config": endpoints,
    },
)
plain = st.just({"encoding": 1, "sample_rate_hertz": RATE})
odd_openings = st.builds(
    lambda config, interim, events, timeout: speech_pb2.StreamingRecognizeRequest(
        streaming_config={
            "config": config,
            "interim_results": interim,
            "enable_voice_activity_events": events,
            "voice_activity_timeout": timeout,
        }
    ).SerializeToString(),
    config=plain | plain | st.builds(lambda odd: {"encoding": 1, "sample_rate_hertz": RATE, **odd}, configs) | configs,
    interim=st.booleans(),
    events=st.booleans(),
    timeout=st.none()
    | st.fixed_dictionaries({}, optional={"speech_start_timeout": durations, "speech_end_timeout": durations}),
)
sound_openings = st.builds(
    lambda mode, channels, interim, level: speech_pb2.StreamingRecognizeRequest(
        streaming_config={
            "config": {
                "encoding": 1,
                "sample_rate_hertz": RATE,
                "latency_mode": mode,
                "audio_channel_count": channels,
                "enable_separate_recognition_per_channel": channels > 1,
                "alignment": {"level": level},
            },
            "interim_results": interim,
        }
    ).SerializeToString(),
    mode=st.sampled_from(["", "full", "1280ms", "320ms"]),
    channels=st.sampled_from([0, 1, 2]),
    interim=st.booleans(),
    level=st.integers(0, 4),
)
openings = st.one_of(sound_openings, sound_openings, odd_openings)
packets = st.one_of(
    st.sampled_from(["", "one byte", "silence", "much silence", "half a word", "speech", "RIFF", "OggS"]),
    st.binary(max_size=3_000),
).map(lambda packet: audio(content_of(packet)).SerializeToString())
garbage = st.binary(max_size=80) | st.builds(
    lambda whole, cut: whole[: int(cut * len(whole))], openings, st.floats(0, 1)
)
speaking = st.lists(st.one_of(packets, packets, packets, st.just(FLUSH)), max_size=8)
mischief = st.lists(st.one_of(packets, st.just(FLUSH), st.just(b""), openings, garbage), max_size=3)
streams = st.builds(
    lambda first, then, last: [*first, *then, *last],
    st.one_of(st.lists(openings, min_size=1, max_size=1), st.lists(openings, min_size=1, max_size=1), mischief),
    speaking,
    st.one_of(st.just([]), mischief),
)


# --- what comes of it ---


def test_any_sequence_of_requests_ends_in_a_status_that_says_whose_fault_it_is(server):
    ends = Counter()
    call = server.channel.stream_stream(
        SERVICE + "StreamingRecognize", response_deserializer=speech_pb2.StreamingRecognizeResponse.FromString
    )

    @seed(SEED)
    @lasting
    @given(sequence=streams)
    def send(sequence):
        status, responses = status_of(lambda: call(iter(sequence), timeout=WAIT_S))
        ends[status] += 1
        assert status in {"OK", *CALLERS_FAULT}, sequence
        assert all(bool(response.results) != response.HasField("event") for response in responses)

    send()
    print(f"\nstreams: {dict(ends)}; memory {memory_kb(server) - server.before_kb} kB more")
    assert ends["OK"] > 0
    assert ends["INVALID_ARGUMENT"] > 0


@pytest.mark.parametrize("method", RESPONSES)
def test_any_request_ends_in_a_status_that_says_whose_fault_it_is(server, method):
    ends = Counter()
    call = server.channel.unary_unary(SERVICE + method, response_deserializer=RESPONSES[method].FromString)
    contents = st.sampled_from(["", "one byte", "a file", "a file cut", "half a word"]) | st.binary(max_size=200)

    def recognize(config, content):
        return speech_pb2.RecognizeRequest(config=config, audio_content=content_of(content)).SerializeToString()

    def align(config, content, text):
        return speech_pb2.AlignRequest(config=config, audio_content=content_of(content), text=text).SerializeToString()

    kinds = {
        "Recognize": st.builds(recognize, plain | configs, contents),
        "Align": st.builds(align, plain | configs, contents, words | st.just("go forward")),
        "ListModels": st.just(b""),
    }

    @seed(SEED)
    @lasting
    @given(request=kinds[method] | kinds[method] | st.binary(max_size=60))
    def send(request):
        status, _ = status_of(lambda: [call(request, timeout=WAIT_S)])
        ends[status] += 1
        assert status in {"OK", *CALLERS_FAULT}, request

    send()
    print(f"\n{method}: {dict(ends)}; memory {memory_kb(server) - server.before_kb} kB more")
    assert ends["OK"] > 0


def test_who_hangs_up_at_any_point_takes_nobody_with_him(server):
    dice = random.Random(SEED)
    for _ in range(CASES // 2):
        parts = [LIVE, *(audio(SPEECH[start : start + 6_400]) for start in range(0, 32_000, 6_400))]
        del parts[dice.randrange(len(parts) + 1) :]
        held = threading.Event()

        def requests(parts=parts, held=held):
            yield from parts
            held.wait(WAIT_S)

        call = server.speech.StreamingRecognize(requests(), timeout=WAIT_S)
        time.sleep(dice.random() * 0.02)
        call.cancel()
        held.set()
        assert status_of(lambda call=call: call)[0] == "CANCELLED"
    all_places_are_free(server)


def test_who_is_killed_amid_his_stream_gives_his_place_back(server):
    program = f"""
import grpc, time
from asr.v1 import speech_pb2, speech_pb2_grpc
def requests():
    yield speech_pb2.StreamingRecognizeRequest.FromString({LIVE.SerializeToString()!r})
    yield speech_pb2.StreamingRecognizeRequest(audio_content=bytes(32_000))
    yield speech_pb2.StreamingRecognizeRequest(flush=dict())
    time.sleep({WAIT_S})
stub = speech_pb2_grpc.SpeechRecognitionStub(grpc.insecure_channel({server.address!r}))
calls = [stub.StreamingRecognize(requests()) for _ in range({PLACES})]
for call in calls:
    next(call)
print("all are open", flush=True)
time.sleep({WAIT_S})
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as caller:
        assert caller.stdout.readline() == b"all are open\n"
        assert status_of(lambda: server.speech.StreamingRecognize(iter([LIVE]), timeout=WAIT_S))[0] == (
            "RESOURCE_EXHAUSTED"
        )
        caller.kill()
    all_places_are_free(server)


def all_places_are_free(server):
    """As many streams as there are places can be open together, within a while."""
    until = time.monotonic() + WAIT_S
    while True:
        held = threading.Event()

        def requests(held=held):
            yield LIVE
            yield speech_pb2.StreamingRecognizeRequest(flush={})
            held.wait(WAIT_S)

        calls = [server.speech.StreamingRecognize(requests(), timeout=WAIT_S) for _ in range(PLACES)]
        opened = [next(iter(status_of(lambda call=call: [next(call)])[1]), None) for call in calls]
        held.set()
        for call in calls:
            status_of(lambda call=call: call)
        if all(opened):
            return
        assert time.monotonic() < until, f"{opened.count(None)} places are still taken"
        time.sleep(0.05)


def test_neither_a_reader_that_stands_nor_a_writer_that_stalls_holds_up_another(server):
    held = threading.Event()

    def never_read():
        config = speech_pb2.StreamingRecognizeRequest()
        config.CopyFrom(LIVE)
        config.streaming_config.config.alignment.level = speech_pb2.FULL
        yield config
        for _ in range(8):
            yield audio(SPEECH)
        held.wait(WAIT_S)

    def stalls():
        yield LIVE
        yield audio(SPEECH[:20_000])
        held.wait(WAIT_S)

    calls = [server.speech.StreamingRecognize(kind(), timeout=WAIT_S) for kind in (never_read, stalls) * 2]
    assert ordinary(server.speech) == server.expected
    held.set()
    for call in calls:
        call.cancel()
    all_places_are_free(server)


def test_a_hundred_calls_at_once_are_answered_or_told_that_it_is_full(server):
    ends = Counter()
    with grpc.insecure_channel(server.address) as channel, ThreadPoolExecutor(100) as callers:
        stub = speech_pb2_grpc.SpeechRecognitionStub(channel)

        def call(_):
            try:
                return "OK" if ordinary(stub) == server.expected else "something else"
            except grpc.RpcError as error:
                return error.code().name

        ends.update(callers.map(call, range(100)))
    print(f"\na hundred calls: {dict(ends)}")
    assert set(ends) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert ends["OK"] >= PLACES


def test_others_get_every_bit_that_they_get_alone(server):
    """Three of them, while one sends whatever comes to his mind."""
    over = threading.Event()
    call = server.channel.stream_stream(SERVICE + "StreamingRecognize")
    dice = random.Random(SEED)
    sent = Counter()

    def hostile():
        while not over.is_set():
            sequence = [LIVE.SerializeToString()] * dice.randrange(3)
            for _ in range(dice.randrange(6)):
                sequence.append(dice.choice([b"", FLUSH, dice.randbytes(50), audio(SPEECH).SerializeToString()]))
            sent[status_of(lambda sequence=sequence: call(iter(sequence), timeout=WAIT_S))[0]] += 1

    with ThreadPoolExecutor(4) as callers:
        mischief = callers.submit(hostile)
        try:
            heard = [callers.submit(ordinary, server.speech) for _ in range(6)]
            assert all(future.result() == server.expected for future in heard)
        finally:
            over.set()
        mischief.result()
    assert sent["INVALID_ARGUMENT"] > 0


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",  # the start of a TLS handshake
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1_000,
        random.Random(SEED).randbytes(5_000),
    ],
)
def test_what_is_not_even_http_2_harms_nobody(server, first):
    host, _, port = server.address.rpartition(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as line:
            line.sendall(first)
