"""A server that speaks the wire over a real socket but recognises nothing: it answers with numbers of what it got."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
from google.protobuf.duration_pb2 import Duration

from asr.v1 import speech_pb2, speech_pb2_grpc

RATE = 16000
BYTES_PER_S = 2 * RATE  # 16 bits
SEGMENT_BYTES = 2 * BYTES_PER_S
FRAME_HOP_S = 0.02


class EchoService(speech_pb2_grpc.SpeechRecognitionServicer):
    """A segment for every two seconds of bytes, whose two words are their number and their sum.

    Where channels are wanted each by itself, segments are of channel 1 and of channel 2 in turn.
    Models that are no good on purpose: "gone" is UNAVAILABLE, "unknown" is NOT_FOUND, "stuck" never answers.
    """

    def __init__(self) -> None:
        self.configs: list[Any] = []  # of the calls so far
        self.interim_results: list[bool] = []
        self.streaming_configs: list[Any] = []
        self.packet_bytes: list[int] = []
        self.texts: list[str] = []  # to be placed
        self.called = threading.Event()
        self.ended = threading.Event()  # a call, in whatever way

    def Recognize(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._begin(request.config, context)
        if request.audio_content and not request.audio_content.startswith((b"RIFF", b"fLaC", b"OggS")):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "neither WAV nor FLAC nor Ogg")
        return speech_pb2.RecognizeResponse(
            results=_finals(request.audio_content, 0, request.config),
            audio_duration=_duration(len(request.audio_content) / BYTES_PER_S),
        )

    def StreamingRecognize(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(requests)
        assert first.WhichOneof("streaming_request") == "streaming_config"
        config = first.streaming_config.config
        self.interim_results.append(first.streaming_config.interim_results)
        self.streaming_configs.append(first.streaming_config)
        self._begin(config, context)
        received, final = b"", 0  # what came, and how much of it is in finals

        def response(results: list[Any], flushed: bool = False) -> Any:
            answer = speech_pb2.StreamingRecognizeResponse(results=results)
            for name, at in (("received", len(received)), ("processed", len(received)), ("finalised", final)):
                getattr(answer.cursors, name).CopyFrom(_duration(at / BYTES_PER_S))
            if flushed:
                answer.event.type = speech_pb2.FLUSHED
                answer.event.time.CopyFrom(_duration(len(received) / BYTES_PER_S))
            return answer

        for request in requests:
            if request.HasField("flush"):
                yield response(_finals(received[final:], final, config))
                final = len(received)
                yield response([], flushed=True)
                continue
            self.packet_bytes.append(len(request.audio_content))
            received += request.audio_content
            while len(received) - final >= SEGMENT_BYTES:
                yield response(_finals(received[final : final + SEGMENT_BYTES], final, config))
                final += SEGMENT_BYTES
            if first.streaming_config.interim_results:
                rest = received[final:]
                half = len(rest) // 2
                stable = _result(rest[:half], final, config, is_final=False, stability=1.0)
                yield response([stable, _result(rest[half:], final, config, is_final=False, stability=0.5)])
        yield response(_finals(received[final:], final, config))

    def Align(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The words of the text, spread evenly over the bytes; the score is the share of them in lower case."""
        self._begin(request.config, context)
        self.texts.append(request.text)
        end_s, words = len(request.audio_content) / BYTES_PER_S, request.text.split()
        score = sum(word.islower() for word in words) / len(words)
        response = speech_pb2.AlignResponse(score=score, audio_duration=_duration(end_s))
        best = response.alternative
        best.transcript = request.text
        best.token_ids[:] = range(50, 50 + len(words))
        if request.config.enable_word_time_offsets:
            edges = np.linspace(0, end_s, len(words) + 1)
            for word, start_s, stop_s in zip(words, edges, edges[1:], strict=False):
                best.words.add(
                    word=f" {word}", start_time=_duration(start_s), end_time=_duration(stop_s), confidence=0.5
                )
        if request.config.alignment.level != speech_pb2.NONE:
            _align(response.alignment, [f" {word}" for word in words], request.config.alignment.level, 0.0, end_s)
        return response

    def ListModels(self, request: Any, context: grpc.ServicerContext) -> Any:
        return speech_pb2.ListModelsResponse(
            models=[
                speech_pb2.Model(
                    name="echo",
                    languages=["en"],
                    sample_rate_hertz=16000,
                    latency_modes=["full", "640ms"],
                    licence="MIT",
                    provenance="made up",
                    measured_wer={"nothing": 12.5},
                )
            ]
        )

    def _begin(self, config: Any, context: grpc.ServicerContext) -> None:
        self.configs.append(config)
        context.add_callback(self.ended.set)
        self.called.set()
        if config.model == "gone":
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        if config.model == "unknown":
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no model of this name")
        if config.model == "stuck":
            self.ended.wait(60)


