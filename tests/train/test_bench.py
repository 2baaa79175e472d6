"""The bench, over the model that hears tones (tests/runtime/conftest.py): what it counts, not how long things took."""

import argparse
import importlib.util
import json
import subprocess
import sys
import threading
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.runtime.recognizer import Options
from asr.runtime.result import Cursors, Result, Update, Word
from asr.train import bench, crowd
from asr.train.bench import main, settings_of
from asr.train.bench_report import BenchTrial, Setting, Stretch, Unbroken, latency_text, slope_of, streams_text, summed
from asr.train.clips import PACKET, Clip, choose, hiss, limited, spaced, unbroken
from asr.train.feed import Feed, Heard, Promise, hear, true_lags_s
from asr.train.manifest import TimedWord, read_manifest
from asr.train.score import Counts
from asr.train.tokens import END, START

RATE = 16_000
WORD_S = 0.24
_place = importlib.util.spec_from_file_location("tones", Path(__file__).parents[1] / "runtime" / "conftest.py")
tones = importlib.util.module_from_spec(_place)
_place.loader.exec_module(tones)
hearing, spoken = tones.hearing, tones.spoken  # the first is a fixture


def said(text):
    """The words of a text of letters."""
    return " ".join(text.replace("_", ""))


def save(folder, *texts, silent=False):
    """A set of recordings in which the letters are said; silent: the manifest does not say so."""
    folder.mkdir(parents=True)
    lines = []
    for index, text in enumerate(texts):
        samples = spoken(text)
        soundfile.write(folder / f"{index}.wav", samples, RATE, subtype="FLOAT")
        ends = [round((place + 1) * WORD_S, 3) for place, letter in enumerate(text) if letter != "_"]
        words = [
            {"word": word, "start": end - 0.2, "end": end} for word, end in zip(said(text).split(), ends, strict=True)
        ]
        line = {"audio": f"{index}.wav", "duration": samples.size / RATE}
        lines.append(json.dumps(line if silent else {**line, "text": said(text), "words": words}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))


@pytest.fixture
def data(tmp_path):
    save(tmp_path / "data" / "a", "abcdefgh__ijkl", "fedcb")
    save(tmp_path / "data" / "b", "hgfhgf______klmn")
    save(tmp_path / "data" / "none", "______", silent=True)
    return tmp_path / "data"


@pytest.fixture
def recognizer(hearing, monkeypatch):
    """What every --model opens."""
    made = hearing()
    monkeypatch.setattr(bench, "Recognizer", SimpleNamespace(load=lambda folder, threads: made))
    return made


@pytest.fixture
def run(recognizer, data, tmp_path):
    """Runs the command; returns what it wrote to bench.json."""

    def command(*more):
        assert main(["--model", "tones", "--data", str(data), "--output", str(tmp_path / "out"), *more]) == 0
        return json.loads((tmp_path / "out" / "bench.json").read_text())

    return command


SETTINGS = [("align_att", False), ("agreement", False), ("wait", False), ("align_att", True)]


def rows_in(folder):
    return [json.loads(line) for line in (folder / "bench.jsonl").read_text().splitlines()]


def test_all_tables_are_printed_and_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crowd, "SIZES", (1, 2))
    found = run("--hours", "0.004", "--seconds", "0.8", "--minutes", "0.05", "--workers", "2")
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "bench.md").read_text() == printed
    assert [line for line in printed.splitlines() if line.startswith("###")] == [f"### {name}" for name in bench.TABLES]
    assert printed.startswith("tones (tones). 1 thread(s) on ")
    assert {row["table"] for row in rows_in(tmp_path / "out")} == {*bench.TABLES, "unbroken", "wrong texts"}
    assert [row["streams"] for row in found["streams"]] == [1, 2]
    assert [row["points"] for row in found["streams"]] == [1, 2]  # at 640 ms, each
    assert found["config"]["seconds"] == 0.8


