"""asr-server as people run it: a process with the shipped model."""

import json
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from asr.v1 import speech_pb2_grpc

COMMAND = [sys.executable, "-m", "server.main"]
WAIT_S = 60  # for what must happen; nothing is measured by it


class Process:
    """A server in a process of its own, with its ready line read."""

    def __init__(self, folder, *flags):
        self.stderr = folder / "stderr"
        with self.stderr.open("w") as stderr:
            command = [*COMMAND, "--port", "0", *flags]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.ready = self.process.stdout.readline()
        assert self.ready, self.stderr.read_text()
        self.address = self.ready.split()[2]
        self.channel = grpc.insecure_channel(self.address)
        self.speech = speech_pb2_grpc.SpeechRecognitionStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def wait_until_draining(self):
        for answer in self.health.Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return

    def calls(self):
        """What the log says of each call; every line of it is JSON."""
        entries = [json.loads(line) for line in self.stderr.read_text().splitlines()]
        return [entry for entry in entries if entry["message"] == "call"]

    def close(self):
        self.channel.close()
        self.process.kill()
        self.process.wait(WAIT_S)
        self.process.stdout.close()


@pytest.fixture
def start_server(tmp_path_factory):
    """start_server("--flag", ...) gives a running server; it ends with the test."""
    yield from _started(tmp_path_factory)


@pytest.fixture(scope="module")
def start_shared_server(tmp_path_factory):
    """The same for as long as a file's tests run."""
    yield from _started(tmp_path_factory)


def _started(tmp_path_factory):
    processes = []

    def start(*flags):
        processes.append(Process(tmp_path_factory.mktemp("server"), *flags))
        return processes[-1]

    yield start
    for process in processes:
        process.close()
