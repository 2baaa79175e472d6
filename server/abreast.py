"""Pieces of work of one call, several of them at the same moment, and what comes of them in order.

Knows nothing of speech. How many there may be is asked before each piece, for other calls come and go.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Abreast(Generic[T]):
    """Who leaves it leaves nothing behind: a piece that waits is never begun, of one in work nobody hears."""

    def __init__(self, workers: Executor, most: Callable[[], int]):
        self.workers = workers
        self.most = most
        self.begun: deque[asyncio.Future[T]] = deque()  # whose results nobody took yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for piece in self.begun:
            if not piece.cancel():
                piece.exception()  # asyncio would complain that nobody looked at it
        self.begun.clear()

    async def room(self) -> None:
        """Come back when there may be one more piece of work."""
        while len(in_work := [piece for piece in self.begun if not piece.done()]) >= self.most():
            await asyncio.wait(in_work, return_when=asyncio.FIRST_COMPLETED)

    async def begin(self, function: Callable[..., T], *arguments: Any) -> None:
        """Compute on a worker, once there is room."""
        await self.room()
        self.begun.append(asyncio.get_running_loop().run_in_executor(self.workers, function, *arguments))

    def taken(self) -> Iterator[T]:
        """What has come of the next pieces, in the order in which they were begun; whatever one raised is raised."""
        while self.begun and self.begun[0].done():
            yield self.begun.popleft().result()

    async def ended(self) -> None:
        """Come back when all work is done."""
        if self.begun:
            await asyncio.wait(self.begun)
