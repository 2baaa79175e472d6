"""A stream whose encoding grows with it, over a model that hears tones (conftest.py)."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import InputError, OptionError
from asr.runtime.endpoints import Endpoints
from asr.runtime.policy import MARGIN_FRAMES, POLICIES
from asr.runtime.recognizer import Options
from asr.runtime.result import Kind
from asr.runtime.stream import CUT_S

HOP, LOOK_AHEAD, WORD_S = 320, 200, 0.24
CHUNKS = {"1280ms": 64, "640ms": 32, "320ms": 16}
RATE = 16_000
MANY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def texts(draw, most=40):
    """Letters, no two alike side by side, with pauses of a quarter of a second and of two seconds."""
    text = ""
    for letter in draw(st.lists(st.sampled_from("abcdefghijklmnopqrst"), min_size=1, max_size=most)):
        if not text.endswith(letter):
            text += letter
            text += draw(st.sampled_from(["", "", "", "", "_", "_" * 8]))
    return text


def long_text(words, seed=0):
    random, text = np.random.default_rng(seed), "a"
    while len(text) < words:
        letter = "abcdefghijklmnopqrst"[random.integers(20)]
        text += letter if letter != text[-1] else ""
    return text


def stream_of(recognizer, packets, **options):
    stream = recognizer.stream(Options(**{"latency_mode": "640ms", "alignment": True, **options}))
    updates = [update for packet in packets for update in stream.accept(packet)]
    return stream, updates


def updates_of(recognizer, packets, **options):
    stream, updates = stream_of(recognizer, packets, **options)
    return [*updates, *stream.finish()]


def finals(updates):
    return [result for update in updates for result in update.results if result.is_final]


def written(updates):
    return "".join(result.text for result in finals(updates)).replace(" ", "")


def comparable(updates):
    """All of the updates but what says how packets came, down to the bits."""
    return [
        (
            [
                (
                    {**vars(result), "alignment": None},
                    [
                        (row.row_id, row.token_id, row.provisional, row.weights.tobytes())
                        for row in result.alignment.rows
                    ],
                )
                for result in update.results
            ],
            update.cursors.processed_s,
            update.cursors.finalised_s,
            update.event,
        )
        for update in updates
    ]


@pytest.mark.parametrize("policy", ["", *POLICIES])
@pytest.mark.parametrize("mode", ["full", *CHUNKS])
@pytest.mark.parametrize(
    ("ctc", "multi_token", "right"), [(True, True, 0), (True, True, 8), (False, True, 0), (True, False, 0)]
)
def test_every_word_is_said_once(hearing, speak, mode, policy, ctc, multi_token, right):
    text = "abcde_fgh________ijk__lmnop"
    recognizer = hearing(ctc, multi_token, right_context_frames=right)
    said = recognizer.transcribe(speak(text), Options(latency_mode=mode, policy=policy))
    assert said.text.replace(" ", "") == text.replace("_", "")
    ends = [(place + 1) * WORD_S for place, letter in enumerate(text) if letter != "_"]
    words = [word for segment in said.segments for word in segment.words]
    assert [word.end_s for word in words] == pytest.approx(ends, abs=0.15)


@given(texts(), st.data())
@MANY
def test_packets_change_nothing(hearing, speak, text, data):
    samples = speak(text)
    cuts = sorted(data.draw(st.sets(st.integers(1, samples.size - 1), max_size=20)))
    mode, right = data.draw(st.sampled_from(sorted(CHUNKS))), data.draw(st.sampled_from([0, 8, 20]))
    whole, cut = (hearing(right_context_frames=right) for _ in range(2))
    expected = comparable(updates_of(whole, [samples], latency_mode=mode))
    assert comparable(updates_of(cut, np.split(samples, cuts), latency_mode=mode)) == expected


@given(texts(), st.sampled_from(sorted(CHUNKS)), st.sampled_from(sorted(POLICIES)), st.sampled_from([0, 8]))
@MANY
def test_what_was_called_stable_is_never_taken_back(hearing, speak, text, mode, policy, right):
    stable = ""
    recognizer = hearing(right_context_frames=right)
    for update in updates_of(recognizer, [speak(text)], latency_mode=mode, policy=policy):
        for result in update.results:
            if result.is_final or result.stability == 1.0:
                assert result.text.startswith(stable)
                assert "".join(word.text for word in result.words) == result.text
                stable = "" if result.is_final else result.text


def test_a_guess_at_the_newest_edge_is_never_called_stable(hearing, speak):
    updates = updates_of(hearing(), [speak(long_text(60))], latency_mode="320ms")
    guesses = [result for update in updates for result in update.results if "guess" in result.text]
    assert guesses, "the model does guess"
    assert all(not result.is_final and result.stability < 1 for result in guesses)


@given(texts(), st.sampled_from(sorted(CHUNKS)))
@MANY
def test_no_frame_is_encoded_twice_within_a_segment(hearing, speak, text, mode):
    recognizer = hearing()
    samples = speak(text)
    updates_of(recognizer, [samples], latency_mode=mode)
    reached = 0
    for position, frames, _ in recognizer.encoder.session.calls:
        assert position in (reached, 0)
        assert frames <= CHUNKS[mode]
        reached = position + frames
    silence = recognizer.encoder.end_silence
    assert sum(frames for _, frames, _ in recognizer.encoder.session.calls) <= samples.size // HOP + silence


def test_a_chunk_costs_the_same_in_the_hundredth_second_as_in_the_first(hearing, speak):
    recognizer = hearing()
    samples = speak(long_text(600))
    stream = recognizer.stream(Options(latency_mode="640ms"))
    chunk = 32 * HOP
    tokens, held = [], []
    for first in range(0, samples.size, chunk):
        before = len(recognizer.decoder.session.calls)
        stream.accept(samples[first : first + chunk])
        tokens.append(sum(count for _, count, _ in recognizer.decoder.session.calls[before:]))
        held.append(sum(values.nbytes for values in stream.growing.arrays.values()) if stream.growing else 0)
    assert max(tokens) <= 20, "only what is new is decoded, not the segment"
    assert max(held[100:]) <= max(held[:100])


def test_speech_without_a_pause_loses_no_word(hearing, speak):
    text = long_text(1_250)  # five minutes
    for ctc in (True, False):
        recognizer = hearing(ctc)
        samples = speak(text)
        updates = updates_of(recognizer, np.split(samples, range(4_000, samples.size, 4_000)))
        assert written(updates) == text
        encoded = sum(frames for _, frames, _ in recognizer.encoder.session.calls) * HOP / RATE
        cuts = len(finals(updates)) - 1
        assert 9 <= cuts <= 12
        assert encoded <= samples.size / RATE + cuts * (CUT_S + 0.1) + 1, "what lies after a cut is heard again"
        for name in ("processed_s", "finalised_s", "received_s"):
            cursors = [getattr(update.cursors, name) for update in updates]
            assert cursors == sorted(cursors)
        emissions = [result.emission_s for update in updates for result in update.results]
        assert emissions == sorted(emissions)


@pytest.mark.parametrize("mode", CHUNKS)
def test_a_word_is_stable_soon_after_its_end(hearing, speak, mode):
    text = long_text(100)
    (said,) = finals(updates_of(hearing(), [speak(text)], latency_mode=mode))
    looked_to_end = 6 * HOP / RATE  # the model looks at a word's middle
    slowest = (CHUNKS[mode] + MARGIN_FRAMES) * HOP / RATE + LOOK_AHEAD / RATE - looked_to_end
    lags = [word.emission_s - (place + 1) * WORD_S for place, word in enumerate(said.words)]
    assert max(lags) <= slowest + 0.02
    waited = finals(updates_of(hearing(), [speak(text)], latency_mode=mode, policy="agreement"))[0]
    assert np.median(lags) < np.median([word.emission_s - word.end_s for word in waited.words])


def test_words_and_interims_keep_the_emission_that_made_them_stable(hearing, speak):
    known = {}
    for update in updates_of(hearing(), [speak(long_text(40))]):
        for result in update.results:
            if result.is_final or result.stability == 1.0:
                for place, word in enumerate(result.words):
                    assert known.setdefault(place, word) == word


@pytest.mark.parametrize("mode", CHUNKS)
def test_a_second_pass_hears_the_whole_segment(hearing, speak, mode):
    text = "acegi_kmo" + "_" * 8 + long_text(150)  # the last: more than a segment holds
    heard_in_chunks, heard_again = (
        finals(updates_of(hearing(dull=True), [speak(text)], latency_mode=mode, rescore=rescore))
        for rescore in (False, True)
    )
    assert heard_in_chunks[0].text == " b d f h j l n p"
    assert "".join(result.text for result in heard_again) == "".join(f" {letter}" for letter in text.replace("_", ""))
    assert [row.row_id for result in heard_again for row in result.alignment.rows] == list(range(8 + 150))


def test_nothing_that_will_be_read_again_is_called_stable(hearing, speak):
    samples = speak("abcde" + "_" * 8 + "fgh")
    updates = updates_of(hearing(), [samples], rescore=True)
    interims = [result for update in updates for result in update.results if not result.is_final]
    assert interims
    assert all(result.stability < 1 for result in interims)
    assert all(row.provisional for result in interims for row in result.alignment.rows)
    assert not any(row.provisional for result in finals(updates) for row in result.alignment.rows)
    packets = np.split(samples, range(77, samples.size, 777))
    assert comparable(updates_of(hearing(), packets, rescore=True)) == comparable(updates)


def test_full_context_is_read_once_even_where_a_second_pass_is_asked_for(hearing, speak):
    calls = []
    for rescore in (False, True):
        recognizer = hearing()
        updates_of(recognizer, [speak("abc")], latency_mode="full", rescore=rescore)
        calls.append(recognizer.encoder.session.calls)
    assert calls[0] == calls[1]


def events(updates):
    return [update.event for update in updates if update.event is not None]


@pytest.mark.parametrize("interim", [True, False])
@pytest.mark.parametrize("mode", CHUNKS)
def test_activity_is_told_when_it_begins_and_when_it_ends(hearing, speak, mode, interim):
    text = "____abc" + "_" * 12 + "def"
    updates = updates_of(hearing(), [speak(text)], latency_mode=mode, activity=True, interim=interim)
    assert [event.kind for event in events(updates)] == [Kind.SPEECH_BEGIN, Kind.SPEECH_END] * 2
    times = [event.time_s for event in events(updates)]
    assert times == pytest.approx([place * WORD_S for place in (4, 7, 19, 22)], abs=0.1)
    speaking = False
    for update in updates:
        speaking = speaking if update.event is None else update.event.kind == Kind.SPEECH_BEGIN
        assert speaking or not update.results, "words come between the two"
    cuts = np.split(speak(text), range(123, speak(text).size, 1_234))
    again = updates_of(hearing(), cuts, latency_mode=mode, activity=True, interim=interim)
    assert comparable(again) == comparable(updates)
    assert events(updates_of(hearing(), [speak(text)], latency_mode=mode, interim=interim)) == []


def test_a_cut_is_no_pause(hearing, speak):
    updates = updates_of(hearing(), [speak(long_text(300))], activity=True)
    assert len(finals(updates)) > 1
    assert [event.kind for event in events(updates)] == [Kind.SPEECH_BEGIN, Kind.SPEECH_END]


def test_a_stream_in_which_nobody_begins_to_speak_ends(hearing, speak):
    stream, updates = stream_of(hearing(), [speak("_" * 50 + "abc")], activity=True, start_timeout_s=2.0)
    (event,) = events(updates)
    assert event.kind == Kind.TIMEOUT
    assert 2.0 <= event.time_s < 2.0 + 2 * 0.64
    assert stream.finished
    assert finals([*updates, *stream.finish()]) == []
    with pytest.raises(InputError, match="finished"):
        stream.accept(speak("a"))


def test_a_stream_in_which_nobody_speaks_again_ends(hearing, speak):
    text = "abc" + "_" * 12 + "d" + "_" * 60 + "e"
    options = {"activity": True, "start_timeout_s": 1.0, "end_timeout_s": 4.0}
    stream, updates = stream_of(hearing(), np.split(speak(text), [777, 77_777]), **options)
    assert events(updates)[-1].kind == Kind.TIMEOUT
    assert 4.0 <= events(updates)[-1].time_s - 16 * WORD_S < 4.0 + 2 * 0.64
    assert stream.finished
    assert written(updates) == "abcd"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start_timeout_s": 1.0}, "speech_start_timeout means nothing without voice activity events"),
        ({"activity": True, "end_timeout_s": 0.0}, "speech_end_timeout is more than 0 s"),
        ({"activity": True, "latency_mode": "full"}, "a latency mode other than full"),
    ],
)
def test_activity_that_cannot_be_told_is_refused(hearing, options, said):
    with pytest.raises(OptionError, match=said):
        hearing().stream(Options(**{"latency_mode": "640ms", **options}))


@pytest.mark.parametrize("ctc", [True, False])
def test_a_segment_ends_after_the_pause_that_was_asked_for(hearing, speak, ctc):
    text = "abc____def________gh"  # pauses of 0.96 and 1.92 s
    texts = {}
    for pause_s in (0.5, 1.5, 5.0):
        endpoints = Endpoints(stop_history_s=pause_s)
        updates = updates_of(hearing(ctc), [speak(text)], latency_mode="320ms", endpoints=endpoints)
        texts[pause_s] = [result.text.replace(" ", "") for result in finals(updates)]
    assert texts == {0.5: ["abc", "def", "gh"], 1.5: ["abcdef", "gh"], 5.0: ["abcdefgh"]}


def test_a_shorter_pause_makes_all_stable_and_leaves_the_segment_open(hearing, speak):
    text = "abc________def"
    told = {}
    for eou_s in (None, 0.3):
        endpoints = Endpoints(stop_history_s=5.0, stop_history_eou_s=eou_s)
        updates = updates_of(hearing(ctc=False), [speak(text)], policy="wait", endpoints=endpoints)
        told[eou_s] = [result.text for update in updates for result in update.results if result.stability == 1.0]
        assert [result.text for result in finals(updates)] == [" a b c d e f"]
    assert told[None] == []
    assert told[0.3][0] == " a b c"


def test_a_click_begins_no_segment_where_more_is_asked_for(hearing, speak):
    samples = speak("_" * 30)
    samples[RATE : RATE + 800] = 0.4  # 50 ms
    for history_s, encoded in ((0.01, True), (0.2, False)):
        recognizer = hearing()
        updates_of(recognizer, [samples], endpoints=Endpoints(start_history_s=history_s), latency_mode="320ms")
        assert bool(recognizer.encoder.session.calls) == encoded


@pytest.mark.parametrize("history_s", [0.1, 0.9])
def test_a_late_beginning_loses_no_word(hearing, speak, history_s):
    endpoints = Endpoints(start_history_s=history_s, start_threshold=0.5)
    samples = speak("_" * 20 + "abcdef")
    assert written(updates_of(hearing(), [samples], endpoints=endpoints, latency_mode="320ms")) == "abcdef"


def test_silence_is_neither_encoded_nor_decoded(hearing, speak):
    recognizer = hearing()
    assert updates_of(recognizer, [np.zeros(RATE * 60, np.float32)]) == []
    assert recognizer.encoder.session.calls == recognizer.decoder.session.calls == []


def test_leading_silence_moves_the_words_and_nothing_else(hearing, speak):
    text = "abcdefgh"
    (plain,), (late,) = (finals(updates_of(hearing(), [speak(before + text)])) for before in ("", "_" * 48))
    assert late.text == plain.text
    assert late.words[0].start_s == pytest.approx(plain.words[0].start_s + 48 * WORD_S, abs=0.06)


def hum(duration_s):
    samples = np.full(round(duration_s * RATE), 0.2, np.float32)
    samples[::2] *= -1
    return samples


def test_sound_without_letters_is_dropped_like_silence(hearing, speak):
    recognizer = hearing()
    samples = np.concatenate([hum(60), speak("abcd")])
    updates = updates_of(recognizer, [samples])
    assert written(updates) == "abcd"
    assert finals(updates)[0].words[0].start_s == pytest.approx(60, abs=0.6)
    assert max(frames for *_, frames in recognizer.decoder.session.calls) < 400, "the hum before is not held"
    encoded = sum(frames for _, frames, _ in recognizer.encoder.session.calls)
    assert encoded < 1.3 * samples.size / HOP


def test_a_pause_that_is_not_quiet_ends_a_segment_where_letters_are_counted(hearing, speak):
    samples = np.concatenate([speak("abcd"), hum(3), speak("efgh")])
    first, second = finals(updates_of(hearing(), [samples]))
    assert (first.text, second.text) == (" a b c d", " e f g h")
    assert first.emission_s < 2.7
    assert written(updates_of(hearing(ctc=False), [samples])) == "abcdefgh"


def test_a_flush_settles_what_was_said_and_the_stream_goes_on(hearing, speak):
    stream, updates = stream_of(hearing(), [speak("abcdef")])
    updates += stream.flush()
    assert updates[-1].event.kind == Kind.FLUSHED
    assert updates[-1].cursors.finalised_s == updates[-1].cursors.received_s
    assert written(updates) == "abcdef"
    updates += [*stream.accept(speak("ghi")), *stream.finish()]
    assert written(updates) == "abcdefghi"
    ids = [row.row_id for result in finals(updates) for row in result.alignment.rows]
    assert ids == list(range(9))
    assert not any(row.provisional for result in finals(updates) for row in result.alignment.rows)


def test_half_close_decodes_and_encodes_the_tail_alone(hearing, speak):
    recognizer = hearing()
    stream, _ = stream_of(recognizer, [speak(long_text(100))])
    before = len(recognizer.encoder.session.calls), len(recognizer.decoder.session.calls)
    stream.finish()
    encoded = recognizer.encoder.session.calls[before[0] :]
    decoded = recognizer.decoder.session.calls[before[1] :]
    assert sum(frames for _, frames, _ in encoded) <= 2 * 32 + recognizer.encoder.end_silence
    assert all(total == encoded[-1][0] + encoded[-1][1] for *_, total in encoded), "the end is known"
    assert sum(tokens for _, tokens, _ in decoded) <= 8


def test_the_draft_is_verified_in_one_call(hearing, speak):
    recognizer = hearing()
    updates_of(recognizer, [speak("abcdefghijklmnop")], policy="wait")
    most = {frames: tokens for _, tokens, frames in recognizer.decoder.session.calls if tokens > 1}
    assert sorted(most.values()) == list(most.values()), "each reading feeds the one before at once"


def test_a_file_in_a_latency_mode_equals_the_stream(hearing, speak):
    samples = speak(long_text(200))
    transcript = hearing().transcribe(samples, Options(latency_mode="640ms"))
    streamed = finals(updates_of(hearing(), np.array_split(samples, 97)))
    assert [vars(segment) | {"alignment": None} for segment in transcript.segments] == [
        vars(result) | {"alignment": None} for result in streamed
    ]


def test_without_interims_the_finals_are_the_same(hearing, speak):
    samples = speak("abcde________fghij")
    quiet = updates_of(hearing(), [samples], interim=False)
    assert all(result.is_final for update in quiet for result in update.results)
    assert [result.text for result in finals(quiet)] == [
        result.text for result in finals(updates_of(hearing(), [samples]))
    ]


def test_a_model_that_cannot_grow_is_read_anew(hearing, speak):
    recognizer = hearing(pad_s=30.0)
    updates_of(recognizer, [speak("abcdefghijkl")])
    assert all(position == 0 for position, *_ in recognizer.encoder.session.calls)


def test_a_policy_that_does_not_exist_is_refused(hearing):
    with pytest.raises(OptionError, match="align_att"):
        hearing().stream(Options(policy="guess"))
