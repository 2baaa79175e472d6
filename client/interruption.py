"""Ctrl-C that always works, whatever library is at work."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.2  # an endless wait hears no Ctrl-C on Windows
PATIENCE_S = 2.0


def interruptible(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Do the work on another thread, so that what a signal raises is raised in our own waiting for it.

    Raised inside gRPC it can leave a lock taken that nobody gives back, and closing the channel then never ends.
    Interrupted, we `cancel` and give the work a moment to put the terminal in order.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=run, daemon=True)
    try:
        worker.start()
        while worker.is_alive():
            worker.join(LOOK_S)
    except BaseException:
        cancel()
        worker.join(PATIENCE_S)
        raise
    if errors:
        raise errors[0]
    return results[0]
