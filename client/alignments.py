"""Alignments as data: the attention of each segment, and two files to keep it in.

npz (numpy.load needs no pickle), for segment i counted from 0:

    start_s               (segments,)       time of frame 0
    channel               (segments,)       from 1 up; with separate channels alone
    frame_hop_s           (segments,)       from one frame to the next
    weights_i             (tokens, frames)  float32: where each token looked
    heads_i               (tokens, layers, heads, frames)  float32: where each head did; with Level.FULL alone
    token_ids_i           (tokens,)
    pieces_i              (tokens,)         texts of the tokens, "" where one holds part of a character
    words_i               (words,)          texts of the words
    word_times_i          (words, 2)        start and end
    word_probabilities_i  (words,)

json:

    {"segments": [{"start", "frame_hop", "frames",
                   "tokens": [{"id", "piece", "offset", "weights": [...],
                               "heads": [[{"offset", "weights": [...]}]]}],
                   "words": [{"word", "start", "end", "probability"}]}]}

`weights` there are those of the frames from `offset` on, without the zeros before and behind; a row has `frames`
of them in all. `heads` has a list for each layer with such a row for each of its heads; it is there with Level.FULL
alone, and there `weights` are the mean over all heads. Else they are the mean over those that align. With separate
channels, and then alone, a segment has its `channel`. Times are seconds from the start of the recording. Provisional
rows are in neither.
"""

import io
import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.results import Alignment, Segment, Word

DECIMALS = 4  # of weights in json: most come as multiples of 1/255
ROUNDING = 1e-6  # of a frame
FURTHEST = 32  # characters over which a token's text is looked for


@dataclass(frozen=True, eq=False)
class AlignedSegment:
    """A segment's attention in one matrix, with the words beside it."""

    start_s: float  # time of frame 0
    frame_hop_s: float
    token_ids: tuple[int, ...]
    pieces: tuple[str, ...]
    weights: NDArray[np.float32]  # (tokens, frames)
    words: tuple[Word, ...]
    heads: NDArray[np.float32] | None = None  # (tokens, layers, heads, frames); with Level.FULL alone
    channel: int = 0  # from 1 up, where each was heard by itself

    @property
    def heard_s(self) -> float:
        """Time of the end of the last frame."""
        return self.start_s + int(self.weights.shape[1]) * self.frame_hop_s

    @property
    def end_s(self) -> float:
        """Where frames and words are over."""
        return max(self.heard_s, *(word.end_s for word in self.words), self.start_s)


def aligned(segments: Sequence[Segment]) -> list[AlignedSegment]:
    """Of each segment that came with an alignment, its settled rows in the order of the tokens."""
    return [_aligned(segment, segment.alignment) for segment in segments if segment.alignment is not None]


def _aligned(segment: Segment, alignment: Alignment) -> AlignedSegment:
    last = {row.row_id: row for row in alignment.rows if not row.provisional}
    rows = tuple(last[row_id] for row_id in sorted(last))
    settled = replace(alignment, rows=rows)
    weights, heads = settled.matrix(), settled.heads()
    listened = math.ceil((segment.end_s - alignment.start_s) / alignment.frame_hop_s - ROUNDING)
    unheard = max(0, listened - weights.shape[1])  # what no token attended to is not sent
    return AlignedSegment(
        start_s=alignment.start_s,
        frame_hop_s=alignment.frame_hop_s,
        token_ids=tuple(row.token_id for row in rows),
        pieces=tuple(row.piece for row in rows),
        weights=np.pad(weights, ((0, 0), (0, unheard))),
        words=segment.words,
        heads=None if heads is None else np.pad(heads, ((0, 0), (0, 0), (0, 0), (0, unheard))),
        channel=segment.channel,
    )


def word_of_token(words: Sequence[Word], pieces: Sequence[str]) -> list[int]:
    """The number of the word that each token is a part of; -1 where there are no words.

    Joined, words and pieces are the same text, but for the characters of which a token holds only a part.
    """
    text = "".join(word.text for word in words)
    ends = list(accumulate(len(word.text) for word in words))
    owners, at = [], 0
    for piece in pieces:
        found = text.find(piece, at, at + len(piece) + FURTHEST)
        begins = at if found < 0 else found
        owners.append(min(bisect_right(ends, begins), len(words) - 1))
        at = begins + len(piece) if found >= 0 else at
    return owners


def token_label(piece: str, token_id: int) -> str:
    """The token's text; a box for white space, its number where it is only a part of a character."""
    return (piece.strip() or "\N{OPEN BOX}") if piece else f"#{token_id}"


def printable_label(piece: str, token_id: int) -> str:
    """What of the token's text a terminal can print, or else its number."""
    return "".join(c for c in piece.strip() if c.isprintable()) or f"#{token_id}"


