"""Which heads of the cross-attention align: those that look where the CTC head hears each word.

Whisper's own list was made by hand for its untouched weights; training moves what heads do. Here each head is asked how
much of its weight lies within a word's time, or SLACK_S beside it, on recordings that are read by the exported model
itself. It needs no word times from anybody; a model without a CTC head keeps the heads that its config names.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.runtime.recognizer import Options, Recognizer
from asr.train.manifest import Utterance, load

SLACK_S = 0.1
NEAR = 0.1  # less of the weight than the best head has: these align too


def choose_heads(folder: Path, utterances: Iterable[Utterance]) -> tuple[tuple[int, int], ...]:
    """(layer, head) of those that align, in order; () where nothing was heard to judge them by."""
    recognizer = Recognizer.load(folder)
    shares = [share for utterance in utterances for share in inside(recognizer, utterance)]
    if not shares:
        return ()
    mean = np.mean(shares, axis=0)
    return tuple((int(layer), int(head)) for layer, head in np.argwhere(mean >= mean.max() - NEAR))


def inside(recognizer: Recognizer, utterance: Utterance) -> list[NDArray[np.float32]]:
    """Of each token with a letter the share of each head's weight, (layers, heads), that lies at its word."""
    hop_s, found = recognizer.bundle.frame_hop_s, []
    options = Options(alignment=True, heads=True, interim=False, word_times="ctc")
    for segment in recognizer.transcribe(load(utterance), options).segments:
        assert segment.alignment is not None
        word = -1
        for row in segment.alignment.rows:
            word += row.piece.startswith(" ")
            if row.heads is None or not any(map(str.isalnum, row.piece)) or not 0 <= word < len(segment.words):
                continue
            one = segment.words[word]
            first = max(0, round((one.start_s - SLACK_S - segment.start_s) / hop_s))
            last = round((one.end_s + SLACK_S - segment.start_s) / hop_s)
            found.append(row.heads[:, :, first:last].sum(axis=-1) / np.maximum(row.heads.sum(axis=-1), 1e-9))
    return found
