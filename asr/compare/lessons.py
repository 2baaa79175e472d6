"""The small lessons: each a question, a figure, and what the figure says in numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.attention import Dot, MultiHead, ScaledDot, SelfAttention
from asr.attention.masks import causal_mask
from asr.compare import figures
from asr.compare.measure import HOP_S, Clip, HeardClip, Measured, hear, joined, party, shown
from asr.compare.runs import Plan
from asr.model.checkpoint import load_checkpoint
from asr.model.config import SAMPLE_RATE
from asr.model.model import SpeechModel
from asr.runtime.recognizer import Recognizer
from asr.train.score import count, pool

SOFT_AND_HARD = ("additive", "hard", "gumbel", "monotonic", "mocha")
PLACES = ("places_none", "multihead", "places_learned", "places_shaw", "places_transformer_xl", "places_rotary")
HEADS = {"heads_1": "1", "multihead": "4", "heads_8": "8"}
LIMIT = 40  # clips of a lesson
FAR_S = (0.02, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


@dataclass(frozen=True)
class Lesson:
    title: str
    figure: str  # its file
    finding: str


@dataclass(frozen=True)
class Class:
    """What the lessons are made from."""

    plan: Plan
    clips: Sequence[Clip]
    train_clips: Sequence[Clip]
    measured: Mapping[str, Measured]  # by run

    def wer(self, name: str) -> float:
        return self.measured[name].lengths[0].counts.wer or 0.0

    def recognizer(self, name: str) -> Recognizer:
        return Recognizer.load(self.plan.model(name))

    def model(self, name: str) -> SpeechModel:
        return load_checkpoint(self.plan.run(name, 0))

    def first(self, *names: str) -> str | None:
        """The first of these runs that there is."""
        return next((name for name in names if name in self.measured), None)


def teach(room: Class, folder: Path) -> list[Lesson]:
    """Every lesson for which there are runs; its figure is written to the folder."""
    lessons = []
    for name, lesson in LESSONS.items():
        taught = lesson(room)
        if taught is not None:
            title, figure, finding = taught
            figures.save(figure, folder / f"{name}.png")
            lessons.append(Lesson(title, f"{name}.png", finding))
    return lessons


class Taught(NamedTuple):
    title: str
    figure: Figure
    finding: str


def root_d(room: Class) -> Taught | None:
    """Random queries and keys: how soft is the softmax before anything is learned?"""
    torch.manual_seed(0)
    dims, sources = [4, 16, 64, 256, 1024], 64
    curves = {}
    for name, mechanism in (("q·k", Dot()), ("q·k / √d", ScaledDot())):
        weights = [mechanism(torch.randn(256, 1, d), key := torch.randn(256, sources, d), key)[1] for d in dims]
        entropy = [float(-(w * w.clamp(min=1e-30).log()).sum(-1).mean()) for w in weights]
        curves[name] = (dims, [100 * value / math.log(sources) for value in entropy])
    figure = figures.lines(curves, "features", "entropy, % of uniform")
    plain, scaled = (curve[1][-1] for curve in curves.values())
    return Taught(
        "Why divide by √d",
        figure,
        (
            f"At {dims[-1]} features the weights of q·k keep {plain:.0f} % of the uniform entropy: nearly a hard "
            f"choice before anything is learned. Divided by √d it is {scaled:.0f} %, as at {dims[0]} features."
        ),
    )


def causal(room: Class) -> Taught | None:
    """A word is changed: whose context changes?"""
    torch.manual_seed(0)
    length, dim = 8, 32
    attention = SelfAttention(MultiHead(ScaledDot(), dim, 2)).eval()
    x = torch.randn(1, length, dim)
    figure, panels = figures.grid(2, 2, 3.6, 3.2)
    leaked = []
    with torch.inference_mode():
        for panel, (title, mask) in zip(panels, {"causal": causal_mask(length), "no mask": None}.items(), strict=True):
            before = attention(x, x, x, mask)[0]
            changes = np.zeros((length, length), np.float32)
            for word in range(length):
                other = x.clone()
                other[0, word] = torch.randn(dim)
                changes[:, word] = (attention(other, other, other, mask)[0] - before)[0].norm(dim=-1)
            panel.imshow(changes, cmap=figures.COLORS)
            panel.set_title(title)
            panel.set_xlabel("word that is changed")
            panel.set_ylabel("word whose context changes")
            leaked.append(int((np.triu(changes, 1) > 0).sum()))
    return Taught(
        "What the causal mask prevents",
        figure,
        (
            f"With the mask, a later word changes {leaked[0]} contexts of earlier ones; without it {leaked[1]} of "
            f"{length * (length - 1) // 2}: in training the answer would be in the question."
        ),
    )


@dataclass(frozen=True)
class Looked:
    """What a cross-attention was given and made, a row for each target; of its first head."""

    query: Tensor  # (targets, dim)
    key: Tensor  # (frames, dim)
    value: Tensor
    context: Tensor  # (targets, dim)
    weights: Tensor  # (targets, frames)
    pieces: tuple[str, ...]


def watch(room: Class, *names: str) -> tuple[str, Looked] | None:
    """The first of these runs through its own text of the first clip of which it heard something, with what went into
    its cross-attention and came out of it."""
    name = room.first(*names)
    if name is None:
        return None
    recognizer, model = room.recognizer(name), room.model(name)
    heard = ((clip, hear(recognizer, clip).rows) for clip in room.clips)
    clip, rows = next((pair for pair in heard if pair[1]), (None, ()))
    if clip is None:
        return None
    tokens = [*recognizer.bundle.tokens.prompt(""), *(row.token_id for row in rows)]
    calls: list[tuple[Tensor, ...]] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], made: tuple[Tensor, ...]) -> None:
        calls.append((*given[:3], *made[:2]))

    handle = model.decoder.readers[0].mechanism.register_forward_hook(note)
    with torch.inference_mode():
        model(torch.from_numpy(clip.samples)[None], torch.tensor([clip.samples.size]), torch.tensor([tokens[:-1]]))
    handle.remove()
    query, context, weights = (torch.cat([call[place][0, 0] for call in calls]) for place in (0, 3, 4))
    pieces = tuple(row.piece for row in rows)
    return name, Looked(query, calls[0][1][0, 0], calls[0][2][0, 0], context, weights, pieces)


def query_key_value(room: Class) -> Taught | None:
    """One real token: what is asked, what answers, what is read."""
    watched = watch(room, "scaled_dot", "multihead", "additive")
    if watched is None:
        return None
    name, looked = watched
    place = len(looked.pieces) // 2
    figure, panels = figures.grid(4, 4, 2.8, 3.2)
    for panel, (title, values) in zip(
        panels,
        {
            "query (what is asked)": looked.query[place, :, None],
            "keys (what answers)": looked.key,
            "weights (how well)": looked.weights[place, :, None],
            "values (what is read)": looked.value,
        }.items(),
        strict=True,
    ):
        panel.imshow(values.numpy(), aspect="auto", cmap=figures.COLORS, interpolation="nearest")
        panel.set_title(title, fontsize=8)
        panel.set_ylabel("feature" if "query" in title else "frame", fontsize=7)
    frame = int(looked.weights[place].argmax())
    return Taught(
        "A query, its keys, their values",
        figure,
        (
            f"{name}: to write {looked.pieces[place]!r} the query matches best the key of frame {frame} "
            f"({frame * HOP_S:.2f} s), which gets {float(looked.weights[place].max()):.2f} of the weight."
        ),
    )


def context_points(room: Class) -> Taught | None:
    """The context is a mean of values: which of them is it like?"""
    watched = watch(room, "additive", "scaled_dot", "multihead")
    if watched is None:
        return None
    name, looked = watched
    values = nn.functional.normalize(looked.value - looked.value.mean(0), dim=-1)
    contexts = nn.functional.normalize(looked.context - looked.value.mean(0), dim=-1)
    alike = contexts @ values.T
    figure, (left, right) = figures.grid(2, 2, 4.5, 3)
    figures.heat(left, looked.weights.numpy(), looked.pieces, "weights", HOP_S)
    figures.heat(right, alike.numpy(), looked.pieces, "cosine of context and value", HOP_S)
    agree = float((looked.weights.argmax(-1) - alike.argmax(-1)).abs().le(2).float().mean())
    return Taught(
        "Where the context vector points",
        figure,
        (
            f"{name}: for {100 * agree:.0f} % of the tokens the value that the context is most like lies within two "
            "frames of the one with most weight."
        ),
    )


def soft_and_hard(room: Class) -> Taught | None:
    there = [name for name in SOFT_AND_HARD if name in room.measured]
    if len(there) < 2:
        return None
    figure = figures.gallery({name: map_of(hear(room.recognizer(name), shown(room.clips))) for name in there}, HOP_S, 3)
    told = ", ".join(f"{name} {room.wer(name):.1f} %" for name in there)
    return Taught("Soft against hard", figure, f"The same utterance; WER {told}.")


def map_of(heard: HeardClip) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """A hypothesis's weights (tokens, frames) and pieces."""
    rows = heard.rows
    return (np.stack([row.weights for row in rows]) if rows else np.zeros((0, 0), np.float32)), tuple(
        row.piece for row in rows
    )


