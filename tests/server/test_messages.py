import numpy as np
import pytest

from asr.errors import OptionError
from asr.runtime.endpoints import Endpoints
from asr.runtime.phrases import Phrase
from asr.runtime.result import Alignment, Alternative, Cursors, Event, Kind, Result, Row, Update, Word
from asr.v1 import speech_pb2
from server import messages
from server.audio import Declared

WEIGHTS = np.array([0, 0, 0.25, 0.5, 0.001, 0.125, 0], np.float32)


def wanted(**config):
    return messages.asked(speech_pb2.RecognitionConfig(**config), "full")


def result(is_final=True, weights=WEIGHTS, **changes):
    values = {
        "text": " two words",
        "tokens": (11, 12),
        "words": (Word(" two", 1.0, 1.25, 0.9, 2.56), Word(" words", 1.25, 1.7, 0.8, 2.56)),
        "start_s": 0.5,
        "end_s": 2.56,
        "emission_s": 2.56,
        "is_final": is_final,
        "stability": 0.0 if is_final else 0.5,
        "language": "en",
        "avg_logprob": -0.25,
        "no_speech_prob": 0.125,
        "alignment": Alignment(0.02, 0.5, (Row(11, " two", 5, weights, 1.5, not is_final),)),
    }
    return Result(**{**values, **changes})


def row(level, weights=WEIGHTS, **alignment):
    message = messages.result_message(result(weights=weights), wanted(alignment={"level": level, **alignment}))
    return message.alignment.rows[0]


def seconds(duration):
    return duration.seconds + duration.nanos / 1e9


def test_an_empty_config_asks_for_the_defaults():
    asked = wanted()
    assert asked.audio == Declared()
    assert (asked.model, asked.options.latency_mode, asked.options.language) == ("", "full", "")
    assert not asked.options.alignment
    assert not asked.options.rescore


def test_a_config_says_what_it_asks_for():
    asked = wanted(
        encoding="MULAW",
        sample_rate_hertz=8000,
        audio_channel_count=2,
        language_code="en-US",
        model="big",
        latency_mode="320ms",
        alignment={"level": "PATH"},
        rescore_finals=True,
    )
    assert asked.audio == Declared("MULAW", 8000, 2)
    assert (asked.model, asked.options.language, asked.options.latency_mode) == ("big", "en-us", "320ms")
    assert asked.options.alignment
    assert asked.options.rescore


def test_a_config_says_how_to_search():
    plain = wanted().options
    assert (plain.beam, plain.alternatives, plain.phrases, plain.width) == (1, 1, (), 1)
    asked = wanted(
        beam_size=6,
        max_alternatives=3,
        speech_contexts=[{"phrases": ["Heed", "Ann"], "boost": 2.5}, {"phrases": ["Bo"]}],
    ).options
    assert (asked.beam, asked.alternatives, asked.width) == (6, 3, 8)
    assert asked.phrases == (Phrase("Heed", 2.5), Phrase("Ann", 2.5), Phrase("Bo"))


def test_alternatives_follow_the_best_with_confidences_to_be_compared_with_its_own():
    words = (Word(" too", 1.0, 1.25, 0.9, 2.56),)
    others = (Alternative(" too", (13,), words, -0.5, 0.5), Alternative(" to", (14,), (), -0.75, 0.125))
    message = messages.result_message(result(alternatives=others), wanted(enable_word_time_offsets=True))
    best, second, third = message.alternatives
    assert (best.transcript, second.transcript, third.transcript) == (" two words", " too", " to")
    assert best.confidence == pytest.approx(np.exp(-0.25))
    assert [one.confidence for one in (second, third)] == pytest.approx([best.confidence / 2, best.confidence / 8])
    assert (second.avg_logprob, list(second.token_ids)) == (-0.5, [13])
    assert [word.word for word in second.words] == [" too"]
    assert not messages.result_message(result(alternatives=others), wanted()).alternatives[1].words


