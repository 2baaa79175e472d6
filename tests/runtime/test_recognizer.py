"""The shipped model on real recordings: the words, and what must hold of every stream."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.errors import FormatError, InputError, NotFoundError, OptionError
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Event, Kind

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"
SPOKEN = {
    "librivox-0870": "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his "
    "power to do for them.",
    "librivox-0930": "He might even have been made amiable himself.",
    "goforward": "Go forward 10 meters.",
}
LIVE = Options(latency_mode="1280ms", alignment=True)


def updates_of(recognizer, packets, options=LIVE):
    stream = recognizer.stream(options)
    updates = [update for packet in packets for update in stream.accept(packet)]
    return [*updates, *stream.finish()]


def finals(updates):
    return [result for update in updates for result in update.results if result.is_final]


def essence(updates):
    """All that a caller sees but the arrival cursor, which does tell how packets came."""
    return [
        (
            [replace(result, alignment=None) for result in update.results],
            [
                (row.row_id, row.token_id, row.provisional, row.weights.tobytes())
                for result in update.results
                for row in result.alignment.rows
            ],
            update.cursors.processed_s,
            update.cursors.finalised_s,
            update.event,
        )
        for update in updates
    ]


def comparable(updates):
    return [([vars(result) for result in results], *rest) for results, *rest in essence(updates)]


@pytest.mark.parametrize("name", SPOKEN)
def test_the_words_of_real_recordings(recognizer, clip, name):
    assert recognizer.transcribe(clip(name)).text == SPOKEN[name]


def test_words_have_ascending_times_within_the_recording(recognizer, clip):
    samples = clip("librivox-0870")
    (segment,) = recognizer.transcribe(samples).segments
    assert "".join(word.text for word in segment.words) == segment.text
    times = [time for word in segment.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= samples.size / 16_000 + 0.02
    assert all(0 < word.confidence <= 1 for word in segment.words)


def test_alignment_has_a_row_for_each_token_over_the_audio_alone(recognizer, clip):
    samples = clip("librivox-0880")
    (segment,) = recognizer.transcribe(samples, Options(alignment=True)).segments
    assert [row.token_id for row in segment.alignment.rows] == list(segment.tokens)
    frames = -(-samples.size // 320)
    assert all(row.weights.shape == (frames,) for row in segment.alignment.rows)
    assert all(0 < row.weights.sum() <= 1.001 for row in segment.alignment.rows)
    peaks = [int(row.weights.argmax()) for row in segment.alignment.rows]
    assert np.corrcoef(peaks, np.arange(len(peaks)))[0, 1] > 0.9, "the text reads the audio from left to right"


@pytest.fixture(scope="module")
def whole(recognizer, clip):
    return comparable(updates_of(recognizer, [clip("librivox-0880")]))


@given(data=st.data())
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packets_change_nothing(recognizer, clip, whole, data):
    samples = clip("librivox-0880")
    cuts = sorted(data.draw(st.sets(st.integers(1, samples.size - 1), max_size=30)))
    assert comparable(updates_of(recognizer, np.split(samples, cuts))) == whole


def test_single_samples_are_packets_too(recognizer, clip, whole):
    samples = clip("librivox-0880")
    packets = [*np.split(samples[:2_000], 2_000), samples[2_000:]]
    assert comparable(updates_of(recognizer, packets)) == whole


def test_a_file_in_a_latency_mode_equals_the_stream(recognizer, clip):
    samples = clip("librivox-0880")
    transcript = recognizer.transcribe(samples, LIVE)
    streamed = finals(updates_of(recognizer, [samples]))
    assert [segment.text for segment in transcript.segments] == [result.text for result in streamed]


def test_what_was_called_stable_is_never_taken_back(recognizer, clip):
    samples = np.concatenate([clip("librivox-0870"), clip("librivox-0890")])
    stable = ""
    for update in updates_of(recognizer, [samples]):
        for result in update.results:
            if result.is_final or result.stability == 1.0:
                assert result.text.startswith(stable)
                stable = "" if result.is_final else result.text


@pytest.mark.parametrize("policy", ["align_att", "wait"])
def test_a_model_that_is_read_anew_takes_every_policy(recognizer, clip, policy):
    stable = ""
    for update in updates_of(recognizer, [clip("goforward")], replace(LIVE, policy=policy)):
        for result in update.results:
            if result.is_final or result.stability == 1.0:
                assert result.text.startswith(stable)
                stable = result.text
    assert stable.strip() == SPOKEN["goforward"]


def test_interims_are_at_most_two_and_stable_comes_first(recognizer, clip):
    updates = updates_of(recognizer, [clip("librivox-0870")])
    interims = [update.results for update in updates if not update.results[0].is_final]
    assert interims
    for results in interims:
        assert len(results) <= 2
        assert [result.stability for result in results] in ([1.0], [0.5], [1.0, 0.5])
        assert all(row.provisional for row in results[-1].alignment.rows) == (results[-1].stability < 1)


def test_a_flush_settles_what_was_said_and_the_stream_goes_on(recognizer, clip):
    stream = recognizer.stream(LIVE)
    first = [*stream.accept(clip("goforward")), *stream.flush()]
    assert [update.event.kind for update in first if update.event] == [Kind.FLUSHED]
    assert first[-1].event == Event(Kind.FLUSHED, first[-1].cursors.received_s)
    assert first[-1].cursors.finalised_s == first[-1].cursors.received_s
    second = [*stream.accept(clip("librivox-0880")), *stream.finish()]
    assert "".join(result.text for result in finals(first)).strip() == SPOKEN["goforward"]
    assert "young" in finals(second)[-1].text
    assert finals(second)[0].start_s >= clip("goforward").size / 16_000
    ids = [row.row_id for result in finals([*first, *second]) for row in result.alignment.rows]
    assert ids == list(range(len(ids)))


@pytest.mark.parametrize("mode", ["full", "640ms"])
@pytest.mark.parametrize("samples", [0, 1, 100, 48_000])
def test_silence_of_any_length_gives_no_text(recognizer, samples, mode):
    assert recognizer.transcribe(np.zeros(samples, np.float32), Options(latency_mode=mode)).text == ""


def test_leading_silence_moves_the_words_and_nothing_else(recognizer, clip):
    samples = clip("goforward")
    silence = np.zeros(16_000 * 10, np.float32)
    (plain,), (late,) = (finals(updates_of(recognizer, [x])) for x in (samples, np.concatenate([silence, samples])))
    assert late.text == plain.text
    assert late.words[0].start_s == pytest.approx(plain.words[0].start_s + 10, abs=0.06)


def test_a_pause_ends_a_segment(recognizer, clip):
    pause = np.zeros(16_000 * 2, np.float32)
    results = finals(updates_of(recognizer, [np.concatenate([clip("goforward"), pause, clip("librivox-0880")])]))
    assert results[0].text.strip() == SPOKEN["goforward"]
    assert len(results) == 2


def test_long_recordings_are_cut_and_lose_nothing_of_note(recognizer, clip):
    order = ["librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930"] * 2
    samples = np.concatenate([clip(name) for name in order])
    stream = recognizer.stream()
    updates = [
        update for part in np.split(samples, range(4_000, samples.size, 4_000)) for update in stream.accept(part)
    ]
    assert stream.held.size <= 2 * recognizer.bundle.max_samples
    segments = finals([*updates, *stream.finish()])
    assert len(segments) >= 2
    starts = [segment.start_s for segment in segments]
    assert starts == sorted(set(starts))
    text = "".join(segment.text for segment in segments)
    assert text.count("Dashwood") == text.count("young") == 2


def test_drafts_change_nothing_but_the_cost(recognizer, clip):
    source = recognizer.encoder.encode(clip("librivox-0870"))
    plain = recognizer.decode(source, "en")
    for draft in (plain.tokens, plain.tokens[:5], (*plain.tokens[:4], 11, 12)):
        drafted = recognizer.decode(source, "en", draft=draft)
        assert drafted.tokens == plain.tokens
        assert np.array_equal(drafted.log_probs, plain.log_probs)
        assert np.array_equal(drafted.weights, plain.weights)


def test_languages_and_modes_that_the_model_lacks_are_refused(recognizer):
    with pytest.raises(NotFoundError, match="it knows en"):
        recognizer.stream(Options(language="fr"))
    with pytest.raises(OptionError, match="640ms"):
        recognizer.stream(Options(latency_mode="7ms"))
    assert recognizer.language("en-US") == recognizer.language("") == recognizer.language("auto") == "en"


def test_a_finished_stream_takes_no_more(recognizer):
    stream = recognizer.stream()
    stream.finish()
    with pytest.raises(InputError, match="finished"):
        stream.accept(np.zeros(10, np.float32))


def test_loading_needs_no_torch():
    for module in ("asr.runtime.recognizer", "asr.audio.decode", "server.main", "client.transcribe", "client"):
        code = f"import {module}, sys; sys.exit(any(name in sys.modules for name in ('torch', 'librosa', 'onnx')))"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, module


def test_a_damaged_folder_is_refused(tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "m")
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(FormatError, match=r"tokenizer\.json is not the file"):
        Recognizer.load(folder)
    (folder / "decoder.onnx").unlink()
    with pytest.raises(FormatError, match=r"no decoder\.onnx"):
        Recognizer.load(folder)
    with pytest.raises(FormatError, match=r"no model\.json"):
        Recognizer.load(tmp_path)
