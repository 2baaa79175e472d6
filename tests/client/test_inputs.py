"""What FILEs stand for, and audio that is no file: stdin and the microphone."""

import importlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.inputs import STDIN, expanded, is_one_recording
from client.transcribe import main

Writes = Callable[..., Path]
WAIT_S = 30


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings, other files, and what is hidden; the current directory is above it."""
    names = ("b.WAV", "a.flac", "notes.txt", ".hidden.wav", "x/a.wav", "x/deep/c.opus", ".git/d.wav", "x[1].mp3")
    for name in names:
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "talks" / "nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    return Path("talks")


def found(*files: str) -> list[str]:
    paths, complaints = expanded([Path(file) for file in files])
    assert complaints == []
    return [path.as_posix() for path in paths]


def test_a_folder_stands_for_its_recordings_and_those_below(tree: Path) -> None:
    inside = ["talks/a.flac", "talks/b.WAV", "talks/x[1].mp3", "talks/x/a.wav", "talks/x/deep/c.opus"]
    assert found("talks") == inside
    assert found("talks/x/deep", "talks") == [inside[-1], *inside[:-1]]


def test_a_pattern_stands_for_what_matches(tree: Path) -> None:
    assert found("talks/**/*.wav") == ["talks/x/a.wav"]
    assert found("talks/?.*", "talks/a.flac") == ["talks/a.flac", "talks/b.WAV"]
    assert found("talk[s]/x/") == ["talks/x/a.wav", "talks/x/deep/c.opus"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tree: Path) -> None:
    assert found("talks/x[1].mp3") == ["talks/x[1].mp3"]
    assert is_one_recording(Path("talks/x[1].mp3"))
    assert not is_one_recording(Path("talks/*"))
    assert not is_one_recording(Path("talks"))


def test_what_is_named_is_taken_whatever_it_is(tree: Path) -> None:
    assert found("talks/notes.txt", "missing.wav", "-") == ["talks/notes.txt", "missing.wav", str(STDIN)]


def test_what_stands_for_nothing_is_told(tree: Path) -> None:
    paths, complaints = expanded([Path("talks/nothing"), Path("*.wav"), Path("talks/x/a.wav")])
    assert paths == [Path("talks/x/a.wav")]
    assert complaints[0].startswith("talks/nothing: no recording in this folder")
    assert complaints[1:] == ["*.wav: nothing matches this pattern"]


def test_a_folder_is_transcribed_and_names_are_kept_apart(
    target: str, recording: Writes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("talks/a.wav", "talks/x/a.wav"):
        recording(name, seconds=0.2)
    (tmp_path / "talks" / "z.wav").write_text("Dear Sir")
    out = tmp_path / "out"
    flags = ["--server", target, "--output_dir", str(out)]
    assert main([*flags, str(tmp_path / "talks"), str(tmp_path / "*.flac")]) == 1
    assert sorted(path.name for path in out.iterdir()) == ["a-2.txt", "a.txt"]
    errors = capsys.readouterr().err
    assert "z.wav: neither WAV" in errors
    assert "nothing matches" in errors


def test_a_folder_of_one_recording_writes_a_file_as_any_folder_does(
    target: str, recording: Writes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recording("talks/a.wav", seconds=0.2)
    assert main(["--server", target, "talks"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("a.txt").read_text().startswith("6444 ")


def test_nothing_found_asks_no_server(nowhere: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", nowhere, str(tmp_path)]) == 1
    assert "no recording in this folder" in capsys.readouterr().err


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes on stdin, at whose end it is over."""
    files: list[Any] = []

    def put(content: bytes) -> None:
        read, write = os.pipe()
        files.append(io.TextIOWrapper(os.fdopen(read, "rb")))
        monkeypatch.setattr(sys, "stdin", files[-1])

        def send() -> None:
            with os.fdopen(write, "wb") as pipe:
                pipe.write(content)

        files.append(threading.Thread(target=send))
        files[-1].start()

    yield put
    for file in files:
        file.join(WAIT_S) if isinstance(file, threading.Thread) else file.close()


