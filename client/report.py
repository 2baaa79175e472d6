"""An alignment as a page: the recording, its text, and where each word looked, in one file that needs no network.

The page is report.html; here it gets its data. Whatever the text or the name of the recording hold is data there:
the JSON has no "<", so nothing in it ends its element, and the page makes elements of it by their text alone.
"""

import base64
import html
import io
import json
import struct
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.alignments import AlignedSegment, token_label, word_of_token
from client.arrival import kept
from client.recording import Recording
from client.spectrogram import RANGE_DB, mel_spectrogram

U8_SCALE = 255
FEWER = 2  # steps and bands of the spectrogram that become one: a page is not looked at so closely, and is sent
PACKET_MS = 1000
WAV_FORMATS = (1, 3, 0xFFFE)  # integer, float, and extensible, which is either: what browsers play


def report(path: Path, segments: Sequence[AlignedSegment]) -> bytes:
    """The page of a recording."""
    recording = Recording(path)
    data = {"segments": [_segment(segment, recording) for segment in segments]}
    page = files("client").joinpath("report.html").read_text(encoding="utf-8")
    for mark, value in (
        ("TITLE", html.escape(path.name)),
        ("AUDIO", _audio_url(recording)),
        ("DATA", json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
    ):
        page = page.replace(f"<!--{mark}-->", value)
    return page.encode("utf-8", errors="replace")


def _segment(segment: AlignedSegment, recording: Recording) -> dict[str, Any]:
    words = word_of_token(segment.words, segment.pieces)
    tokens = zip(segment.pieces, segment.token_ids, words, segment.weights, strict=True)
    return {
        "start": round(segment.start_s, 3),
        "end": round(max(segment.end_s, segment.start_s + segment.frame_hop_s), 3),  # a picture has a width
        "hop": round(segment.frame_hop_s, 6),
        "frames": int(segment.weights.shape[1]),
        "words": [
            {
                "text": word.text,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "probability": round(word.confidence, 4),
            }
            for word in segment.words
        ],
        "tokens": [
            {"label": token_label(piece, token_id), "word": word, **_levels(row)}
            for piece, token_id, word, row in tokens
        ],
        "sound": _sound(segment, recording),
    }


def _levels(row: NDArray[np.float32]) -> dict[str, Any]:
    levels = np.rint(row * U8_SCALE).astype(int)
    (heard,) = levels.nonzero()
    first, end = (int(heard[0]), int(heard[-1]) + 1) if heard.size else (0, 0)
    return {"offset": first, "weights": levels[first:end].tolist()}


def _sound(segment: AlignedSegment, recording: Recording) -> dict[str, Any]:
    """Levels 0 to 255, row after row from the lowest band, of what the segment heard."""
    samples = recording.between(segment.start_s, segment.end_s)
    if not samples.size:
        return {"end": segment.start_s, "bands": 0, "steps": 0, "levels": ""}
    loudness = mel_spectrogram(samples, recording.sample_rate)
    bands, steps = (size // FEWER * FEWER for size in loudness.shape)
    if steps:
        loudness = loudness[:bands, :steps].reshape(bands // FEWER, FEWER, steps // FEWER, FEWER).mean(axis=(1, 3))
    levels = np.rint((loudness / RANGE_DB + 1) * U8_SCALE).astype(np.uint8)
    return {
        "end": round(segment.start_s + samples.size / recording.sample_rate, 3),
        "bands": levels.shape[0],
        "steps": levels.shape[1],
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }


def _audio_url(recording: Recording) -> str:
    """The recording as it is where a browser plays it, else written anew as a mono WAV."""
    content = recording.path.read_bytes()
    kind = _played(content)
    if kind is None:
        kind, content = "audio/wav", _wav(recording)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _played(content: bytes) -> str | None:
    """The type of a file that browsers play, by its first bytes."""
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return "audio/wav" if _wav_format(content) in WAV_FORMATS else None
    if content.startswith(b"fLaC"):
        return "audio/flac"
    if content.startswith(b"OggS"):
        return "audio/ogg"
    mp3 = content.startswith(b"ID3") or (len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2)
    return "audio/mpeg" if mp3 else None


def _wav_format(content: bytes) -> int | None:
    """The number of the format in the chunk "fmt "."""
    at = 12
    while at + 10 <= len(content):
        name, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        if name == b"fmt ":
            return int(struct.unpack_from("<H", content, at + 8)[0])
        at += 8 + size + size % 2
    return None


def _wav(recording: Recording) -> bytes:
    file = io.BytesIO()
    for _ in kept(recording.packets(PACKET_MS), recording.sample_rate, file):
        pass
    return file.getvalue()
