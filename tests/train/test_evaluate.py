import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asr.train import evaluate
from asr.train.evaluate import main, read_sets

MakeSet = Callable[[str, dict[float, str | None]], Path]


@pytest.fixture
def data(make_set: MakeSet) -> Path:
    make_set("noise", {0.3: None})
    make_set("read", {0.1: "one cat", 0.2: "two dogs"})
    return make_set("long", {0.4: "three birds sing"}).parent


def run(model: Path, data: Path, *more: str) -> int:
    return main(["--model", str(model), "--data", str(data), *more])


def test_a_folder_of_sets_is_scored(
    recognizer: Any, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer.written = {100: "One cat.", 200: "two hogs", 300: "thank you", 400: "three birds"}
    assert run(model, data, "--output", str(tmp_path / "out")) == 0
    printed, said = capsys.readouterr()
    assert (tmp_path / "out" / "evaluate.md").read_text() == printed
    assert said == ""  # no progress bar where stderr is no terminal
    told = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    assert {row["set"]: row["wer"] for row in told["rows"]} == {"read": 25.0, "long": pytest.approx(100 / 3)}
    assert told["silences"][0]["words"] == 2
    assert [utterance["heard"]["tiny full"]["text"] for utterance in told["utterances"]] == [
        "One cat.",
        "two hogs",
        "three birds",
        "thank you",
    ]
    assert told["config"]["threads"] == 1
    assert told["versions"]["jiwer"]
    assert told["machine"]["cores"] >= 1


def test_what_was_heard_before_a_failure_is_kept(
    recognizer: Any, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.jsonl").write_text("of an earlier run\n")
    load, loaded = evaluate.manifest.load, []

    def fails_at_the_third(utterance: Any) -> Any:
        loaded.append(utterance)
        if len(loaded) == 3:
            raise OSError("the disk is gone")
        return load(utterance)

    monkeypatch.setattr(evaluate.manifest, "load", fails_at_the_third)
    assert run(model, data, "--output", str(tmp_path / "out")) == 1
    lines = (tmp_path / "out" / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one cat", "two dogs"]


def test_every_utterance_goes_through_all_systems_in_turn(recognizer: Any, model: Path, data: Path) -> None:
    other = model.parent / "other"
    other.mkdir()
    assert run(model, data, "--sets", "read", "--peer", f"before={other}") == 0
    heard = [(name, milliseconds) for name, milliseconds, _ in recognizer.heard]
    warm_up = [("tiny", 100), ("other", 100)]
    assert heard == [*warm_up, ("tiny", 100), ("other", 100), ("tiny", 200), ("other", 200)]


def test_a_missing_peer_is_said_and_left_out(
    recognizer: Any,
    model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    recognizer.written = {100: "one cat", 200: "two dogs"}
    peers = ["--peer", "pocketsphinx", "--peer", f"before={tmp_path / 'nowhere'}"]
    assert run(model, data, "--sets", "read", *peers, "--output", str(tmp_path)) == 0
    printed, said = capsys.readouterr()
    assert "pocketsphinx is left out: pocketsphinx is not installed" in said
    assert "nowhere" in said
    assert "Left out: pocketsphinx" in printed
    told = json.loads((tmp_path / "evaluate.json").read_text())
    assert list(told["left_out"]) == ["pocketsphinx", f"before={tmp_path / 'nowhere'}"]
    assert {row["system"] for row in told["rows"]} == {"tiny full"}


@pytest.mark.parametrize(
    ("flag", "modes"),
    [("full", ["full"]), ("640", ["640ms"]), ("640ms", ["640ms"]), ("full,640,full", ["full", "640ms"])],
)
def test_latency_names_the_modes(recognizer: Any, model: Path, data: Path, flag: str, modes: list[str]) -> None:
    assert run(model, data, "--latency", flag, "--sets", "long") == 0
    assert list(dict.fromkeys(options.latency_mode for _, _, options in recognizer.heard)) == modes


@pytest.mark.parametrize(
    "wrong", [["--latency", "fast"], ["--latency", ""], ["--threads", "0"], ["--limit", "0"], ["--bootstrap", "-1"]]
)
def test_a_wrong_flag_is_usage(model: Path, data: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(model, data, *wrong)
    assert caught.value.code == 2


def test_limit_takes_the_first_of_each_set(recognizer: Any, model: Path, data: Path) -> None:
    assert run(model, data, "--limit", "1") == 0
    assert [milliseconds for _, milliseconds, _ in recognizer.heard[1:]] == [100, 400, 300]


def test_a_set_can_be_given_itself(recognizer: Any, model: Path, data: Path) -> None:
    assert run(model, data / "long") == 0
    assert {milliseconds for _, milliseconds, _ in recognizer.heard} == {400}


def test_sets_come_in_the_order_they_are_asked_for(data: Path) -> None:
    assert list(read_sets(data)) == ["read", "long", "noise"]  # what is pooled first
    assert list(read_sets(data, ["noise", "read"])) == ["noise", "read"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--sets", "read,other"], "no set other"),
        (["--latency", "320"], "no latency mode 320ms"),
        (["--peer", "other"], "unknown peer"),
        (["--peer", "tiny={model}"], "two systems are called tiny full"),
    ],
)
def test_what_cannot_be_run_is_said_before_it_runs(
    recognizer: Any, model: Path, data: Path, capsys: pytest.CaptureFixture[str], more: list[str], complaint: str
) -> None:
    assert run(model, data, *(argument.format(model=model) for argument in more)) == 1
    assert complaint in capsys.readouterr().err
    assert recognizer.heard == []


@pytest.mark.usefixtures("recognizer")
def test_data_without_a_set_is_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, tmp_path / "nothing") == 1
    assert "no set in" in capsys.readouterr().err


def test_a_missing_recording_is_said_before_anything_is_heard(
    recognizer: Any, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "read" / "200.wav").unlink()
    assert run(model, data) == 1
    assert "200.wav" in capsys.readouterr().err
    assert recognizer.heard == []


def test_evaluation_never_loads_torch() -> None:
    code = "import sys, asr.train.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Clock:
    """A process that is busy until a given time, seen through time's own names. Sleeping is what moves it."""

    def __init__(self, busy_until_s: float):
        self.now_s = 0.0
        self.busy_until_s = busy_until_s

    def perf_counter(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return min(self.now_s, self.busy_until_s)

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


@pytest.mark.parametrize(("busy_until_s", "waited_s"), [(0.0, 0.002), (0.2, 0.202), (float("inf"), 1.0)])
def test_a_system_waits_for_the_threads_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch, busy_until_s: float, waited_s: float
) -> None:
    clock = Clock(busy_until_s)
    monkeypatch.setattr(evaluate, "time", clock)
    evaluate.settle()
    assert clock.now_s == pytest.approx(waited_s, abs=0.004)
