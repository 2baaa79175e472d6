import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.train.score import Counts, count, normalise, pool, ratio, ratio_interval, resample, wer_interval

WORDS = st.lists(st.sampled_from(["cat", "dog", "ran", "far", "the"]), max_size=8).map(" ".join)


def words(errors: int, of: int) -> Counts:
    return Counts(words=of, substitutions=errors)


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("MARGARET, said Mr. Hale!", "margaret said mister hale"),
        ("margaret said mister hale", "margaret said mister hale"),
        ("It's colour number twenty-one.", "it is color number 21"),
        ("Um.", ""),
        ("[Music] ♪", ""),
        ("", ""),
    ],
)
def test_what_sounds_alike_is_compared_alike(text: str, compared: str) -> None:
    assert normalise(text) == compared


def test_words_are_counted_by_kind() -> None:
    # cat -> bat, "on" left out, "now" put in
    counts = count("the cat sat on the mat", "The bat sat the mat, now")
    assert (counts.substitutions, counts.deletions, counts.insertions) == (1, 1, 1)
    assert counts.words == 6
    assert counts.wer == 50.0


def test_characters_are_counted_apart() -> None:
    counts = count("kitten", "sitting")
    assert (counts.characters, counts.character_errors) == (6, 3)
    assert counts.cer == 50.0
    assert counts.wer == 100.0


def test_of_an_empty_reference_every_word_is_an_insertion() -> None:
    for reference in ("", "Um.", "[laughter]"):
        counts = count(reference, "thank you")
        assert (counts.words, counts.insertions, counts.errors) == (0, 2, 2)
        assert counts.wer is None
        assert counts.cer is None


def test_an_empty_hypothesis_deletes_everything() -> None:
    counts = count("thank you", "")
    assert (counts.deletions, counts.errors, counts.wer, counts.cer) == (2, 2, 100.0, 100.0)


def test_nothing_from_nothing_is_no_error() -> None:
    assert count("", "") == Counts()


@given(WORDS, WORDS)
def test_counts_agree_with_the_lengths(said: str, written: str) -> None:
    counts = count(said, written)
    assert counts.words == len(said.split())
    assert counts.words - counts.deletions + counts.insertions == len(written.split())
    assert (counts.errors == 0) == (said == written)


def test_pooling_weighs_by_words() -> None:
    pooled = pool([words(1, 1), words(0, 9), Counts(insertions=1)])
    assert pooled.wer == pytest.approx(20.0)
    assert pool([]) == Counts()
    assert pool([]).wer is None


def test_every_field_is_pooled() -> None:
    assert pool([Counts(1, 2, 3, 4, 5, 6), Counts(10, 20, 30, 40, 50, 60)]) == Counts(11, 22, 33, 44, 55, 66)


def test_a_draw_has_as_many_rows_as_there_are() -> None:
    sums = resample([[1, 0], [1, 1], [1, 2]], 200, 0)
    assert sums.shape == (200, 2)
    assert np.all(sums[:, 0] == 3)
    assert set(sums[:, 1]) <= set(range(7))
    assert len(set(sums[:, 1])) > 3


def test_without_spread_the_interval_is_the_point() -> None:
    assert wer_interval([words(1, 4)] * 5, 100) == (25.0, 25.0)


def test_one_right_and_one_wrong_is_anything() -> None:
    # Draws of two from {0, 1}: none wrong in a quarter of the rounds, both in a quarter.
    assert wer_interval([words(0, 1), words(1, 1)], 1000) == (0.0, 100.0)


def test_the_interval_narrows_with_utterances() -> None:
    def width(utterances: int) -> float:
        interval = wer_interval([words(i % 2, 1) for i in range(utterances)], 1000)
        assert interval is not None
        return interval[1] - interval[0]

    # Of a binomial rate: 2 * 1.96 * sqrt(0.25 / n)
    assert width(100) == pytest.approx(19.6, abs=3)
    assert width(400) == pytest.approx(9.8, abs=1.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    counts = [words(i % 3, 5) for i in range(30)]
    assert wer_interval(counts, 50, seed=1) == wer_interval(counts, 50, seed=1)


@pytest.mark.parametrize("counts", [[], [Counts()], [Counts(insertions=3)]])
def test_there_is_no_interval_over_no_words(counts: list[Counts]) -> None:
    assert wer_interval(counts, 100) is None


def test_there_is_no_interval_without_rounds() -> None:
    assert wer_interval([words(1, 2)] * 3, 0) is None


def test_a_ratio_is_of_pooled_errors() -> None:
    assert ratio([words(1, 5), words(2, 5)], [words(4, 5), words(2, 5)]) == 0.5
    assert ratio([words(1, 5)], [words(0, 5)]) is None


def test_a_ratio_interval_is_paired() -> None:
    theirs = [words(errors, 10) for errors in (1, 9, 2, 8, 1)]
    ours = [words(2 * counts.errors, 10) for counts in theirs]
    # Unpaired draws would differ in which utterances are hard; the same ones for both leave the factor bare.
    assert ratio_interval(ours, theirs, 200) == (2.0, 2.0)


def test_a_ratio_to_almost_no_errors_has_no_finite_interval() -> None:
    assert ratio_interval([words(1, 5)] * 3, [words(1, 5), words(0, 5), words(0, 5)], 200) is None


def test_a_ratio_wants_the_same_utterances() -> None:
    with pytest.raises(ValueError, match="same utterances"):
        ratio([words(1, 5)], [words(1, 6)])
    with pytest.raises(ValueError, match="same utterances"):
        ratio_interval([words(1, 5)], [words(1, 5)] * 2, 10)
