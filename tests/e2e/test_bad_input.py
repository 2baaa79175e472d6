"""What can be wrong with a call, one by one, through the socket of a server with the shipped model."""

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from asr.v1 import speech_pb2

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
RAW = {"encoding": "LINEAR16", "sample_rate_hertz": RATE}
MAX_S, MAX_BYTES = 30, 2**20
CLIP = (DATA / "goforward.wav").read_bytes()
SPEECH = soundfile.read(DATA / "goforward.wav", dtype="float32")[0]
SAID = "Go forward 10 meters."


def file_of(samples, rate=RATE, container="WAV", codec="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=codec)
    return file.getvalue()


def noise(loudness):
    return loudness * np.random.default_rng(7).standard_normal(5 * RATE).astype(np.float32)


def with_nan():
    samples = SPEECH.copy()
    samples[9_000] = np.nan
    return samples


def bomb(header_lies):
    """Ten minutes of silence in a few kilobytes."""
    flac = bytearray(file_of(np.zeros(600 * RATE, np.int16), container="FLAC"))
    assert len(flac) < MAX_BYTES / 4
    if header_lies:
        flac[21] &= 0xF0  # STREAMINFO's count of frames, 36 bits: 0 is unknown
        flac[22:26] = bytes(4)
    return bytes(flac)


FILES = {  # content, config, status, what is said: the transcript, or of the error a part
    "empty": (b"", {}, "OK", ""),
    "raw, empty": (b"", RAW, "OK", ""),
    "one sample": (file_of(np.zeros(1)), {}, "OK", ""),
    "raw, one sample": (b"\0\1", RAW, "OK", ""),
    "half a sample": (b"\0", RAW, "INVALID_ARGUMENT", "1 of the 2 bytes"),
    "silence": (file_of(np.zeros(3 * RATE)), {}, "OK", ""),
    "a constant": (file_of(np.full(3 * RATE, 0.5)), {}, "OK", ""),
    "noise": (file_of(noise(0.1)), {}, "OK", ""),
    "noise beyond full scale": (file_of(noise(10.0), codec="FLOAT"), {}, "OK", ""),
    "clipped floats": (file_of(20 * SPEECH, codec="FLOAT"), {}, "OK", None),
    "floats that are no numbers": (file_of(with_nan(), codec="FLOAT"), {}, "INVALID_ARGUMENT", "not numbers"),
    "infinite doubles": (file_of(np.full(RATE, np.inf), codec="DOUBLE"), {}, "INVALID_ARGUMENT", "not numbers"),
    "a WAV that was cut": (CLIP[: len(CLIP) // 2], {}, "OK", "Go forward"),
    "a WAV cut within its header": (CLIP[:30], {}, "INVALID_ARGUMENT", "header cannot be read"),
    "garbage": (np.random.default_rng(0).bytes(20_000), {}, "INVALID_ARGUMENT", "no audio file"),
    "garbage behind a header": (b"fLaC" + bytes(500), {}, "INVALID_ARGUMENT", "header cannot be read"),
    "a text called .wav": (b"Dear diary, today I spoke to a machine.\n" * 50, {}, "INVALID_ARGUMENT", "no audio file"),
    "a rate that the header contradicts": (CLIP, {"sample_rate_hertz": 8_000}, "INVALID_ARGUMENT", "16000 Hz"),
    "channels that the header contradicts": (CLIP, {"audio_channel_count": 2}, "INVALID_ARGUMENT", "header says 1"),
    "raw, no rate": (bytes(320), {"encoding": "LINEAR16"}, "INVALID_ARGUMENT", "needs sample_rate_hertz"),
    "raw, a rate of nobody": (bytes(320), {**RAW, "sample_rate_hertz": 1}, "INVALID_ARGUMENT", "8000 to 192000"),
    "raw, a negative rate": (bytes(320), {**RAW, "sample_rate_hertz": -8_000}, "INVALID_ARGUMENT", "not negative"),
    "raw, no encoding": (bytes(320), {"sample_rate_hertz": RATE}, "INVALID_ARGUMENT", "no audio file"),
    "an encoding of nobody": (CLIP, {"encoding": 99}, "INVALID_ARGUMENT", "encoding 99"),
    "another encoding": (CLIP, {"encoding": "FLAC"}, "INVALID_ARGUMENT", "the file is WAV"),
    "channels without end": (bytes(320), {**RAW, "audio_channel_count": 2**31 - 1}, "INVALID_ARGUMENT", "1 to 64"),
    "an unknown model": (CLIP, {"model": "enormous"}, "NOT_FOUND", "tiny.en-streaming"),
    "an unknown language": (CLIP, {"language_code": "tlh"}, "NOT_FOUND", "tlh"),
    "an unknown latency": (CLIP, {"latency_mode": "1ms"}, "INVALID_ARGUMENT", "640ms"),
    "an unknown level": (CLIP, {"alignment": {"level": 17}}, "INVALID_ARGUMENT", "MEAN_U8"),
    "too long": (file_of(np.zeros(31 * RATE, np.int16)), {}, "OUT_OF_RANGE", "takes 30 s"),
    "too large": (bytes(MAX_BYTES + 1), RAW, "RESOURCE_EXHAUSTED", "arger than max"),
    "a bomb": (bomb(header_lies=False), {}, "OUT_OF_RANGE", "takes 30 s"),
    "a bomb whose header lies": (bomb(header_lies=True), {}, "OUT_OF_RANGE", "takes 30 s"),
}


def config(**fields):
    return speech_pb2.StreamingRecognizeRequest(streaming_config={"config": {**RAW, **fields}})


def audio(packet):
    return speech_pb2.StreamingRecognizeRequest(audio_content=packet)


UNSAID = {"encoding": "AUDIO_ENCODING_UNSPECIFIED", "sample_rate_hertz": 0}
PCM = (SPEECH * 32_767).astype("<i2").tobytes()
STREAMS = {  # requests, status, what is said
    "nothing at all": ([], "INVALID_ARGUMENT", "before its streaming_config"),
    "no audio": ([config()], "OK", ""),
    "empty packets": ([config(), audio(b""), audio(b"")], "OK", ""),
    "one sample": ([config(), audio(b"\0\1")], "OK", ""),
    "half a sample": ([config(), audio(b"\0\1\2")], "INVALID_ARGUMENT", "1 of the 2 bytes"),
    "silence": ([config(), audio(bytes(3 * 2 * RATE))], "OK", ""),
    "noise": ([config(), audio((noise(0.1) * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())], "OK", ""),
    "floats that are no numbers": (
        [config(**UNSAID), audio(file_of(with_nan(), codec="FLOAT"))],
        "INVALID_ARGUMENT",
        "not numbers",
    ),
    "audio before its config": ([audio(PCM), config()], "INVALID_ARGUMENT", "first request of a stream"),
    "a flush before its config": (
        [speech_pb2.StreamingRecognizeRequest(flush={})],
        "INVALID_ARGUMENT",
        "first request of a stream",
    ),
    "its config twice": ([config(), audio(PCM), config()], "INVALID_ARGUMENT", "one streaming_config"),
    "an empty request": ([config(), speech_pb2.StreamingRecognizeRequest()], "INVALID_ARGUMENT", "holds nothing"),
    "a file that cannot be streamed": ([config(encoding="FLAC")], "INVALID_ARGUMENT", "Recognize"),
    "garbage": ([config(**UNSAID), audio(np.random.default_rng(0).bytes(999))], "INVALID_ARGUMENT", "unspecified"),
    "a text called .wav": ([config(**UNSAID), audio(b"Dear diary " * 9)], "INVALID_ARGUMENT", "unspecified"),
    "a header that was cut": ([config(**UNSAID), audio(CLIP[:30])], "INVALID_ARGUMENT", "within its WAV header"),
    "no rate": ([config(sample_rate_hertz=0)], "INVALID_ARGUMENT", "sample_rate_hertz"),
    "an unknown model": ([config(model="enormous")], "NOT_FOUND", "tiny.en-streaming"),
    "an unknown language": ([config(language_code="tlh")], "NOT_FOUND", "tlh"),
    "an encoding of nobody": ([config(encoding=99)], "INVALID_ARGUMENT", "encoding 99"),
    "too long": ([config(), *[audio(bytes(2**19))] * 2], "OUT_OF_RANGE", "takes 30 s"),
    "too large": ([config(), audio(bytes(MAX_BYTES + 1))], "RESOURCE_EXHAUSTED", "arger than max"),
}


@pytest.fixture(scope="module")
def stub(start_shared_server):
    return start_shared_server("--max_recording_s", str(MAX_S), "--max_message_bytes", str(MAX_BYTES)).speech


def outcome(call):
    """The status, and the transcript or what the error says."""
    try:
        results = call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", "".join(result.alternatives[0].transcript for result in results if result.is_final).strip()


def check(said, status, expected_status, expected):
    assert status == expected_status, said
    if status == "OK":
        assert expected is None or said == expected or (expected and said.startswith(expected))
    else:
        assert expected in said


@pytest.mark.parametrize("name", FILES)
def test_a_recording(stub, name):
    content, fields, expected_status, expected = FILES[name]
    request = speech_pb2.RecognizeRequest(config=fields, audio_content=content)
    status, said = outcome(lambda: stub.Recognize(request, timeout=60).results)
    check(said, status, expected_status, expected)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream(stub, name):
    requests, expected_status, expected = STREAMS[name]
    status, said = outcome(
        lambda: [
            result for response in stub.StreamingRecognize(iter(requests), timeout=60) for result in response.results
        ]
    )
    check(said, status, expected_status, expected)


def test_afterwards_a_recording_is_what_it_always_was(stub):
    response = stub.Recognize(speech_pb2.RecognizeRequest(audio_content=CLIP))
    assert "".join(result.alternatives[0].transcript for result in response.results).strip() == SAID