def test_each_mode_is_measured_with_each_policy(run, tmp_path):
    rows = run("--table", "latency")["latency"]
    assert [(row["mode"], row["policy"], row["rescored"]) for row in rows] == [
        ("full", "", False),
        *((mode, *setting) for mode in ("1280ms", "640ms", "320ms") for setting in SETTINGS),
    ]
    assert all(row["wer"] == 0.0 and row["broken"] == 0 and row["utterances"] == 3 for row in rows)
    assert len(rows_in(tmp_path / "out")) == 3 * len(rows)
    by_setting = {(row["mode"], row["policy"]): row for row in rows if not row["rescored"]}
    align_att, agreement, wait = (by_setting["640ms", policy] for policy in ("align_att", "agreement", "wait"))
    assert align_att["lag"]["median_ms"] < agreement["lag"]["median_ms"] < wait["lag"]["median_ms"]
    # the tones' times are exact, so that both lags are of the same words
    assert align_att["true_lag"]["number"] == align_att["lag_of_all"]["number"] == 27
    assert align_att["true_lag"]["median_ms"] == pytest.approx(align_att["lag_of_all"]["median_ms"], abs=100)
    assert by_setting["full", ""]["lag"]["number"] == 0  # all came at half-close


def test_the_latency_table_can_be_cut_down(run):
    rows = run("--table", "latency", "--latency", "640", "--limit", "1", "--sets", "b")["latency"]
    assert [(row["policy"], row["rescored"]) for row in rows] == SETTINGS
    assert all((row["mode"], row["utterances"]) == ("640ms", 1) for row in rows)


def test_what_was_measured_before_a_failure_is_kept(recognizer, data, tmp_path, monkeypatch, capsys):
    (tmp_path / "bench.jsonl").write_text("of an earlier run\n")
    load, loaded = bench.load, []

    def fails_at_the_second(utterance):
        loaded.append(utterance)
        if len(loaded) == 2:
            raise OSError("the disk is gone")
        return load(utterance)

    monkeypatch.setattr(bench, "load", fails_at_the_second)
    wanted = ["--table", "latency", "--latency", "640ms", "--output", str(tmp_path)]
    assert main(["--model", "tones", "--data", str(data), *wanted]) == 1
    assert "asr-bench: the disk is gone" in capsys.readouterr().err
    assert [(row["policy"], row["rescored"]) for row in rows_in(tmp_path)] == SETTINGS
    assert {row["id"] for row in rows_in(tmp_path)} == {"0"}


def test_a_plain_import_is_not_asked_for_what_it_cannot_do(hearing):
    plain, growing = hearing(pad_s=30.0, log_mel="whisper").bundle, hearing().bundle
    assert settings_of(plain, ["640ms"]) == [Setting("640ms", "agreement"), Setting("640ms", "wait")]
    assert {setting.policy for setting in settings_of(growing, ["640ms"])} == {"align_att", "agreement", "wait"}
    assert settings_of(growing, ["full"]) == [Setting("full", "")]


def test_a_long_stream_is_told_row_by_row(run, recognizer):
    found = run("--table", "long", "--hours", "0.005")["long"]  # 18 seconds
    assert len(found["stretches"]) == bench.LEAST_ROWS
    assert found["stretches"][-1]["until_min"] == pytest.approx(0.3)
    assert sum(row["minutes"] for row in found["stretches"]) == pytest.approx(0.3)
    assert all(row["resident_mib"] > 1 and not row["broken"] for row in found["stretches"])
    assert sum(row["words"] for row in found["stretches"]) == 45  # 12, 10, 5, 12 and what begins of 10
    assert found["slopes"] == {"none": None}


def test_a_long_stream_is_measured_with_each_level_of_alignment(run, monkeypatch):
    asked = []
    stream = tones.Recognizer.stream
    monkeypatch.setattr(
        tones.Recognizer, "stream", lambda self, options: asked.append(options) or stream(self, options)
    )
    found = run("--table", "long", "--hours", "0.005", "--alignment", "none,full")["long"]
    assert [row["alignment"] for row in found["stretches"]] == ["none"] * 4 + ["full"] * 4
    assert found["slopes"] == {"none": None, "full": None}
    assert [(one.alignment, one.heads) for one in asked[:2]] == [(False, False), (True, True)]


def test_speech_without_pause_loses_no_word(run):
    found = run("--table", "long", "--hours", "0.02")["long"]["unbroken"]  # more than two segments
    assert found["minutes"] > 1.1
    assert found["segments"] > 2
    assert found["joined"]["words"] > 250
    assert found["words_lost"] == 0
    assert found["joined"]["deletions"] == found["alone"]["deletions"] == 0


def test_words_lost_are_those_that_are_not_lost_alone():
    joined, alone = Counts(words=100, deletions=9), Counts(words=100, deletions=2)
    assert Unbroken(1.0, 10, 3, joined, alone, 0).words_lost == 7


