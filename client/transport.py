"""The wire: requests from plain values, plain values from responses, errors from statuses.

The only file that knows the generated messages. Nothing here waits or sends:
sdk.py does, once with and once without asyncio.
"""

from dataclasses import asdict
from typing import Any

import grpc
import numpy as np

from asr.v1 import speech_pb2, speech_pb2_grpc
from client.access import THIS_MACHINE, Access
from client.errors import AccessError, CallError, ClientError, NoServerError
from client.results import (
    Aligned,
    Alignment,
    Alternative,
    Cursors,
    Endpointing,
    Event,
    Flush,
    Kind,
    Level,
    Model,
    Options,
    Row,
    Segment,
    Transcript,
    Update,
    Word,
)

MAX_MESSAGE_BYTES = 64 * 2**20  # the contract's; gRPC itself stops at 4 MiB
U8_SCALE = 255
NANOS = 1_000_000_000
# what gRPC says where TLS fails, and what that means to who called
TLS_FAILURES = {
    "CERTIFICATE_VERIFY_FAILED": "shows a certificate that nobody signed whom we trust: name its authority (tls_ca)",
    "Hostname Verification": "shows a certificate for another name: call it by the one that stands in it",
    "WRONG_VERSION_NUMBER": "does not speak TLS",
    "security handshaker": "cannot be called with these files: one is damaged, or certificate and key do not belong "
    "together",
}
LEVELS = {
    Level.NONE: speech_pb2.NONE,
    Level.PATH: speech_pb2.PATH,
    Level.TOP_K: speech_pb2.TOP_K,
    Level.MEAN_U8: speech_pb2.MEAN_U8,
    Level.FULL: speech_pb2.FULL,
}

stub: Any = speech_pb2_grpc.SpeechRecognitionStub  # (channel) -> a stub; generated code is untyped


def open_channel(kind: Any, target: str, access: Access) -> Any:
    """kind: the module that makes it, grpc or grpc.aio."""
    credentials = access.credentials()
    options = _channel_options(target)
    if credentials is None:
        return kind.insecure_channel(target, options)
    return kind.secure_channel(target, credentials, options)


def _channel_options(target: str) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ]
    if THIS_MACHINE.fullmatch(target):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy cannot reach this machine's own loopback
    return options


def check_size(size: int) -> None:
    """Refuse early what the server would refuse after megabytes have travelled."""
    if size > MAX_MESSAGE_BYTES:
        raise CallError(
            "RESOURCE_EXHAUSTED",
            f"a recording sent whole may have {MAX_MESSAGE_BYTES // 2**20} MiB, but this one has "
            f"{size / 2**20:.1f} MiB: stream it instead",
        )


def _config(options: Options) -> speech_pb2.RecognitionConfig:
    return speech_pb2.RecognitionConfig(
        language_code=options.language,
        model=options.model,
        latency_mode=options.latency_mode,
        rescore_finals=options.rescore_finals,
        enable_separate_recognition_per_channel=options.separate_channels,
        beam_size=options.beam_size,
        max_alternatives=options.max_alternatives,
        speech_contexts=[speech_pb2.SpeechContext(phrases=one.phrases, boost=one.boost) for one in options.phrases],
        enable_word_time_offsets=options.words,
        enable_word_confidence=options.words,
        alignment=speech_pb2.AlignmentConfig(level=LEVELS[options.alignment], top_k=options.top_k),
        endpointing_config=speech_pb2.EndpointingConfig(**_given(options.endpointing)),
    )


def _given(endpointing: Endpointing) -> dict[str, Any]:
    return {name: value for name, value in asdict(endpointing).items() if value is not None}


def recognize_request(content: bytes, options: Options) -> speech_pb2.RecognizeRequest:
    """The bytes of a file, which names its own encoding."""
    check_size(len(content))
    return speech_pb2.RecognizeRequest(config=_config(options), audio_content=content)


def align_request(content: bytes, text: str, options: Options) -> speech_pb2.AlignRequest:
    """The bytes of a file, and what is said in it."""
    check_size(len(content))
    return speech_pb2.AlignRequest(config=_config(options), audio_content=content, text=text)


def stream_config(sample_rate: int, options: Options, channels: int = 1) -> speech_pb2.StreamingRecognizeRequest:
    """The first request of a stream: packets of 16-bit samples follow, channels interleaved."""
    config = _config(options)
    config.encoding = speech_pb2.LINEAR16
    config.sample_rate_hertz = sample_rate
    config.audio_channel_count = channels
    timeouts = {
        "speech_start_timeout": options.speech_start_timeout_s,
        "speech_end_timeout": options.speech_end_timeout_s,
    }
    return speech_pb2.StreamingRecognizeRequest(
        streaming_config=speech_pb2.StreamingRecognitionConfig(
            config=config,
            interim_results=options.interim_results,
            enable_voice_activity_events=options.voice_activity,
            voice_activity_timeout=speech_pb2.VoiceActivityTimeout(
                **{name: _duration(value) for name, value in timeouts.items() if value is not None}
            ),
        )
    )


def stream_item(item: bytes | Flush) -> speech_pb2.StreamingRecognizeRequest:
    """Any later request of a stream: a packet or a flush."""
    if isinstance(item, Flush):
        return speech_pb2.StreamingRecognizeRequest(flush=speech_pb2.Flush())
    return speech_pb2.StreamingRecognizeRequest(audio_content=item)


def models_request() -> speech_pb2.ListModelsRequest:
    return speech_pb2.ListModelsRequest()


def transcript(response: speech_pb2.RecognizeResponse) -> Transcript:
    return Transcript(
        segments=tuple(_segment(result) for result in response.results), duration_s=_seconds(response.audio_duration)
    )


