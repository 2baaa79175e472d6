"""Subtitles of made-up transcripts: laid out, written, and read back by parsers that are not ours."""

import html
import re
from itertools import pairwise

import pytest
import srt as srt_parser
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from client.results import Segment, Transcript, Word
from client.subtitles import LINE_WIDTH, LONGEST_MS, PAUSE_MS, READABLE, Cue, Layout, cues
from client.writers import srt, vtt

SENTENCES = (
    " It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of"
    " a wife. However little known the feelings of such a man may be, this truth is so well fixed. Yes! Mr. Bennet"
    " replied that he had not."
)


def transcript(*texts: str, word_s: float = 0.3, gaps_s: dict[int, float] | None = None) -> Transcript:
    """A segment for each text; its words are said one after another, word i after a gap."""
    segments, at_s, number = [], 0.0, 0
    for text in texts:
        words = []
        for word in re.findall(r"\s*\S+", text):
            at_s += (gaps_s or {}).get(number, 0.0)
            words.append(Word(word, at_s, at_s + word_s, 0.9))
            at_s += word_s
            number += 1
        segments.append(segment(text, tuple(words), words[0].start_s, at_s))
    return Transcript(tuple(segments), at_s)


def segment(text: str, words: tuple[Word, ...], start_s: float, end_s: float) -> Segment:
    return Segment(text, (), words, start_s, end_s, end_s, True, 0.0, "en", -0.1, 0.0, None)


def lines(cue: Cue) -> list[str]:
    return ["".join(word.text for word in line).strip() for line in cue.lines]


def shown(of: Transcript, layout: Layout = READABLE) -> list[list[str]]:
    return [lines(cue) for cue in cues(of, layout)]


