import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import client
from asr.v1 import speech_pb2
from client import (
    FLUSH,
    AsyncClient,
    CallError,
    Client,
    Endpointing,
    Event,
    Kind,
    Level,
    NoServerError,
    Options,
    Phrases,
    finals,
    transport,
)
from client.transport import MAX_MESSAGE_BYTES

CONTENT = b"RIFF" + bytes(range(256)) * 300
EVERYTHING = Options(words=True, alignment=Level.MEAN_U8)


def test_public_names_are_these() -> None:
    assert client.__all__ == [
        "FLUSH",
        "Access",
        "AccessError",
        "Aligned",
        "Alignment",
        "Alternative",
        "AsyncClient",
        "CallError",
        "Client",
        "ClientError",
        "ContractError",
        "Cursors",
        "Endpointing",
        "Event",
        "FileError",
        "Flush",
        "Followed",
        "Kind",
        "Level",
        "MissingPackageError",
        "Model",
        "NoServerError",
        "Options",
        "Phrases",
        "Row",
        "Segment",
        "Transcript",
        "Update",
        "Word",
        "finals",
    ]
    assert all(hasattr(client, name) for name in client.__all__)


def test_recognize_gives_plain_values(target: str) -> None:
    with Client(target) as speech:
        transcript = speech.recognize(CONTENT, EVERYTHING)
    first = transcript.segments[0]
    assert transcript.text == "".join(segment.text for segment in transcript.segments).strip()
    assert transcript.language == "en"
    assert transcript.duration_s == pytest.approx(len(CONTENT) / 32000)
    assert first.text == f" 64000 {sum(CONTENT[:64000])}"
    assert first.tokens == (64000, 7)
    assert [(word.start_s, word.end_s, word.confidence) for word in first.words] == [(0, 1, 0.75), (1, 2, 0.75)]
    assert (first.start_s, first.end_s, first.is_final, first.avg_logprob) == (0, 2, True, -0.25)


def test_alternatives_come_with_their_confidences(target: str) -> None:
    options = Options(max_alternatives=3, words=True)
    with Client(target) as speech:
        segment, *_ = speech.recognize(CONTENT, options).segments
        streamed = list(speech.stream([b"\0\0"], 8000, options))
    assert segment.confidence == 0.75
    assert [other.text for other in segment.alternatives] == [f"{segment.text} 1", f"{segment.text} 2"]
    assert [other.confidence for other in segment.alternatives] == [0.375, 0.1875]
    assert [other.avg_logprob for other in segment.alternatives] == [-0.5, -0.75]
    assert segment.alternatives[1].tokens == (2,)
    assert [word.text for word in segment.alternatives[0].words] == [" 1"]
    (final,) = finals(streamed)
    assert len(final.alternatives) == 2


def test_a_file_is_sent_as_it_is(target: str, recording: Any) -> None:
    path = recording()
    with Client(target) as speech:
        assert speech.recognize_file(path).text == speech.recognize(path.read_bytes()).text


