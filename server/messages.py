"""Wire messages to plain values and back. Pure functions: nothing here waits, sends or recognises."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asr.errors import OptionError, TooLongError
from asr.runtime.bundle import Bundle
from asr.runtime.endpoints import Endpoints
from asr.runtime.known import Known
from asr.runtime.phrases import MOST_PHRASES, Phrase
from asr.runtime.recognizer import LARGEST_BEAM, Options
from asr.runtime.result import Alignment, Alternative, Cursors, Event, Kind, Result, Row, Update, Word
from asr.v1 import speech_pb2
from server.audio import Declared

RECOGNIZE_MODE, STREAMING_MODE = "full", "640ms"  # the latency modes of those who name none
DEFAULT_TOP_K, MAX_TOP_K = 8, 64
NANOS = 1_000_000_000
U8_SCALE = 255
EVENTS = {
    Kind.FLUSHED: speech_pb2.FLUSHED,
    Kind.SPEECH_BEGIN: speech_pb2.SPEECH_ACTIVITY_BEGIN,
    Kind.SPEECH_END: speech_pb2.SPEECH_ACTIVITY_END,
    Kind.TIMEOUT: speech_pb2.SPEECH_ACTIVITY_TIMEOUT,
}


@dataclass(frozen=True)
class Asked:
    """What a config asks for, checked as far as that needs no model."""

    model: str  # "": the server's default
    options: Options
    audio: Declared
    word_times: bool
    word_confidence: bool
    level: int  # of AlignmentLevel
    top_k: int


def asked(config: speech_pb2.RecognitionConfig, default_mode: str, interim: bool = False) -> Asked:
    """OptionError for what makes no sense."""
    if config.max_alternatives < 0:
        raise OptionError(f"max_alternatives is 0 or more, but this is {config.max_alternatives}")
    if not 0 <= config.beam_size <= LARGEST_BEAM:
        raise OptionError(f"beam_size is 0 to {LARGEST_BEAM}, but this is {config.beam_size}")
    return Asked(
        model=config.model,
        options=Options(
            latency_mode=config.latency_mode or default_mode,
            language=config.language_code.lower(),
            alignment=config.alignment.level != speech_pb2.NONE,
            heads=config.alignment.level == speech_pb2.FULL,
            interim=interim,
            rescore=config.rescore_finals,
            endpoints=endpoints(config.endpointing_config),
            beam=config.beam_size or 1,
            alternatives=config.max_alternatives or 1,
            phrases=phrases(config.speech_contexts),
        ),
        audio=declared(config),
        word_times=config.enable_word_time_offsets,
        word_confidence=config.enable_word_confidence,
        level=config.alignment.level,
        top_k=top_k(config.alignment),
    )


def asked_of_stream(first: speech_pb2.StreamingRecognizeRequest | None) -> Asked:
    """What the first request of a stream asks for."""
    if first is None:
        raise OptionError("the stream ended before its streaming_config, which comes first")
    kind = first.WhichOneof("streaming_request")
    if kind != "streaming_config":
        raise OptionError(f"the first request of a stream is its streaming_config, but this is {kind or 'empty'}")
    config = first.streaming_config
    wanted = asked(config.config, STREAMING_MODE, config.interim_results)
    timeout = config.voice_activity_timeout
    options = replace(
        wanted.options,
        activity=config.enable_voice_activity_events,
        start_timeout_s=seconds(timeout.speech_start_timeout) if timeout.HasField("speech_start_timeout") else None,
        end_timeout_s=seconds(timeout.speech_end_timeout) if timeout.HasField("speech_end_timeout") else None,
    )
    return replace(wanted, options=options)


def declared(config: speech_pb2.RecognitionConfig) -> Declared:
    if config.encoding not in speech_pb2.AudioEncoding.values():
        raise OptionError(f"encoding {config.encoding} is none of {', '.join(speech_pb2.AudioEncoding.keys())}")
    if config.sample_rate_hertz < 0 or config.audio_channel_count < 0:
        raise OptionError("sample_rate_hertz and audio_channel_count are not negative; 0 leaves them open")
    unspecified = config.encoding == speech_pb2.AUDIO_ENCODING_UNSPECIFIED
    name = "" if unspecified else speech_pb2.AudioEncoding.Name(config.encoding)
    separate = config.enable_separate_recognition_per_channel
    return Declared(name, config.sample_rate_hertz, config.audio_channel_count, separate)


def endpoints(config: speech_pb2.EndpointingConfig) -> Endpoints:
    """What is left out stays as it is without a config."""
    given = {field.name: value for field, value in config.ListFields()}
    lengths = {f"{name}_s": value / 1000 for name, value in given.items() if "history" in name}
    return Endpoints(**lengths, **{name: value for name, value in given.items() if "threshold" in name})


def phrases(contexts: Sequence[speech_pb2.SpeechContext]) -> tuple[Phrase, ...]:
    """Counted before they are made: a message has room for millions."""
    number = sum(len(context.phrases) for context in contexts)
    if number > MOST_PHRASES:
        raise OptionError(f"speech_contexts hold at most {MOST_PHRASES} phrases, but these hold {number}")
    return tuple(Phrase(text, context.boost) for context in contexts for text in context.phrases)


def top_k(alignment: speech_pb2.AlignmentConfig) -> int:
    if alignment.level not in speech_pb2.AlignmentLevel.values():
        levels = ", ".join(speech_pb2.AlignmentLevel.keys())
        raise OptionError(f"alignment level {alignment.level} is none of {levels}")
    if not 0 <= alignment.top_k <= MAX_TOP_K:
        raise OptionError(f"top_k is 1 to {MAX_TOP_K}, or 0 for {DEFAULT_TOP_K}, but this is {alignment.top_k}")
    return alignment.top_k or DEFAULT_TOP_K


def response(update: Update, wanted: Asked) -> speech_pb2.StreamingRecognizeResponse | None:
    """None where an update says nothing."""
    cursors = cursors_message(update.cursors)
    if update.event is not None:
        return speech_pb2.StreamingRecognizeResponse(event=event_message(update.event), cursors=cursors)
    if not update.results:
        return None
    results = [result_message(result, wanted) for result in update.results]
    return speech_pb2.StreamingRecognizeResponse(results=results, cursors=cursors)


def recognize_response(finals: Iterable[Result], duration_s: float, wanted: Asked) -> speech_pb2.RecognizeResponse:
    in_order = sorted(finals, key=lambda final: (final.end_s, final.channel))  # of one channel they are already
    results = [result_message(result, wanted) for result in in_order]
    return speech_pb2.RecognizeResponse(results=results, audio_duration=duration(duration_s))


def result_message(result: Result, wanted: Asked) -> speech_pb2.SpeechRecognitionResult:
    words = result.words if wanted.word_times or wanted.word_confidence else ()
    sure = math.exp(min(0.0, result.avg_logprob)) if result.tokens else 0.0
    best = speech_pb2.SpeechRecognitionAlternative(
        transcript=result.text,
        confidence=sure,
        words=[word_message(word, wanted) for word in words],
        token_ids=result.tokens,
        avg_logprob=result.avg_logprob,
        no_speech_prob=result.no_speech_prob,
        doubt=result.doubt,
    )
    return speech_pb2.SpeechRecognitionResult(
        alternatives=[best, *(alternative_message(other, sure, wanted) for other in result.alternatives)],
        is_final=result.is_final,
        stability=result.stability,
        start_time=duration(result.start_s),
        result_end_time=duration(result.end_s),
        emission_time=duration(result.emission_s),
        language_code=result.language,
        channel_tag=result.channel,
        alignment=alignment_message(result.alignment, wanted) if result.alignment else None,
    )


def alternative_message(other: Alternative, sure: float, wanted: Asked) -> speech_pb2.SpeechRecognitionAlternative:
    """sure: the confidence of the best."""
    words = other.words if wanted.word_times or wanted.word_confidence else ()
    return speech_pb2.SpeechRecognitionAlternative(
        transcript=other.text,
        confidence=sure * other.odds,
        words=[word_message(word, wanted) for word in words],
        token_ids=other.tokens,
        avg_logprob=other.avg_logprob,
    )


def word_message(word: Word, wanted: Asked) -> speech_pb2.WordInfo:
    return speech_pb2.WordInfo(
        word=word.text,
        start_time=duration(word.start_s) if wanted.word_times else None,
        end_time=duration(word.end_s) if wanted.word_times else None,
        confidence=word.confidence if wanted.word_confidence else 0.0,
        emission_time=duration(word.emission_s),
    )


def alignment_message(alignment: Alignment, wanted: Asked) -> speech_pb2.Alignment | None:
    if wanted.level == speech_pb2.NONE:
        return None
    return speech_pb2.Alignment(
        frame_hop=duration(alignment.frame_hop_s),
        start_time=duration(alignment.start_s),
        rows=[row_message(row, wanted) for row in alignment.rows],
        monotonicity=alignment.monotonicity,
        coverage=alignment.coverage,
    )


def row_message(row: Row, wanted: Asked) -> speech_pb2.AlignmentRow:
    message = speech_pb2.AlignmentRow(
        token_id=row.token_id,
        piece=row.piece,
        row_id=row.row_id,
        entropy=row.entropy,
        provisional=row.provisional,
        silence=row.silence,
    )
    if not row.weights.size:
        return message
    if wanted.level == speech_pb2.PATH:
        message.frame_offset = row.peak
    elif wanted.level == speech_pb2.FULL and row.heads is not None:
        message.frame_offset = row.offset
        message.full.layers, message.full.heads, message.full.frames = row.heads.shape
        message.full.values.extend(row.heads.ravel().tolist())
    elif wanted.level == speech_pb2.TOP_K:
        largest = np.argsort(-row.weights, kind="stable")[: wanted.top_k]
        frames = np.sort(largest)
        message.frame_offset = row.offset + int(frames[0])
        message.top_k.frames.extend((row.offset + frames).tolist())
        message.top_k.weights.extend(row.weights[frames].tolist())
    else:
        levels = np.rint(row.weights * U8_SCALE).clip(0, U8_SCALE).astype(np.uint8)
        heard = np.flatnonzero(levels)  # a row is zero nearly everywhere: neither end needs sending
        first, last = (int(heard[0]), int(heard[-1])) if heard.size else (0, 0)
        message.frame_offset = row.offset + first
        message.mean_u8 = levels[first : last + 1].tobytes()
    return message


def align_response(known: Known, wanted: Asked) -> speech_pb2.AlignResponse:
    """Words come with their times and confidences, asked for or not: they are what the call is for."""
    everything = replace(wanted, word_times=True, word_confidence=True)
    return speech_pb2.AlignResponse(
        alternative=speech_pb2.SpeechRecognitionAlternative(
            transcript=known.text,
            confidence=math.exp(min(0.0, known.avg_logprob)),
            words=[word_message(word, everything) for word in known.words],
            token_ids=known.tokens,
            avg_logprob=known.avg_logprob,
        ),
        alignment=alignment_message(known.alignment, wanted),
        score=known.score,
        audio_duration=duration(known.duration_s),
    )


def check_size(alignments: Iterable[Alignment | None], most_bytes: int) -> None:
    """TooLongError where every head's weights would not fit a message, before they are written."""
    size = sum(row.heads.nbytes for one in alignments if one for row in one.rows if row.heads is not None)
    if size > most_bytes:
        raise TooLongError(
            f"alignment level FULL takes {size / 2**20:.0f} MiB here, and a message holds {most_bytes / 2**20:.0f}: "
            "ask for MEAN_U8, or send less audio at once"
        )


def cursors_message(cursors: Cursors) -> speech_pb2.Cursors:
    return speech_pb2.Cursors(
        received=duration(cursors.received_s),
        processed=duration(cursors.processed_s),
        finalised=duration(cursors.finalised_s),
    )


def event_message(event: Event) -> speech_pb2.SpeechEvent:
    return speech_pb2.SpeechEvent(type=EVENTS[event.kind], time=duration(event.time_s), channel_tag=event.channel)


def model_message(bundle: Bundle) -> speech_pb2.Model:
    return speech_pb2.Model(
        name=bundle.name,
        languages=bundle.languages,
        sample_rate_hertz=bundle.sample_rate,
        latency_modes=list(bundle.latency_modes),
        licence=bundle.licence,
        provenance=bundle.provenance,
        measured_wer=bundle.measured,
    )


def seconds(duration: Any) -> float:
    """Of a google.protobuf.Duration, which has no types."""
    return float(duration.seconds + duration.nanos / NANOS)


def duration(seconds: float) -> dict[str, int]:
    """The fields of a google.protobuf.Duration."""
    whole, nanos = divmod(round(seconds * NANOS), NANOS)
    return {"seconds": whole, "nanos": nanos}
