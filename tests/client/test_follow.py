from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import Alignment, ContractError, Cursors, Event, Followed, Kind, Row, Segment, Update

HOP_S = 0.02


def row(row_id: int, token: int, provisional: bool, frame: int = 3) -> Row:
    weights = np.array([0.25, 0.75], np.float32)
    return Row(token, f" t{token}", row_id, frame, np.array([frame - 1, frame]), weights, 0.5, provisional)


def result(rows: Sequence[Row], is_final: bool = False, stability: float = 0.0, aligned: bool = True) -> Segment:
    return Segment(
        text="".join(one.piece for one in rows),
        tokens=tuple(one.token_id for one in rows),
        words=(),
        start_s=0.0,
        end_s=1.0,
        emission_s=1.0,
        is_final=is_final,
        stability=stability,
        language="en",
        avg_logprob=0.0,
        no_speech_prob=0.0,
        alignment=Alignment(HOP_S, 0.0, tuple(rows)) if aligned else None,
    )


def update(*results: Segment) -> Update:
    return Update(results, Cursors(1.0, 1.0, 1.0))


@st.composite
def streams(draw: st.DrawFn) -> list[Update]:
    """What a server may send: settled tokens that only grow, a tail that is new each time, finals, events."""
    updates: list[Update] = []
    done, stable = 0, []  # tokens in finals; settled rows since
    for _ in range(draw(st.integers(0, 8))):
        tokens = st.integers(0, 99)
        for token in draw(st.lists(tokens, max_size=3)):
            stable.append(row(done + len(stable), token, provisional=False, frame=draw(st.integers(1, 9))))
        results = []
        if draw(st.booleans()) and stable:
            results.append(result(stable, is_final=True))
            done, stable = done + len(stable), []
        if stable:
            results.append(result(stable, stability=1.0))
        tail = [
            row(done + len(stable) + at, token, True) for at, token in enumerate(draw(st.lists(tokens, max_size=3)))
        ]
        if tail:
            results.append(result(tail, stability=0.5))
        updates.append(update(*results))
        if draw(st.booleans()):
            updates.append(Update((), Cursors(1.0, 1.0, 1.0), Event(Kind.FLUSHED, 1.0)))
    return updates


@settings(max_examples=80, deadline=None)
@given(streams())
def test_the_rows_are_the_last_of_each_id(updates: list[Update]) -> None:
    known = Followed()
    for one in updates:
        before, known = known, known.after(one)
        for row_id, settled in before.rows.items():
            assert settled.provisional or known.rows[row_id] is not None
    every = [row for one in updates for result in one.results for row in result.alignment.rows]
    last = {row.row_id: row for row in every}
    with_results = [one for one in updates if one.results]
    said_last = {row.row_id for r in with_results[-1].results for row in r.alignment.rows} if with_results else set()
    expected = {row_id: one for row_id, one in last.items() if not one.provisional or row_id in said_last}
    assert list(known.rows) == sorted(expected)
    assert all(known.rows[row_id] is one for row_id, one in expected.items())
    assert len(known.rows) == len(expected)
    assert not any(absent in known.rows for absent in (-1, *set(range(30)) - set(expected)))
    assert known.text == "".join(one.piece for one in known.rows.values())
    assert [one.text for one in known.segments] == [r.text for u in updates for r in u.results if r.is_final]


def test_what_is_final_stays_and_the_rest_is_replaced() -> None:
    a, bee, b, c = (
        row(at, token, provisional)
        for at, token, provisional in [(0, 1, False), (1, 2, True), (1, 3, False), (2, 4, False)]
    )
    known = Followed().after(update(result([a], stability=1.0), result([bee], stability=0.5)))
    assert (known.final, known.stable, known.provisional) == ("", " t1", " t2")
    known = known.after(update(result([a, b], is_final=True), result([c], stability=1.0)))
    assert (known.final, known.stable, known.provisional) == (" t1 t3", " t4", "")
    assert known.after(update()) is known
    assert known.rows == {0: a, 1: b, 2: c}


def test_a_provisional_row_that_is_not_said_again_is_gone() -> None:
    tail = [row(0, 1, True), row(1, 2, True)]
    known = Followed().after(update(result(tail, stability=0.5))).after(update(result(tail[:1], stability=0.5)))
    assert list(known.rows) == [0]


def test_rows_are_not_needed() -> None:
    known = Followed().after(update(result([row(0, 1, False)], is_final=True, aligned=False)))
    assert (known.text, known.rows) == (" t1", {})


SETTLED = row(0, 1, provisional=False)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTLED, token_id=2),
        replace(SETTLED, piece=" other"),
        replace(SETTLED, provisional=True),
        replace(SETTLED, peak_frame=4),
        replace(SETTLED, frames=np.array([2, 4])),
        replace(SETTLED, weights=np.array([0.5, 0.5], np.float32)),
        replace(SETTLED, heads=np.ones((1, 1, 2), np.float32)),
    ],
)
def test_a_settled_row_may_be_said_again_but_not_changed(changed: Row) -> None:
    known = Followed().after(update(result([SETTLED], stability=1.0)))
    again = replace(SETTLED, frames=SETTLED.frames.copy(), weights=SETTLED.weights.copy())
    assert list(known.after(update(result([again], is_final=True))).rows) == [0]
    with pytest.raises(ContractError, match="row 0"):
        known.after(update(result([changed], stability=1.0)))


def test_a_row_of_a_final_may_be_said_again_but_not_changed() -> None:
    first, second = row(0, 1, False), row(1, 2, False)
    known = Followed().after(update(result([first], is_final=True))).after(update(result([second], is_final=True)))
    again = known.after(update(result([replace(first), replace(second)], stability=1.0)))
    assert list(again.rows) == [0, 1]
    for changed in (replace(first, token_id=3), replace(second, provisional=True)):
        with pytest.raises(ContractError, match=f"row {changed.row_id}"):
            known.after(update(result([changed], stability=1.0)))


def test_rows_out_of_order_are_put_in_order() -> None:
    rows = [row(at, at, False) for at in (5, 3, 9, 0)]
    known = Followed()
    for part in (rows[:2], rows[2:]):
        known = known.after(update(result(part, is_final=True)))
    assert list(known.rows.items()) == sorted({one.row_id: one for one in rows}.items())


def test_what_was_known_stays_as_it_was() -> None:
    before = Followed().after(update(result([SETTLED], is_final=True)))
    for token in (7, 8):  # two ways to go on from it
        after = before.after(update(result([row(1, token, False)], is_final=True)))
        assert [one.token_id for one in after.rows.values()] == [1, token]
        assert list(before.rows) == [0]


def test_a_message_costs_no_more_after_many() -> None:
    looks = 0

    class Watched(Row):
        def __getattribute__(self, name: str) -> object:
            nonlocal looks
            looks += name in ("row_id", "provisional")
            return super().__getattribute__(name)

    def looks_at(finals: int) -> int:
        """At rows, while each of so many finals of ten rows comes after three interims."""
        nonlocal looks
        known, looks = Followed(), 0
        for number in range(finals):
            rows = [Watched(**vars(row(10 * number + at, at, False))) for at in range(10)]
            for count in (2, 5, 8):
                known = known.after(update(result(rows[:count], stability=1.0)))
            known = known.after(update(result(rows, is_final=True)))
        return looks

    assert looks_at(100) < 2.5 * looks_at(50)
