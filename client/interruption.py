"""Ctrl-C that always works, whatever library is at work."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.2  # an endless wait hears no Ctrl-C on Windows
PATIENCE_S = 2.0


def interruptible(work: Callable[[], T], cancel: Callable[[], None], finish: Callable[[], None] | None = None) -> T:
    """Do the work on another thread, so that what a signal raises is raised in our own waiting for it.

    Raised inside gRPC it can leave a lock taken that nobody gives back, and closing the channel then never ends.
    Interrupted, we `cancel` and give the work a moment to put the terminal in order. Where the work can `finish`
    with what it has, the first Ctrl-C asks it to, and only a second one interrupts.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    over = threading.Event()  # Thread.join takes a thread for ended once a signal has interrupted it (Python 3.12)

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            over.set()

    try:
        threading.Thread(target=run, daemon=True).start()
        while not over.is_set():
            try:
                over.wait(LOOK_S)
            except KeyboardInterrupt:
                if finish is None:
                    raise
                finish()
                finish = None
    except BaseException:
        cancel()
        over.wait(PATIENCE_S)
        raise
    if errors:
        raise errors[0]
    return results[0]
