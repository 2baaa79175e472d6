import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client import Followed, live
from client.transcribe import main


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person sees."""
    screen = io.StringIO()
    monkeypatch.setattr(live, "on_terminal", lambda: True)
    monkeypatch.setattr(live, "_console", lambda: Console(file=screen, force_terminal=True, width=60, height=10))
    return screen


def test_a_stream_is_seen_growing_and_leaves_only_its_result(
    target: str, service: Any, recording: Callable[..., Path], terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", target, "--stream", "--fast", str(recording(seconds=1.0))]) == 0
    assert service.interim_results == [True]
    (result,) = capsys.readouterr().out.splitlines()
    assert result.startswith("32000 ")
    assert "32000 " in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # wiped


def test_the_alignment_is_seen_moving_where_it_is_asked_for(
    target: str, service: Any, recording: Callable[..., Path], terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(recording(seconds=1.0))
    assert main(["--server", target, "--stream", "--fast", "--show_alignment", path]) == 0
    assert main(["--server", target, "--stream", "--fast", path]) == 0
    assert [config.alignment.level for config in service.configs] == [3, 0]
    assert "\N{FULL BLOCK}" in terminal.getvalue()
    one, other = capsys.readouterr().out.splitlines()
    assert one == other  # what is shown changes nothing


def test_nobody_is_shown_nothing(target: str, service: Any, recording: Callable[..., Path]) -> None:
    assert main(["--server", target, "--stream", "--fast", "--show_alignment", str(recording(seconds=1.0))]) == 0
    assert [config.alignment.level for config in service.configs] == [0]


def test_a_name_is_no_markup(target: str, recording: Callable[..., Path], terminal: io.StringIO) -> None:
    assert main(["--server", target, str(recording("[red]talk[/blue].wav", seconds=0.5))]) == 0
    assert "[red]talk[/blue].wav" in terminal.getvalue().replace("\n", "")


def test_a_long_caption_shows_its_end() -> None:
    drawn = live._caption(Followed(" one two three", " four", " five"), room=12)
    assert drawn.plain == "ee four five"
    assert [str(span.style) for span in drawn.spans] == ["dim"]


def test_many_are_a_bar_and_one_is_a_caption(
    target: str, service: Any, recording: Callable[..., Path], terminal: io.StringIO, tmp_path: Path
) -> None:
    paths = [str(recording(f"{name}.wav", seconds=0.5)) for name in "ab"]
    out = ["--output_dir", str(tmp_path / "out")]
    assert main(["--server", target, "--stream", "--fast", "--jobs", "2", *out, *paths]) == 0
    assert "2 of 2" in terminal.getvalue()
    assert service.interim_results == [False, False]
    assert main(["--server", target, "--stream", "--fast", *out, *paths]) == 0
    assert service.interim_results[2:] == [True, True]


def test_time_left_is_the_rest_at_the_pace_so_far() -> None:
    assert live.time_left(0, 100, 5.0, 0.0) == ""
    assert live.time_left(25, 100, 30.0, 0.0) == "1:30 left"
    assert live.time_left(25, 100, 30.0, 20.5) == "1:10 left"
    assert live.time_left(1, 100, 90.0, 0.0) == "2:28:30 left"
    assert live.time_left(50, 100, 1.0, 99.0) == "0:00 left"
