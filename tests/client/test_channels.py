"""Channels heard each by itself: what is asked for, what is sent, and how what comes back is written."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from client import Client, Cursors, Followed, Level, Options, Segment, Transcript, Update, Word, live
from client.alignments import aligned, from_json, from_npz, to_json, to_npz
from client.recording import Recording
from client.transcribe import main
from client.writers import jsonl, srt, tsv, txt, vtt, whisper_json

Writes = Callable[..., Path]
SEPARATE = Options(separate_channels=True)
HELLO = Segment(
    text=" Hello.",
    tokens=(1,),
    words=(Word(" Hello.", 0.0, 1.5, 0.5),),
    start_s=0.0,
    end_s=2.0,
    emission_s=2.0,
    is_final=True,
    stability=0.0,
    language="en",
    avg_logprob=-0.5,
    no_speech_prob=0.0,
    alignment=None,
    channel=1,
)
YES = replace(HELLO, text=" Yes?", words=(Word(" Yes?", 1.0, 2.5, 0.5),), start_s=1.0, end_s=3.0, channel=2)
CALL = Transcript((HELLO, YES), duration_s=3.0)


def test_the_server_is_asked_and_segments_say_whose_they_are(target: str, service: Any, recording: Writes) -> None:
    content = recording(seconds=5.0).read_bytes()
    with Client(target) as speech:
        separate, mixed = speech.recognize(content, SEPARATE), speech.recognize(content)
    assert [config.enable_separate_recognition_per_channel for config in service.configs] == [True, False]
    assert [segment.channel for segment in separate.segments] == [1, 2, 1]
    assert list(separate.by_channel()) == [1, 2]
    assert [len(said.segments) for said in separate.by_channel().values()] == [2, 1]
    assert list(mixed.by_channel()) == [0]


@pytest.mark.parametrize(("flags", "channels"), [([], 1), (["--separate_channels"], 2)])
def test_a_stream_sends_channels_side_by_side_or_mixed(
    target: str, service: Any, recording: Writes, flags: list[str], channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(seconds=1.0, channels=2)
    stream = ["--server", target, "--stream", "--fast", "--output_format", "json"]
    assert main([*stream, *flags, str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["duration"] == 1.0
    assert service.configs[0].audio_channel_count == channels
    assert service.packet_bytes == [3_200 * channels] * 10


def test_what_is_sent_side_by_side_is_what_the_recording_holds(recording: Writes) -> None:
    path = recording(seconds=0.5, channels=3)
    samples, _ = soundfile.read(path, dtype="int16")
    assert b"".join(Recording(path).packets(70, separate=True)) == samples.astype("<i2").tobytes()


def test_text_says_who_speaks() -> None:
    assert txt(CALL) == "[1] Hello.\n[2] Yes?\n"
    assert tsv(CALL) == "start\tend\ttext\n0\t2000\t[1] Hello.\n1000\t3000\t[2] Yes?\n"


def test_json_says_the_channel_of_each_segment_and_of_none_where_they_were_mixed() -> None:
    assert [segment["channel"] for segment in json.loads(whisper_json(CALL))["segments"]] == [1, 2]
    assert [json.loads(line)["channel"] for line in jsonl(CALL).splitlines()] == [1, 2]
    mixed = replace(CALL, segments=(replace(HELLO, channel=0),))
    assert "channel" not in json.loads(whisper_json(mixed))["segments"][0]


def test_subtitles_of_people_who_speak_at_once_stand_side_by_side() -> None:
    assert srt(CALL) == (
        "1\n00:00:00,000 --> 00:00:01,500\n[1] Hello.\n\n2\n00:00:01,000 --> 00:00:02,500\n[2] Yes?\n\n"
    )
    assert vtt(CALL) == ("WEBVTT\n\n00:00.000 --> 00:01.500\n<v 1>Hello.\n\n00:01.000 --> 00:02.500\n<v 2>Yes?\n\n")


def test_an_alignment_says_whose_it_is(target: str, recording: Writes) -> None:
    options = replace(SEPARATE, alignment=Level.MEAN_U8)
    with Client(target) as speech:
        segments = aligned(speech.recognize(recording(seconds=5.0).read_bytes(), options).segments)
    for read in (from_json(to_json(segments)), from_npz(to_npz(segments))):
        assert [segment.channel for segment in read] == [1, 2, 1]


def heard(text: str, channel: int) -> Update:
    interim = replace(HELLO, text=text, words=(), is_final=False, stability=1.0, channel=channel)
    return Update((interim,), Cursors(2.0, 2.0, 0.0))


def test_one_follows_one_channel() -> None:
    known = Followed().after(heard(" Hello", 1)).after(heard(" Hello there", 1))
    assert (known.text, known.channel) == (" Hello there", 1)
    with pytest.raises(ValueError, match="follows channel 1, but the message is of channel 2"):
        known.after(heard(" Yes", 2))


def test_a_person_sees_each_channel_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(live, "_console", lambda: Console(file=screen, force_terminal=True, width=60, height=10))
    updates = [heard(" Hello", 1), heard(" Yes", 2), heard(" Hello there", 1)]
    assert list(live.watched(updates)) == updates
    assert "[1] Hello there" in screen.getvalue()
    assert "[2] Yes" in screen.getvalue()


def test_separate_samples_of_the_sdk_are_interleaved(target: str, service: Any) -> None:
    samples = np.arange(64_000, dtype="<i2").reshape(-1, 2)
    with Client(target) as speech:
        list(speech.stream([samples.tobytes()], 16_000, SEPARATE, channels=2))
    assert (service.configs[0].audio_channel_count, service.packet_bytes) == (2, [128_000])