def test_a_stream_has_its_own_default_mode_and_interims_if_wanted():
    config = {"interim_results": True, "config": {}}
    asked = messages.asked_of_stream(speech_pb2.StreamingRecognizeRequest(streaming_config=config))
    assert (asked.options.latency_mode, asked.options.interim) == ("640ms", True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"encoding": 77}, "encoding 77 is none of"),
        ({"sample_rate_hertz": -1}, "not negative"),
        ({"audio_channel_count": -1}, "not negative"),
        ({"max_alternatives": -1}, "0 or more"),
        ({"beam_size": -1}, "0 to 16"),
        ({"beam_size": 17}, "0 to 16"),
        ({"speech_contexts": [{"phrases": [""]}]}, "at least one letter"),
        ({"speech_contexts": [{"phrases": ["x" * 101]}]}, "at most 100"),
        ({"speech_contexts": [{"phrases": ["x"] * 501}] * 2}, "at most 1000 phrases, but these hold 1002"),
        ({"speech_contexts": [{"phrases": ["x"], "boost": -1}]}, "0 .* to 20"),
        ({"alignment": {"level": 9}}, "level 9 is none of"),
        ({"alignment": {"level": "TOP_K", "top_k": 65}}, "1 to 64"),
        ({"alignment": {"level": "TOP_K", "top_k": -1}}, "1 to 64"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(config, said):
    with pytest.raises(OptionError, match=said):
        wanted(**config)


@pytest.mark.parametrize(
    ("first", "said"),
    [(None, "ended before"), ({}, "empty"), ({"audio_content": b"xx"}, "audio_content"), ({"flush": {}}, "flush")],
)
def test_a_stream_that_does_not_begin_with_its_config_is_refused(first, said):
    with pytest.raises(OptionError, match=said):
        messages.asked_of_stream(None if first is None else speech_pb2.StreamingRecognizeRequest(**first))


def test_a_result_keeps_its_values():
    message = messages.result_message(result(), wanted())
    best = message.alternatives[0]
    assert (best.transcript, list(best.token_ids)) == (" two words", [11, 12])
    assert (best.avg_logprob, best.no_speech_prob) == (-0.25, 0.125)
    assert best.confidence == pytest.approx(np.exp(-0.25))
    assert (message.is_final, message.stability, message.language_code) == (True, 0.0, "en")
    times = message.start_time, message.result_end_time, message.emission_time
    assert [seconds(time) for time in times] == [0.5, 2.56, 2.56]


def test_a_result_without_tokens_has_no_confidence():
    assert messages.result_message(result(tokens=(), avg_logprob=0.0), wanted()).alternatives[0].confidence == 0


@pytest.mark.parametrize(("times", "confidence"), [(False, False), (True, False), (False, True), (True, True)])
def test_words_hold_what_was_asked_for_and_no_more(times, confidence):
    asked = wanted(enable_word_time_offsets=times, enable_word_confidence=confidence)
    words = messages.result_message(result(), asked).alternatives[0].words
    assert [word.word for word in words] == ([" two", " words"] if times or confidence else [])
    for word in words:
        assert word.HasField("start_time") == word.HasField("end_time") == times
        assert (word.confidence > 0) == confidence
        assert seconds(word.emission_time) == 2.56


def test_no_alignment_is_sent_unless_asked_for():
    assert not messages.result_message(result(), wanted()).HasField("alignment")


def test_rows_keep_their_token_whatever_the_level():
    message = messages.result_message(result(is_final=False), wanted(alignment={"level": "PATH"}))
    (only,) = message.alignment.rows
    assert (only.token_id, only.piece, only.row_id, only.entropy, only.provisional) == (11, " two", 5, 1.5, True)
    assert (seconds(message.alignment.frame_hop), seconds(message.alignment.start_time)) == (0.02, 0.5)


def test_path_is_the_most_attended_frame_alone():
    message = row("PATH")
    assert message.frame_offset == 3
    assert message.WhichOneof("weights") is None


def test_top_k_are_the_largest_weights_by_ascending_frame():
    message = row("TOP_K", top_k=3)
    assert message.frame_offset == 2
    assert list(message.top_k.frames) == [2, 3, 5]
    assert list(message.top_k.weights) == [0.25, 0.5, 0.125]


def test_top_k_is_eight_unless_said_and_never_more_than_there_are():
    assert len(row("TOP_K").top_k.frames) == len(WEIGHTS)
    assert len(row("TOP_K", weights=np.full(20, 0.05, np.float32)).top_k.frames) == 8


def test_mean_u8_is_255_times_the_weight_without_the_zeros_around():
    message = row("MEAN_U8")
    assert message.frame_offset == 2
    assert list(message.mean_u8) == [64, 128, 0, 32]


@pytest.mark.parametrize("level", ["PATH", "TOP_K", "MEAN_U8"])
@pytest.mark.parametrize("weights", [np.zeros(0, np.float32), np.zeros(5, np.float32)], ids=["none", "zeros"])
def test_a_row_that_looked_nowhere_has_no_weights(level, weights):
    message = row(level, weights=weights)
    assert message.frame_offset == 0
    assert not any(message.mean_u8)
    assert not any(message.top_k.weights)


def test_an_update_becomes_results_with_cursors():
    update = Update((result(), result(is_final=False)), Cursors(3.0, 2.56, 1.28))
    message = messages.response(update, wanted())
    assert [one.is_final for one in message.results] == [True, False]
    assert not message.HasField("event")
    cursors = message.cursors
    assert [seconds(time) for time in (cursors.received, cursors.processed, cursors.finalised)] == [3.0, 2.56, 1.28]


@pytest.mark.parametrize("kind", Kind)
def test_every_event_has_its_name_on_the_wire(kind):
    message = messages.response(Update((), Cursors(3.0, 3.0, 2.0), Event(kind, 1.5)), wanted())
    assert speech_pb2.SpeechEventType.Name(message.event.type).removeprefix("SPEECH_ACTIVITY_") in (
        kind.name,
        kind.name.removeprefix("SPEECH_"),
    )
    assert seconds(message.event.time) == 1.5


def test_endpoints_left_out_are_the_servers_choice():
    assert wanted().options.endpoints == Endpoints()
    some = wanted(endpointing_config={"stop_history": 400, "start_threshold": 0.5})
    assert some.options.endpoints == Endpoints(stop_history_s=0.4, start_threshold=0.5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"stop_history": 0}, "stop_history is 0.01 to 10 s, but this is 0 s"),
        ({"start_history": 20_000}, "start_history is 0.01 to 10 s, but this is 20 s"),
        ({"stop_threshold": 1.5}, "stop_threshold is a share above 0, at most 1, but this is 1.5"),
        ({"stop_history_eou": 900}, "shorter than stop_history"),
    ],
)
def test_endpoints_beyond_reason_are_refused(config, said):
    with pytest.raises(OptionError, match=said):
        wanted(endpointing_config=config)


