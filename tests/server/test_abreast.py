import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.abreast import Abreast

WAIT_S = 20  # for what must happen; nothing is measured by it


def run(ask, workers=2, most=2):
    """What `ask` makes of an Abreast over so many workers."""

    async def asked(executor):
        with Abreast(executor, lambda: most) as pieces:
            return await ask(pieces)

    with ThreadPoolExecutor(workers) as executor:
        return asyncio.run(asked(executor))


def test_results_come_in_the_order_in_which_they_were_asked_for():
    second = threading.Event()

    def wait():
        assert second.wait(WAIT_S)
        return "first"

    def go():
        second.set()
        return "second"

    async def ask(pieces):
        await pieces.begin(wait)
        await pieces.begin(go)
        await pieces.ended()
        return list(pieces.taken())

    assert run(ask) == ["first", "second"]


def test_a_piece_that_is_done_makes_room_though_one_before_it_is_not():
    third = threading.Event()

    async def ask(pieces):
        await pieces.begin(third.wait, WAIT_S)
        await pieces.begin(int)
        await pieces.begin(third.set)
        before = list(pieces.taken())
        await pieces.ended()
        return before, list(pieces.taken())

    before, after = run(ask)
    assert [*before, *after] == [True, 0, None]


def test_there_are_never_more_pieces_than_there_may_be():
    in_work, most = set(), []

    def work(number):
        in_work.add(number)
        most.append(len(in_work))
        in_work.remove(number)

    async def ask(pieces):
        for number in range(100):
            await pieces.begin(work, number)
        await pieces.ended()
        return len(list(pieces.taken()))

    assert run(ask, workers=4, most=1) == 100
    assert set(most) == {1}


def test_a_failure_is_raised_in_its_turn_and_what_waits_is_never_begun():
    gate, begun = threading.Event(), []

    def fail():
        raise RuntimeError("no memory")

    async def ask(pieces):
        await pieces.begin(fail)
        await pieces.begin(gate.wait, WAIT_S)
        await pieces.begin(begun.append, "behind the one in work")
        while not pieces.begun[0].done():
            await pieces.room()
        try:
            return list(pieces.taken())
        finally:
            asyncio.get_running_loop().call_soon(gate.set)

    with pytest.raises(RuntimeError, match="no memory"):
        run(ask, workers=1, most=3)
    assert not begun


def test_nobody_complains_of_a_failure_that_came_too_late(caplog):
    def fail(number):
        raise RuntimeError(f"failure {number}")

    async def ask(pieces):
        for number in range(2):
            await pieces.begin(fail, number)
        await pieces.ended()
        return list(pieces.taken())

    with pytest.raises(RuntimeError, match="failure 0"):
        run(ask)
    gc.collect()
    assert not caplog.records
