"""What a transcript and its alignment are written as: a function for each format, and two tables of them."""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from client.alignments import AlignedSegment, to_json, to_npz
from client.results import Alternative, Segment, Transcript, Word
from client.subtitles import READABLE, Cue, Layout, cues
from client.textgrid import textgrid

HOUR_MS = 3_600_000
ARROW = re.compile("-{2,}>")  # stands between the times, so it may not be in a text


def txt(transcript: Transcript) -> str:
    """One segment a line; [1] before what channel 1 says."""
    return "".join(f"{_told(segment)}\n" for segment in transcript.segments if segment.text.strip())


def whisper_json(transcript: Transcript) -> str:
    """Whisper's shape; words where the transcript has any, and of a known text its score."""
    whole: dict[str, Any] = {
        "text": transcript.text,
        "language": transcript.language,
        "duration": round(transcript.duration_s, 3),
        "segments": _segments(transcript),
    }
    if transcript.score is not None:
        whole["score"] = round(transcript.score, 4)
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def jsonl(transcript: Transcript) -> str:
    """The segments of json, one a line."""
    return "".join(json.dumps(segment, ensure_ascii=False) + "\n" for segment in _segments(transcript))


def tsv(transcript: Transcript) -> str:
    """Whole milliseconds and the text of each segment that has one; [1] before what channel 1 says."""
    lines = ["start\tend\ttext"]
    for segment in transcript.segments:
        if segment.text.strip():
            text = re.sub(r"[\t\r\n]", " ", _told(segment))
            lines.append(f"{round(segment.start_s * 1000)}\t{round(segment.end_s * 1000)}\t{text}")
    return "".join(f"{line}\n" for line in lines)


def srt(transcript: Transcript, layout: Layout = READABLE) -> str:
    """[1] before what channel 1 says."""
    shown = _shown(transcript, layout, lambda text: text)
    return "".join(
        f"{number}\n{_hours(start_ms)}:{_clock(start_ms, ',')} --> {_hours(end_ms)}:{_clock(end_ms, ',')}\n"
        f"{_tag(channel)}{ARROW.sub('->', text)}\n\n"
        for number, (start_ms, end_ms, channel, text) in enumerate(shown, start=1)
    )


def vtt(transcript: Transcript, layout: Layout = READABLE) -> str:
    """Hours only where there are any; & and < are written as the standard (WebVTT, section 4.2.2) wants them.

    What channel 1 says is the voice "1" (the same, section 4.2.2).
    """

    def time(ms: int) -> str:
        return (f"{_hours(ms)}:" if ms >= HOUR_MS else "") + _clock(ms, ".")

    shown = _shown(transcript, layout, lambda text: html.escape(ARROW.sub("->", text), quote=False))
    blocks = (
        f"{time(start_ms)} --> {time(end_ms)}\n{f'<v {channel}>' if channel else ''}{text}\n\n"
        for start_ms, end_ms, channel, text in shown
    )
    return "WEBVTT\n\n" + "".join(blocks)


SUBTITLES = {"srt": srt, "vtt": vtt}  # made of words with times
WRITERS: dict[str, Callable[[Transcript, Layout], str]] = {  # the name is also the extension
    "txt": lambda transcript, layout: txt(transcript),
    "json": lambda transcript, layout: whisper_json(transcript),
    "jsonl": lambda transcript, layout: jsonl(transcript),
    **SUBTITLES,
    "tsv": lambda transcript, layout: tsv(transcript),
}


def says_nothing(name: str, content: str) -> bool:
    """Whether a file of this format is that of a recording in which no words were found."""
    if name == "json":  # which has a duration, too; in a text the quotes would be escaped
        return '"segments": []' in content
    return content == WRITERS[name](Transcript((), 0.0), READABLE)


# From a recording, its duration in seconds and the alignment of its segments: the contents of the files to write,
# one for each page.
AlignmentWriter = Callable[[Path, float, Sequence[AlignedSegment]], Iterable[bytes]]


def png(recording: Path, duration_s: float, segments: Sequence[AlignedSegment]) -> Iterable[bytes]:
    return _pictures(recording, segments, "png")


def svg(recording: Path, duration_s: float, segments: Sequence[AlignedSegment]) -> Iterable[bytes]:
    return _pictures(recording, segments, "svg")


def _pictures(recording: Path, segments: Sequence[AlignedSegment], extension: str) -> Iterable[bytes]:
    """Of every head where they came, else of the mean over those that align."""
    from client import heads, picture  # matplotlib is an extra

    if any(segment.heads is not None for segment in segments):
        return heads.pages(segments, extension)
    return picture.pages(recording, segments, extension)


