"""asr-align-diff: two alignments of one recording compared, token by token and word by word.

Two files that asr-transcribe wrote as npz or json, say of two models, of two latencies, or of the same before and
after a change. Their texts need not be equal: tokens are matched by their texts over the whole recording, words
likewise, and what is in one alone is counted, not compared. Nor need their segments or frames be: weights are
compared as shares of attention in stretches of time.

    overlap   of two tokens' attention: 1 - their total variation distance; 1 is the same, 0 nothing in common
    peak      how much later the second looked most, in milliseconds
    moved     words whose start differs by more than 50 ms
"""

import argparse
import sys
import zipfile
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.alignments import AlignedSegment, from_json, from_npz, printable_label
from client.errors import FileError, MissingPackageError
from client.outputs import page_path, write_atomically
from client.results import Word

DONE, FAILED, USAGE = 0, 1, 2
MOVED_S = 0.050
MOST = 10  # the most different tokens, named one by one
LABEL = 16  # characters of a token's text
STEP, PUT_IN, LEFT_OUT = 0, 1, 2  # ways to come to a cell of the edit distance
EPILOG = "exit status: 0 compared, however different they are; 1 a file cannot be read or written; 2 wrong usage"


@dataclass(frozen=True, eq=False)
class Token:
    """One row of an alignment, in the time of the recording."""

    piece: str
    token_id: int
    start_s: float  # time of frame 0
    frame_hop_s: float
    weights: NDArray[np.float32]  # (frames,)

    @property
    def key(self) -> tuple[str, int | None]:
        """What must be equal: the text, or the number of what holds a part of a character."""
        return (self.piece, None) if self.piece.strip() else (self.piece, self.token_id)

    @property
    def peak_s(self) -> float | None:
        """The middle of the most attended frame; None where it looked nowhere."""
        if not self.weights.any():
            return None
        return self.start_s + (int(self.weights.argmax()) + 0.5) * self.frame_hop_s


@dataclass(frozen=True)
class Match:
    """A token that both alignments have."""

    one: Token
    other: Token
    segment: int  # of the first alignment
    overlap: float | None  # None where one of them looked nowhere
    peak_ms: float | None


@dataclass(frozen=True)
class Difference:
    """Of a segment of the first alignment, or of the whole."""

    tokens: tuple[int, int]  # of the first and the second, as far as it is known where they belong
    words: int  # that both have
    moved: int  # of these, whose start moved
    matches: tuple[Match, ...]

    @property
    def peak_ms(self) -> float | None:
        """Median of how far peaks moved, either way."""
        moves = [abs(match.peak_ms) for match in self.matches if match.peak_ms is not None]
        return median(moves) if moves else None

    @property
    def overlap(self) -> float | None:
        overlaps = [match.overlap for match in self.matches if match.overlap is not None]
        return median(overlaps) if overlaps else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, return its exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.output is not None:
        try:
            from client import diff_picture
        except MissingPackageError as error:
            return _complain(error, USAGE)
        if arguments.output.suffix[1:] not in diff_picture.EXTENSIONS:
            known = ", ".join(diff_picture.EXTENSIONS)
            return _complain(f"--output is a picture ({known}), not {str(arguments.output)!r}", USAGE)
    try:
        one, other = read(arguments.one), read(arguments.other)
        print(table(one, other), end="")
        if arguments.output is not None:
            for page, content in enumerate(diff_picture.pages(one, other, arguments.output.suffix[1:]), start=1):
                write_atomically(page_path(arguments.output, page), content)
    except FileError as error:
        return _complain(error, FAILED)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", FAILED)
    return DONE


def read(path: Path) -> list[AlignedSegment]:
    """An alignment as asr-transcribe writes it, by its bytes npz or json. FileError where it is none."""
    content = path.read_bytes()
    try:
        segments = from_npz(content) if content.startswith(b"PK") else from_json(content)
        for segment in segments:
            if not len(segment.pieces) == len(segment.token_ids) == len(segment.weights) or segment.weights.ndim != 2:
                raise ValueError("there is not one row of weights for each token")
        return segments
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(
            f"{path} is no alignment: asr-transcribe --alignment --alignment_format npz (or json) writes one "
            f"({type(error).__name__}: {error})"
        ) from None


def compare(one: Sequence[AlignedSegment], other: Sequence[AlignedSegment]) -> list[Difference]:
    """Of each segment of the first alignment, then of the whole."""
    ours, theirs = tokens(one), tokens(other)
    segment_of = [number for number, segment in enumerate(one) for _ in segment.pieces]
    pairs = edit_pairs([token.key for token in ours], [token.key for token in theirs])
    matches = [
        Match(ours[a], theirs[b], segment_of[a], overlap(ours[a], theirs[b]), _later_ms(ours[a], theirs[b]))
        for a, b in pairs
        if a is not None and b is not None and ours[a].key == theirs[b].key
    ]
    their_counts = [0] * len(one)
    at = 0
    for a, b in pairs:
        at = segment_of[a] if a is not None else at
        if b is not None and one:
            their_counts[at] += 1

    words = [(word, number) for number, segment in enumerate(one) for word in segment.words]
    moves = [(words[a][1], abs(word.start_s - words[a][0].start_s)) for a, word in _same_words(words, other)]

    def of(numbers: Sequence[int], counts: tuple[int, int]) -> Difference:
        moved = [move_s for number, move_s in moves if number in numbers]
        return Difference(
            tokens=counts,
            words=len(moved),
            moved=sum(move_s > MOVED_S for move_s in moved),
            matches=tuple(match for match in matches if match.segment in numbers),
        )

    parts = [of([number], (len(segment.pieces), their_counts[number])) for number, segment in enumerate(one)]
    return [*parts, of(range(len(one)), (len(ours), len(theirs)))]


