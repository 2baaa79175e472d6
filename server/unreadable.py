"""Requests that are no message of the contract: bytes that cannot be parsed.

gRPC would end such a call itself, before ours begins, as a failure of the server's with a traceback in the log. Here
they reach the service, which says of them what it says of all that a caller can mend.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from asr.errors import InputError

T = TypeVar("T")


class Unreadable:
    """Stands where the message would."""


class Careful(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # gRPC has no types
    """Lets what cannot be parsed through to one service."""

    def __init__(self, service: str):
        self.methods = f"/{service}/"

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or not details.method.startswith(self.methods):
            return handler
        return handler._replace(request_deserializer=_careful(handler.request_deserializer))


def readable(request: T) -> T:
    """The request; InputError where it is none."""
    if isinstance(request, Unreadable):
        raise InputError("a request is no message of asr.v1: its bytes cannot be parsed (proto/asr/v1/speech.proto)")
    return request


def _careful(parse: Callable[[bytes], T]) -> Callable[[bytes], T | Unreadable]:
    def parsed(content: bytes) -> T | Unreadable:
        try:
            return parse(content)
        except DecodeError:
            return Unreadable()

    return parsed
