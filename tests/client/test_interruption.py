import _thread
import threading
import time

import pytest

from client.interruption import interruptible


def test_what_the_work_gives_or_raises_is_ours() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert interruptible(lambda: 5, cancel=fail) == 5
    with pytest.raises(ValueError, match="no"):
        interruptible(fail, cancel=lambda: None)


def test_an_interruption_cancels_the_work_and_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.interruption.PATIENCE_S", 30.0)  # however slow this machine is
    cancelled, ended = threading.Event(), threading.Event()

    def work() -> None:
        _thread.interrupt_main()
        cancelled.wait(30)
        time.sleep(0.2)  # it puts the terminal in order
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        interruptible(work, cancel=cancelled.set)
    assert ended.is_set()


def test_what_can_finish_is_asked_to_before_it_is_cancelled() -> None:
    finished, cancelled = threading.Event(), threading.Event()

    def work() -> bool:
        time.sleep(0.5)  # so that we are waited for
        _thread.interrupt_main()
        return finished.wait(30)

    assert interruptible(work, cancel=cancelled.set, finish=finished.set)
    assert not cancelled.is_set()


def test_a_second_interruption_is_not_put_off() -> None:
    finish, cancelled = threading.Event(), threading.Event()

    def work() -> None:
        for asked in (finish, cancelled):
            time.sleep(0.5)
            _thread.interrupt_main()
            asked.wait(30)

    with pytest.raises(KeyboardInterrupt):
        interruptible(work, cancelled.set, finish.set)
    assert finish.is_set()
    assert cancelled.is_set()
