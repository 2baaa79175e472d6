"""What a comparison found, as tables for people and as values that JSON can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr.compare.cost import Cost, crossover_s
from asr.compare.lessons import Lesson
from asr.compare.measure import TIMES, Length, Measured
from asr.compare.runs import Curve
from asr.train.markdown import number, table

BOTTLENECK, RECURRENT, ATTENTIVE = "bottleneck_lstm", "lstm_attends", "multihead"


@dataclass(frozen=True)
class Served:
    """What the server streamed of one model."""

    text: str
    tokens: int
    rows: int  # of alignment that came with them


@dataclass(frozen=True)
class Found:
    """All of it, by the runs' names."""

    headline: str
    wall_s: float
    curves: Mapping[str, Sequence[Curve]]  # one for each seed
    measured: Mapping[str, Measured]
    costs: Sequence[Cost]
    lessons: Sequence[Lesson]
    served: Mapping[str, Served]
    failed: Mapping[str, str]


def as_json(found: Found) -> dict[str, Any]:
    return asdict(found)


def as_markdown(found: Found) -> str:
    parts = [
        "# The comparison",
        found.headline,
        "## Every run",
        runs_table(found),
        "WER in per cent on the dev sets, of the exported model with the seed 0; behind it the lowest of each seed's "
        "validations, which is the checkpoint that is kept. Entropy in nats; forward: share of tokens that look no "
        "farther back than the token before; inside: share of a letter's weight within its word's time, where all "
        "words were heard; onset: median error of a word's start, as served. Parameters in thousands; learning "
        "in seconds of audio a second, RTF and tokens a second of the ONNX decoder on one thread, all while as many "
        "others were being trained as the headline says.",
        "![WER against steps](figures/curves.png)",
        "## Longer than what was learned from",
        lengths_table(found),
        "![WER against length](figures/lengths.png)",
        "## Cost",
        cost_text(found.costs),
        "![Time in use](figures/time_in_use.png) ![Time in training](figures/time_in_training.png) "
        "![Memory](figures/memory.png)",
        "## RNN against attention",
        textbook_table(found),
        "## Lessons",
        *(f"### {one.title}\n\n{one.finding}\n\n![{one.title}](figures/{one.figure})" for one in found.lessons),
        "## Gallery",
        "![Cross-attention of every run on one utterance](figures/gallery.png)",
        "## Served",
        served_table(found),
    ]
    if found.failed:
        parts += ["## Failed", table(["run", "why"], [[name, why] for name, why in found.failed.items()])]
    return "\n\n".join(part for part in parts if part) + "\n"


def runs_table(found: Found) -> str:
    head = [
        "run",
        "WER",
        "seeds",
        "entropy",
        "forward",
        "inside",
        "onset s",
        "parameters",
        "learning",
        "RTF",
        "tokens/s",
    ]
    body = []
    for name, one in found.measured.items():
        curves = found.curves[name]
        body.append(
            [
                name,
                wer(one.lengths[0]),
                " ".join(f"{min(curve.wer):.1f}" for curve in curves if curve.wer),
                number(one.entropy, 2),
                number(one.forward, 3),
                number(one.inside, 3),
                number(one.onset_s, 3),
                f"{curves[0].parameters / 1e3:.0f}",
                f"{curves[0].audio_per_s:.1f}",
                number(one.real_time_factor, 4),
                f"{one.tokens_per_s:.0f}",
            ]
        )
    return table(head, body)


def lengths_table(found: Found) -> str:
    body = []
    for name, one in found.measured.items():
        by_times = {length.times: length for length in one.lengths}
        body.append([name, *(wer(by_times.get(times)) for times in TIMES)])
    return table(["run", *(f"×{times}" for times in TIMES)], body)


def cost_text(costs: Sequence[Cost]) -> str:
    if not costs:
        return ""
    lines = []
    for layer in dict.fromkeys(one.layer for one in costs):
        if layer != "full":
            at = crossover_s(costs, layer)
            told = "is never the faster at the lengths measured" if at is None else f"is the faster from {at:g} s on"
            lines.append(f"- against full attention, {layer} {told}")
    head = ["layer", "seconds", "use ms", "use MB", "training ms", "training MB"]
    body = [
        [
            one.layer, f"{one.seconds:g}", number(one.use_s, 2, 1e3), number(one.use_bytes, 1, 1e-6),
            number(one.train_s, 2, 1e3), number(one.train_bytes, 1, 1e-6),
        ]
        for one in costs
    ]  # fmt: skip
    return table(head, body) + "\n\n" + "\n".join(lines)


def textbook_table(found: Found) -> str:
    """The five rows of the textbook's table, measured. "" where the runs for it were not made."""
    if not {BOTTLENECK, ATTENTIVE} <= set(found.measured):
        return ""
    there = [name for name in (BOTTLENECK, RECURRENT, ATTENTIVE) if name in found.measured]
    measured = [found.measured[name] for name in there]
    longest = [one.lengths[-1] for one in measured]
    rows = [
        [f"long sequences: WER at ×{longest[0].times}", *(wer(one) for one in longest)],
        ["parallel processing: audio s learned from in 1 s", *(f"{found.curves[n][0].audio_per_s:.1f}" for n in there)],
        ["context: see *How far a frame hears*", *("" for _ in there)],
        [
            f"retention at ×{longest[0].times}: first word right, last word right",
            *(f"{100 * one.first:.0f} %, {100 * one.last:.0f} %" for one in longest),
        ],
        ["performance: WER", *(wer(one.lengths[0]) for one in measured)],
    ]
    return table(["", *there], rows)


def served_table(found: Found) -> str:
    body = [[name, one.text, str(one.tokens), str(one.rows)] for name, one in found.served.items()]
    return table(["run", "text", "tokens", "rows of alignment"], body) if body else ""


def wer(one: Length | None) -> str:
    return number(None if one is None else one.counts.wer, 1)
