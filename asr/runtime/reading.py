"""One reading of a segment: samples to text, its words with times, and where each token looked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.runtime import words as wording
from asr.runtime.loudness import STEP, levels, loud
from asr.runtime.result import Row, Word
from asr.runtime.search import Hypothesis

if TYPE_CHECKING:
    from asr.runtime.recognizer import Recognizer

# Nobody speaks where both are passed. openai-whisper has 0.6 and -1.0 with timestamps; without them short
# true words score lower, and these two kept more of them and let less noise through.
NO_SPEECH_PROB, NO_SPEECH_LOGPROB = 0.4, -1.5


@dataclass(frozen=True, eq=False)
class Reading:
    """What one decoding of a segment says; times are the stream's."""

    tokens: tuple[int, ...]
    spans: tuple[wording.Span, ...]  # of the words
    words: tuple[Word, ...]  # one for each span
    rows: tuple[Row, ...]  # one for each token
    language: str
    log_probs: NDArray[np.float32]  # (tokens,)
    no_speech_prob: float
    complete: bool

    @property
    def avg_logprob(self) -> float:
        return float(self.log_probs.mean()) if self.tokens else 0.0


NOTHING = Reading((), (), (), (), "", np.zeros(0, np.float32), 0.0, True)


def read(
    recognizer: "Recognizer",
    samples: NDArray[np.float32],
    start_s: float,
    first_row: int,
    language: str,
    forced: Sequence[int] = (),
    draft: Sequence[int] = (),
) -> Reading:
    """Read a segment; NOTHING where nobody speaks.

    samples    (n,) of the segment, at most the bundle's max_samples
    start_s    of the segment in the stream
    first_row  the id of the first token's row
    forced     tokens that the text must begin with; draft: a guess at what follows (search.greedy)
    """
    sounding = loud(levels(samples))
    if not forced and not sounding.any():
        return NOTHING
    source = recognizer.encoder.encode(samples)
    if language == "auto":
        language = recognizer.detect_language(source)
    said = recognizer.decode(source, language, forced, draft)
    if not said.tokens or (not forced and is_silence(said)):
        return NOTHING
    tokenizer, hop_s = recognizer.tokenizer, recognizer.bundle.frame_hop_s
    weights = said.weights[:, :, : source.heard]
    spans = tuple(wording.word_spans(tokenizer, said.tokens, language))
    starts = wording.token_starts(weights) * hop_s
    end_s = start_s + samples.size / recognizer.bundle.sample_rate
    words = tuple(word_at(span, starts, said.log_probs, sounding, start_s, emission_s=end_s) for span in spans)
    mean = weights[:, :-1].mean(axis=0)
    per_token = zip(said.tokens, wording.pieces(tokenizer, said.tokens), mean, wording.entropies(mean), strict=True)
    rows = tuple(
        Row(token, piece, first_row + index, looked, float(entropy), provisional=False)
        for index, (token, piece, looked, entropy) in enumerate(per_token)
    )
    return Reading(said.tokens, spans, words, rows, language, said.log_probs, said.no_speech_prob, said.complete)


def is_silence(said: Hypothesis) -> bool:
    return said.no_speech_prob > NO_SPEECH_PROB and said.avg_logprob < NO_SPEECH_LOGPROB


def word_at(
    span: wording.Span,
    starts: NDArray[np.floating],
    log_probs: NDArray[np.float32],
    sounding: NDArray[np.bool_],
    start_s: float,
    emission_s: float,
) -> Word:
    """A word from its first token's start to the next word's, without the silence at either end."""
    first_s, last_s = float(starts[span.first]), float(starts[span.last])
    step_s = STEP / 16_000
    first, last = round(first_s / step_s), round(last_s / step_s)
    heard = np.flatnonzero(sounding[first:last])
    if heard.size:
        first_s, last_s = (first + int(heard[0])) * step_s, (first + int(heard[-1]) + 1) * step_s
    confidence = float(np.exp(log_probs[span.first : span.last]).mean())
    return Word(span.text, start_s + first_s, start_s + last_s, confidence, emission_s)
