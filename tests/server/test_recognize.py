import threading

import grpc
import pytest

from asr.runtime.phrases import Phrase
from asr.runtime.recognizer import Options
from asr.v1 import speech_pb2
from server import messages

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def refused(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_a_file_becomes_its_transcript_and_length(serve, whole, recording):
    response = serve().stub.Recognize(whole(recording(2.5, 44_100, 2)))
    assert [result.alternatives[0].transcript for result in response.results] == [" heard"]
    assert all(result.is_final for result in response.results)
    assert response.audio_duration.ToMilliseconds() == 2_500


@pytest.mark.parametrize(("container", "codec"), [("FLAC", "PCM_16"), ("OGG", "OPUS"), ("WAV", "FLOAT")])
def test_files_name_their_own_encoding(serve, whole, recording, container, codec):
    response = serve().stub.Recognize(whole(recording(2, container=container, codec=codec)))
    assert response.audio_duration.ToMilliseconds() == 2_000


def test_raw_samples_are_read_by_the_config(serve, whole, pcm):
    content = pcm(2, 8_000, 2)
    response = serve().stub.Recognize(
        whole(content, encoding="LINEAR16", sample_rate_hertz=8_000, audio_channel_count=2)
    )
    assert response.audio_duration.ToMilliseconds() == 2_000


def test_nothing_said_is_an_empty_transcript(serve, whole):
    response = serve().stub.Recognize(whole(b""))
    assert not response.results
    assert response.audio_duration.ToMilliseconds() == 0


def test_what_is_asked_reaches_the_recogniser(serve, fake, whole, recording):
    recognizer = fake()
    config = {"language_code": "en-US", "latency_mode": "320ms", "alignment": {"level": "PATH"}, "model": "fake"}
    response = serve(recognizer).stub.Recognize(whole(recording(1), **config))
    assert recognizer.asked == [Options("320ms", "en-us", alignment=True, interim=False)]
    assert response.results[0].alignment.rows[0].frame_offset == 3


def test_alternatives_and_phrases_reach_the_recogniser_and_come_back(serve, fake, whole, recording):
    recognizer = fake(others=(" herd", " hurt"))
    config = {"max_alternatives": 2, "beam_size": 5, "speech_contexts": [{"phrases": ["herd"], "boost": 1.5}]}
    response = serve(recognizer).stub.Recognize(whole(recording(1), **config))
    asked = Options("full", interim=False, beam=5, alternatives=2, phrases=(Phrase("herd", 1.5),))
    assert recognizer.asked == [asked]
    best, second = response.results[0].alternatives
    assert (best.transcript, second.transcript) == (" heard", " herd")
    assert 0 < second.confidence < best.confidence


@pytest.mark.parametrize("name", ["recognize_response", "response", "align_response"])
def test_answers_are_made_by_the_workers(serve, whole, live, recording, pcm, monkeypatch, name):
    """Where every head looked is megabytes to write; nobody else's call is to wait for that."""
    make, makers = getattr(messages, name), []

    def remember(*arguments):
        makers.append(threading.current_thread())
        return make(*arguments)

    monkeypatch.setattr(messages, name, remember)
    running = serve()
    running.stub.Recognize(whole(recording(1)))
    list(running.stub.StreamingRecognize(live([pcm(1)])))
    running.stub.Align(speech_pb2.AlignRequest(audio_content=recording(1), text="heed"))
    assert makers
    assert running.thread not in makers


def test_full_context_is_the_default(serve, fake, whole, recording):
    recognizer = fake()
    serve(recognizer).stub.Recognize(whole(recording(1)))
    assert recognizer.asked == [Options("full", "", alignment=False, interim=False)]


@pytest.mark.parametrize(
    ("content", "config", "status", "said"),
    [
        (b"garbage", {}, INVALID, "no audio file"),
        (b"ID3 and so on", {}, INVALID, "MP3"),
        (b"\0\0\0", {"encoding": "LINEAR16", "sample_rate_hertz": 16_000}, INVALID, "1 of the 2 bytes"),
        (b"\0\0", {"encoding": "LINEAR16"}, INVALID, "sample_rate_hertz"),
        (b"\0\0", {"encoding": "LINEAR16", "sample_rate_hertz": 4_000}, INVALID, "4000 Hz"),
        (b"", {"latency_mode": "1ms"}, INVALID, "1ms"),
        (b"", {"alignment": {"level": "TOP_K", "top_k": 99}}, INVALID, "1 to 64"),
        (b"", {"language_code": "tlh"}, grpc.StatusCode.NOT_FOUND, "tlh"),
        (b"", {"model": "bigger"}, grpc.StatusCode.NOT_FOUND, "this server has fake"),
    ],
)
def test_what_the_caller_got_wrong_has_its_status_and_reason(serve, whole, content, config, status, said):
    stub = serve().stub
    code, details = refused(lambda: stub.Recognize(whole(content, **config)))
    assert code == status
    assert said in details


def test_a_rate_that_contradicts_the_header_is_refused(serve, whole, recording):
    stub = serve().stub
    code, details = refused(lambda: stub.Recognize(whole(recording(1), sample_rate_hertz=8_000)))
    assert code == INVALID
    assert "8000 Hz" in details
    assert "16000 Hz" in details


@pytest.mark.parametrize("seconds", [2.01, 30])
def test_a_recording_beyond_the_limit_is_refused_unheard(serve, fake, whole, recording, seconds):
    recognizer = fake()
    stub = serve(recognizer, max_recording_s=2).stub
    code, details = refused(lambda: stub.Recognize(whole(recording(seconds))))
    assert code == grpc.StatusCode.OUT_OF_RANGE
    assert "takes 2 s" in details
    assert not recognizer.streams


def test_a_message_beyond_the_limit_is_refused(serve, whole, recording):
    stub = serve(max_message_bytes=2**16).stub
    assert stub.Recognize(whole(recording(1))).results
    assert refused(lambda: stub.Recognize(whole(recording(3))))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_worker_failure_is_an_error_not_a_short_transcript(serve, fake, whole, recording, speech_log):
    recognizer = fake()

    def break_in_the_third_second():
        if recognizer.streams[0].received >= 2 * 16_000:
            raise RuntimeError("no such file: /a/secret/place")

    recognizer.beside = break_in_the_third_second
    stub = serve(recognizer).stub
    code, details = refused(lambda: stub.Recognize(whole(recording(5))))
    assert code == grpc.StatusCode.INTERNAL
    assert "secret" not in details
    (entry,) = [entry for entry in speech_log.records if entry.message == "a call failed"]
    assert "/a/secret/place" in str(entry.exc_info[1])


def test_a_known_text_is_aligned(serve, recording):
    request = speech_pb2.AlignRequest(
        config={"alignment": {"level": "PATH"}}, audio_content=recording(2, 44_100, 2), text="heard it"
    )
    response = serve().stub.Align(request)
    assert response.alternative.transcript == " heard it"
    assert [word.word for word in response.alternative.words] == [" heard", " it"]
    assert [word.start_time.ToMilliseconds() for word in response.alternative.words] == [0, 1_000]
    assert response.alignment.rows[1].frame_offset == 53
    assert response.score == 0.75
    assert response.audio_duration.ToMilliseconds() == 2_000


def test_what_cannot_be_aligned_is_refused(serve, recording):
    code, details = refused(lambda: serve().stub.Align(speech_pb2.AlignRequest(audio_content=recording(1), text=" ")))
    assert code == INVALID
    assert "no text" in details


def test_every_head_is_sent_where_it_is_asked_for(serve, whole, recording):
    response = serve().stub.Recognize(whole(recording(1), alignment={"level": "FULL"}))
    full = response.results[0].alignment.rows[0].full
    assert (full.layers, full.heads, full.frames) == (1, 2, 6)
    assert list(full.values) == [float(value) for value in range(12)]


def test_more_heads_than_a_message_holds_are_refused_before_they_are_written(serve, fake, whole, recording):
    stub = serve(fake(tokens=2_000), max_message_bytes=2**16).stub
    code, details = refused(lambda: stub.Recognize(whole(recording(1), alignment={"level": "FULL"})))
    assert code == grpc.StatusCode.OUT_OF_RANGE
    assert "MEAN_U8" in details


def test_models_are_listed_with_what_was_measured(serve):
    (model,) = serve().stub.ListModels(speech_pb2.ListModelsRequest()).models
    assert (model.name, list(model.languages), model.sample_rate_hertz) == ("fake", ["en"], 16_000)
    assert list(model.latency_modes) == ["full", "1280ms", "640ms", "320ms"]
    assert (model.licence, model.provenance, dict(model.measured_wer)) == ("MIT", "made up", {"clean": 5.5})