@pytest.mark.parametrize("mode", [[], ["--stream", "--fast"]])
def test_stdin_is_a_file_without_a_name(
    target: str,
    recording: Writes,
    tmp_path: Path,
    stdin: Callable[[bytes], None],
    mode: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = recording(seconds=3.0)
    assert main(["--server", target, *mode, str(path)]) == 0
    expected = capsys.readouterr().out
    stdin(path.read_bytes())
    assert main(["--server", target, *mode, "-"]) == 0
    assert capsys.readouterr().out == expected
    stdin(path.read_bytes())
    assert main(["--server", target, *mode, "--output_dir", str(tmp_path / "out"), "-", str(path)]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["stdin.txt", "talk.txt"]


def test_raw_samples_on_stdin_are_sent_as_they_come(
    target: str,
    service: Any,
    tmp_path: Path,
    stdin: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples = bytes(range(250)) * 8  # 1000 samples
    flags = ["--server", target, "--stream", "--sample_rate", "8000", "--packet_ms", "50", "-"]
    stdin(samples + b"\x07")  # half a sample, as a killed recorder leaves it
    assert main(flags) == 0
    assert capsys.readouterr().out == f"2000 {sum(samples)}\n"
    assert service.packet_bytes == [800, 800, 400]
    assert service.configs[0].sample_rate_hertz == 8000


def test_the_picture_of_what_arrived_has_its_sound(
    target: str, tmp_path: Path, stdin: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stdin(bytes(16000))
    assert main(["--server", target, "--stream", "--sample_rate", "16000", "--alignment", "-"]) == 0
    assert (tmp_path / "stdin.alignment.png").read_bytes().startswith(b"\x89PNG")


def test_stdin_without_a_recording_says_so(
    target: str, stdin: Callable[[bytes], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(b"")
    assert main(["--server", target, "-"]) == 1
    assert capsys.readouterr().err == "asr-transcribe: stdin: the file is empty: there is no recording in it\n"
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["--server", target, "-"]) == 1
    assert "stdin: there is none" in capsys.readouterr().err


def test_a_recorder_and_we_are_interrupted_and_its_words_are_not_lost(target: str, service: Any) -> None:
    """Ctrl-C reaches both ends of a pipe; here the recorder's end stays open, so it is we who stop."""
    command = [sys.executable, "-m", "client.transcribe", "--server", target, "--stream", "--sample_rate", "16000", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(bytes(6400))
        process.stdin.flush()
        assert service.called.wait(WAIT_S)
        while len(service.packet_bytes) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_S)
        assert (process.stdout.read(), process.stderr.read()) == (b"6400 0\n", b"")
    assert process.returncode == 0


class FakeDevice:
    """A sounddevice that hears one packet of ones, and another for each time somebody looks."""

    class PortAudioError(Exception):
        pass

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.opened: list[dict[str, Any]] = []
        self.closed = threading.Event()
        self.heard = threading.Event()

    def query_devices(self, kind: str) -> dict[str, float]:
        if self.broken == "absent":
            raise self.PortAudioError("Error querying device -1")
        assert kind == "input"
        return {"default_samplerate": 44100.0}

    def RawInputStream(self, **options: Any) -> Any:
        if self.broken == "busy":
            raise self.PortAudioError("Device unavailable")
        self.opened.append(options)
        device = self

        class Stream:
            def __enter__(self) -> None:
                for value in (b"\1\0", b"\2\0"):
                    options["callback"](memoryview(value * options["blocksize"]), options["blocksize"], None, None)
                device.heard.set()

            def __exit__(self, *error: object) -> None:
                device.closed.set()

        return Stream()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeDevice]]:
    def plug(broken: str = "") -> FakeDevice:
        fake = FakeDevice(broken)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        monkeypatch.delitem(sys.modules, "client.microphone", raising=False)
        return fake

    yield plug
    sys.modules.pop("client.microphone", None)  # it knows the fake


def test_the_microphone_is_heard_until_it_is_enough(
    target: str,
    service: Any,
    device: Callable[..., FakeDevice],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = device()
    real = importlib.import_module("client.transcribe").interruptible

    def enough_when_heard(work: Any, cancel: Any, finish: Any) -> Any:
        threading.Thread(target=lambda: (fake.heard.wait(WAIT_S), finish())).start()
        return real(work, cancel, finish)

    monkeypatch.setattr("client.transcribe.interruptible", enough_when_heard)
    assert main(["--server", target, "--microphone"]) == 0
    assert capsys.readouterr().out == f"17640 {4410 * 3}\n"
    assert service.packet_bytes == [8820, 8820]  # 100 ms
    assert service.configs[0].sample_rate_hertz == 44100
    assert fake.closed.wait(WAIT_S)
    assert [(options["channels"], options["dtype"]) for options in fake.opened] == [(1, "int16")]


@pytest.mark.parametrize(("broken", "said"), [("absent", "none to be heard"), ("busy", "Device unavailable")])
def test_a_microphone_that_cannot_be_heard_says_why(
    target: str, device: Callable[..., FakeDevice], broken: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    device(broken)
    assert main(["--server", target, "--microphone"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("asr-transcribe: microphone: ")
    assert said in error


def test_without_its_package_there_is_no_microphone(
    nowhere: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "client.microphone", raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["--server", nowhere, "--microphone"]) == 2
    assert "-m pip install 'heed[microphone]'" in capsys.readouterr().err


def test_what_arrived_is_kept_as_a_wav(tmp_path: Path) -> None:
    from client.arrival import kept

    assert list(kept([b"\1\0" * 5, b"\2\0"], 8000, tmp_path / "kept.wav")) == [b"\1\0" * 5, b"\2\0"]
    with wave.open(str(tmp_path / "kept.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.readframes(9)) == (8000, 1, b"\1\0" * 5 + b"\2\0")


def test_a_full_pipe_waits_for_us(stdin: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.arrival.ROOM", 2)
    from client.arrival import RawSamples

    content = bytes(1000) + b"\1\1"
    stdin(content)
    arriving = RawSamples(sample_rate=1000)
    assert b"".join(arriving.packets(packet_ms=1)) == content


def test_who_stops_gets_what_was_heard_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from client.arrival import RawSamples

    read, write = os.pipe()
    with io.TextIOWrapper(os.fdopen(read, "rb")) as source, os.fdopen(write, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", source)
        pipe.write(bytes(20))
        arriving = RawSamples(sample_rate=1000)
        packets = arriving.packets(packet_ms=10)
        assert len(next(packets)) == 20
        arriving.stop()
        assert list(packets) == []
