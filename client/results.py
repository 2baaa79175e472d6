"""What the client asks for and what it gets: plain values that know no wire format.

Times are seconds in stream time: zero is the first sample of the recording or stream.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray


class Level(Enum):
    """How much of the attention comes with the text."""

    NONE = "none"
    PATH = "path"  # the most attended frame of each token
    TOP_K = "top_k"  # its largest weights
    MEAN_U8 = "mean_u8"  # all its weights, 8 bits each
    FULL = "full"  # those of every layer and head


@dataclass(frozen=True)
class Phrases:
    """What is expected to be said: it is preferred to what sounds alike."""

    phrases: tuple[str, ...]  # as they are to be written
    boost: float = 0.0  # by how much, 0 to 20 nats a token; 0 leaves the choice to the server


class Flush:
    """An item of a stream of packets that means: finalise what was said so far."""


FLUSH = Flush()


@dataclass(frozen=True)
class Endpointing:
    """When a segment begins and ends; None leaves the choice to the server.

    A history is a stretch of audio in milliseconds, a threshold the share of it that must sound or be quiet.
    """

    start_history: int | None = None
    start_threshold: float | None = None
    stop_history: int | None = None
    stop_threshold: float | None = None
    stop_history_eou: int | None = None  # a shorter pause, after which all that was said is stable
    stop_threshold_eou: float | None = None


@dataclass(frozen=True)
class Options:
    """What one call asks for. "" leaves the choice to the server."""

    latency_mode: str = ""  # "full", "1280ms", "640ms" or "320ms"
    language: str = ""  # BCP-47, or "auto"
    model: str = ""
    words: bool = False  # with their times and confidences
    alignment: Level = Level.NONE
    top_k: int = 0  # for Level.TOP_K; 0 leaves the choice to the server
    interim_results: bool = True  # streams only: what is known before it is final
    endpointing: Endpointing = field(default_factory=Endpointing)
    voice_activity: bool = False  # streams only: events when speech begins and ends
    speech_start_timeout_s: float | None = None  # with voice_activity: end the stream where nobody begins to speak...
    speech_end_timeout_s: float | None = None  # ...or nobody speaks again
    rescore_finals: bool = False  # read each finished segment once more at full context: better finals, more computing
    separate_channels: bool = False  # hear each channel by itself: segments and events say which is theirs
    beam_size: int = 0  # hypotheses that the search follows at once, up to 16; 1 is greedy, 0 the server's choice
    max_alternatives: int = 1  # texts that a final comes with, at most
    phrases: tuple[Phrases, ...] = ()


SERVERS_CHOICE = Options()


@dataclass(frozen=True)
class Word:
    text: str  # with its leading space and its punctuation
    start_s: float
    end_s: float
    confidence: float  # 0 to 1


@dataclass(frozen=True, eq=False)
class Row:
    """Where one token looked. Level.PATH brings `peak_frame` alone.

    Level.FULL brings all heads and does not say which of them align, so `weights` is then the mean over all
    of them: less sharp than what the other levels bring, which is the mean over the alignment heads.
    """

    token_id: int
    piece: str  # the token's text; empty where it holds part of a character
    row_id: int  # counts the tokens of a channel; a later row of the same id replaces a provisional one
    peak_frame: int  # the most attended frame
    frames: NDArray[np.int64]  # (n,) ascending
    weights: NDArray[np.float32]  # (n,) of these frames
    entropy: float  # in nats
    provisional: bool
    heads: NDArray[np.float32] | None = None  # (layers, heads, n) of these frames; with Level.FULL alone
    silence: float = 0.0  # share of the weights that lies where nothing sounds


@dataclass(frozen=True, eq=False)
class Alignment:
    """The attention of one segment: a row for each token, over frames of `frame_hop_s`."""

    frame_hop_s: float
    start_s: float  # time of frame 0
    rows: tuple[Row, ...]
    monotonicity: float = 0.0  # finals: share of the tokens that look no earlier than the one before
    coverage: float = 0.0  # finals: share of the sound that some token looked at

    @property
    def _frames(self) -> int:
        """Up to the last that was sent."""
        return max((int(row.frames[-1]) + 1 for row in self.rows if row.frames.size), default=0)

    def matrix(self) -> NDArray[np.float32]:
        """(tokens, frames) weights of the rows, zero where nothing was sent."""
        weights = np.zeros((len(self.rows), self._frames), np.float32)
        for target, row in zip(weights, self.rows, strict=True):
            target[row.frames] = row.weights
        return weights

    def heads(self) -> NDArray[np.float32] | None:
        """(tokens, layers, heads, frames) weights of the rows; None unless Level.FULL was asked for."""
        shapes = {row.heads.shape[:2] for row in self.rows if row.heads is not None}
        if not shapes:
            return None
        (shape,) = shapes  # one model, one shape
        weights = np.zeros((len(self.rows), *shape, self._frames), np.float32)
        for target, row in zip(weights, self.rows, strict=True):
            if row.heads is not None:
                target[..., row.frames] = row.heads
        return weights


@dataclass(frozen=True)
class Alternative:
    """Something else that may have been said in a segment."""

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]  # empty unless asked for
    avg_logprob: float
    confidence: float  # to be compared with the segment's


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of text with all that is known of it: final, or an interim of a stream."""

    text: str  # finals joined as they are give the whole text
    tokens: tuple[int, ...]
    words: tuple[Word, ...]  # empty unless asked for
    start_s: float
    end_s: float  # how far this result has listened
    emission_s: float  # end of the audio that made this result so
    is_final: bool
    stability: float  # interims: 1.0 is never revised, below 1 may be; 0 on finals
    language: str
    avg_logprob: float  # mean natural-log probability of the tokens
    no_speech_prob: float  # 0 means not known
    alignment: Alignment | None  # None unless asked for
    doubt: float = 0.0  # finals: 0 to 1, how probable it is that this was made up, repeated or full of gaps
    channel: int = 0  # from 1 up with separate_channels
    confidence: float = 0.0  # mean probability of the tokens; 0 means not known
    alternatives: tuple[Alternative, ...] = ()  # finals: others than this one, the most probable first


