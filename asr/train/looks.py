"""Word times by other ways than those that ship (runtime/times.py), so that a table shows why those were chosen.

peak         a word begins where its first token looked most, in the mean of the alignment heads
label-free   the path through heads that are chosen anew for each utterance, by how sharply and evenly they look
             (Whisper has an internal word aligner, arXiv 2509.09987): no list of heads, and nobody's word times
joined       the middle one of three: path through the alignment heads, CTC, peak

All are told of a recording read at full context, whose results say where every head looked.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.runtime.loudness import levels, loud, sounding_part
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.result import Result, Word
from asr.runtime.words import Span, token_starts, word_spans

MOST_HEADS = 10  # chosen for an utterance, as there

Samples = NDArray[np.float32]
Starts = NDArray[np.floating]  # (words,) frames of the segment
Way = Callable[[Recognizer, Samples, Options], list[tuple[Result, Starts]]]


def peaks(recognizer: Recognizer, samples: Samples, options: Options) -> list[tuple[Result, Starts]]:
    return [(one, peaks_of(one, spans_of(recognizer, one))) for one in looked(recognizer, samples, options)]


def label_free(recognizer: Recognizer, samples: Samples, options: Options) -> list[tuple[Result, Starts]]:
    found = []
    for one in looked(recognizer, samples, options):
        starts = token_starts(chosen(heads_of(one)))
        found.append((one, np.array([starts[span.first] for span in spans_of(recognizer, one)], float)))
    return found


def joined(recognizer: Recognizer, samples: Samples, options: Options) -> list[tuple[Result, Starts]]:
    by_path = looked(recognizer, samples, options, "attention")
    by_ctc = looked(recognizer, samples, options, "ctc")
    hop_s, found = recognizer.bundle.frame_hop_s, []
    for path, spelled in zip(by_path, by_ctc, strict=True):
        ways = [np.array([word.start_s - one.start_s for word in one.words]) / hop_s for one in (path, spelled)]
        found.append((path, np.median([*ways, peaks_of(path, spans_of(recognizer, path))], axis=0)))
    return found


WAYS: dict[str, Way] = {"peak": peaks, "label-free heads": label_free, "joined": joined}


def looked(recognizer: Recognizer, samples: Samples, options: Options, source: str = "") -> list[Result]:
    wanted = Options(language=options.language, alignment=True, heads=True, interim=False, word_times=source)
    return [one for one in recognizer.transcribe(samples, wanted).segments if one.words]


def spans_of(recognizer: Recognizer, segment: Result) -> list[Span]:
    return word_spans(recognizer.tokenizer, segment.tokens, segment.language)


def peaks_of(segment: Result, spans: Sequence[Span]) -> Starts:
    assert segment.alignment is not None
    frames = np.array([segment.alignment.rows[span.first].peak for span in spans], float)
    return np.maximum.accumulate(frames)


def heads_of(segment: Result) -> NDArray[np.float32]:
    """(layers x heads, tokens, frames)."""
    assert segment.alignment is not None
    rows = np.stack([row.heads for row in segment.alignment.rows if row.heads is not None])
    return np.moveaxis(rows.reshape(len(rows), -1, rows.shape[-1]), 0, 1)


def chosen(weights: NDArray[np.float32], most: int = MOST_HEADS) -> NDArray[np.float32]:
    """Those heads of (heads, tokens, frames) whose rows and columns are long as vectors: each token looks at few
    frames, and few tokens look at each frame."""
    sharp = np.linalg.norm(weights, axis=2).sum(axis=1) + np.linalg.norm(weights, axis=1).sum(axis=1)
    return weights[np.argsort(-sharp, kind="stable")[:most]]


def timed(recognizer: Recognizer, samples: Samples, options: Options, way: Way) -> list[Word]:
    """The words with their times in the stream, without the silence at either end, as what ships has them."""
    hop_s, rate, words = recognizer.bundle.frame_hop_s, recognizer.bundle.sample_rate, []
    for segment, frames in way(recognizer, samples, options):
        sounding = loud(levels(samples[round(segment.start_s * rate) : round(segment.end_s * rate)]))
        starts = [*(frames * hop_s), segment.end_s - segment.start_s]
        for word, first_s, last_s in zip(segment.words, starts, starts[1:], strict=False):
            first_s, last_s = sounding_part(first_s, max(first_s, last_s), sounding)
            words.append(Word(word.text, segment.start_s + first_s, segment.start_s + last_s, word.confidence, 0.0))
    return words