def test_options_reach_the_server(target: str, service: Any) -> None:
    options = Options(
        latency_mode="320ms",
        language="de",
        model="m",
        words=True,
        alignment=Level.TOP_K,
        top_k=3,
        rescore_finals=True,
        beam_size=5,
        max_alternatives=3,
        phrases=(Phrases(("Heed", "Ann"), 2.5), Phrases(("Bo",))),
        endpointing=Endpointing(stop_history=400, stop_threshold=0.75),
        voice_activity=True,
        speech_end_timeout_s=2.5,
    )
    with Client(target) as speech:
        speech.recognize(CONTENT, options)
        list(speech.stream([b"\0\0"], 8000, options))
    whole, streamed = service.configs
    for config in (whole, streamed):
        assert (config.latency_mode, config.language_code, config.model) == ("320ms", "de", "m")
        assert config.enable_word_time_offsets
        assert config.enable_word_confidence
        assert config.rescore_finals
        assert (config.beam_size, config.max_alternatives) == (5, 3)
        asked = [(list(context.phrases), context.boost) for context in config.speech_contexts]
        assert asked == [(["Heed", "Ann"], 2.5), (["Bo"], 0.0)]
        assert {field.name for field, _ in config.endpointing_config.ListFields()} == {"stop_history", "stop_threshold"}
        assert (config.endpointing_config.stop_history, config.endpointing_config.stop_threshold) == (400, 0.75)
        assert (config.alignment.level, config.alignment.top_k) == (2, 3)
    (streaming,) = service.streaming_configs
    assert streaming.enable_voice_activity_events
    assert streaming.voice_activity_timeout.speech_end_timeout.ToMilliseconds() == 2_500
    assert not streaming.voice_activity_timeout.HasField("speech_start_timeout")
    assert (whole.encoding, whole.sample_rate_hertz) == (0, 0)
    assert (streamed.encoding, streamed.sample_rate_hertz, streamed.audio_channel_count) == (1, 8000, 1)


@pytest.mark.parametrize("level", [Level.MEAN_U8, Level.TOP_K, Level.PATH, Level.FULL])
def test_every_level_says_where_a_token_looked_most(target: str, level: Level) -> None:
    with Client(target) as speech:
        alignment = speech.recognize(CONTENT, Options(alignment=level)).segments[0].alignment
    assert alignment is not None
    assert alignment.frame_hop_s == pytest.approx(0.02)
    assert [row.peak_frame for row in alignment.rows] == [1, 2, 3]
    assert [row.provisional for row in alignment.rows] == [False, False, True]


def test_weights_lie_at_their_frames(target: str) -> None:
    with Client(target) as speech:
        alignment = speech.recognize(CONTENT, EVERYTHING).segments[0].alignment
    assert alignment is not None
    matrix = alignment.matrix()
    assert matrix.dtype == np.float32
    assert matrix.shape == (3, 99)
    np.testing.assert_allclose(matrix[0, :4], [0, 0.8, 0, 0], atol=1e-6)
    np.testing.assert_allclose(matrix[1, :4], [0, 0.2, 0.8, 0], atol=1e-6)


def test_every_head_comes_at_its_place(target: str) -> None:
    with Client(target) as speech:
        alignment = speech.recognize(CONTENT, Options(alignment=Level.FULL)).segments[0].alignment
    assert alignment is not None
    heads = alignment.heads()
    assert heads is not None
    assert heads.dtype == np.float32
    assert heads.shape == (3, 2, 3, 100)  # tokens, layers, heads, frames
    assert heads[1, 1, 0, 1:3].tolist() == [0.25, 0.75]
    assert heads[1, 1, 2].nonzero()[0].tolist() == [99]
    np.testing.assert_allclose(alignment.matrix(), heads.mean(axis=(1, 2)))  # which heads align is not said


def test_no_heads_unless_asked_for(target: str) -> None:
    with Client(target) as speech:
        alignment = speech.recognize(CONTENT, EVERYTHING).segments[0].alignment
    assert alignment is not None
    assert alignment.heads() is None


def test_no_alignment_unless_asked_for(target: str) -> None:
    with Client(target) as speech:
        segment = speech.recognize(CONTENT).segments[0]
    assert segment.alignment is None
    assert segment.words == ()


def test_a_stream_ends_in_finals_that_make_its_text(target: str) -> None:
    samples = bytes(range(250)) * 400
    packets = [samples[at : at + 3000] for at in range(0, len(samples), 3000)]
    with Client(target) as speech:
        updates = list(speech.stream(packets, 16000))
    assert [segment.text for segment in finals(updates)] == [
        f" 64000 {sum(samples[:64000])}",
        f" 36000 {sum(samples[64000:])}",
    ]
    interims = [result.stability for update in updates for result in update.results if not result.is_final]
    assert set(interims) == {1.0, 0.5}
    assert updates[-1].cursors.received_s == pytest.approx(len(samples) / 32000)