@dataclass(frozen=True)
class Cursors:
    """Where the server is in the stream: received_s >= processed_s >= finalised_s."""

    received_s: float
    processed_s: float
    finalised_s: float


class Kind(Enum):
    """What an event says; the values are the contract's numbers."""

    SPEECH_BEGIN = 2
    SPEECH_END = 3
    TIMEOUT = 4  # nobody spoke for as long as was asked; the stream is over
    FLUSHED = 10  # everything before the flush is in finals already given


@dataclass(frozen=True)
class Event:
    kind: Kind
    time_s: float  # in the stream, that it belongs to
    channel: int = 0  # as a segment's; 0 where it is the whole call's


@dataclass(frozen=True, eq=False)
class Update:
    """One answer of a stream: at most one final, then at most two interims, all of one channel; or an event."""

    results: tuple[Segment, ...]
    cursors: Cursors
    event: Event | None = None  # then there are no results

    @property
    def channel(self) -> int:
        """From 1 up with separate_channels; 0 of what is the whole call's."""
        return self.results[0].channel if self.results else self.event.channel if self.event else 0


@dataclass(frozen=True, eq=False)
class Transcript:
    """A whole recording. With separate_channels the segments of all are in the order in which they end."""

    segments: tuple[Segment, ...]
    duration_s: float
    score: float | None = None  # of a known text: how well it belongs to the recording, 0 to 1; None: it was recognised

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def language(self) -> str:
        """The language of the first segment that knows its own, or ""."""
        return next((segment.language for segment in self.segments if segment.language), "")

    def by_channel(self) -> dict[int, "Transcript"]:
        """What each channel says, for those that say anything; one that is called 0 where they were mixed down."""
        channels = sorted({segment.channel for segment in self.segments})
        return {channel: self._of(channel) for channel in channels}

    def _of(self, channel: int) -> "Transcript":
        return replace(self, segments=tuple(segment for segment in self.segments if segment.channel == channel))


@dataclass(frozen=True, eq=False)
class Aligned:
    """A known text laid over its recording."""

    segment: Segment  # all of the text
    score: float  # 0 to 1: how well the text belongs to the recording
    duration_s: float  # of the recording


def finals(updates: Iterable[Update]) -> tuple[Segment, ...]:
    """The final segments of a stream, in order."""
    return tuple(segment for update in updates for segment in update.results if segment.is_final)


@dataclass(frozen=True)
class Model:
    """What a server can recognise, and what was measured of it."""

    name: str
    languages: tuple[str, ...]
    sample_rate: int
    latency_modes: tuple[str, ...]
    licence: str
    provenance: str
    measured_wer: dict[str, float]  # per cent, by the name of the set
