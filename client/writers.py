"""What a transcript and its alignment are written as: a function for each format, and two tables of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from client.alignments import AlignedSegment, to_json, to_npz
from client.results import Segment, Transcript, Word
from client.textgrid import textgrid


def txt(transcript: Transcript) -> str:
    """One segment a line."""
    lines = [segment.text.strip() for segment in transcript.segments]
    return "".join(f"{line}\n" for line in lines if line)


def whisper_json(transcript: Transcript) -> str:
    """Whisper's shape; words where the transcript has any, and of a known text its score."""
    words = any(segment.words for segment in transcript.segments)
    whole: dict[str, Any] = {
        "text": transcript.text,
        "language": transcript.language,
        "duration": round(transcript.duration_s, 3),
        "segments": [_segment(number, segment, words) for number, segment in enumerate(transcript.segments)],
    }
    if transcript.score is not None:
        whole["score"] = round(transcript.score, 4)
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


WRITERS: dict[str, Callable[[Transcript], str]] = {  # the name is also the extension
    "txt": txt,
    "json": whisper_json,
}


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
    return members


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_s, 2),
        "end": round(word.end_s, 2),
        "probability": round(word.confidence, 4),
    }
