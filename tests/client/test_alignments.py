import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from client import Alignment, Row, Word
from client.alignments import AlignedSegment, aligned, from_json, from_npz, to_json, to_npz
from client.results import Segment

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
times = st.integers(0, 10**7).map(lambda milliseconds: milliseconds / 1000)
words = st.builds(Word, texts, times, times, st.integers(0, 10**4).map(lambda n: n / 10**4))


@st.composite
def segments(draw: st.DrawFn) -> AlignedSegment:
    tokens, frames = draw(st.integers(0, 4)), draw(st.integers(0, 6))
    exactly = {"min_size": tokens, "max_size": tokens}
    u8 = draw(arrays.arrays(np.uint8, (tokens, frames)))
    heads = draw(st.none() | arrays.arrays(np.uint8, (tokens, 2, 3, frames))) if tokens else None
    return AlignedSegment(
        start_s=draw(times),
        frame_hop_s=draw(st.sampled_from([0.01, 0.02, 0.08])),
        token_ids=tuple(draw(st.lists(st.integers(0, 2**31 - 1), **exactly))),
        pieces=tuple(draw(st.lists(texts, **exactly))),
        weights=u8.astype(np.float32) / np.float32(255),
        words=tuple(draw(st.lists(words, max_size=3))),
        heads=None if heads is None else heads.astype(np.float32) / np.float32(255),
    )


def assert_equal(got: AlignedSegment, expected: AlignedSegment) -> None:
    assert (got.start_s, got.frame_hop_s) == (expected.start_s, expected.frame_hop_s)
    assert (got.token_ids, got.pieces, got.words) == (expected.token_ids, expected.pieces, expected.words)
    assert got.weights.dtype == np.float32
    assert got.weights.shape == expected.weights.shape
    np.testing.assert_array_equal(np.rint(got.weights * 255), np.rint(expected.weights * 255))
    assert (got.heads is None) == (expected.heads is None)
    if got.heads is not None and expected.heads is not None:
        assert got.heads.dtype == np.float32
        assert got.heads.shape == expected.heads.shape
        np.testing.assert_array_equal(np.rint(got.heads * 255), np.rint(expected.heads * 255))


@pytest.mark.parametrize(("write", "read"), [(to_npz, from_npz), (to_json, from_json)])
@settings(max_examples=40, deadline=None)
@given(written=st.lists(segments(), max_size=3))
def test_what_is_written_is_read_again(
    write: Callable[[list[AlignedSegment]], bytes],
    read: Callable[[bytes], list[AlignedSegment]],
    written: list[AlignedSegment],
) -> None:
    content = write(written)
    got = read(content)
    assert len(got) == len(written)
    for one, other in zip(got, written, strict=True):
        assert_equal(one, other)
    assert write(written) == content  # no clock, no chance


ONE = AlignedSegment(
    start_s=1.0,
    frame_hop_s=0.02,
    token_ids=(5, 6),
    pieces=(" a", ""),
    weights=np.array([[0, 0.2, 0, 0.4, 0], [0, 0, 0, 0, 0]], np.float32),
    words=(Word(" a", 1.02, 1.08, 0.5),),
)


def test_npz_holds_what_its_description_says() -> None:
    with np.load(io.BytesIO(to_npz([ONE]))) as arrays:
        assert sorted(arrays) == [
            "frame_hop_s",
            "pieces_0",
            "start_s",
            "token_ids_0",
            "weights_0",
            "word_probabilities_0",
            "word_times_0",
            "words_0",
        ]
        assert arrays["weights_0"].dtype == np.float32
        assert arrays["word_times_0"].tolist() == [[1.02, 1.08]]


def test_json_holds_what_its_description_says() -> None:
    assert json.loads(to_json([ONE])) == {
        "segments": [
            {
                "start": 1.0,
                "frame_hop": 0.02,
                "frames": 5,
                "tokens": [
                    {"id": 5, "piece": " a", "offset": 1, "weights": [0.2, 0.0, 0.4]},
                    {"id": 6, "piece": "", "offset": 0, "weights": []},
                ],
                "words": [{"word": " a", "start": 1.02, "end": 1.08, "probability": 0.5}],
            }
        ]
    }


WITH_HEADS = replace(ONE, heads=np.arange(2 * 1 * 2 * 5, dtype=np.float32).reshape(2, 1, 2, 5) / 1000)


def test_npz_brings_the_heads_that_came() -> None:
    with np.load(io.BytesIO(to_npz([ONE, WITH_HEADS]))) as arrays:
        assert "heads_0" not in arrays
        np.testing.assert_array_equal(arrays["heads_1"], WITH_HEADS.heads)


def test_json_brings_the_heads_that_came() -> None:
    token, _ = json.loads(to_json([WITH_HEADS]))["segments"][0]["tokens"]
    assert token["heads"] == [
        [
            {"offset": 1, "weights": [0.001, 0.002, 0.003, 0.004]},
            {"offset": 0, "weights": [0.005, 0.006, 0.007, 0.008, 0.009]},
        ]
    ]


def row(row_id: int, token_id: int, provisional: bool = False) -> Row:
    return Row(token_id, f" {token_id}", row_id, 0, np.array([row_id]), np.array([1.0], np.float32), 0.0, provisional)


def segment(alignment: Alignment | None) -> Segment:
    return Segment("", (), (), 0.0, 1.0, 1.0, True, 0.0, "en", 0.0, 0.0, alignment)


def test_only_settled_rows_are_taken_the_last_of_each_in_order() -> None:
    rows = (row(4, 40), row(2, 19, provisional=True), row(3, 30), row(2, 20), row(5, 50, provisional=True))
    (got,) = aligned([segment(Alignment(0.02, 0.0, rows)), segment(None)])
    assert got.token_ids == (20, 30, 40)
    assert got.weights.argmax(axis=1).tolist() == [2, 3, 4]


def test_frames_that_nobody_attended_to_are_there() -> None:
    (got,) = aligned([segment(Alignment(0.02, 0.0, (row(2, 20),)))])
    assert got.weights.shape == (1, 50)
    assert got.weights[0, 2] == 1
