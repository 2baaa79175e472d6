from dataclasses import replace

import numpy as np
from rich.cells import cell_len

from client import Alignment, Cursors, Followed, Row, Segment, Update
from client.looking import BLOCKS, Look, drawn, last_looks, levels


def row(row_id: int, frame: int, piece: str = "", provisional: bool = False) -> Row:
    weights = np.array([0.05, 0.8, 0.05], np.float32)
    frames = np.arange(frame - 1, frame + 2)
    return Row(row_id, piece or f" t{row_id}", row_id, frame, frames, weights, 0.5, provisional)


def result(*rows: Row, start_s: float = 0.0, end_s: float = 2.0, is_final: bool = False) -> Segment:
    alignment = Alignment(0.02, start_s, rows)
    return Segment("", (), (), start_s, end_s, end_s, is_final, 0.5, "en", 0.0, 0.0, alignment)


def known(*results: Segment) -> Followed:
    return Followed().after(Update(results, Cursors(1.0, 1.0, 1.0)))


def test_a_line_for_each_token_with_its_peak_at_its_time() -> None:
    lines = drawn(known(result(row(0, 10), row(1, 50), row(2, 90))), width=93).plain.split("\n")
    assert [line[:13].strip() for line in lines[:3]] == ["t0", "t1", "t2"]
    assert [line[13:].index("█") for line in lines[:3]] == [8, 40, 72]  # of 80 columns for 2 s
    assert lines[3].split() == ["0.0", "s", "2.0", "s"]
    assert all(len(line) == 93 for line in lines)


def test_what_may_change_is_dim() -> None:
    text = drawn(known(result(row(0, 10)), result(row(1, 50, provisional=True))), width=60)
    settled, provisional, _ = text.split("\n")
    assert [str(span.style) for span in settled.spans] == []
    assert [str(span.style) for span in provisional.spans] == ["dim"]


def test_only_the_last_tokens_are_seen_whatever_their_segment() -> None:
    final = result(*(row(at, 10 + at) for at in range(5)), is_final=True)
    tail = result(*(row(5 + at, 10 + at) for at in range(2)), start_s=3.0, end_s=4.0)
    looks = last_looks(known(final, tail), 4)
    assert [look.row.row_id for look in looks] == [3, 4, 5, 6]
    assert [round(look.peak_s, 2) for look in looks] == [0.26, 0.28, 3.2, 3.22]
    assert drawn(known(final, tail), 60, tokens=4).plain.count("\n") == 4


def test_each_column_shows_the_most_of_its_frames() -> None:
    look = Look(row(0, 5), 0.0, 0.02)
    assert levels(look, 0.0, 0.2, 10) == [0, 0, 0, 0, 2, 8, 2, 0, 0, 0]  # a column a frame
    assert levels(look, 0.0, 0.2, 5) == [0, 0, 8, 2, 0]  # two frames a column
    assert levels(look, 0.08, 0.14, 6) == [2, 2, 8, 8, 2, 2]  # two columns a frame
    assert levels(look, 1.0, 2.0, 3) == [0, 0, 0]
    assert levels(replace(look, start_s=1.0), 1.0, 1.2, 10)[5] == len(BLOCKS) - 1


def test_a_token_without_weights_is_a_blank_line() -> None:
    path_only = replace(row(0, 5), frames=np.array([], np.int64), weights=np.array([], np.float32))
    assert levels(Look(path_only, 0.0, 0.02), 0.0, 1.0, 4) == [0, 0, 0, 0]


def test_any_text_keeps_the_columns_in_place() -> None:
    strange = result(row(0, 10, " 你好你好你好你好"), row(1, 20, " \x1b[31m\n"), row(2, 30, " longer than its place"))
    lines = drawn(known(strange), width=60).plain.split("\n")
    assert [cell_len(line) for line in lines] == [60] * 4
    assert "\x1b" not in "".join(lines)


def test_nothing_known_is_nothing_drawn() -> None:
    assert drawn(Followed(), 60).plain == ""
