"""The client as a library: one class for threads, one for asyncio.

    with Client("localhost:50051") as client:
        print(client.recognize_file("talk.wav").text)

Both build the same requests and read the same responses (transport.py); the
methods here only send and wait.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from client import transport
from client.access import OPEN, Access
from client.results import SERVERS_CHOICE, Aligned, Flush, Model, Options, Transcript, Update

DEFAULT_TARGET = "localhost:50051"


class Client:
    """A connection to one server. Calls raise NoServerError or CallError.

    `timeout_s` bounds each call; None lets it take as long as it takes. `access` is for servers that want TLS or a
    token.
    """

    def __init__(self, target: str = DEFAULT_TARGET, *, timeout_s: float | None = None, access: Access = OPEN) -> None:
        self.target = target
        self.is_closed = False
        self._with: dict[str, Any] = {"timeout": timeout_s, "metadata": access.metadata(target)}
        self._channel = transport.open_channel(grpc, target, access)
        self._stub = transport.stub(self._channel)

    def recognize(self, content: bytes, options: Options = SERVERS_CHOICE) -> Transcript:
        """The transcript of the bytes of a file: WAV, FLAC, Ogg, MP3, or what else the server reads."""
        request = transport.recognize_request(content, options)
        with _refusals(self.target):
            return transport.transcript(self._stub.Recognize(request, **self._with))

    def recognize_file(self, path: str | PathLike[str], options: Options = SERVERS_CHOICE) -> Transcript:
        """The transcript of a file, which is sent as it is. OSError where it cannot be read."""
        return self.recognize(_content(path), options)

    def align(self, content: bytes, text: str, options: Options = SERVERS_CHOICE) -> Aligned:
        """Where each word of a known text lies in the bytes of a file."""
        request = transport.align_request(content, text, options)
        with _refusals(self.target):
            return transport.aligned(self._stub.Align(request, **self._with))

    def align_file(self, path: str | PathLike[str], text: str, options: Options = SERVERS_CHOICE) -> Aligned:
        """Where each word of a known text lies in a file, which is sent as it is. OSError where it cannot be read."""
        return self.align(_content(path), text, options)

    def stream(
        self,
        packets: Iterable[bytes | Flush],
        sample_rate: int,
        options: Options = SERVERS_CHOICE,
        channels: int = 1,
    ) -> Iterator[Update]:
        """Send 16-bit little-endian samples, channels interleaved, as they come; yield what becomes known.

        The packets are taken on another thread, so they may wait for a microphone; what their iterator
        raises is raised here. Leaving the loop ends the call.
        """
        failure = _Failure()

        def requests() -> Iterator[Any]:
            yield transport.stream_config(sample_rate, options, channels)
            with failure.kept():
                for packet in packets:
                    yield transport.stream_item(packet)

        call = self._stub.StreamingRecognize(requests(), **self._with)
        try:
            with _refusals(self.target):
                for response in call:
                    failure.raise_if_any()
                    yield transport.update(response)
            failure.raise_if_any()
        finally:
            call.cancel()

    def models(self) -> tuple[Model, ...]:
        """What the server can recognise, its default first."""
        with _refusals(self.target):
            return transport.models(self._stub.ListModels(transport.models_request(), **self._with))

    def close(self) -> None:
        """End every call; those under way raise CallError with status CANCELLED. Any thread may close."""
        self.is_closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The same for asyncio, on grpc.aio."""

    def __init__(self, target: str = DEFAULT_TARGET, *, timeout_s: float | None = None, access: Access = OPEN) -> None:
        self.target = target
        self._with: dict[str, Any] = {"timeout": timeout_s, "metadata": access.metadata(target)}
        self._channel = transport.open_channel(grpc.aio, target, access)
        self._stub = transport.stub(self._channel)

    async def recognize(self, content: bytes, options: Options = SERVERS_CHOICE) -> Transcript:
        request = transport.recognize_request(content, options)
        with _refusals(self.target):
            return transport.transcript(await self._stub.Recognize(request, **self._with))

    async def recognize_file(self, path: str | PathLike[str], options: Options = SERVERS_CHOICE) -> Transcript:
        return await self.recognize(await asyncio.to_thread(_content, path), options)

    async def align(self, content: bytes, text: str, options: Options = SERVERS_CHOICE) -> Aligned:
        request = transport.align_request(content, text, options)
        with _refusals(self.target):
            return transport.aligned(await self._stub.Align(request, **self._with))

    async def align_file(self, path: str | PathLike[str], text: str, options: Options = SERVERS_CHOICE) -> Aligned:
        return await self.align(await asyncio.to_thread(_content, path), text, options)

    async def stream(
        self,
        packets: AsyncIterable[bytes | Flush],
        sample_rate: int,
        options: Options = SERVERS_CHOICE,
        channels: int = 1,
    ) -> AsyncIterator[Update]:
        failure = _Failure()

        async def requests() -> AsyncIterator[Any]:
            yield transport.stream_config(sample_rate, options, channels)
            with failure.kept():
                async for packet in packets:
                    yield transport.stream_item(packet)

        call = self._stub.StreamingRecognize(requests(), **self._with)
        try:
            with _refusals(self.target):
                async for response in call:
                    failure.raise_if_any()
                    yield transport.update(response)
            failure.raise_if_any()
        finally:
            call.cancel()

    async def models(self) -> tuple[Model, ...]:
        with _refusals(self.target):
            return transport.models(await self._stub.ListModels(transport.models_request(), **self._with))

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _content(path: str | PathLike[str]) -> bytes:
    transport.check_size(Path(path).stat().st_size)
    return Path(path).read_bytes()


@contextmanager
def _refusals(target: str) -> Iterator[None]:
    """Turn gRPC's errors into ours."""
    try:
        yield
    except grpc.RpcError as refusal:
        raise transport.error(refusal, target) from None


class _Failure:
    """Keeps what a caller's packets raised, which gRPC would only log before it goes on."""

    def __init__(self) -> None:
        self._error: Exception | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._error = error

    def raise_if_any(self) -> None:
        if self._error is not None:
            raise self._error
