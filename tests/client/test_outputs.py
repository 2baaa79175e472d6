import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.outputs import are_done, page_suffix, unique_stems, write_atomically

SUFFIXES = [".json", ".alignment.json"]
FOLDER = Path("out")
names = st.sampled_from(["a", "A", "a-2", "a-3", "A-2-2", "b", "é", "e\u0301", "É", "ß", "ss", "a.alignment"])
paths = st.builds(lambda folder, stem, end: Path(folder, stem + end), names, names, st.sampled_from([".wav", ".flac"]))


def same(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def stems(*inputs: str, suffixes: list[str] = SUFFIXES) -> list[str]:
    return unique_stems([Path(path) for path in inputs], FOLDER, suffixes)


@settings(deadline=None)
@given(st.lists(paths, max_size=12), st.sampled_from([SUFFIXES, [".txt"], [".txt", ".alignment.png"]]))
def test_no_output_overwrites_another_on_any_file_system(inputs: list[Path], suffixes: list[str]) -> None:
    given_stems = unique_stems(inputs, FOLDER, suffixes)
    outputs = [same(stem + suffix) for stem in given_stems for suffix in suffixes]
    assert len(set(outputs)) == len(outputs) == len(inputs) * len(suffixes)


@settings(deadline=None)
@given(st.lists(paths, max_size=12))
def test_a_stem_is_kept_by_its_first_bearer(inputs: list[Path]) -> None:
    seen: set[str] = set()
    for path, stem in zip(inputs, unique_stems(inputs, FOLDER, [".txt"]), strict=True):
        assert (stem == path.stem) == (same(path.stem) not in seen)
        assert stem.startswith(path.stem)
        seen.add(same(path.stem))


def test_equal_stems_are_numbered_from_two() -> None:
    assert stems("x/a.wav", "y/a.wav", "a.flac", "b.wav") == ["a", "a-2", "a-3", "b"]


def test_a_number_is_left_to_the_input_that_bears_it() -> None:
    assert stems("a.wav", "a.flac", "a-2.wav") == ["a", "a-3", "a-2"]


def test_an_alignment_does_not_overwrite_a_text() -> None:
    assert stems("a.wav", "a.alignment.wav") == ["a", "a.alignment-2"]


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    inputs = [tmp_path / "talk.txt", tmp_path / "other.wav"]
    assert unique_stems(inputs, tmp_path, [".txt"]) == ["talk-2", "other"]


def test_pages_are_numbered_from_the_second() -> None:
    assert [page_suffix(page, "png") for page in (1, 2, 3)] == [
        ".alignment.png",
        ".alignment-2.png",
        ".alignment-3.png",
    ]


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 60 + ".txt")
    write_atomically(path, b"long content")
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError) as failed:
        write_atomically(tmp_path / "taken", b"content")
    assert failed.value.filename == str(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_done_is_what_has_all_its_outputs_and_none_from_before(tmp_path: Path) -> None:
    inputs = [tmp_path / name for name in ("in/a.wav", "in/b.wav", "in/c.wav", "in/missing.wav")]
    (tmp_path / "in").mkdir()
    for path in inputs[:3]:
        path.touch()
    names = ("a.txt", "a.srt", "b.txt", "c.txt", "c.srt", "missing.txt", "missing.srt")
    for name in names:
        (tmp_path / name).touch()
        later_s = (tmp_path / "in" / "c.wav").stat().st_ctime + 10
        os.utime(tmp_path / name, (later_s, later_s))
    os.utime(tmp_path / "c.srt", (1, 1))
    assert are_done(inputs, ["a", "b", "c", "missing"], tmp_path, [".txt", ".srt"]) == [True, False, False, False]