characters = st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))
texts = st.one_of(
    st.text(characters, max_size=9),
    st.sampled_from(
        ["a", "man,", "fortune.", "-->", "--", ">", "<b>", "&lt;", "tea & jam", "1", "00:01", "¿", "x" * 60]
    ),
)
seconds = st.floats(0, 90, allow_nan=False)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Any words; most follow each other as words do, some times are in no order at all."""
    segments, at_s = [], 0.0
    for _ in range(draw(st.integers(0, 4))):
        words = []
        for text in draw(st.lists(texts, max_size=25)):
            start_s = draw(
                st.one_of(st.just(at_s), st.floats(0, 4).map(lambda gap_s, at_s=at_s: at_s + gap_s), seconds)
            )
            at_s = start_s + draw(st.one_of(st.floats(0, 1), st.just(0.0)))
            words.append(Word(draw(st.sampled_from([" ", " ", " ", ""])) + text, start_s, at_s, 0.5))
        text = "".join(word.text for word in words)
        start_s = words[0].start_s if words else at_s
        kept = tuple(words) if draw(st.booleans()) else ()  # a server may not know when its words were said
        segments.append(segment(text, kept, start_s, max(start_s, at_s)))
    return Transcript(tuple(segments), at_s + draw(st.floats(0, 3)))


layouts = st.builds(Layout, st.integers(1, 60), st.integers(1, 4), st.integers(1, 30), st.booleans())


def bare(text: str) -> str:
    """All but white space; arrows as they are written."""
    return re.sub("-{2,}>", "->", "".join(text.split()))


@settings(deadline=None, max_examples=60)
@given(transcripts(), layouts)
def test_no_word_is_lost_or_doubled_and_each_limit_is_kept(said: Transcript, layout: Layout) -> None:
    made = cues(said, layout)
    written = "".join(word.text for cue in made for word in cue.words)
    assert "".join(written.split()) == "".join("".join(part.text for part in said.segments).split())
    for cue in made:
        assert len(cue.words) <= layout.words
        assert len(cue.lines) <= layout.lines
        assert all(
            len(text) <= layout.width or len(line) == 1 for text, line in zip(lines(cue), cue.lines, strict=True)
        )


@settings(deadline=None, max_examples=60)
@given(transcripts(), layouts)
def test_cues_follow_each_other_and_hold_their_words(said: Transcript, layout: Layout) -> None:
    made = cues(said, layout)
    for cue in made:
        assert 0 <= cue.start_ms == cue.words[0].start_ms
        assert cue.words[-1].end_ms <= cue.end_ms
        assert all(word.start_ms < word.end_ms for word in cue.words)
        assert all(one.end_ms <= other.start_ms < cue.start_ms + LONGEST_MS for one, other in pairwise(cue.words))
        assert all(other.start_ms - one.end_ms < PAUSE_MS for one, other in pairwise(cue.words))
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(made))


@settings(deadline=None, max_examples=50)
@given(transcripts(), layouts)
def test_srt_is_read_back(said: Transcript, layout: Layout) -> None:
    read = list(srt_parser.parse(srt(said, layout)))
    assert [cue.index for cue in read] == list(range(1, len(read) + 1))
    times = [(round(cue.start.total_seconds() * 1000), round(cue.end.total_seconds() * 1000)) for cue in read]
    _check_times(times, cues(said, layout), layout)
    if not layout.highlight:
        for cue, made in zip(read, cues(said, layout), strict=True):
            assert [" ".join(line.split()) for line in cue.content.split("\n")] == [
                re.sub("-{2,}>", "->", line) for line in lines(made)
            ]


@settings(deadline=None, max_examples=50)
@given(transcripts(), layouts)
def test_vtt_is_read_back(said: Transcript, layout: Layout) -> None:
    read = list(webvtt.from_string(vtt(said, layout)))
    times = [(_ms(cue.start), _ms(cue.end)) for cue in read]
    _check_times(times, cues(said, layout), layout)
    if not layout.highlight:
        for cue, made in zip(read, cues(said, layout), strict=True):
            assert [html.unescape(line) for line in cue.raw_text.split("\n")] == [
                "".join(re.sub("-{2,}>", "->", word.text) for word in line).strip() for line in made.lines
            ]


def _check_times(times: list[tuple[int, int]], made: list[Cue], layout: Layout) -> None:
    assert all(start_ms < end_ms for start_ms, end_ms in times)
    assert all(one[1] <= other[0] for one, other in pairwise(times))
    if layout.highlight:  # pictures of a cue, one after another for as long as it stands
        assert {start_ms for start_ms, _ in times} >= {word.start_ms for cue in made for word in cue.words}
        assert {edge for edges in times for edge in edges} >= {
            edge for cue in made for edge in (cue.start_ms, cue.end_ms)
        }
    else:
        assert times == [(cue.start_ms, cue.end_ms) for cue in made]


def _ms(clock: str) -> int:
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3_600_000 + int(minutes) * 60_000 + round(float(rest) * 1000)


@settings(deadline=None, max_examples=30)
@given(transcripts())
def test_each_word_is_marked_once_and_nothing_else_changes(said: Transcript) -> None:
    layout = Layout(highlight=True)
    pictures = [cue.content for cue in srt_parser.parse(srt(said, layout))]
    marked = [match for content in pictures for match in re.findall(r"<u>(.*?)</u>", content)]
    words = [word.text.strip() for cue in cues(said, layout) for word in cue.words]
    assert [bare(text) for text in marked] == [bare(text) for text in words]


def test_cues_end_with_sentences() -> None:
    made = shown(transcript(SENTENCES))
    assert sum(cue[-1].endswith((".", "!", ",")) for cue in made) >= len(made) - 1
    assert not any("Mr." in line and line.endswith("Mr.") for cue in made for line in cue[-1:])
    starts = [cue[0].split()[0] for cue in made]
    assert {"It", "However"} <= set(starts)


def test_a_pause_ends_a_cue_and_so_does_a_rest_without_a_comma() -> None:
    said = transcript(" one two three four five six", gaps_s={3: 2.0})
    assert shown(said) == [["one two three"], ["four five six"]]
    text = " this is quite a long way to say that nobody knows where any of it will end or when it began at all"
    rested = [cue[-1].split()[-1] for cue in shown(transcript(text, word_s=0.25, gaps_s={11: 0.6}))]
    assert rested[0] == "knows"


def test_two_lines_are_of_about_equal_length() -> None:
    (cue,) = shown(transcript(" He might even have been made amiable himself, said she"))
    assert len(cue) == 2
    assert abs(len(cue[0]) - len(cue[1])) < 20
    assert shown(transcript(" And so, he came.")) == [["And so, he came."]]


def test_a_cue_stays_long_enough_to_be_read() -> None:
    said = transcript(" Extraordinarily complicated! No.", word_s=0.2, gaps_s={2: 3.0})
    first, second = cues(said)
    assert first.end_ms - first.start_ms == len(" Extraordinarily complicated!") * 1000 // 20
    assert (second.start_ms, second.end_ms) == (3400, 3600)  # the recording is over


def test_words_that_run_together_are_kept_together_as_they_are_written() -> None:
    said = Transcript((segment("你好吗", tuple(Word(c, i, i + 1, 0.5) for i, c in enumerate("你好吗")), 0, 3),), 3.0)
    assert shown(said) == [["你好吗"]]


def test_a_text_without_times_is_spread_over_its_segment() -> None:
    (cue,) = cues(Transcript((segment(" ab cdefgh", (), 1.0, 2.0),), 2.0))
    assert [(word.text, word.start_ms, word.end_ms) for word in cue.words] == [
        (" ab", 1000, 1300),
        (" cdefgh", 1300, 2000),
    ]


@pytest.mark.parametrize("words", [1, 3])
def test_a_cue_has_as_many_words_as_was_said(words: int) -> None:
    made = cues(transcript(SENTENCES), Layout(words=words))
    assert max(len(cue.words) for cue in made) == words


def test_cues_are_neither_hasty_nor_crowded() -> None:
    made = cues(transcript(SENTENCES * 5))
    assert all(cue.end_ms - cue.start_ms >= 600 for cue in made)
    letters = [sum(map(len, lines(cue))) for cue in made]
    assert sum(letters) / len(letters) > LINE_WIDTH * 0.75