def praat(recording: Path, duration_s: float, segments: Sequence[AlignedSegment]) -> Iterable[bytes]:
    content = textgrid(duration_s, segments)
    return [content] if content else []


def page(recording: Path, duration_s: float, segments: Sequence[AlignedSegment]) -> Iterable[bytes]:
    from client.report import report  # soundfile is an extra

    return [report(recording, segments)]


PICTURES = {"png": png, "svg": svg}
ALIGNMENT_WRITERS: dict[str, AlignmentWriter] = {  # again the name is the extension
    **PICTURES,
    "npz": lambda recording, duration_s, segments: [to_npz(segments)],
    "json": lambda recording, duration_s, segments: [to_json(segments)],
    "TextGrid": praat,
    "html": page,
}


Shown = tuple[int, int, int, str]  # from when to when, of which channel, the text


def _shown(transcript: Transcript, layout: Layout, escaped: Callable[[str], str]) -> list[Shown]:
    """What is on the screen when, in the order in which it appears. Cues of one channel never overlap."""
    return sorted(
        (start_ms, end_ms, channel, text)
        for channel, said in transcript.by_channel().items()
        for start_ms, end_ms, text in _shown_of(said, layout, escaped)
    )


def _shown_of(said: Transcript, layout: Layout, escaped: Callable[[str], str]) -> Iterator[tuple[int, int, str]]:
    """Each cue, or a picture of it for each of its words."""
    for cue in cues(said, layout):
        if not layout.highlight:
            yield cue.start_ms, cue.end_ms, _text(cue, None, escaped)
            continue
        at_ms = cue.start_ms
        for number, word in enumerate(cue.words):
            if at_ms < word.start_ms:
                yield at_ms, word.start_ms, _text(cue, None, escaped)
            yield word.start_ms, word.end_ms, _text(cue, number, escaped)
            at_ms = word.end_ms
        if at_ms < cue.end_ms:
            yield at_ms, cue.end_ms, _text(cue, None, escaped)


def _text(cue: Cue, marked: int | None, escaped: Callable[[str], str]) -> str:
    numbers = count()
    lines = []
    for line in cue.lines:
        words = []
        for word in line:
            text = escaped(word.text.lstrip())
            space = " " if word.text.startswith(" ") else ""
            words.append(space + (f"<u>{text}</u>" if next(numbers) == marked else text))
        lines.append("".join(words).lstrip())
    return "\n".join(lines)


def _told(segment: Segment) -> str:
    return _tag(segment.channel) + segment.text.strip()


def _tag(channel: int) -> str:
    """Says whose text follows, where there are several."""
    return f"[{channel}] " if channel else ""


def _hours(ms: int) -> str:
    return f"{ms // HOUR_MS:02d}"


def _clock(ms: int, point: str) -> str:
    """Minutes, seconds and thousandths."""
    seconds, thousandths = divmod(ms % HOUR_MS, 1000)
    return f"{seconds // 60:02d}:{seconds % 60:02d}{point}{thousandths:03d}"


def _segments(transcript: Transcript) -> list[dict[str, Any]]:
    words = any(segment.words for segment in transcript.segments)
    return [_segment(number, segment, words) for number, segment in enumerate(transcript.segments)]


def _segment(number: int, segment: Segment, words: bool) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": number,
        "start": round(segment.start_s, 2),
        "end": round(segment.end_s, 2),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "avg_logprob": round(segment.avg_logprob, 4),
        "no_speech_prob": round(segment.no_speech_prob, 4),
    }
    if words:
        members["words"] = [_word(word) for word in segment.words]
    if segment.channel:
        members["channel"] = segment.channel
    if segment.alternatives:
        members["confidence"] = round(segment.confidence, 4)
        members["alternatives"] = [_alternative(other) for other in segment.alternatives]
    return members


def _alternative(other: Alternative) -> dict[str, Any]:
    """The members of a segment that may be another one's; words where they came."""
    members: dict[str, Any] = {
        "text": other.text,
        "tokens": list(other.tokens),
        "avg_logprob": round(other.avg_logprob, 4),
        "confidence": round(other.confidence, 4),
    }
    if other.words:
        members["words"] = [_word(word) for word in other.words]
    return members


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_s, 2),
        "end": round(word.end_s, 2),
        "probability": round(word.confidence, 4),
    }
