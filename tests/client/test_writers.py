import json
from dataclasses import replace

import pytest

from client.results import Segment, Transcript, Word
from client.writers import ALIGNMENT_WRITERS, WRITERS, txt, whisper_json

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


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_said_is_written_too(name: str) -> None:
    text = WRITERS[name](Transcript((), 1.5))
    assert text == "" or json.loads(text) == {"text": "", "language": "", "duration": 1.5, "segments": []}


def test_formats_of_this_version() -> None:
    assert list(WRITERS) == ["txt", "json"]
    assert list(ALIGNMENT_WRITERS) == ["png", "svg", "npz", "json", "TextGrid", "html"]