def test_a_stream_says_what_activity_it_wants():
    config = {"enable_voice_activity_events": True, "config": {}}
    config["voice_activity_timeout"] = {"speech_end_timeout": {"seconds": 1, "nanos": 500_000_000}}
    asked = messages.asked_of_stream(speech_pb2.StreamingRecognizeRequest(streaming_config=config))
    assert (asked.options.activity, asked.options.start_timeout_s, asked.options.end_timeout_s) == (True, None, 1.5)


def test_the_end_of_a_flush_becomes_an_event_with_cursors_and_no_results():
    message = messages.response(Update((), Cursors(3.0, 3.0, 3.0), Event(Kind.FLUSHED, 3.0)), wanted())
    assert message.event.type == speech_pb2.FLUSHED
    assert seconds(message.event.time) == seconds(message.cursors.finalised) == 3.0
    assert not message.results


def test_an_update_that_says_nothing_is_not_sent():
    assert messages.response(Update((), Cursors(1.0, 0.0, 0.0)), wanted()) is None


@pytest.mark.parametrize(
    ("time_s", "whole", "nanos"),
    [(0.0, 0, 0), (0.64, 0, 640_000_000), (1.9999999999, 2, 0), (14400.02, 14400, 20_000_000)],
)
def test_durations_are_whole_nanoseconds(time_s, whole, nanos):
    assert messages.duration(time_s) == {"seconds": whole, "nanos": nanos}
