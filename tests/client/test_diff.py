import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import Word
from client.alignments import AlignedSegment, to_json, to_npz
from client.diff import Token, compare, edit_pairs, main, overlap, table
from client.diff_picture import draw, pairs_of_segments


def segment(said: dict[str, int], start_s: float = 0.0, hop_s: float = 0.02, frames: int = 50) -> AlignedSegment:
    """Tokens with the frame that each looked at alone; each is also a word, of a tenth of a second from there."""
    weights = np.zeros((len(said), frames), np.float32)
    weights[np.arange(len(said)), list(said.values())] = 0.9
    starts = [start_s + frame * hop_s for frame in said.values()]
    return AlignedSegment(
        start_s=start_s,
        frame_hop_s=hop_s,
        token_ids=tuple(range(len(said))),
        pieces=tuple(said),
        weights=weights,
        words=tuple(Word(text, at_s, at_s + 0.1, 1.0) for text, at_s in zip(said, starts, strict=True)),
    )


ONE = [segment({" a": 5, " b": 10, " c": 20}), segment({" d": 5, " e": 30}, start_s=1.0)]


def test_an_alignment_does_not_differ_from_itself() -> None:
    *parts, whole = compare(ONE, ONE)
    assert [(part.tokens, part.words, part.moved, part.peak_ms, part.overlap) for part in parts] == [
        ((3, 3), 3, 0, 0, pytest.approx(1)),
        ((2, 2), 2, 0, 0, pytest.approx(1)),
    ]
    assert (whole.tokens, len(whole.matches)) == ((5, 5), 5)


def test_moves_are_measured_where_tokens_match() -> None:
    other = [segment({" a": 5, " x": 10, " c": 24}), segment({" d": 3, " new": 9, " e": 30}, start_s=1.0)]
    first, second, whole = compare(ONE, other)
    assert [match.one.piece for match in whole.matches] == [" a", " c", " d", " e"]
    assert [match.peak_ms for match in whole.matches] == pytest.approx([0, 80, -40, 0])
    assert [match.overlap for match in whole.matches] == pytest.approx([1, 0, 0, 1])
    assert (first.tokens, first.words, first.moved, first.peak_ms) == ((3, 3), 2, 1, pytest.approx(40))
    assert (second.tokens, second.words, second.moved) == ((2, 3), 2, 0)
    assert (whole.words, whole.moved, whole.overlap) == (4, 1, pytest.approx(0.5))


def test_segments_and_frames_need_not_be_the_same() -> None:
    """One segment where there were two, and frames of half the length."""
    whole_cloth = segment({" a": 10, " b": 20, " c": 40, " d": 110, " e": 160}, hop_s=0.01, frames=200)
    whole_cloth.weights[np.arange(5), [11, 21, 41, 111, 161]] = 0.9  # both halves of the frame
    *_, whole = compare(ONE, [whole_cloth])
    assert len(whole.matches) == 5
    assert whole.overlap == pytest.approx(1)
    assert whole.peak_ms == pytest.approx(5)  # the middle of the first half
    assert whole.moved == 0


def test_what_looked_nowhere_is_matched_but_not_measured() -> None:
    blind = replace(ONE[0], weights=np.zeros((3, 50), np.float32))
    part, _ = compare(ONE[:1], [blind])
    assert [(match.overlap, match.peak_ms) for match in part.matches] == [(None, None)] * 3
    assert (part.overlap, part.peak_ms) == (None, None)
    assert " - " in table(ONE[:1], [blind])


def test_parts_of_characters_match_by_their_numbers() -> None:
    one = replace(ONE[0], pieces=("", "", " c"))
    other = replace(one, token_ids=(0, 9, 7))
    assert len(compare([one], [other])[-1].matches) == 2  # the first part, and " c" whatever its number


def looking(*weights: float) -> Token:
    return Token(" a", 1, 0.0, 0.02, np.array(weights, np.float32))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((1, 0), (1, 0), 1),
        ((1, 0), (0, 1), 0),
        ((0.5, 0.5), (1, 0), 0.5),
        ((0.25, 0.25), (0.9, 0), 0.5),  # shares, whatever they sum to
        ((0.2, 0.3, 0.5), (0.5, 0.3, 0.2), 0.7),
    ],
)
def test_overlap_is_what_both_shares_have(one: tuple[float], other: tuple[float], expected: float) -> None:
    assert overlap(looking(*one), looking(*other)) == pytest.approx(expected)