def to_npz(segments: Sequence[AlignedSegment]) -> bytes:
    arrays: dict[str, NDArray[Any]] = {
        "start_s": np.array([segment.start_s for segment in segments], np.float64),
        "frame_hop_s": np.array([segment.frame_hop_s for segment in segments], np.float64),
    }
    if any(segment.channel for segment in segments):
        arrays["channel"] = np.array([segment.channel for segment in segments], np.int64)
    for number, segment in enumerate(segments):
        words = segment.words
        arrays |= {
            f"weights_{number}": segment.weights,
            f"token_ids_{number}": np.array(segment.token_ids, np.int64),
            f"pieces_{number}": np.array(segment.pieces, np.str_),
            f"words_{number}": np.array([word.text for word in words], np.str_),
            f"word_times_{number}": np.array([(word.start_s, word.end_s) for word in words], np.float64).reshape(-1, 2),
            f"word_probabilities_{number}": np.array([word.confidence for word in words], np.float64),
        }
        if segment.heads is not None:
            arrays[f"heads_{number}"] = segment.heads
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes our names for its own option
    return file.getvalue()


def from_npz(content: bytes) -> list[AlignedSegment]:
    with np.load(io.BytesIO(content)) as arrays:
        return [
            AlignedSegment(
                start_s=float(arrays["start_s"][number]),
                frame_hop_s=float(arrays["frame_hop_s"][number]),
                token_ids=tuple(arrays[f"token_ids_{number}"].tolist()),
                pieces=tuple(arrays[f"pieces_{number}"].tolist()),
                weights=arrays[f"weights_{number}"],
                words=tuple(
                    Word(text, start_s, end_s, probability)
                    for text, (start_s, end_s), probability in zip(
                        arrays[f"words_{number}"].tolist(),
                        arrays[f"word_times_{number}"].tolist(),
                        arrays[f"word_probabilities_{number}"].tolist(),
                        strict=True,
                    )
                ),
                heads=arrays.get(f"heads_{number}"),
                channel=int(arrays["channel"][number]) if "channel" in arrays else 0,
            )
            for number in range(len(arrays["start_s"]))
        ]


def to_json(segments: Sequence[AlignedSegment]) -> bytes:
    text = json.dumps({"segments": [_members(segment) for segment in segments]}, ensure_ascii=False)
    return (text + "\n").encode()


def from_json(content: bytes) -> list[AlignedSegment]:
    return [
        AlignedSegment(
            start_s=members["start"],
            frame_hop_s=members["frame_hop"],
            token_ids=tuple(token["id"] for token in members["tokens"]),
            pieces=tuple(token["piece"] for token in members["tokens"]),
            weights=_matrix(members["tokens"], members["frames"]),
            words=tuple(
                Word(word["word"], word["start"], word["end"], word["probability"]) for word in members["words"]
            ),
            heads=_heads(members["tokens"], members["frames"]),
            channel=members.get("channel", 0),
        )
        for members in json.loads(content)["segments"]
    ]


def _members(segment: AlignedSegment) -> dict[str, Any]:
    tokens = [
        {"id": token_id, "piece": piece, **_trimmed(row)}
        for token_id, piece, row in zip(segment.token_ids, segment.pieces, segment.weights, strict=True)
    ]
    if segment.heads is not None:
        for token, layers in zip(tokens, segment.heads, strict=True):
            token["heads"] = [[_trimmed(row) for row in heads] for heads in layers]
    return {
        **({"channel": segment.channel} if segment.channel else {}),
        "start": round(segment.start_s, 3),
        "frame_hop": round(segment.frame_hop_s, 6),
        "frames": segment.weights.shape[1],
        "tokens": tokens,
        "words": [
            {
                "word": word.text,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "probability": round(word.confidence, 4),
            }
            for word in segment.words
        ],
    }


def _trimmed(row: NDArray[np.float32]) -> dict[str, Any]:
    weights = row.astype(np.float64).round(DECIMALS)
    (heard,) = weights.nonzero()
    if not heard.size:
        return {"offset": 0, "weights": []}
    return {"offset": int(heard[0]), "weights": weights[heard[0] : heard[-1] + 1].tolist()}


def _matrix(rows: Sequence[dict[str, Any]], frames: int) -> NDArray[np.float32]:
    weights = np.zeros((len(rows), frames), np.float32)
    for target, row in zip(weights, rows, strict=True):
        target[row["offset"] : row["offset"] + len(row["weights"])] = row["weights"]
    return weights


def _heads(tokens: Sequence[dict[str, Any]], frames: int) -> NDArray[np.float32] | None:
    if not tokens or "heads" not in tokens[0]:
        return None
    return np.stack([np.stack([_matrix(heads, frames) for heads in token["heads"]]) for token in tokens])
