"""When to speak: how many of a reading's words are stable, by one of three policies.

align_att  a word is stable once the attention of its tokens stands safely before the newest frame
           (Papi et al. 2023, "AlignAtt"): what lies there will sound no different when more has come; and
           once each token is sure, or the reading before said it too
agreement  two readings agree on it, and another word follows (Liu et al. 2020, "local agreement")
wait       none before the segment ends

A policy sees a reading of an open segment. Nobody may take back what it calls stable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Frames of 20 ms between the frame that a token looked at most and the newest one, for the token to be stable.
MARGIN_FRAMES = 8
SURE = -0.5  # a token's log-probability; one that is less sure waits until two readings agree on it
BACK_FRAMES = 50  # a token that looks so far back behind one before it reads what was read already
# The text may have a few letters more or fewer than CTC heard, and so much a letter.
LETTERS, LETTERS_SHARE = 6, 0.6


@dataclass(frozen=True, eq=False)
class Evidence:
    """A reading of an open segment, as far as it follows the settled text."""

    tokens: tuple[int, ...]
    before: tuple[int, ...]  # the tokens of the reading before it
    complete: bool  # search came to the end of what it has to say
    word_ends: tuple[int, ...]  # how many tokens each word and all before it have
    bare_end: int  # the same of the last word without the signs at its end
    letters: tuple[int | None, ...]  # how many of each word are heard; None where that cannot be told from its spelling
    looked: NDArray[np.intp]  # (tokens,) the frame that each looked at most
    settled_at: int  # the frame that the last settled token looked at; -1: none is settled
    frames: int  # encoded so far
    heard: NDArray[np.intp] | None  # (frames,) letters that CTC heard up to each; None: the model has no such head
    log_probs: NDArray[np.float32]  # (tokens,)


Policy = Callable[[Evidence], int]  # how many tokens are stable, up to the end of a word


def align_att(evidence: Evidence) -> int:
    """The words before the first token that looks too near the newest frame, or that a guard stops.

    That a word is whole needs no other word after it: the decoder was taught to say only words that have ended, and
    when one goes on, its next piece looks near the newest frame and holds the whole word back. Only the signs after
    it wait for what follows: a full stop too early, and the decoder takes the sentence for over.
    """
    safe = min(safe_tokens(evidence), trusted_tokens(evidence))
    last = (evidence.bare_end,) if evidence.complete else ()
    ends = (*evidence.word_ends[:-1], *last)[: trusted_words(evidence)]
    return max((end for end in ends if end <= safe), default=0)


def safe_tokens(evidence: Evidence) -> int:
    """Tokens before the first whose attention is too near the newest frame, or jumps back."""
    furthest = evidence.settled_at
    for index, frame in enumerate(evidence.looked):
        if frame >= evidence.frames - MARGIN_FRAMES or frame < furthest - BACK_FRAMES:
            return index
        furthest = max(furthest, int(frame))
    return len(evidence.looked)


def trusted_tokens(evidence: Evidence) -> int:
    """Tokens before the first that is neither sure enough nor what the reading before had there too."""
    agreed = common(evidence.before, evidence.tokens)
    (doubtful,) = np.nonzero(evidence.log_probs[agreed:] < SURE)
    return agreed + int(doubtful[0]) if doubtful.size else len(evidence.tokens)


def trusted_words(evidence: Evidence) -> int:
    """Words before the first at which the text and CTC have gone different ways.

    Far fewer letters than were heard up to where the word looks: something was skipped. Far more than were heard at
    all: something is repeated or made up.
    """
    heard, words = evidence.heard, len(evidence.word_ends)
    if heard is None or not words:
        return words
    start = int(heard[evidence.settled_at]) if evidence.settled_at >= 0 else 0
    written = 0
    for index, (end, letters) in enumerate(zip(evidence.word_ends, evidence.letters, strict=True)):
        if letters is None:
            return words  # from a number on nobody can count
        written += letters
        until, ever = int(heard[max(evidence.looked[:end])]) - start, int(heard[-1]) - start
        if far_more(until, written) or far_more(written, ever):
            return index
    return words


def far_more(letters: int, than: int) -> bool:
    return letters - than > LETTERS + LETTERS_SHARE * than


def agreement(evidence: Evidence) -> int:
    """The words that the reading before has too, but for the last, which may still grow."""
    agreed = common(evidence.before, evidence.tokens)
    return max((end for end in evidence.word_ends[:-1] if end <= agreed), default=0)


def common(before: tuple[int, ...], now: tuple[int, ...]) -> int:
    """How many tokens two readings have in common from their start."""
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return index
    return min(len(before), len(now))


def wait(evidence: Evidence) -> int:
    return 0


POLICIES: Mapping[str, Policy] = {"align_att": align_att, "agreement": agreement, "wait": wait}
