"""What docs/alignments.md says of the files is so, and its Python runs as it stands."""

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import Level, Word
from client.alignments import AlignedSegment, to_npz
from client.arguments import parse
from client.diff import main as diff

DOCUMENT = (Path(__file__).parents[2] / "docs" / "alignments.md").read_text(encoding="utf-8")
WEIGHTS = np.zeros((3, 50), np.float32)
WEIGHTS[0, 5], WEIGHTS[1, 10:20], WEIGHTS[2, 40:42] = 1, 0.1, 0.5
SEGMENT = AlignedSegment(
    start_s=2.0,
    frame_hop_s=0.02,
    token_ids=(1, 2, 3),
    pieces=(" one", " $two", ""),
    weights=WEIGHTS,
    words=(Word(" one", 2.0, 2.15, 0.9), Word(" $two", 2.15, 2.9, 0.5)),
    heads=WEIGHTS[:, None, None],
)


def test_the_arrays_are_those_in_the_table() -> None:
    table = re.findall(r"^\| `(\w+)` \| \((.*?)\)", DOCUMENT, re.M)
    rows = {re.sub("_i$", "_0", name): [size for size in shape.split(",") if size] for name, shape in table}
    with np.load(io.BytesIO(to_npz([SEGMENT]))) as arrays:
        assert sorted(rows) == sorted(arrays)
        assert {name: arrays[name].ndim for name in rows} == {name: len(shape) for name, shape in rows.items()}


def test_the_levels_are_all_there() -> None:
    named = re.findall(r"^\| `([A-Z_0-9]+)` \|", DOCUMENT, re.M)  # first what each is, then what each costs
    assert named == 2 * [level.name for level in Level]


def test_its_python_runs_and_draws(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT, re.S))
    (tmp_path / "talk.alignment.npz").write_bytes(to_npz([replace(SEGMENT, heads=None)]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "redrawn.png").read_bytes().startswith(b"\x89PNG")
    lines = done.stdout.splitlines()
    assert lines[0] == " 2.30 nats   $two"  # ten frames, evenly: the natural logarithm of 10
    assert lines[3:] == [
        "  2.00 one: 1 tokens looked most while it was said",
        "  2.15 $two: 2 tokens looked most while it was said",
    ]


def test_its_commands_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    (asr-\S+) (.*?)(?: +#.*)?$", DOCUMENT, re.M)
    assert len(commands) == 7
    for command, arguments in commands:
        if command == "asr-transcribe":
            assert parse(arguments.split()).files == [Path("talk.wav")]
        else:
            assert diff(arguments.split()) == 1  # understood, but these files are not there
