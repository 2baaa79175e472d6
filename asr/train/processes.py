"""Whole processes as a user meets them: how soon one says its first text, and what memory it holds.

Each is started by a command and looked at from outside: what it prints, and what the system tells of its memory.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from asr.errors import NotSupportedError

REPEATS = 3  # after one that warms the disk
LOOK_S = 0.05
STOP_S = 10.0  # then it is killed
LAST_LINES = 3  # of what a process that failed has complained of

# What a program of a few lines does that recognises one recording: python -c CODE MODEL RECORDING
HEED = """
import sys
from pathlib import Path
import soundfile
from asr.runtime.recognizer import Recognizer
samples, _ = soundfile.read(sys.argv[2], dtype="float32")
print(Recognizer.load(Path(sys.argv[1])).transcribe(samples).text)
"""
FASTER_WHISPER = """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1)
segments, _ = model.transcribe(
    sys.argv[2], language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False
)
print("".join(segment.text for segment in segments).strip())
"""


def program(python: str, code: str, model: str | Path, recording: Path) -> list[str]:
    return [python, "-c", code, str(model), str(recording)]


def transcribe_locally(python: str, model: Path, recording: Path) -> list[str]:
    return [python, "-m", "client.transcribe", "--local", "--model_dir", str(model), str(recording)]


def stream_to(python: str, address: str, recording: Path) -> list[str]:
    return [python, "-m", "client.transcribe", "--server", address, "--stream", "--fast", str(recording)]


def serve(python: str, model: Path) -> list[str]:
    """Its first line: listening on HOST:PORT model NAME."""
    return [python, "-m", "server.main", "--host", "127.0.0.1", "--port", "0", "--model", str(model)]


def output_of(command: Sequence[str]) -> str:
    """What a command prints. NotSupportedError where it fails, with what it complained of."""
    with started(command) as (process, complaints):
        text = process.communicate()[0]
        if process.returncode:
            raise NotSupportedError(failure(process, complaints))
        return text


def first_line_s(command: Sequence[str]) -> float:
    """Seconds from a process's start to the first line that it prints, the median of several."""
    times_s = []
    for _ in range(1 + REPEATS):
        begin = time.perf_counter()
        with started(command) as (process, complaints):
            first_line(process, complaints)
            times_s.append(time.perf_counter() - begin)
    return statistics.median(times_s[1:])


def resident_while_streaming_mib(python: str, model: Path, recording: Path) -> float:
    """The most memory that a server's processes hold while it hears one stream."""
    with started(serve(python, model)) as (server, complaints):
        address = first_line(server, complaints).split()[2]
        with started(stream_to(python, address, recording)) as (client, complaints):
            most = most_resident_mib(server.pid, client)
            if client.returncode:
                raise NotSupportedError(failure(client, complaints))
    return most


def resident_of_program_mib(command: Sequence[str]) -> float:
    """The most memory that a command's processes hold while it runs."""
    with started(command) as (process, complaints):
        most = most_resident_mib(process.pid, process)
        if process.returncode:
            raise NotSupportedError(failure(process, complaints))
    return most


def most_resident_mib(watched: int, until: subprocess.Popen[str]) -> float:
    """The most memory that a process, by its id, and those that it started hold until another ends."""
    most = 0.0
    while until.poll() is None:
        most = max(most, sum(map(resident_mib, family(watched))))
        time.sleep(LOOK_S)
    return most


def family(watched: int) -> list[int]:
    """A process and those that it started, and those that they started."""
    members = [watched]
    for one in members:  # which grows
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):  # a thread may end while it is looked at
                members += map(int, children.read_text().split())
    return members


def resident_mib(watched: int) -> float:
    """Memory of a process that is in RAM now, what it shares with others included; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{watched}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/status").exists():
            raise NotSupportedError("this system does not tell what memory another process holds") from None
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


@contextmanager
def started(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A process, and the file of its complaints; stopped whatever happens."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # a line is printed when it is said
    with TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment
        )
        try:
            yield process, complaints
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def first_line(process: subprocess.Popen[str], complaints: IO[str]) -> str:
    """NotSupportedError where it ends without one."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.strip():
        process.wait(STOP_S)
        raise NotSupportedError(failure(process, complaints))
    return line


def failure(process: subprocess.Popen[str], complaints: IO[str]) -> str:
    complaints.seek(0)
    last = " ".join(complaints.read().split("\n")[-LAST_LINES - 1 :]).strip()
    return f"{last} (it ended with status {process.returncode})"