def edits(ours: str, theirs: str) -> int:
    """Levenshtein by its definition."""
    if not ours or not theirs:
        return len(ours) + len(theirs)
    return min(
        edits(ours[1:], theirs) + 1, edits(ours, theirs[1:]) + 1, edits(ours[1:], theirs[1:]) + (ours[0] != theirs[0])
    )


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_pairs_are_a_shortest_edit(ours: str, theirs: str) -> None:
    pairs = edit_pairs(ours, theirs)
    assert [a for a, _ in pairs if a is not None] == list(range(len(ours)))
    assert [b for _, b in pairs if b is not None] == list(range(len(theirs)))
    cost = sum(a is None or b is None or ours[a] != theirs[b] for a, b in pairs)
    assert cost == edits(ours, theirs)


def test_the_table_is_read_by_people() -> None:
    other = [segment({" a": 5, " b": 10, " c": 24}), ONE[1]]
    lines = table(ONE, other).splitlines()
    assert [re.split(r"\s{2,}", line) for line in lines[:4]] == [
        ["segment", "tokens", "matched", "|peak| ms", "overlap", "words moved"],
        ["1 from 0.0 s", "3 : 3", "3", "0", "1.00", "1 of 3"],
        ["2 from 1.0 s", "2 : 2", "2", "0", "1.00", "0 of 2"],
        ["all", "5 : 5", "5", "0", "1.00", "1 of 5"],
    ]
    assert lines[6].split() == ["c", "0.41", "0.00", "+80"]  # the most different first
    assert len(lines) == 6 + 5


def test_the_command_compares_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.npz").write_bytes(to_npz(ONE))
    (tmp_path / "b.json").write_bytes(to_json(ONE))
    picture = tmp_path / "diff.png"
    assert main([str(tmp_path / "a.npz"), str(tmp_path / "b.json"), "--output", str(picture)]) == 0
    assert re.search(r"^all +5 : 5 +5 +0 +1.00 +0 of 5$", capsys.readouterr().out, re.M)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "diff-2.png").exists()  # a page for each segment


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Dear Sir or Madam",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"segments": 3}',
        b'{"segments": [{"start": 0}]}',
        b"PK\3\4 no zip",
        to_npz(ONE)[:200],
        to_npz([replace(ONE[0], pieces=(" a",))]),
    ],
)
def test_a_file_that_is_no_alignment_is_named(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "a.npz", tmp_path / "b.npz"
    good.write_bytes(to_npz(ONE))
    bad.write_bytes(content)
    assert main([str(good), str(bad)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"asr-align-diff: {bad} is no alignment")
    assert error.count("\n") == 1


def test_another_npz_is_no_alignment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert main([str(tmp_path / "other.npz"), str(tmp_path / "other.npz")]) == 1
    assert "is no alignment" in capsys.readouterr().err


def test_wrong_usage_is_its_own_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 1  # there are none
    assert "No such file" in capsys.readouterr().err
    assert main(["a.npz", "b.npz", "--output", "diff.doc"]) == 2
    assert "png, svg" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["a.npz"])
    assert ended.value.code == 2


def test_rows_of_the_picture_are_the_tokens_of_both() -> None:
    other = [segment({" a": 5, " x": 10, " c": 24, " more": 30})]
    (pairs,) = pairs_of_segments(ONE[:1], other)
    first, second, apart = draw(pairs).axes
    labels = [label.get_text() for label in first.get_yticklabels()]
    assert labels == ["a", "\N{MINUS SIGN} b", "+ x", "c", "+ more"]
    maps = [np.asarray(axes.images[0].get_array()) for axes in (first, second, apart)]
    assert [row.nonzero()[0].tolist() for row in maps[0]] == [[5], [10], [], [20], []]
    assert [row.nonzero()[0].tolist() for row in maps[1]] == [[5], [], [10], [24], [30]]
    np.testing.assert_array_equal(maps[2], maps[1] - maps[0])
    assert {tuple(axes.images[0].get_extent()) for axes in (first, second, apart)} == {(0.0, 1.0, 5, 0)}