def test_a_flush_is_answered_by_a_final_and_its_event(target: str) -> None:
    with Client(target) as speech:
        updates = list(speech.stream([b"\1\0", FLUSH, b"\2\0"], 16000, Options(interim_results=False)))
    assert [len(update.results) for update in updates] == [1, 0, 1]
    assert [update.event for update in updates] == [None, Event(Kind.FLUSHED, 1 / 16_000), None]
    assert [segment.text for segment in finals(updates)] == [" 2 1", " 2 2"]


def test_what_packets_raise_is_raised_to_the_caller(target: str) -> None:
    def packets() -> Iterator[bytes]:
        yield bytes(100)
        raise ValueError("the microphone fell off")

    with Client(target) as speech, pytest.raises(ValueError, match="microphone"):
        list(speech.stream(packets(), 16000))


def test_leaving_the_loop_ends_the_call(target: str, service: Any) -> None:
    more = threading.Event()

    def packets() -> Iterator[bytes]:
        yield bytes(100)
        more.wait(30)

    with Client(target) as speech:
        updates = speech.stream(packets(), 16000)
        next(updates)
        updates.close()  # type: ignore[attr-defined]
        assert service.ended.wait(30)
    more.set()


def test_a_known_text_is_placed(target: str, service: Any) -> None:
    with Client(target) as speech:
        placed = speech.align(CONTENT, "Say yes now", Options(words=True, alignment=Level.MEAN_U8, language="de"))
        bare = speech.align(CONTENT, "yes")
    seconds = len(CONTENT) / 32000
    assert placed.score == pytest.approx(2 / 3)
    assert placed.segment.text == "Say yes now"
    assert [word.text for word in placed.segment.words] == [" Say", " yes", " now"]
    assert placed.segment.words[1].start_s == pytest.approx(seconds / 3)
    assert placed.segment.alignment is not None
    assert [row.piece for row in placed.segment.alignment.rows] == [" Say", " yes", " now", ""]
    assert (placed.segment.start_s, placed.segment.is_final) == (0.0, True)
    assert placed.segment.end_s == pytest.approx(seconds, abs=0.02)
    assert (bare.segment.alignment, bare.segment.words, bare.score) == (None, (), 1.0)
    assert service.texts == ["Say yes now", "yes"]
    assert service.configs[0].language_code == "de"


def test_a_text_to_place_may_be_refused(target: str, nowhere: str) -> None:
    with Client(target) as speech, pytest.raises(CallError, match="no model of this name"):
        speech.align(CONTENT, "yes", Options(model="unknown"))
    with Client(target) as speech, pytest.raises(CallError, match="64 MiB"):
        speech.align(bytes(MAX_MESSAGE_BYTES + 1), "yes")
    with Client(nowhere) as speech, pytest.raises(NoServerError):
        speech.align(CONTENT, "yes")


def test_the_async_client_places_a_text_too(target: str, recording: Any) -> None:
    path = recording(seconds=1.0)

    async def ask() -> Any:
        async with AsyncClient(target) as speech:
            return await speech.align_file(path, "say YES", EVERYTHING)

    with Client(target) as speech:
        expected = speech.align_file(path, "say YES", EVERYTHING)
    placed = asyncio.run(ask())
    assert (placed.score, placed.segment.words) == (expected.score, expected.segment.words)
    assert placed.score == 0.5


def test_models_are_listed_with_what_was_measured(target: str) -> None:
    with Client(target) as speech:
        (model,) = speech.models()
    assert (model.name, model.languages, model.sample_rate) == ("echo", ("en",), 16000)
    assert model.latency_modes == ("full", "640ms")
    assert model.measured_wer == {"nothing": 12.5}


