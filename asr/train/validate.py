"""Validation: what a model in training makes of sets that it does not learn from, through the runtime that serves."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.model.config import FRAME_HOP, SAMPLE_RATE
from asr.model.model import SpeechModel
from asr.runtime.recognizer import Options
from asr.train.live import live_recognizer
from asr.train.manifest import Utterance, load
from asr.train.markdown import table
from asr.train.recipe import FULL
from asr.train.score import Counts, count, pool


def validate(
    model: SpeechModel, tokenizer: Path, sets: Mapping[str, Sequence[Utterance]], chunks: Sequence[int] = (FULL,)
) -> dict[str, Counts]:
    """Decode each set and count its errors, once at full context or under each of several chunk masks.

    The model is left in the modes in which it was.
    """
    with evaluating(model):
        found: dict[str, Counts] = {}
        for chunk in chunks:
            recognizer = live_recognizer(model, tokenizer, None if chunk == FULL else chunk)
            for name, utterances in sets.items():
                told = name if len(chunks) == 1 else f"{name} {mode(chunk)}"
                found[told] = pool(count(one.text, recognizer.transcribe(load(one)).text) for one in utterances)
        return found


def look(model: SpeechModel, tokenizer: Path, utterance: Utterance) -> NDArray[np.float32]:
    """Where the words of an utterance look: (tokens, frames); without rows where nothing is heard."""
    with evaluating(model):
        said = live_recognizer(model, tokenizer).transcribe(load(utterance), Options(alignment=True))
    rows = [row.weights for segment in said.segments if segment.alignment for row in segment.alignment.rows]
    frames = max(map(len, rows), default=0)
    return np.stack([np.pad(row, (0, frames - len(row))) for row in rows]) if rows else np.zeros((0, 0), np.float32)


@contextlib.contextmanager
def evaluating(model: SpeechModel) -> Iterator[None]:
    """The model in evaluation mode, and afterwards each part of it as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def mode(chunk: int) -> str:
    return "full" if chunk == FULL else f"{1000 * chunk * FRAME_HOP // SAMPLE_RATE}ms"


def before_and_after(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> str:
    """What training gained and what it forgot, as a Markdown table: a line for each set, and one for all."""
    both = [name for name in after if name in before]
    lines = [line(name, before[name], after[name]) for name in both]
    if len(both) > 1:
        lines.append(line("**all**", *(pool(counts[name] for name in both) for counts in (before, after))))
    return table(["set", "words", "WER before", "WER after", "change"], lines)


def line(name: str, before: Counts, after: Counts) -> list[str]:
    """Of a set in which nothing is said, the words that were written stand in the rates' place."""
    if before.wer is None or after.wer is None:
        change = after.insertions - before.insertions
        return [name, "0", f"{before.insertions} words", f"{after.insertions} words", f"{change:+d} words"]
    return [name, str(after.words), f"{before.wer:.1f} %", f"{after.wer:.1f} %", f"{after.wer - before.wer:+.1f}"]
