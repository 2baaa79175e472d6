import threading

import pytest

from client.interruption import interruptible


def test_what_the_work_gives_or_raises_is_ours() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert interruptible(lambda: 5, cancel=fail) == 5
    with pytest.raises(ValueError, match="no"):
        interruptible(fail, cancel=lambda: None)


def test_an_interruption_cancels_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled, ended = threading.Event(), threading.Event()

    def work() -> None:
        cancelled.wait(30)
        ended.set()

    real_join = threading.Thread.join

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        if not cancelled.is_set():
            raise KeyboardInterrupt
        real_join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        interruptible(work, cancel=cancelled.set)
    assert ended.is_set()
