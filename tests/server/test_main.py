import json
import logging
import sys
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from asr.errors import OptionError
from asr.v1 import speech_pb2
from server import main

WAIT_S = 20
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_of(running, service=""):
    stub = health_pb2_grpc.HealthStub(running.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service)).status


@pytest.mark.parametrize("service", ["", "asr.v1.SpeechRecognition"])
def test_health_is_told(serve, service):
    running = serve()
    assert health_of(running, service) == SERVING
    running.run(running.health.enter_graceful_shutdown())
    assert health_of(running, service) == NOT_SERVING


def test_reflection_names_the_service(serve):
    stub = reflection_pb2_grpc.ServerReflectionStub(serve().channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"asr.v1.SpeechRecognition", "grpc.health.v1.Health"} <= names


def test_a_taken_port_is_an_error_and_not_shared(serve):
    running = serve()
    port = int(running.address.rpartition(":")[2])
    settings = running.settings.model_copy(update={"port": port})

    async def listen_too():
        server, _ = main.build(settings, running.models, running.workers, running.calls)
        main.listen(server, settings)

    with pytest.raises(OptionError, match=f"cannot listen on 127.0.0.1:{port}"):
        running.run(listen_too())


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1:1"), ("localhost", "localhost:1"), ("::1", "[::1]:1"), ("[::]", "[::]:1")],
)
def test_addresses_are_written_as_clients_read_them(host, address):
    assert main.address(host, 1) == address


def test_a_mistyped_variable_is_in_the_log_and_stops_nothing(monkeypatch, tmp_path, capsys):
    served = []

    async def serve(settings):
        served.append(settings.max_streams)

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(main, "serve", serve)
    monkeypatch.setattr(sys, "argv", ["asr-server", "--model", str(tmp_path)])
    monkeypatch.setenv("ASR_MAX_STREEMS", "3")
    main.main()
    (entry,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (entry["level"], entry["logger"]) == ("warning", "asr.server")
    assert "ASR_MAX_STREAMS" in entry["message"]
    assert served == [64]


def test_draining_lets_open_calls_end_and_takes_no_new_ones(serve, live, pcm):
    running = serve()
    gate = threading.Event()
    call = running.stub.StreamingRecognize(live([pcm(1), gate, pcm(1)]))
    next(call)
    running.loop.call_soon_threadsafe(lambda: running.loop.create_task(running.drain(grace_s=WAIT_S)))
    running.run(draining(running))
    with pytest.raises(grpc.RpcError) as refusal:
        running.stub.ListModels(speech_pb2.ListModelsRequest())
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    gate.set()
    *_, last = call
    assert last.results[0].is_final
    assert last.cursors.finalised.ToMilliseconds() == 2_000


async def draining(running):
    """Come back once the loop has begun to drain: it was asked to before this was."""
    assert running.calls.stopping


def test_who_outstays_the_grace_is_told_that_the_server_stopped(serve, live, pcm, speech_log):
    running = serve()
    gate = threading.Event()
    call = running.stub.StreamingRecognize(live([pcm(1), gate]))
    next(call)
    running.run(running.drain(grace_s=0))
    with pytest.raises(grpc.RpcError) as refusal:
        next(call)
    gate.set()
    assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "stopped before this call had ended" in refusal.value.details()


def test_a_reader_that_stands_still_does_not_hold_up_the_end(serve, fake, live, pcm):
    running = serve(fake(word="x" * 20_000))
    standing = running.stub.StreamingRecognize(live([pcm(1)] * 1_500))
    next(standing)
    running.run(running.drain(grace_s=0))
    running.run(running.server.stop(None))
    assert not running.calls.open


def test_each_call_is_one_line_without_its_text(serve, live, pcm, speech_log):
    running = serve()
    list(running.stub.StreamingRecognize(live([pcm(2)])))
    running.run(running.calls.ended())
    (entry,) = speech_log.records
    fields = dict(entry.fields)
    assert fields.pop("wall_s") >= 0
    assert fields.pop("peer").startswith("ipv4:127.0.0.1")
    assert fields == {
        "method": "StreamingRecognize",
        "caller": "127.0.0.1",
        "model": "fake",
        "latency_mode": "640ms",
        "audio_s": 2.0,
        "results": 3,
        "status": "OK",
    }
