"""asr-server as people run it: a process with the shipped model, spoken to over its socket, stopped by signals."""

import queue
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from asr.v1 import speech_pb2

COMMAND = [sys.executable, "-m", "server.main"]
WAIT_S = 60  # for what must happen; nothing is measured by it
SECOND = np.zeros(16_000, "<i2").tobytes()


@pytest.fixture
def server(start_server):
    return start_server()


class OpenStream:
    """A stream whose requests are sent one by one; None half-closes it."""

    def __init__(self, stub):
        self.requests = queue.Queue()
        self.call = stub.StreamingRecognize(iter(self.requests.get, None), timeout=WAIT_S)
        self.requests.put(
            speech_pb2.StreamingRecognizeRequest(
                streaming_config={"config": {"encoding": "LINEAR16", "sample_rate_hertz": 16_000}}
            )
        )

    def say_and_flush(self):
        """Send a second of audio; the event that answers its flush."""
        self.requests.put(speech_pb2.StreamingRecognizeRequest(audio_content=SECOND))
        self.requests.put(speech_pb2.StreamingRecognizeRequest(flush={}))
        return next(response.event for response in self.call if response.HasField("event"))


def test_stdout_holds_the_ready_line_alone(server):
    assert server.ready.startswith("listening on 127.0.0.1:")
    assert server.ready.endswith(" model tiny.en-streaming\n")
    server.process.send_signal(signal.SIGINT)
    assert server.process.stdout.read() == ""
    assert server.process.wait(WAIT_S) == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_what_decodes_files_is_there_before_the_first_file(server):
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert [Path(f"/proc/{child}/cmdline").read_bytes().count(b"asr.audio.decoder") for child in children] == [1]


def test_a_stopping_server_lets_open_streams_finish_and_takes_no_new_calls(server):
    stream = OpenStream(server.speech)
    assert stream.say_and_flush().type == speech_pb2.FLUSHED
    server.process.send_signal(signal.SIGTERM)
    server.wait_until_draining()

    with pytest.raises(grpc.RpcError) as refusal:
        server.speech.ListModels(speech_pb2.ListModelsRequest())
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE

    assert stream.say_and_flush().time.ToMilliseconds() == 2_000
    stream.requests.put(None)
    assert list(stream.call) == []
    assert stream.call.code() == grpc.StatusCode.OK
    assert server.process.wait(WAIT_S) == 0
    streams = [call for call in server.calls() if call["method"] == "StreamingRecognize"]
    assert [(call["status"], call["audio_s"], call["model"]) for call in streams] == [("OK", 2.0, "tiny.en-streaming")]


def test_a_second_signal_ends_the_wait_for_open_streams(server):
    stream = OpenStream(server.speech)
    stream.say_and_flush()
    server.process.send_signal(signal.SIGTERM)
    server.wait_until_draining()
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError) as refusal:
        next(stream.call)
    stream.requests.put(None)
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(WAIT_S) == 0


def test_streams_under_way_when_it_is_told_to_stop_end_well_or_are_told(start_server):
    server = start_server("--grace_s", "2")
    streams = [OpenStream(server.speech) for _ in range(6)]
    for stream in streams:
        stream.say_and_flush()
    server.process.send_signal(signal.SIGTERM)
    for stream in streams[:3]:
        stream.requests.put(speech_pb2.StreamingRecognizeRequest(audio_content=SECOND))
        stream.requests.put(None)
    ends = [ended(stream.call) for stream in streams]
    for stream in streams[3:]:
        stream.requests.put(None)
    assert ends == ["OK"] * 3 + ["UNAVAILABLE"] * 3
    assert server.process.wait(WAIT_S) == 0


def ended(call):
    try:
        list(call)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def failure(*flags):
    """Exit status and the last line of stderr of a server that does not come up."""
    done = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=WAIT_S)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


def test_nonsense_is_status_2_and_says_why():
    status, said = failure("--port", "99999")
    assert status == 2
    assert "--port" in said


def test_a_folder_without_a_model_is_status_1_and_says_why(tmp_path):
    status, said = failure("--model", str(tmp_path))
    assert status == 1
    assert "model.json" in said


def test_a_taken_port_is_status_1_and_says_why():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = failure("--port", str(taken.getsockname()[1]))
    assert status == 1
    assert "cannot listen on" in said


def test_nothing_that_serves_loads_torch():
    look = "import sys, server.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], timeout=WAIT_S).returncode == 0
