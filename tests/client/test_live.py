import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from client import Cursors, Update, live
from client.live import Caption
from client.results import Segment
from client.transcribe import main


def said(text: str, is_final: bool = False, stability: float = 0.0) -> Segment:
    return Segment(text, (), (), 0.0, 1.0, 1.0, is_final, stability, "en", 0.0, 0.0, None)


def update(*results: Segment) -> Update:
    return Update(results, Cursors(1.0, 1.0, 1.0))


def test_what_is_final_stays_and_the_rest_is_replaced() -> None:
    caption = Caption().after(update(said(" a", stability=1.0), said(" bee", stability=0.5)))
    assert caption == Caption("", " a", " bee")
    caption = caption.after(update(said(" a b", is_final=True), said(" c", stability=1.0)))
    assert caption == Caption(" a b", " c", "")
    assert caption.after(update()) == caption


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


def test_a_name_is_no_markup(target: str, recording: Callable[..., Path], terminal: io.StringIO) -> None:
    assert main(["--server", target, str(recording("[red]talk[/blue].wav", seconds=0.5))]) == 0
    assert "[red]talk[/blue].wav" in terminal.getvalue().replace("\n", "")


def test_a_long_caption_shows_its_end() -> None:
    drawn = live._drawn(Caption(" one two three", " four", " five"), room=12)
    assert drawn.plain == "ee four five"
    assert [str(span.style) for span in drawn.spans] == ["dim"]
