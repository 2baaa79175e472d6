"""asr-server: load, listen, wait for a signal, drain."""

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from asr.audio.apart import mould
from asr.errors import HeedError, OptionError
from asr.runtime.recognizer import Recognizer
from asr.v1 import speech_pb2, speech_pb2_grpc
from server.calls import Calls
from server.logs import log_to_stderr
from server.security import Guard, credentials, read_tokens
from server.service import SpeechService
from server.settings import ServerSettings, unknown
from server.unreadable import Careful

log = logging.getLogger("asr.server")

SERVICE = speech_pb2.DESCRIPTOR.services_by_name["SpeechRecognition"].full_name
FAILED_STATUS = 1  # of the process, when a model or an address cannot be had
INTERRUPTED_STATUS = 130
ASIDE = 64  # calls beyond max_streams for health, reflection, and to be told that the server is full

KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),  # a client that vanished gives its slot back
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients behind routers that forget may ping as often
)


def main() -> None:
    settings = ServerSettings.read(sys.argv[1:])
    log_to_stderr(settings.log_level)
    for complaint in unknown(os.environ):
        log.warning(complaint)
    try:
        asyncio.run(serve(settings))
    except HeedError as error:
        print(f"asr-server: error: {error}", file=sys.stderr)
        raise SystemExit(FAILED_STATUS) from None
    except KeyboardInterrupt:  # before there was anything to drain
        raise SystemExit(INTERRUPTED_STATUS) from None


async def serve(settings: ServerSettings) -> None:
    """Load, listen, wait for a signal, drain."""
    mould().start()  # it loads its decoders while we load ours
    models = load(settings)
    tokens = [] if settings.tokens is None else read_tokens(settings.tokens)
    calls = Calls(settings.max_streams, Guard(tokens, settings.max_streams_per_caller))
    stop, hurry = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())

    with ThreadPoolExecutor(settings.workers, "worker") as workers:
        server, service_health = build(settings, models, workers, calls)
        port = listen(server, settings)
        await service_health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)  # the whole server already is
        await server.start()
        print(f"listening on {address(settings.host, port)} model {next(iter(models))}", flush=True)

        await stop.wait()
        await service_health.enter_graceful_shutdown()
        await calls.drain(settings.grace_s, hurry)
        await server.stop(None)


def load(settings: ServerSettings) -> dict[str, Recognizer]:
    models: dict[str, Recognizer] = {}
    for folder in settings.model:
        recognizer = Recognizer.load(folder, settings.threads)
        if recognizer.bundle.name in models:
            raise OptionError(f"two models are called {recognizer.bundle.name}: callers could not tell them apart")
        models[recognizer.bundle.name] = recognizer
    return models


def build(
    settings: ServerSettings, models: dict[str, Recognizer], workers: Executor, calls: Calls
) -> tuple[Any, health.aio.HealthServicer]:
    """A server that serves speech, health and reflection, not yet listening; and its health."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),  # else a second server on the port would silently take half of the calls
            *KEEPALIVE,
        ],
        interceptors=[Careful(SERVICE)],
        # before a message is read: beyond it even the messages would not be bounded
        maximum_concurrent_rpcs=settings.max_streams + ASIDE,
    )
    add_speech: Any = speech_pb2_grpc.add_SpeechRecognitionServicer_to_server
    service = SpeechService(
        models, workers, settings.workers, calls, settings.max_recording_s, settings.max_message_bytes
    )
    add_speech(service, server)
    service_health = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(service_health, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, service_health


def listen(server: Any, settings: ServerSettings) -> int:
    """The port it got; OptionError where it got none."""
    wanted = address(settings.host, settings.port)
    secure = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        secure = credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    try:
        return int(server.add_secure_port(wanted, secure) if secure else server.add_insecure_port(wanted))
    except RuntimeError as error:
        raise OptionError(f"cannot listen on {wanted}: the port is taken or the host is not this machine's") from error


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


if __name__ == "__main__":
    main()