def aligned(response: speech_pb2.AlignResponse) -> Aligned:
    """One segment, which lasts as long as the recording."""
    alignment = _alignment(response.alignment) if response.HasField("alignment") else None
    duration_s = _seconds(response.audio_duration)
    segment = Segment(
        text=response.alternative.transcript,
        tokens=tuple(response.alternative.token_ids),
        words=tuple(_word(word) for word in response.alternative.words),
        start_s=0.0,
        end_s=duration_s,
        emission_s=duration_s,
        is_final=True,
        stability=0.0,
        language="",
        avg_logprob=response.alternative.avg_logprob,
        no_speech_prob=response.alternative.no_speech_prob,
        alignment=alignment,
    )
    return Aligned(segment, response.score, duration_s)


def update(response: speech_pb2.StreamingRecognizeResponse) -> Update:
    return Update(
        results=tuple(_segment(result) for result in response.results),
        cursors=Cursors(
            received_s=_seconds(response.cursors.received),
            processed_s=_seconds(response.cursors.processed),
            finalised_s=_seconds(response.cursors.finalised),
        ),
        event=_event(response.event) if response.HasField("event") else None,
    )


def _event(event: speech_pb2.SpeechEvent) -> Event | None:
    """None for a kind that came with a later server."""
    known = event.type in {kind.value for kind in Kind}
    return Event(Kind(event.type), _seconds(event.time), event.channel_tag) if known else None


def models(response: speech_pb2.ListModelsResponse) -> tuple[Model, ...]:
    """The default first."""
    return tuple(
        Model(
            name=model.name,
            languages=tuple(model.languages),
            sample_rate=model.sample_rate_hertz,
            latency_modes=tuple(model.latency_modes),
            licence=model.licence,
            provenance=model.provenance,
            measured_wer=dict(model.measured_wer),
        )
        for model in response.models
    )


def error(refusal: Any, target: str) -> ClientError:
    """Our error for a grpc.RpcError that ended a call to `target`."""
    status, message = refusal.code(), refusal.details() or "no reason given"
    if status == grpc.StatusCode.UNAVAILABLE:
        for sign, meaning in TLS_FAILURES.items():
            if sign in message:
                return AccessError(f"the server at {target} {meaning}")
        if "Socket closed" in message:
            message += "; it hung up: perhaps it wants TLS, or a certificate of ours"
        return NoServerError(f"no server at {target} ({message})")
    return CallError(status.name, message)


def _segment(result: speech_pb2.SpeechRecognitionResult) -> Segment:
    best, *others = result.alternatives
    return Segment(
        text=best.transcript,
        tokens=tuple(best.token_ids),
        words=tuple(_word(word) for word in best.words),
        start_s=_seconds(result.start_time),
        end_s=_seconds(result.result_end_time),
        emission_s=_seconds(result.emission_time),
        is_final=result.is_final,
        stability=result.stability,
        language=result.language_code,
        avg_logprob=best.avg_logprob,
        no_speech_prob=best.no_speech_prob,
        alignment=_alignment(result.alignment) if result.HasField("alignment") else None,
        doubt=best.doubt,
        channel=result.channel_tag,
        confidence=best.confidence,
        alternatives=tuple(_alternative(other) for other in others),
    )


def _alternative(other: speech_pb2.SpeechRecognitionAlternative) -> Alternative:
    return Alternative(
        text=other.transcript,
        tokens=tuple(other.token_ids),
        words=tuple(_word(word) for word in other.words),
        avg_logprob=other.avg_logprob,
        confidence=other.confidence,
    )


def _word(word: speech_pb2.WordInfo) -> Word:
    return Word(
        text=word.word,
        start_s=_seconds(word.start_time),
        end_s=_seconds(word.end_time),
        confidence=word.confidence,
    )


def _alignment(alignment: speech_pb2.Alignment) -> Alignment:
    return Alignment(
        frame_hop_s=_seconds(alignment.frame_hop),
        start_s=_seconds(alignment.start_time),
        rows=tuple(_row(row) for row in alignment.rows),
        monotonicity=alignment.monotonicity,
        coverage=alignment.coverage,
    )


def _row(row: speech_pb2.AlignmentRow) -> Row:
    heads = None
    if row.HasField("mean_u8"):
        weights = np.frombuffer(row.mean_u8, np.uint8).astype(np.float32) / np.float32(U8_SCALE)
        frames = row.frame_offset + np.arange(len(weights))
    elif row.HasField("full"):
        heads = np.array(row.full.values, np.float32).reshape(row.full.layers, row.full.heads, row.full.frames)
        weights = heads.mean(axis=(0, 1)) if heads.size else np.zeros(row.full.frames, np.float32)
        frames = row.frame_offset + np.arange(row.full.frames)
    else:
        weights = np.array(row.top_k.weights, np.float32)
        frames = np.array(row.top_k.frames, np.int64)
    return Row(
        token_id=row.token_id,
        piece=row.piece,
        row_id=row.row_id,
        peak_frame=int(frames[weights.argmax()]) if weights.size else row.frame_offset,
        frames=frames,
        weights=weights,
        entropy=row.entropy,
        provisional=row.provisional,
        heads=heads,
        silence=row.silence,
    )


def _duration(seconds: float) -> dict[str, int]:
    """The fields of a google.protobuf.Duration."""
    whole, nanos = divmod(round(seconds * NANOS), NANOS)
    return {"seconds": whole, "nanos": nanos}


def _seconds(duration: Any) -> float:
    """Of a google.protobuf.Duration, which has no types."""
    return float(duration.seconds + duration.nanos / NANOS)
