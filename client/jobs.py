"""Several pieces of work at once, but not too many."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def as_done(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Generator[tuple[T, Future[R]]]:
    """Each item with the future of its work, which is over, in the order in which they end.

    No more than `jobs` are begun and not taken yet, so results never pile up. To leave the loop is to wait for the
    work under way and to begin no more.
    """
    queue = iter(items)
    begun: dict[Future[R], T] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            begun |= {pool.submit(work, item): item for item in islice(queue, jobs - len(begun))}
            if not begun:
                return
            over, _ = wait(begun, return_when=FIRST_COMPLETED)
            future = next(future for future in begun if future in over)
            yield begun.pop(future), future