def _finals(content: bytes, start: int, config: Any) -> list[Any]:
    pieces = range(0, len(content), SEGMENT_BYTES)
    return [_result(content[at : at + SEGMENT_BYTES], start + at, config) for at in pieces]


def _result(content: bytes, start: int, config: Any, is_final: bool = True, stability: float = 0.0) -> Any:
    start_s, end_s = start / BYTES_PER_S, (start + len(content)) / BYTES_PER_S
    texts = [f" {len(content)}", f" {sum(content)}"]
    result = speech_pb2.SpeechRecognitionResult(
        is_final=is_final,
        stability=stability,
        start_time=_duration(start_s),
        result_end_time=_duration(end_s),
        emission_time=_duration(end_s),
        language_code="en",
        channel_tag=1 + start // SEGMENT_BYTES % 2 if config.enable_separate_recognition_per_channel else 0,
    )
    best = result.alternatives.add(
        transcript="".join(texts), token_ids=[len(content), 7], avg_logprob=-0.25, no_speech_prob=0.125, doubt=0.375
    )
    best.confidence = 0.75
    for number in range(1, config.max_alternatives if is_final else 0):
        other = result.alternatives.add(
            transcript=f"{best.transcript} {number}",
            token_ids=[number],
            avg_logprob=-0.25 * (1 + number),
            confidence=0.75 * 0.5**number,
        )
        if config.enable_word_time_offsets:
            other.words.add(word=f" {number}", start_time=_duration(start_s), end_time=_duration(end_s))
    if config.enable_word_time_offsets:
        for number, text in enumerate(texts):
            from_s, to_s = np.interp([number, number + 1], [0, 2], [start_s, end_s])
            best.words.add(word=text, start_time=_duration(from_s), end_time=_duration(to_s), confidence=0.75)
    if config.alignment.level != speech_pb2.NONE:
        _align(result.alignment, texts, config.alignment.level, start_s, end_s, is_final)
    return result


def _align(alignment: Any, texts: list[str], level: int, start_s: float, end_s: float, is_final: bool = True) -> None:
    """Row n looks at frames n and n + 1; a provisional row comes last, and before a final all are."""
    frames = max(6, round((end_s - start_s) / FRAME_HOP_S))
    alignment.frame_hop.CopyFrom(_duration(FRAME_HOP_S))
    alignment.start_time.CopyFrom(_duration(start_s))
    for number, text in enumerate((*texts, "")):
        row_id = round(start_s * RATE) + number  # no two finals begin at the same sample
        row = alignment.rows.add(
            token_id=50 + number, piece=text, row_id=row_id, entropy=0.5, provisional=not (text and is_final)
        )
        if level == speech_pb2.MEAN_U8:
            weights = np.zeros(frames - 1, np.uint8)
            weights[number : number + 2] = (51, 204)
            row.mean_u8, row.frame_offset = weights[1:].tobytes(), 1
        elif level == speech_pb2.TOP_K:
            row.top_k.frames[:] = [number, number + 1]
            row.top_k.weights[:] = [0.25, 0.75]
        elif level == speech_pb2.FULL:  # two layers of three heads: all but the last head look where the row does
            heads = np.zeros((2, 3, frames), np.float32)
            heads[:, :2, number : number + 2] = (0.25, 0.75)
            heads[:, 2, -1] = 0.5
            row.full.CopyFrom(speech_pb2.FullWeights(layers=2, heads=3, frames=frames, values=heads.ravel()))
        else:
            row.frame_offset = number + 1


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


@pytest.fixture
def service() -> EchoService:
    return EchoService()


@pytest.fixture
def target(service: EchoService) -> Iterator[str]:
    """HOST:PORT where the service answers."""
    with futures.ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=[("grpc.max_receive_message_length", 64 * 2**20)])
        speech_pb2_grpc.add_SpeechRecognitionServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        service.ended.set()
        server.stop(None).wait()


@pytest.fixture
def nowhere() -> Iterator[str]:
    """HOST:PORT where nobody answers: taken, but not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recording of hum and noise, and gives its path."""

    def write(name: str = "talk.wav", seconds: float = 5.0, rate: int = 16000, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        time_s = np.arange(round(seconds * rate)) / rate
        hum = 0.3 * np.sin(2 * np.pi * 220 * time_s) * np.sin(np.pi * time_s)
        noise = np.random.default_rng(0).normal(0, 0.02, (len(time_s), channels))
        soundfile.write(path, hum[:, None] + noise, rate, subtype="PCM_16")
        return path

    return write
