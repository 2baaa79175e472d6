"""Channels heard each by itself, through a real socket; what they say is tests/runtime/test_channels.py's."""

import grpc
import pytest

from asr.runtime.result import Cursors, Event, Kind, Update
from asr.v1 import speech_pb2
from server.messages import asked, response

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SEPARATE = {"enable_separate_recognition_per_channel": True}
STEREO = {**SEPARATE, "audio_channel_count": 2}


def refusal(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize(("container", "codec"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS")])
def test_each_channel_of_a_file_has_its_tag(serve, whole, recording, channels, container, codec):
    response = serve().stub.Recognize(whole(recording(2, 48_000, channels, container, codec), **SEPARATE))
    assert [result.channel_tag for result in response.results] == list(range(1, channels + 1))
    assert response.audio_duration.ToMilliseconds() == 2_000


def test_raw_channels_are_as_many_as_the_config_says(serve, whole, pcm):
    config = {"encoding": "LINEAR16", "sample_rate_hertz": 8_000}
    response = serve().stub.Recognize(whole(pcm(2, 8_000, 2), **STEREO, **config))
    assert [result.channel_tag for result in response.results] == [1, 2]
    assert response.audio_duration.ToMilliseconds() == 2_000


def test_mixed_down_there_is_no_tag(serve, whole, recording):
    (result,) = serve().stub.Recognize(whole(recording(2, 48_000, 2))).results
    assert result.channel_tag == 0


@pytest.mark.parametrize("size", [7, 999, 200_000])
def test_a_stream_is_told_a_channel_to_a_message_in_the_order_of_the_audio(serve, live, pcm, size):
    audio = pcm(3, channels=2)
    packets = [audio[start : start + size] for start in range(0, len(audio), size)]
    responses = list(serve().stub.StreamingRecognize(live(packets if size > 7 else packets[:3_000], **STEREO)))
    told = [
        (result.emission_time.ToMilliseconds(), result.channel_tag, result.is_final)
        for response in responses
        for result in response.results
    ]
    assert all(len(response.results) == 1 for response in responses)
    seconds = 3 if size > 7 else 0
    interims = [(1_000 * second, tag, False) for second in range(1, seconds + 1) for tag in (1, 2)]
    assert told[:-2] == interims
    assert [(tag, is_final) for _, tag, is_final in told[-2:]] == [(1, True), (2, True)]


@pytest.mark.parametrize(("container", "codec"), [("WAV", "PCM_16"), ("OGG", "OPUS")])
def test_a_stream_that_says_itself_what_it_is_says_its_channels_too(serve, live, recording, container, codec):
    content = recording(1.5, 48_000, 2, container, codec)
    packets = [content[:10], "flush", content[10:]]
    config = {**SEPARATE, "encoding": "AUDIO_ENCODING_UNSPECIFIED", "sample_rate_hertz": 0}
    flushed, *rest = serve().stub.StreamingRecognize(live(packets, interim=False, **config))
    assert flushed.event.type == speech_pb2.FLUSHED
    assert [response.results[0].channel_tag for response in rest] == [1, 2]


def test_a_flush_is_answered_once(serve, live, pcm):
    responses = list(serve().stub.StreamingRecognize(live([pcm(1, channels=2), "flush"], interim=False, **STEREO)))
    assert [response.results[0].channel_tag for response in responses[:2]] == [1, 2]
    (flushed,) = responses[2:]
    assert (flushed.event.type, flushed.event.channel_tag) == (speech_pb2.FLUSHED, 0)
    assert flushed.cursors.finalised.ToMilliseconds() == 1_000


def test_all_channels_count_against_the_limit(serve, whole, live, recording, pcm):
    stub = serve(max_recording_s=5).stub
    assert stub.Recognize(whole(recording(2.5, channels=2), **SEPARATE)).results
    assert list(stub.StreamingRecognize(live([pcm(2.5, channels=2)], **STEREO)))
    for long in (
        lambda: stub.Recognize(whole(recording(2.6, channels=2), **SEPARATE)),
        lambda: stub.Recognize(whole(pcm(2.6, channels=2), encoding="LINEAR16", sample_rate_hertz=16_000, **STEREO)),
        lambda: list(stub.StreamingRecognize(live([pcm(2.6, channels=2)], **STEREO))),
    ):
        code, details = refusal(long)
        assert code == grpc.StatusCode.OUT_OF_RANGE
        assert "in each of 2 channels, which count together" in details


def test_a_call_of_many_channels_takes_one_place(serve, whole, recording):
    running = serve(max_streams=1)
    assert running.stub.Recognize(whole(recording(1, channels=8), **SEPARATE)).results


def test_what_makes_no_sense_is_refused(serve, whole, recording):
    stub = serve().stub
    code, details = refusal(lambda: stub.Recognize(whole(recording(1, channels=9), **SEPARATE)))
    assert (code, "up to 8 channels" in details) == (INVALID, True)
    code, details = refusal(
        lambda: stub.Align(speech_pb2.AlignRequest(config=SEPARATE, audio_content=recording(1), text="heed"))
    )
    assert (code, "one text" in details) == (INVALID, True)
    config = {"config": {"encoding": "LINEAR16", "sample_rate_hertz": 16_000, **STEREO}}
    config |= {"enable_voice_activity_events": True, "voice_activity_timeout": {"speech_end_timeout": {"seconds": 1}}}
    request = speech_pb2.StreamingRecognizeRequest(streaming_config=config)
    code, details = refusal(lambda: list(stub.StreamingRecognize(iter([request]))))
    assert (code, "one by one" in details) == (INVALID, True)


def test_events_say_whose_they_are():
    cursors = Cursors(1.0, 1.0, 0.0)
    wanted = asked(speech_pb2.RecognitionConfig(), "full")
    for channel in (0, 2):
        told = response(Update((), cursors, Event(Kind.SPEECH_BEGIN, 0.5, channel)), wanted)
        assert (told.event.type, told.event.channel_tag) == (speech_pb2.SPEECH_ACTIVITY_BEGIN, channel)