def test_words_where_nothing_is_said_are_counted_as_they_stand(recognizer, data, run):
    save(data / "wrong", "aaa_bcd", silent=True)
    rows = run("--table", "silence", "--minutes", str(2 * 7 * WORD_S / 60))["silence"]
    assert {row["set"] for row in rows} == {"digital silence", "quiet room", "none", "wrong"}
    assert {row["mode"] for row in rows} == {"640ms", "full"}
    assert {(row["set"], row["words"]) for row in rows if row["words"]} == {("wrong", 8)}  # a long tone is one word


def test_silence_needs_no_speech_but_all_else_does(recognizer, data, capsys):
    command = ["--model", "tones", "--data", str(data), "--sets", "none", "--minutes", "0.02"]
    assert main([*command, "--table", "silence"]) == 0
    capsys.readouterr()
    assert main([*command, "--table", "silence,long"]) == 1
    assert "need speech" in capsys.readouterr().err


def test_a_mode_that_the_model_lacks_is_said(recognizer, data, capsys):
    assert main(["--model", "tones", "--data", str(data), "--latency", "80ms"]) == 1
    assert "no latency mode 80ms; it has full" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [["--table", "haste"], ["--table", ""], ["--hours", "0"], ["--limit", "-1"], ["--limit", "1.5"],
     ["--minutes", "nan"], ["--checkpoint", "DIR"]],
)  # fmt: skip
def test_a_wrong_flag_is_usage(data, wrong):
    with pytest.raises(SystemExit) as caught:
        main(["--model", "tones", "--data", str(data), *wrong])
    assert caught.value.code == 2


def test_an_exported_folder_is_measured_without_torch():
    code = "import sys, asr.train.bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkpoint_is_measured_by_torch(tmp_path, data, monkeypatch, capsys):
    torch, threads = pytest.importorskip("torch"), []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    from asr.model.checkpoint import save_checkpoint
    from asr.model.config import ModelConfig
    from asr.model.model import SpeechModel

    tokenizer = tmp_path / "tokenizer.json"
    tones.Tokenizer(tones.models.BPE({END: 0, START: 1, "Ġa": 2, "Ġb": 3}, [])).save(str(tokenizer))
    config = ModelConfig(
        vocabulary=4, dim=16, encoder_layers=1, encoder_heads=1,
        decoder_layers=1, decoder_heads=1, max_frames=400, max_tokens=32, log_mel="fixed", pad_s=0.0, name="random",
    )  # fmt: skip
    save_checkpoint(SpeechModel(config), tokenizer, tmp_path / "checkpoint")
    command = ["--checkpoint", str(tmp_path / "checkpoint"), "--data", str(data), "--table", "latency"]
    assert main([*command, "--latency", "640ms", "--limit", "1"]) == 0
    printed = capsys.readouterr().out
    assert "torch" in printed.splitlines()[0]
    assert threads == [1]
    assert "| 640ms | align_att |" in printed


# feeding


def test_feeding_changes_nothing_and_times_every_grid_point(hearing):
    recognizer, samples, options = hearing(), spoken("abcdefgh________ijkl"), Options(latency_mode="640ms")
    heard = hear(recognizer, samples, options)
    assert heard.text == "".join(result.text for result in recognizer.transcribe(samples, options).segments)
    assert [word.text.strip() for word in heard.words] == list("abcdefghijkl")
    assert heard.segments == 2
    assert len(heard.points_s) == (samples.size - 200) // (32 * 320)  # as many as its chunks, with what each waits for
    assert heard.audio_s == pytest.approx(samples.size / RATE)
    assert 0 < heard.at_close < 5
    assert heard.interims > 0


def test_stock_is_taken_of_each_stretch_alone(hearing):
    feed = Feed(hearing().stream(Options(latency_mode="640ms")))
    for _ in range(2):
        feed.accept(spoken("abc________"))
        heard = feed.take()
        assert (len(heard.words), heard.segments, heard.audio_s) == (3, 1, pytest.approx(11 * WORD_S))
    assert feed.take() == Heard()


def result(tokens, is_final=False, stability=1.0):
    words = tuple(Word(f" {token}", 0.0, 0.1, 1.0, 0.5) for token in tokens) if is_final else ()
    return Result("", tuple(tokens), words, 0.0, 1.0, 1.0, is_final, stability, "en", -0.1, 0.0, None)


STABLE, TAIL, FINAL = {}, {"stability": 0.5}, {"is_final": True, "stability": 0.0}