def tokens(segments: Sequence[AlignedSegment]) -> list[Token]:
    return [
        Token(piece, token_id, segment.start_s, segment.frame_hop_s, weights)
        for segment in segments
        for piece, token_id, weights in zip(segment.pieces, segment.token_ids, segment.weights, strict=True)
    ]


def overlap(one: Token, other: Token) -> float | None:
    """1 - total variation distance of two distributions over time; None where one has no weight.

    Within a frame attention is spread evenly, so frames of other lengths, or that begin elsewhere, do no harm.
    """
    edges, shares = zip(*(_shares(token) for token in (one, other)), strict=True)
    if any(share is None for share in shares):
        return None
    every = np.unique(np.concatenate(edges))
    in_each = [np.diff(np.interp(every, edge, share)) for edge, share in zip(edges, shares, strict=True)]
    return float(np.minimum(*in_each).sum())


def edit_pairs(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> list[tuple[int | None, int | None]]:
    """The shortest edit of one sequence into the other (Levenshtein 1966), as pairs of places in order.

    (a, b) stands for the same or for another in its place, (a, None) for one left out, (None, b) for one put in.
    Row by row in numpy: an hour of speech has ten thousand tokens.
    """
    columns = np.arange(len(theirs) + 1)
    numbers = {value: number for number, value in enumerate(dict.fromkeys([*ours, *theirs]))}
    their_numbers = np.array([numbers[value] for value in theirs], np.int64)
    ways = np.full((len(ours) + 1, len(theirs) + 1), PUT_IN, np.uint8)
    before = columns.copy()
    for row, value in enumerate(ours, start=1):
        left_out = before + 1
        step = np.append(left_out[:1], before[:-1] + (their_numbers != numbers[value]))
        best = np.minimum(left_out, step)
        here = np.minimum.accumulate(best - columns) + columns  # what is put in costs 1 each
        ways[row, here == left_out] = LEFT_OUT
        ways[row, here == step] = STEP
        ways[row, 0] = LEFT_OUT
        before = here
    pairs: list[tuple[int | None, int | None]] = []
    a, b = len(ours), len(theirs)
    while a or b:
        way = int(ways[a, b])
        a, b = a - (way != PUT_IN), b - (way != LEFT_OUT)
        pairs.append((None if way == PUT_IN else a, None if way == LEFT_OUT else b))
    return pairs[::-1]


def table(one: Sequence[AlignedSegment], other: Sequence[AlignedSegment]) -> str:
    """What a person reads: a line for each segment and for all, then the tokens that differ most."""
    *parts, whole = compare(one, other)
    lines = ["segment          tokens        matched  |peak| ms  overlap  words moved"]
    for number, (segment, part) in enumerate(zip(one, parts, strict=True), start=1):
        lines.append(_line(f"{number} from {segment.start_s:.1f} s", part))
    lines.append(_line("all", whole))
    differ = sorted((match for match in whole.matches if match.overlap is not None), key=_likeness)[:MOST]
    if differ:
        lines += ["", "most different        at s  overlap   peak ms"]
    for match in differ:
        at_s, peak_ms = match.one.peak_s, match.peak_ms
        label = printable_label(match.one.piece, match.one.token_id)[:LABEL]
        lines.append(f"{label:<18}{at_s or 0:>8.2f}{match.overlap:>9.2f}{peak_ms or 0:>+10.0f}")
    return "\n".join(lines) + "\n"


def _line(name: str, part: Difference) -> str:
    counts = f"{part.tokens[0]} : {part.tokens[1]}"
    peak = "-" if part.peak_ms is None else f"{part.peak_ms:.0f}"
    share = "-" if part.overlap is None else f"{part.overlap:.2f}"
    return f"{name:<16} {counts:<13} {len(part.matches):>7}  {peak:>9}  {share:>7}  {part.moved} of {part.words}"


def _likeness(match: Match) -> tuple[float, float]:
    return match.overlap or 0.0, -abs(match.peak_ms or 0.0)


def _later_ms(one: Token, other: Token) -> float | None:
    if one.peak_s is None or other.peak_s is None:
        return None
    return 1000 * (other.peak_s - one.peak_s)


def _shares(token: Token) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The edges of the frames, rounded so that equal ones are equal, and how much of the attention lies before each."""
    edges = (token.start_s + np.arange(len(token.weights) + 1) * token.frame_hop_s).round(6)
    before = np.concatenate([[0.0], np.cumsum(token.weights, dtype=np.float64)])
    return edges, before / before[-1] if before[-1] > 0 else None


def _same_words(words: Sequence[tuple[Word, int]], other: Sequence[AlignedSegment]) -> list[tuple[int, Word]]:
    """Of the words that both have: the number in the first, and the second's."""
    theirs = [word for segment in other for word in segment.words]
    texts = [word.text.strip() for word, _ in words], [word.text.strip() for word in theirs]
    return [
        (a, theirs[b]) for a, b in edit_pairs(*texts) if a is not None and b is not None and texts[0][a] == texts[1][b]
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-align-diff",
        description="Compare two alignments of one recording.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("one", type=Path, metavar="A", help="written by asr-transcribe --alignment_format npz or json")
    parser.add_argument("other", type=Path, metavar="B", help="another")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="draw both and their difference: .png or .svg; a page for a segment"
    )
    return parser


def _complain(what: object, status: int) -> int:
    print(f"asr-align-diff: {what}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