def heads(room: Class) -> Taught | None:
    there = {told: room.wer(name) for name, told in HEADS.items() if name in room.measured}
    if len(there) < 2:
        return None
    told = ", ".join(f"{name}: {wer:.1f} %" for name, wer in there.items())
    return Taught("More heads", figures.bars(there, "WER %"), f"WER by heads, at the same width: {told}.")


def places(room: Class) -> Taught | None:
    there = {name: room.wer(name) for name in PLACES if name in room.measured}
    if len(there) < 2:
        return None
    told = ", ".join(f"{name}: {wer:.1f} %" for name, wer in there.items())
    return Taught("Where things stand", figures.bars(there, "WER %"), f"multihead is the one with sinusoids. {told}.")


def by_heart(room: Class) -> Taught | None:
    """Errors on what was learned from, beside errors on what was not."""
    values: dict[str, float] = {}
    told = []
    for name in ("multihead", "unregularised"):
        if name not in room.measured:
            return None
        recognizer = room.recognizer(name)
        counts = pool(count(clip.text, hear(recognizer, clip).text) for clip in room.train_clips[:LIMIT])
        values |= {f"{name}, train": counts.wer or 0.0, f"{name}, dev": room.wer(name)}
        told.append(f"{name} {counts.wer or 0.0:.1f} % on what it learned from, {room.wer(name):.1f} % on dev")
    return Taught("Regularisation against learning by heart", figures.bars(values, "WER %"), f"{'; '.join(told)}.")


