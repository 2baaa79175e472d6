"""The rows of a stream's alignment so far, by their ids, and what a message makes of them.

An hour has tens of thousands of rows and thousands of messages: to go through all rows at each would soon cost more
than anything else. So the rows of finals are kept as they came, a tuple for each final, and a message touches those
alone that are not in a final yet.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge

import numpy as np

from client.errors import ContractError
from client.results import Row, Segment


@dataclass(frozen=True, eq=False)
class Rows(Mapping[int, Row]):
    """By row_id, ascending. Start with an empty one."""

    closed: tuple[tuple[Row, ...], ...] = ()  # those of each final, in ascending order throughout
    closed_count: int = 0
    others: Mapping[int, Row] = field(default_factory=dict)

    def __getitem__(self, row_id: int) -> Row:
        found = self.others.get(row_id) or self._in_final(row_id)
        if found is None:
            raise KeyError(row_id)
        return found

    def __iter__(self) -> Iterator[int]:
        return merge((row.row_id for rows in self.closed for row in rows), sorted(self.others))

    def __len__(self) -> int:
        return self.closed_count + len(self.others)

    def __repr__(self) -> str:
        return f"Rows({dict(self)})"

    def after(self, results: Sequence[Segment]) -> "Rows":
        """The rows when these results have come, too. ContractError where one that was settled is changed."""
        settled = {row_id: row for row_id, row in self.others.items() if not row.provisional}
        known = Rows(self.closed, self.closed_count, settled)
        for result in results:
            known = known._with(result)
        return known

    def _with(self, result: Segment) -> "Rows":
        rows = result.alignment.rows if result.alignment is not None else ()
        others = dict(self.others)
        for row in rows:
            in_final = self._in_final(row.row_id)
            before = in_final or others.get(row.row_id)
            if before is not None and not before.provisional and not same(before, row):
                raise ContractError(f"row {row.row_id} ({before.piece!r}) was settled, but a later message changes it")
            if in_final is None:
                others[row.row_id] = row
        ended, last = [], self._last
        for row in rows if result.is_final else ():
            if row.row_id > last and not row.provisional:  # one that comes out of order stays among the others
                ended.append(others.pop(row.row_id))
                last = row.row_id
        closed = (*self.closed, tuple(ended)) if ended else self.closed
        return Rows(closed, self.closed_count + len(ended), others)

    @property
    def _last(self) -> int:
        """The id of the last row that is in a final; -1: none is."""
        return self.closed[-1][-1].row_id if self.closed else -1

    def _in_final(self, row_id: int) -> Row | None:
        if not 0 <= row_id <= self._last:
            return None
        rows = self.closed[max(0, bisect_right(self.closed, row_id, key=lambda rows: rows[0].row_id) - 1)]
        row = rows[max(0, bisect_right(rows, row_id, key=lambda row: row.row_id) - 1)]
        return row if row.row_id == row_id else None


def same(one: Row, other: Row) -> bool:
    """Whether two rows say the same of the same token."""
    return (
        (one.token_id, one.piece, one.row_id, one.peak_frame, one.provisional)
        == (other.token_id, other.piece, other.row_id, other.peak_frame, other.provisional)
        and np.array_equal(one.frames, other.frames)
        and np.array_equal(one.weights, other.weights)
        and (one.heads is None) == (other.heads is None)
        and (one.heads is None or other.heads is None or np.array_equal(one.heads, other.heads))
    )
