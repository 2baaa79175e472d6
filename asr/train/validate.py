"""Validation: what a model in training makes of sets that it does not learn from, through the runtime that serves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.model.model import SpeechModel
from asr.train.live import live_recognizer
from asr.train.manifest import Utterance, load
from asr.train.score import Counts, count, pool


def validate(model: SpeechModel, tokenizer: Path, sets: Mapping[str, Sequence[Utterance]]) -> dict[str, Counts]:
    """Decode each set at full context and count its errors. The model is left in the modes in which it was."""
    modes = {module: module.training for module in model.modules()}
    recognizer = live_recognizer(model.eval(), tokenizer)
    try:
        return {
            name: pool(count(one.text, recognizer.transcribe(load(one)).text) for one in utterances)
            for name, utterances in sets.items()
        }
    finally:
        for module, training in modes.items():
            module.training = training


def before_and_after(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> str:
    """What training gained and what it forgot, as a Markdown table: a line for each set, and one for all."""
    lines = ["| set | words | WER before | WER after | change |", "|---|---|---|---|---|"]
    lines += [line(name, before[name], after[name]) for name in after if name in before]
    if len(lines) > 3:
        both = [name for name in after if name in before]
        lines.append(line("**all**", *(pool(counts[name] for name in both) for counts in (before, after))))
    return "\n".join(lines)


def line(name: str, before: Counts, after: Counts) -> str:
    """Of a set in which nothing is said, the words that were written stand in the rates' place."""
    if before.wer is None or after.wer is None:
        change = after.insertions - before.insertions
        return f"| {name} | 0 | {before.insertions} words | {after.insertions} words | {change:+d} words |"
    return f"| {name} | {after.words} | {before.wer:.1f} % | {after.wer:.1f} % | {after.wer - before.wer:+.1f} |"
