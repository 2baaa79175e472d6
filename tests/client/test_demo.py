import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client import demo
from client.demo import word_error_rate


@pytest.mark.parametrize(
    ("reference", "transcript", "rate"),
    [
        ("a b c d", "a b c d", 0.0),
        ("A b, c D!", "a B c d.", 0.0),
        ("it's a \u2018well-known\u2019 fact", "Its a well known fact", 0.0),
        ("a b c d", "a x c d", 25.0),
        ("a b c d", "a c d", 25.0),
        ("a b c d", "a b b c d", 25.0),
        ("a b c d", "", 100.0),
        ("a", "b c d", 300.0),
        ("", "", 0.0),
    ],
)
def test_word_error_rate_counts_words_not_their_dress(reference: str, transcript: str, rate: float) -> None:
    assert word_error_rate(reference, transcript) == rate


def test_the_demo_prints_four_lines_and_draws(
    target: str,
    recording: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recording(seconds=1.5)
    text = tmp_path / "talk.txt"
    text.write_text("one\ntwo\n")
    listens = f"print('listening on {target} model echo', flush=True); import time; time.sleep(60)"
    monkeypatch.setattr(demo, "RECORDING", path)
    monkeypatch.setattr(demo, "REFERENCE", text)
    monkeypatch.setattr(demo, "server_command", lambda model_dir: [sys.executable, "-c", listens])
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 0
    transcript, reference, rate, picture = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"transcript: \d+ \d+", transcript)
    assert reference == "reference: one two"
    assert rate == "WER: 100.0 %"
    assert picture == "picture: demo/alignment.png"
    assert (tmp_path / "demo" / "alignment.png").read_bytes().startswith(b"\x89PNG")


def test_a_demo_that_cannot_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "REFERENCE", tmp_path / "missing.txt")
    assert demo.main() == 1
    assert "missing.txt" in capsys.readouterr().err
