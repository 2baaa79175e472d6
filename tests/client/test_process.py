"""The command as a process: signals, pipes, and what it loads."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "client.transcribe"]
WAIT_S = 30


@pytest.mark.parametrize(
    ("number", "status", "mode"),
    [
        (signal.SIGTERM, 143, []),
        (signal.SIGINT, 130, ["--stream", "--fast"]),
        (signal.SIGINT, 130, ["--stream", "--packet_ms", "60000"]),  # it sleeps
        (signal.SIGINT, 130, ["--jobs", "3"]),
    ],
)
def test_a_signal_ends_it_without_a_trace(
    target: str, service: Any, recording: Callable[..., Path], number: int, status: int, mode: list[str]
) -> None:
    flags = ["--server", target, "--model", "stuck", *mode, str(recording("a.wav")), str(recording("b.wav"))]
    with subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert service.called.wait(WAIT_S)
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == status
    assert (out, err) == (b"", b"")
    assert service.ended.wait(WAIT_S)


def test_a_signal_ends_the_server_of_our_own_too(
    target: str, service: Any, recording: Callable[..., Path], tmp_path: Path
) -> None:
    server = f"""
import signal, time
def end(number, frame):
    open({str(tmp_path / "ended")!r}, "w").close()
    raise SystemExit
signal.signal(signal.SIGTERM, end)
print("listening on {target} model echo", flush=True)
time.sleep(60)
"""
    source = f"""
import sys
from client import transcribe
transcribe.server_command = lambda model_dir: [sys.executable, "-c", {server!r}]
sys.exit(transcribe.main(["--local", "--model", "stuck", {str(recording())!r}]))
"""
    with subprocess.Popen([sys.executable, "-c", source]) as process:
        assert service.called.wait(WAIT_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 130
    assert (tmp_path / "ended").exists()


def test_a_reader_that_leaves_is_no_failure_to_shout_about(target: str, recording: Callable[..., Path]) -> None:
    with subprocess.Popen(
        [*COMMAND, "--server", target, str(recording())], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 141
    assert err == b""


def test_stderr_is_silent_where_nobody_watches(target: str, recording: Callable[..., Path]) -> None:
    done = subprocess.run(
        [*COMMAND, "--server", target, "--stream", "--fast", str(recording())], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert done.stdout.startswith(b"64000 ")


def test_the_sdk_loads_only_what_it_needs() -> None:
    source = "import client, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True, text=True).stdout.split()
    assert {"client", "grpc", "numpy"} <= set(loaded)
    assert not {"server", "soundfile", "matplotlib", "rich", "torch", "onnxruntime"} & set(loaded)


@pytest.mark.parametrize(("asked", "set_to"), [(None, "ERROR"), ("INFO", "INFO")])
@pytest.mark.parametrize("package", ["client", "server"])
def test_grpc_writes_nothing_of_its_own_unless_asked(package: str, asked: str | None, set_to: str) -> None:
    source = f"""
import builtins, os
plain = builtins.__import__
def told(name, *arguments):
    if name == "grpc":
        print(os.environ["GRPC_VERBOSITY"])
        raise SystemExit
    return plain(name, *arguments)
builtins.__import__ = told
import {package}.{"sdk" if package == "client" else "service"}
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    environment |= {} if asked is None else {"GRPC_VERBOSITY": asked}
    found = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == set_to  # as grpc finds it