@pytest.mark.parametrize(
    ("updates", "broken"),
    [
        ([[([1, 2], STABLE), ([3], TAIL)], [([1, 2, 3], STABLE)], [([1, 2, 3, 4], FINAL)], [([9], STABLE)]], 0),
        ([[([3], TAIL)], [([4], TAIL)], [([5], FINAL)]], 0),  # what is not stable may change
        ([[([1], STABLE)], [([1, 2], FINAL), ([7], STABLE)], [([7], FINAL)]], 0),
        ([[([1, 2], STABLE)], [([1, 3], STABLE)]], 1),
        ([[([1, 2], STABLE)], [([1], STABLE)]], 1),
        ([[([1, 2], STABLE)], [([1, 3], FINAL)]], 1),
        ([[([1, 2], STABLE)], [([1, 2, 3], TAIL)]], 1),  # it is not said to be stable any more
    ],
)
def test_stable_text_that_does_not_stay_is_a_broken_promise(updates, broken):
    promise = Promise()
    cursors = Cursors(1.0, 1.0, 0.0)
    told = [Update(tuple(result(tokens, **kind) for tokens, kind in results), cursors) for results in updates]
    assert sum(map(promise.see, told)) == broken


class Forgetful:
    """A stream that calls a token stable and then says nothing of it."""

    processed, rate = 0, RATE

    def accept(self, samples):
        return [Update((result([1]),), Cursors(1.0, 1.0, 0.0))]

    def finish(self):
        return []


def test_stable_text_that_never_becomes_final_is_a_broken_promise():
    recognizer = SimpleNamespace(stream=lambda options: Forgetful())
    assert hear(recognizer, hiss(0.02), Options()).broken == 1


def test_true_lags_are_those_of_words_that_were_heard_rightly():
    truth = [TimedWord("The", 0.1, 0.4), TimedWord("grey", 0.5, 0.8), TimedWord("cat", 0.9, 1.2)]
    words = [Word(" the", 0.1, 0.3, 1.0, 0.9), Word(" hat,", 0.5, 1.0, 1.0, 1.4), Word(" cat.", 1.0, 1.1, 1.0, 1.5)]
    assert true_lags_s(truth, words) == pytest.approx([0.5, 0.3])
    assert true_lags_s((), words) == []


# the sums


def trial(lags_s, at_close=0, true_lags_s=(), final_s=0.1, counts=Counts(words=10, deletions=1)):  # noqa: B008
    words = [Word(" x", 0.0, 1.0, 1.0, 1.0 + lag_s) for lag_s in lags_s]
    heard = Heard(words=words, at_close=at_close, audio_s=30.0, wall_s=3.0, cpu_s=1.5, final_s=final_s)
    return BenchTrial("a", "1", Setting("640ms", "wait"), heard, counts, list(true_lags_s))


def test_words_that_half_close_brought_are_kept_apart():
    row = summed(Setting("640ms", "wait"), [trial([0.4, 0.6, 0.1], at_close=1), trial([0.2, 0.1], at_close=1)])
    assert (row.lag.number, row.lag.median_ms) == (3, pytest.approx(400))
    assert (row.lag_of_all.number, row.lag_of_all.median_ms) == (5, pytest.approx(200))
    assert (row.wer, row.minutes, row.real_time_factor, row.cpu_factor) == (10.0, 1.0, 0.1, 0.05)


def test_a_final_without_words_is_no_measure_of_one():
    row = summed(Setting("640ms", "wait"), [trial([], final_s=0.0), trial([0.1], final_s=0.2)])
    assert (row.final.number, row.final.median_ms) == (1, 200)


def test_true_lags_are_a_column_where_they_are_known():
    with_times, without = (summed(Setting("640ms", "wait"), [trial([0.1], 0, lags)]) for lags in ([0.3], []))
    assert "| 300 / 300 |" in latency_text([with_times], ["a"])
    assert "true lag" not in latency_text([without], ["a"])


def test_the_slope_is_that_of_all_rows_but_the_first():
    rows = [Stretch(10.0 * place, 10.0, 2.0, 2.0, 100.0 + place, 5, 0) for place in range(1, 7)]
    warming = Stretch(10.0, 10.0, 9.0, 9.0, 5.0, 5, 0)
    slope = slope_of([warming, *rows[1:]])
    assert slope.cpu_s == pytest.approx(0.0, abs=1e-9)
    assert slope.resident_mib == pytest.approx(6.0)
    assert slope_of(rows[:2]) is None


# sound