def test_nobody_there_is_an_error_of_its_own(nowhere: str) -> None:
    with Client(nowhere) as speech:
        for call in (lambda: speech.recognize(CONTENT), lambda: list(speech.stream([], 16000)), speech.models):
            with pytest.raises(NoServerError, match=nowhere):
                call()


def test_a_refusal_brings_status_and_message(target: str) -> None:
    with Client(target) as speech:
        with pytest.raises(CallError) as refused:
            speech.recognize(b"text")
        with pytest.raises(CallError) as unknown:
            list(speech.stream([], 16000, Options(model="unknown")))
    assert (refused.value.status, refused.value.message) == ("INVALID_ARGUMENT", "neither WAV nor FLAC nor Ogg")
    assert unknown.value.status == "NOT_FOUND"


def test_a_timeout_is_a_refusal(target: str) -> None:
    with Client(target, timeout_s=0.05) as speech, pytest.raises(CallError) as late:
        speech.recognize(CONTENT, Options(model="stuck"))
    assert late.value.status == "DEADLINE_EXCEEDED"


def test_more_than_a_message_holds_is_refused_before_it_is_sent(target: str, service: Any) -> None:
    with Client(target) as speech, pytest.raises(CallError, match="64 MiB") as refused:
        speech.recognize(bytes(MAX_MESSAGE_BYTES + 1))
    assert refused.value.status == "RESOURCE_EXHAUSTED"
    assert not service.configs


def test_a_message_above_grpcs_own_limit_passes_both_ways(target: str) -> None:
    with Client(target) as speech:
        transcript = speech.recognize(b"RIFF" + bytes(12 * 2**20), Options(alignment=Level.MEAN_U8))
    assert transcript.segments[-1].end_s > 300


def test_the_async_client_says_the_same(target: str) -> None:
    samples = bytes(range(250)) * 400

    async def packets() -> AsyncIterator[bytes]:
        for at in range(0, len(samples), 3000):
            yield samples[at : at + 3000]

    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(target) as speech:
            updates = [update async for update in speech.stream(packets(), 16000)]
            return await speech.recognize(CONTENT, EVERYTHING), finals(updates), await speech.models()

    transcript, streamed, models = asyncio.run(ask())
    with Client(target) as speech:
        expected = speech.recognize(CONTENT, EVERYTHING)
        one_packet = finals(speech.stream([samples], 16000))
        assert models == speech.models()
    assert [segment.text for segment in transcript.segments] == [segment.text for segment in expected.segments]
    assert [segment.words for segment in transcript.segments] == [segment.words for segment in expected.segments]
    assert [segment.text for segment in streamed] == [segment.text for segment in one_packet]


def test_the_async_client_raises_the_same(target: str, nowhere: str) -> None:
    async def packets() -> AsyncIterator[bytes]:
        yield bytes(100)
        raise ValueError("the microphone fell off")

    async def ask() -> None:
        async with AsyncClient(target) as speech:
            with pytest.raises(CallError, match="neither WAV"):
                await speech.recognize(b"text")
            with pytest.raises(ValueError, match="microphone"):
                _ = [update async for update in speech.stream(packets(), 16000)]
        async with AsyncClient(nowhere) as speech:
            with pytest.raises(NoServerError):
                await speech.models()

    asyncio.run(ask())


def test_what_the_server_thinks_of_its_own_text_comes_along() -> None:
    result = speech_pb2.SpeechRecognitionResult(
        alternatives=[{"transcript": " heed", "doubt": 0.25}],
        alignment={"rows": [{"token_id": 7, "silence": 0.5}], "monotonicity": 0.75, "coverage": 0.125},
    )
    (segment,) = transport.transcript(speech_pb2.RecognizeResponse(results=[result])).segments
    assert segment.alignment is not None
    assert (segment.doubt, segment.alignment.monotonicity, segment.alignment.coverage) == (0.25, 0.75, 0.125)
    assert [row.silence for row in segment.alignment.rows] == [0.5]
