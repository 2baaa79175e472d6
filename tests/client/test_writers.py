import csv
import io
import json
from dataclasses import replace

from client.results import Segment, Transcript, Word
from client.subtitles import READABLE, Layout
from client.writers import ALIGNMENT_WRITERS, WRITERS, jsonl, says_nothing, srt, tsv, txt, vtt, whisper_json

HELLO = Segment(
    text=" Grüß Gott,",
    tokens=(1, 2),
    words=(Word(" Grüß", 0.123456, 0.5, 0.987654321), Word(" Gott,", 0.5, 1.005, 0.5)),
    start_s=0.0,
    end_s=1.23456,
    emission_s=1.28,
    is_final=True,
    stability=0.0,
    language="de",
    avg_logprob=-0.20000000298,
    no_speech_prob=0.01,
    alignment=None,
)
WORLD = replace(HELLO, text=" Welt.", words=(), start_s=1.23456, end_s=2.0)
TRANSCRIPT = Transcript((HELLO, replace(HELLO, text=" ", words=()), WORLD), duration_s=2.00049)


def test_txt_is_a_stripped_segment_a_line() -> None:
    assert txt(TRANSCRIPT) == "Grüß Gott,\nWelt.\n"
    assert txt(Transcript((), 0.0)) == ""


def test_json_is_whispers_shape() -> None:
    written = json.loads(whisper_json(TRANSCRIPT))
    assert list(written) == ["text", "language", "duration", "segments"]
    assert (written["text"], written["language"], written["duration"]) == ("Grüß Gott,  Welt.", "de", 2.0)
    assert [segment["id"] for segment in written["segments"]] == [0, 1, 2]
    assert written["segments"][0] == {
        "id": 0,
        "start": 0.0,
        "end": 1.23,
        "text": " Grüß Gott,",
        "tokens": [1, 2],
        "avg_logprob": -0.2,
        "no_speech_prob": 0.01,
        "words": [
            {"word": " Grüß", "start": 0.12, "end": 0.5, "probability": 0.9877},
            {"word": " Gott,", "start": 0.5, "end": 1.0, "probability": 0.5},
        ],
    }


def test_words_are_in_every_segment_or_in_none() -> None:
    wordless = replace(TRANSCRIPT, segments=(WORLD,))
    assert all("words" in segment for segment in json.loads(whisper_json(TRANSCRIPT))["segments"])
    assert not any("words" in segment for segment in json.loads(whisper_json(wordless))["segments"])


def test_json_is_read_by_people_too() -> None:
    assert "Grüß" in whisper_json(TRANSCRIPT)


def test_jsonl_is_the_segments_of_json_one_a_line() -> None:
    lines = jsonl(TRANSCRIPT).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(whisper_json(TRANSCRIPT))["segments"]


def test_tsv_is_whole_milliseconds_and_no_tab_in_a_text() -> None:
    said = replace(TRANSCRIPT, segments=(*TRANSCRIPT.segments, replace(WORLD, text=' a\tb\n"c"', start_s=3599.9996)))
    rows = list(csv.reader(io.StringIO(tsv(said), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows == [
        ["start", "end", "text"],
        ["0", "1235", "Grüß Gott,"],
        ["1235", "2000", "Welt."],
        ["3600000", "2000", 'a b "c"'],
    ]


LATE = replace(
    HELLO,
    text=" R&D --> <b>",
    words=(Word(" R&D", 3661.0006, 3661.5, 1.0), Word(" --->", 3661.5, 3661.7, 1.0), Word(" <b>", 3662.0, 3662.4, 1.0)),
    start_s=3661.0,
    end_s=3662.4,
)
HOURS = Transcript((HELLO, LATE), 3662.4)


def test_srt_has_hours_and_a_comma() -> None:
    assert srt(HOURS) == (
        "1\n00:00:00,123 --> 00:00:01,123\nGrüß Gott,\n\n2\n01:01:01,001 --> 01:01:02,400\nR&D -> <b>\n\n"
    )


def test_vtt_has_a_dot_and_hours_only_where_there_are_any() -> None:
    assert vtt(HOURS) == (
        "WEBVTT\n\n00:00.123 --> 00:01.123\nGrüß Gott,\n\n01:01:01.001 --> 01:01:02.400\nR&amp;D -&gt; &lt;b&gt;\n\n"
    )


def test_a_word_is_underlined_while_it_is_said() -> None:
    said = Transcript((replace(HELLO, words=(Word(" Grüß", 0.1, 0.5, 1.0), Word(" Gott,", 0.7, 1.0, 1.0))),), 1.05)
    assert srt(said, Layout(highlight=True)) == (
        "1\n00:00:00,100 --> 00:00:00,500\n<u>Grüß</u> Gott,\n\n"
        "2\n00:00:00,500 --> 00:00:00,700\nGrüß Gott,\n\n"
        "3\n00:00:00,700 --> 00:00:01,000\nGrüß <u>Gott,</u>\n\n"
        "4\n00:00:01,000 --> 00:00:01,050\nGrüß Gott,\n\n"
    )


def test_nothing_said_is_written_too() -> None:
    nothing = Transcript((), 1.5)
    written = {name: write(nothing, READABLE) for name, write in WRITERS.items()}
    assert json.loads(written.pop("json")) == {"text": "", "language": "", "duration": 1.5, "segments": []}
    assert written == {"txt": "", "jsonl": "", "srt": "", "vtt": "WEBVTT\n\n", "tsv": "start\tend\ttext\n"}


def test_silence_can_be_told_from_every_format() -> None:
    sly = replace(TRANSCRIPT, segments=(replace(HELLO, text='"segments": []'),))
    for name, write in WRITERS.items():
        assert says_nothing(name, write(Transcript((), 2.5, score=0.5), READABLE))
        assert not any(says_nothing(name, write(said, READABLE)) for said in (TRANSCRIPT, sly))


def test_formats_of_this_version() -> None:
    assert list(WRITERS) == ["txt", "json", "jsonl", "srt", "vtt", "tsv"]
    assert list(ALIGNMENT_WRITERS) == ["png", "svg", "npz", "json", "TextGrid", "html"]