def test_clips_are_taken_from_each_set_in_turn(data):
    sets = {name: read_manifest(data / name) for name in ("a", "b")}
    assert [clip.text for clip in choose(sets, 1000.0)] == [said(t) for t in ("abcdefghijkl", "hgfhgfklmn", "fedcb")]
    assert [clip.text for clip in choose(sets, 1.0)] == [said("abcdefghijkl")]


def test_a_stream_of_clips_has_no_end_and_begins_where_it_is_told():
    clips = [Clip(str(size), np.full(size, 0.5, np.float32)) for size in (100, 200, 300)]
    sizes = [part.size for part in islice(spaced(clips, first=4), 0, 8, 2)]
    assert sizes == [200, 300, 100, 200]
    parts = list(limited(spaced(clips), 7.0))
    assert sum(part.size for part in parts) == 7 * RATE


def test_speech_without_pauses_keeps_all_sound():
    samples = spoken("____ab________cd__")
    short = unbroken(samples)
    assert np.count_nonzero(short) == np.count_nonzero(samples)
    assert short.size / RATE <= 4 * WORD_S + 2 * 0.1 + 0.2 + 0.03
    assert unbroken(np.zeros(RATE, np.float32)).size == 0


# many streams


class Clock:
    """Time that passes when somebody sleeps or works."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, duration_s):
        assert duration_s > 0
        self.now_s += duration_s


class Worker:
    """A stream that takes so long over a grid point, which is every fourth packet."""

    def __init__(self, clock, work_s):
        self.clock, self.work_s = clock, work_s
        self.packets = self.processed = 0

    def accept(self, packet):
        self.packets += 1
        if self.packets % 4 == 0:
            self.clock.now_s += self.work_s
            self.processed = self.packets * PACKET
        return []


def follow(monkeypatch, work_s, packets=40):
    clock, stop = Clock(), threading.Event()
    monkeypatch.setattr(crowd, "time", clock)
    arriving = [np.zeros(PACKET, np.float32)] * packets
    return crowd.follow(Worker(clock, work_s), arriving, 0.0, nullcontext(), stop), clock, stop


def test_a_stream_that_keeps_up_is_late_by_its_work_alone(monkeypatch):
    lags_s, clock, _ = follow(monkeypatch, work_s=0.03)
    assert lags_s == pytest.approx([0.03] * 10)
    assert clock.now_s == pytest.approx(40 * 0.02 + 0.03)  # no packet came before it was spoken


def test_a_stream_that_does_not_keep_up_is_later_and_later(monkeypatch):
    lags_s, _, stop = follow(monkeypatch, work_s=0.1)
    assert lags_s == pytest.approx([0.1 + place * 0.02 for place in range(10)])
    assert not stop.is_set()


def test_who_is_hopelessly_late_sends_everybody_home(monkeypatch):
    lags_s, _, stop = follow(monkeypatch, work_s=crowd.HOPELESS_S + 0.1)
    assert len(lags_s) == 1
    assert stop.is_set()


@pytest.mark.parametrize(
    ("lags_s", "given_up", "live"),
    [([0.1] * 96 + [9.0] * 4, False, True), ([0.1] * 90 + [9.0] * 10, False, False), ([0.1], True, False),
     ([], False, False)],
)  # fmt: skip
def test_a_crowd_is_live_while_nearly_all_results_come_soon(lags_s, given_up, live):
    row = crowd.summed(4, 10.0, lags_s, 1.0, given_up)
    assert row.live is live
    assert ("4 streams with" if live else "0 streams with") in streams_text([row], workers=2)


def test_more_streams_are_tried_until_they_come_too_late(recognizer, data, monkeypatch):
    asked = []

    def gather(recognizer, options, clips, size, seconds, workers):
        asked.append(size)
        return crowd.summed(size, seconds, [0.4 * size], 1.0, False)

    monkeypatch.setattr(crowd, "gather", gather)
    options = argparse.Namespace(seconds=1.0, workers=2)
    speech = {"a": read_manifest(data / "a")}
    bench.streams(bench.Bench(recognizer, speech, {}, {}, options, lambda table, row: None))
    assert asked == [1, 2, 4]


def test_all_streams_of_a_crowd_are_heard(hearing):
    clips = [Clip("a b c", spoken("abc_")), Clip("d e f", spoken("def_"))]
    row = crowd.gather(hearing(), Options(latency_mode="320ms"), clips, 3, 0.7, 2)
    assert (row.streams, row.points, row.given_up) == (3, 6, False)
