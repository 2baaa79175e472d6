"""The whole path as a person walks it: asr-transcribe starts a server of its own with the shipped model."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parents[1] / "data"
SPOKEN = {
    "librivox-0870": "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his "
    "power to do for them.",
    "librivox-0930": "He might even have been made amiable himself.",
    "goforward": "Go forward 10 meters.",
}
WAIT_S = 240


def transcribe(*arguments, folder):
    command = [sys.executable, "-m", "client.transcribe", "--local", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same words as WAV, FLAC at another rate, and stereo Ogg Opus."""
    folder = tmp_path_factory.mktemp("files")
    samples, rate = soundfile.read(DATA / "librivox-0930.wav", dtype="float32")
    soundfile.write(folder / "librivox-0930.flac", np.repeat(samples, 3), 3 * rate)
    samples, rate = soundfile.read(DATA / "librivox-0870.wav", dtype="float32")
    soundfile.write(folder / "librivox-0870.ogg", np.stack([samples, samples], 1), rate, format="OGG", subtype="OPUS")
    (folder / "goforward.wav").write_bytes((DATA / "goforward.wav").read_bytes())
    (folder / "text.wav").write_text("this is not audio")
    with wave.open(str(folder / "empty.wav"), "wb") as empty:
        empty.setparams((1, 2, 16_000, 0, "NONE", ""))
    return folder


def test_every_format_gives_its_words_and_a_bad_file_stops_nothing(files, tmp_path):
    names = ["librivox-0870.ogg", "text.wav", "librivox-0930.flac", "empty.wav", "goforward.wav"]
    arguments = ["--output_format", "json", "--word_timestamps", "--output_dir", tmp_path / "out"]
    done = transcribe(*arguments, *(files / name for name in names), folder=tmp_path)
    assert done.returncode == 1
    assert "text.wav" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{Path(name).stem}.json" for name in names if name != "text.wav"
    }
    for name, text in SPOKEN.items():
        said = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert said["text"].strip() == text
        words = said["segments"][0]["words"]
        assert "".join(word["word"] for word in words).strip() == text
        assert all(0 <= word["start"] <= word["end"] <= said["duration"] + 0.02 for word in words)
    assert json.loads((tmp_path / "out" / "empty.json").read_text())["text"] == ""


def test_streams_in_packets_of_any_size_write_identical_files(files, tmp_path):
    written = []
    for packet_ms in (20, 1370):
        arguments = ["--stream", "--fast", "--packet_ms", packet_ms, "--latency", "1280", "--output_format", "json"]
        arguments += [
            "--word_timestamps",
            "--alignment",
            "--alignment_format",
            "json",
            "--output_dir",
            tmp_path / str(packet_ms),
        ]
        done = transcribe(*arguments, files / "goforward.wav", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        written.append({path.name: path.read_bytes() for path in (tmp_path / str(packet_ms)).iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 2
    assert json.loads(written[0]["goforward.json"])["text"].strip() == SPOKEN["goforward"]


def test_one_file_goes_to_stdout_and_its_picture_is_drawn(files, tmp_path):
    done = transcribe("--alignment", "--output_dir", tmp_path, files / "goforward.wav", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "goforward.txt").read_text().strip() == SPOKEN["goforward"]
    assert (tmp_path / "goforward.alignment.png").read_bytes().startswith(b"\x89PNG")
    done = transcribe(files / "goforward.wav", folder=tmp_path)
    assert done.stdout.strip() == SPOKEN["goforward"]
