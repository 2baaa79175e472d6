import threading
from contextlib import closing

import pytest

from client.jobs import as_done


@pytest.mark.parametrize("jobs", [1, 2, 5, 50])
def test_each_item_is_done_once_and_never_too_many_at_once(jobs: int) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.001)
        with lock:
            under_way -= 1
        return item * item

    results = [(item, future.result()) for item, future in as_done(work, range(20), jobs)]
    assert sorted(results) == [(item, item * item) for item in range(20)]
    assert most <= jobs


def test_one_at_a_time_is_one_after_another() -> None:
    begun: list[str] = []
    for item, _ in as_done(begun.append, "abc", jobs=1):
        assert begun[-1] == item  # none is begun before the one before was taken
    assert begun == ["a", "b", "c"]


def test_the_quick_do_not_wait_for_the_slow() -> None:
    slow = threading.Event()
    order = []
    for item, future in as_done(lambda item: item and slow.wait(30), [1, 0, 0, 0], jobs=2):
        order.append(item)
        future.result()
        if len(order) == 3:
            slow.set()
    assert order == [0, 0, 0, 1]


def test_what_fails_stops_nothing() -> None:
    failed = {item for item, future in as_done(lambda item: 1 / item, [1, 0, 2], jobs=2) if future.exception()}
    assert failed == {0}


def test_who_leaves_begins_no_more() -> None:
    begun: list[int] = []
    with closing(as_done(begun.append, range(100), jobs=2)) as results:
        next(results)
    assert len(begun) <= 2
