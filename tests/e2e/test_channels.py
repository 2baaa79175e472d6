"""Both ends of a telephone call: two real recordings side by side, through the server that ships."""

import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.v1 import speech_pb2
from client.transcribe import main

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
NAMES = ("librivox-0930", "goforward")


@pytest.fixture(scope="module")
def sides():
    """(n, 2)"""
    each = [soundfile.read(DATA / f"{name}.wav", dtype="int16")[0] for name in NAMES]
    longest = max(map(len, each))
    return np.stack([np.pad(samples, (0, longest - len(samples))) for samples in each], axis=1)


@pytest.fixture(scope="module")
def server(start_shared_server):
    return start_shared_server()


def file_of(samples):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def without_tag(result):
    bare = speech_pb2.SpeechRecognitionResult()
    bare.CopyFrom(result)
    bare.channel_tag = 0
    return bare.SerializeToString(deterministic=True)


def test_each_end_is_what_it_would_be_alone(server, sides):
    config = {"alignment": {"level": "MEAN_U8"}, "enable_word_time_offsets": True}
    separate = {**config, "enable_separate_recognition_per_channel": True}
    together = server.speech.Recognize(speech_pb2.RecognizeRequest(config=separate, audio_content=file_of(sides)))
    for number in range(2):
        content = file_of(sides[:, number])
        alone = server.speech.Recognize(speech_pb2.RecognizeRequest(config=config, audio_content=content))
        ours = [result for result in together.results if result.channel_tag == number + 1]
        assert ours
        assert [without_tag(result) for result in ours] == [without_tag(result) for result in alone.results]
    ends = [(result.result_end_time.ToNanoseconds(), result.channel_tag) for result in together.results]
    assert ends == sorted(ends)


def streamed(server, sides, sizes):
    """All that is said, but the cursor that tells how packets came."""
    config = {"encoding": "LINEAR16", "sample_rate_hertz": RATE, "audio_channel_count": 2}
    config |= {"enable_separate_recognition_per_channel": True, "alignment": {"level": "MEAN_U8"}}

    def requests():
        yield speech_pb2.StreamingRecognizeRequest(streaming_config={"config": config, "interim_results": True})
        rest = sides.astype("<i2").tobytes()
        while rest:
            size = next(sizes)
            yield speech_pb2.StreamingRecognizeRequest(audio_content=rest[:size])
            rest = rest[size:]

    said = []
    for response in server.speech.StreamingRecognize(requests()):
        response.cursors.ClearField("received")
        said.append(response.SerializeToString(deterministic=True))
    return said


def test_packets_change_no_bit_and_no_order(server, sides):
    dice = random.Random(13)
    whole = streamed(server, sides, iter([10**7]))
    assert len(whole) > 5
    for _ in range(2):
        assert streamed(server, sides, iter(lambda: dice.choice((1, 3, 641, 20_000, 100_001)), None)) == whole


def test_asr_transcribe_says_who_said_what(server, sides, tmp_path, capsys):
    path = tmp_path / "call.wav"
    path.write_bytes(file_of(sides))
    for mode in ([], ["--stream", "--fast"]):
        flags = ["--server", server.address, "--separate_channels", "--output_format", "json", *mode]
        assert main([*flags, str(path)]) == 0
        whole = json.loads(capsys.readouterr().out)
        said = {segment["channel"]: segment["text"] for segment in whole["segments"]}
        assert "amiable" in said[1]
        assert "forward" in said[2]
        assert whole["duration"] == round(len(sides) / RATE, 3)
