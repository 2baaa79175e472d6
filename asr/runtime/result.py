"""What recognition returns: plain values that know no wire format.

Times are seconds in stream time: zero is the first sample of the recording or stream.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Word:
    text: str  # with its leading space and its punctuation
    start_s: float
    end_s: float
    confidence: float  # 0 to 1: how probable it is that this was said (confidence.py)
    emission_s: float  # end of the audio that made it known
    evidence: tuple[float, ...] = ()  # what the confidence was told from (confidence.FEATURES)


@dataclass(frozen=True, eq=False)
class Row:
    """Where one token looked."""

    token_id: int
    piece: str  # the token's text; empty where it holds part of a character
    row_id: int  # counts the tokens of a stream; a later row of the same id replaces a provisional one
    weights: NDArray[np.float32]  # (frames,) mean over the alignment heads; sums to at most 1
    entropy: float  # of the weights, in nats
    provisional: bool
    offset: int = 0  # the frame of the first weight
    silence: float = 0.0  # share of the weights that lies where nothing sounds
    heads: NDArray[np.float32] | None = None  # (layers, heads, frames), where every head was asked for

    @property
    def peak(self) -> int:
        """The frame that was looked at most."""
        return self.offset + int(self.weights.argmax())


@dataclass(frozen=True, eq=False)
class Alignment:
    frame_hop_s: float
    start_s: float  # time of frame 0
    rows: tuple[Row, ...]
    monotonicity: float = 0.0  # share of the tokens that look no earlier than the one before
    coverage: float = 0.0  # share of the sound that some token looked at


@dataclass(frozen=True)
class Alternative:
    """Something else that may have been said in a final."""

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    avg_logprob: float
    odds: float  # 0 to 1: how many times as probable as the final's own text it is


@dataclass(frozen=True, eq=False)
class Result:
    """A stretch of text with all that is known of it: a final segment, or an interim."""

    text: str  # finals joined as they are give the whole text
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    start_s: float  # where the segment begins
    end_s: float  # how far this result has listened
    emission_s: float  # end of the audio that made this result so
    is_final: bool
    stability: float  # interims: 1.0 is never revised, below 1 may be; 0 on finals
    language: str
    avg_logprob: float  # mean natural-log probability of the tokens
    no_speech_prob: float  # the model's own probability that nothing was said
    alignment: Alignment | None  # None unless asked for
    doubt: float = 0.0  # finals: 0 to 1, how probable it is that this was made up, repeated or full of gaps
    channel: int = 0  # from 1 up, where each channel is heard by itself
    evidence: tuple[float, ...] = ()  # finals: what the doubt was told from (confidence.SEGMENT_FEATURES)
    alternatives: tuple[Alternative, ...] = ()  # finals: others than this one, the most probable first


@dataclass(frozen=True)
class Cursors:
    """Where the recogniser is in the stream: received_s >= processed_s >= finalised_s."""

    received_s: float
    processed_s: float
    finalised_s: float


class Kind(Enum):
    """What an event says."""

    FLUSHED = "flushed"  # everything before the flush is in finals already given
    SPEECH_BEGIN = "speech_begin"
    SPEECH_END = "speech_end"
    TIMEOUT = "timeout"  # nobody spoke for as long as was asked; the stream is over


@dataclass(frozen=True)
class Event:
    kind: Kind
    time_s: float  # that it belongs to
    channel: int = 0  # as a result's


@dataclass(frozen=True, eq=False)
class Update:
    """One step of a stream: results (at most one final, then at most two interims), or an event."""

    results: tuple[Result, ...]
    cursors: Cursors
    event: Event | None = None  # then there are no results


@dataclass(frozen=True, eq=False)
class Transcript:
    """A whole recording."""

    segments: tuple[Result, ...]
    duration_s: float
    language: str

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()