def two_speakers(room: Class) -> Taught | None:
    """The party: a second speaker, as loud as the first."""
    name = room.first("multihead", "additive")
    if name is None or len(room.clips) < 2:
        return None
    recognizer, clips = room.recognizer(name), room.clips
    clean, other = clips[:2]
    mixed = party(clean, other)
    heard = {"alone": hear(recognizer, clean), "with a second speaker": hear(recognizer, mixed)}
    pairs = pairwise(clips[: LIMIT + 1])
    counts = pool(count(one.text, hear(recognizer, party(one, two)).text) for one, two in pairs)
    figure = figures.gallery({told: map_of(one) for told, one in heard.items()}, HOP_S, 2)
    return Taught(
        "The party",
        figure,
        (
            f"{name}, who hears {clean.text!r} alone as {heard['alone'].text!r}, hears it as "
            f"{heard['with a second speaker'].text!r} while the other says {other.text!r}. "
            f"WER against the first speaker {counts.wer or 0.0:.0f} %, alone {room.wer(name):.1f} %."
        ),
    )


def loop_and_skip(room: Class) -> Taught | None:
    """Look for the map that repeats itself, and for the one that leaves something out."""
    worst: dict[str, tuple[int, str, Clip, HeardClip]] = {}
    for name in room.measured:
        if name not in ("additive", "multihead", "dot", "location_aware"):
            continue
        recognizer = room.recognizer(name)
        for clip in joined(room.clips, 8)[:LIMIT]:
            heard = hear(recognizer, clip)
            counts = count(clip.text, heard.text)
            for fault, errors in (("loop", counts.insertions), ("skip", counts.deletions)):
                if heard.rows and errors > worst.get(fault, (0,))[0]:
                    worst[fault] = (errors, name, clip, heard)
    if not worst:
        return None
    maps = {f"{fault}: {name}": map_of(heard) for fault, (_, name, _, heard) in worst.items()}
    told = "; ".join(
        f"{fault}: {name} wrote {heard.text!r} for {clip.text!r}" for fault, (_, name, clip, heard) in worst.items()
    )
    return Taught("Debugging by map", figures.gallery(maps, HOP_S, 1), f"{told}.")


