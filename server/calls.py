"""A call from its admission to its line in the log: who may come in, what an error is to the caller.

Knows gRPC's statuses and nothing of speech.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc

from asr.errors import HeedError, InputError, NotFoundError, NotSupportedError, TooLongError
from server.security import BusyCallerError, DeniedError, Guard

log = logging.getLogger("asr.server")


class FullError(HeedError):
    """As many calls as may be open are open."""


class StoppingError(HeedError):
    """The server takes no more calls, or has no more time for this one."""


LONGEST_MESSAGE = 1_000  # characters: what a caller sent may be quoted in it, and a status travels as a header
STATUSES: dict[type[HeedError], grpc.StatusCode] = {  # the first that fits, so subclasses come first
    TooLongError: grpc.StatusCode.OUT_OF_RANGE,
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    NotSupportedError: grpc.StatusCode.UNIMPLEMENTED,
    FullError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    BusyCallerError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeniedError: grpc.StatusCode.UNAUTHENTICATED,
    StoppingError: grpc.StatusCode.UNAVAILABLE,
}
DEADLINE_SLACK_S = 0.1  # the caller's deadline ends first, by the time a message takes to come here
LAST_WORDS_S = 1.0  # for ended calls to hear why; one whose reader stands still never would
OUR_FAULT = "the server failed to answer; its log says why"  # and only the log: details may name files


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """What the caller is told of an error."""
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return status, str(error)[:LONGEST_MESSAGE]
    return grpc.StatusCode.INTERNAL, OUR_FAULT


@dataclass
class Record:
    """What the log says of a call; filled while it runs. Never audio, never text."""

    method: str
    peer: str
    caller: str = ""  # its token's fingerprint, or its host
    model: str = ""
    latency_mode: str = ""
    audio_s: float = 0.0
    results: int = 0


class Calls:
    """The open calls of one server. All methods belong to the event loop's thread."""

    def __init__(self, limit: int, guard: Guard | None = None):
        self.limit = limit
        self.guard = guard or Guard()
        self.open = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self.stopping = False  # no new calls
        self.stopped = False  # and no more time for the open ones

    @asynccontextmanager
    async def answer(self, method: str, context: Any, takes_slot: bool = True) -> AsyncIterator[Record]:
        """Around a call's work: admit it, turn what it raises into its status, log it."""
        record = Record(method, context.peer())
        started = time.monotonic()
        self._remember(asyncio.current_task())
        status, said = grpc.StatusCode.OK, ""
        try:
            record.caller = self.guard.caller(context)
            with self._slot(takes_slot), self.guard.place(record.caller):
                yield record
        except asyncio.CancelledError:
            if not self.stopped:
                status = _why_gone(context)
                raise
            status, said = status_of(StoppingError("the server stopped before this call had ended: try again"))
        except grpc.aio.InternalError:  # a write to somebody who is no longer there
            status = _why_gone(context)
            raise asyncio.CancelledError from None
        except Exception as error:
            # it is held in cycles until Python looks for them, and would hold the call's audio too
            traceback.clear_frames(error.__traceback__)
            status, said = status_of(error)
            if status is grpc.StatusCode.INTERNAL:
                log.exception("a call failed", extra={"fields": {"method": method, "peer": record.peer}})
        finally:
            _log_call(record, status, said, time.monotonic() - started)
        if status is not grpc.StatusCode.OK:
            await context.abort(status, said)

    @contextmanager
    def _slot(self, taken: bool) -> Iterator[None]:
        """Count a call as open while it is computed."""
        if self.stopping:
            raise StoppingError("the server is stopping and takes no new calls: try again or call another")
        if taken and self.open >= self.limit:
            raise FullError(f"the server is full, all its {self.limit} places are taken: try again later")
        self.open += taken
        try:
            yield
        finally:
            self.open -= taken

    def _remember(self, task: asyncio.Task[Any] | None) -> None:
        """A call's task outlives its slot: gRPC has its last answer still to send."""
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def ended(self) -> None:
        """Come back when every call that now runs has ended, its last answer sent."""
        if self.tasks:
            await asyncio.wait(set(self.tasks))

    async def drain(self, grace_s: float, hurry: asyncio.Event) -> None:
        """Refuse new calls; let the open ones end until grace_s are over or `hurry` is set, then end them."""
        self.stopping = True
        waits = [asyncio.create_task(wait) for wait in (self.ended(), hurry.wait())]
        await asyncio.wait(waits, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if late := set(self.tasks):
            self.stopped = True
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=LAST_WORDS_S)


def _why_gone(context: Any) -> grpc.StatusCode:
    left = context.time_remaining()
    late = left is not None and left <= DEADLINE_SLACK_S
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def _log_call(record: Record, status: grpc.StatusCode, said: str, wall_s: float) -> None:
    fields = {**asdict(record), "status": status.name, "wall_s": round(wall_s, 3)}
    fields["audio_s"] = round(record.audio_s, 3)
    if said:
        fields["error"] = said
    log.info("call", extra={"fields": fields})