def encoder_maps(room: Class) -> Taught | None:
    """The encoder's self-attention, per layer and head."""
    name = room.first("multihead")
    if name is None:
        return None
    model, clip, maps = room.model(name), shown(room.clips), {}

    def keep(layer: int) -> Callable[..., None]:
        def note(module: nn.Module, given: tuple[Tensor, ...], made: tuple[Tensor, ...]) -> None:
            maps.update({f"layer {layer}, head {head}": (w.numpy(), ()) for head, w in enumerate(made[1][0])})

        return note

    for layer, block in enumerate(model.encoder.blocks):
        block.attention.register_forward_hook(keep(layer))  # type: ignore[union-attr]
    with torch.inference_mode():
        model.encode(torch.from_numpy(clip.samples)[None], torch.tensor([clip.samples.size]))
    near = np.mean(
        [np.abs(np.subtract.outer(*[np.arange(len(w))] * 2))[w > w.max() / 4].mean() for w, _ in maps.values()]
    )
    return Taught(
        "The encoder reads itself",
        figures.gallery(maps, HOP_S, 4),
        (f"{name}: what gets a quarter of a head's largest weight or more lies on average {near * HOP_S:.2f} s away."),
    )


def arrows(room: Class) -> Taught | None:
    """From words to the sound that they came from."""
    name = room.first("scaled_dot", "additive", "multihead")
    if name is None:
        return None
    clip = shown(room.clips)
    weights, pieces = map_of(hear(room.recognizer(name), clip))
    if not weights.size:
        return None
    figure = figures.arrows(weights, pieces, clip.samples, SAMPLE_RATE, HOP_S)
    least = f"{100 * figures.FAINTEST:.0f} % of a token's largest weight"
    return Taught("From letters to sound", figure, f"{name}, {clip.text!r}: lines to the frames with {least} or more.")


def reach(room: Class) -> Taught | None:
    """A tenth of a second is replaced by noise so far before the end: how much does the last frame change?"""
    there = [name for name in ("bottleneck_lstm", "multihead", "self_local") if name in room.measured]
    clips = joined(room.clips, 4)
    if len(there) < 2 or not clips:
        return None
    clip = max(clips, key=lambda one: one.samples.size)
    curves = {name: (FAR_S, changes(room.model(name), clip)) for name in there}
    told = ", ".join(f"{name} {ys[-1] / max(ys[0], 1e-9):.3f}" for name, (_, ys) in curves.items())
    figure = figures.lines(curves, "seconds before the end", "change of the last frame, relative", logarithmic=True)
    return Taught(
        "How far a frame hears",
        figure,
        f"Change by what lay {FAR_S[-1]} s back, over that by the last sound: {told}.",
    )


def changes(model: SpeechModel, clip: Clip) -> list[float]:
    samples, found = torch.from_numpy(clip.samples)[None], []
    lengths = torch.tensor([samples.shape[1]])
    torch.manual_seed(0)
    with torch.inference_mode():
        before = model.encode(samples, lengths)[0][0, -1]
        for far_s in FAR_S:
            first = max(0, samples.shape[1] - round((far_s + 0.1) * SAMPLE_RATE))
            other = samples.clone()
            other[:, first : first + SAMPLE_RATE // 10] = 0.1 * torch.randn(
                min(SAMPLE_RATE // 10, samples.shape[1] - first)
            )
            after = model.encode(other, lengths)[0][0, -1]
            found.append(float((after - before).norm() / before.norm()))
    return found


LESSONS: Mapping[str, Callable[[Class], Taught | None]] = {
    "arrows": arrows,
    "query_key_value": query_key_value,
    "context": context_points,
    "root_d": root_d,
    "causal": causal,
    "heads": heads,
    "places": places,
    "soft_and_hard": soft_and_hard,
    "encoder": encoder_maps,
    "reach": reach,
    "by_heart": by_heart,
    "party": two_speakers,
    "loop_and_skip": loop_and_skip,
}
