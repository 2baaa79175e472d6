"""What is minimised: the parts of a recipe's objective, each a value per utterance.

A batch's loss is the mean of its utterances' losses, and an utterance's is a mean over its tokens, frames or
characters, so that neither who shares the batch nor how long somebody speaks changes what an utterance says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from asr.attention.hard import Hard, mean_of_others, surrogate
from asr.attention.masks import padding_mask
from asr.model.config import FRAME_HOP, SAMPLE_RATE
from asr.model.decoder import Decoder
from asr.model.model import CTC_BLANK, SpeechModel
from asr.train.recipe import FULL, Objective

IGNORED = -100  # a target that does not count, as torch has it
Span = tuple[float, float]  # seconds


@dataclass(frozen=True, eq=False)
class Targets:
    """What each row of a batch should say."""

    tokens: Tensor  # (batch, targets) what the decoder reads: prompt and text
    next: Tensor  # (batch, targets) what should follow each; IGNORED within the prompt and past the end
    ends: Tensor  # (batch, targets) True where the text ends
    characters: list[list[int]]  # of the CTC head; [] where there is nothing to say
    spelled: Tensor  # (batch,) False where the text cannot be written in the CTC alphabet
    spans: Tensor  # (batch, targets, 2) seconds in which the next token's word was said; NaN where nobody knows

    def to(self, device: torch.device) -> "Targets":
        return Targets(
            self.tokens.to(device),
            self.next.to(device),
            self.ends.to(device),
            self.characters,
            self.spelled.to(device),
            self.spans.to(device),
        )


def gather(
    rows: Sequence[tuple[list[int], int]],
    characters: Sequence[list[int] | None],
    spans: Sequence[Sequence[Span | None]],
) -> Targets:
    """Rows of tokens, padded to one length.

    rows        (prompt + text + end, tokens of the prompt) of each utterance
    characters  of each; None: cannot be written so
    spans       of each token of the text; [] where none is known
    """
    longest = max(len(tokens) for tokens, _ in rows) - 1
    inputs = torch.zeros(len(rows), longest, dtype=torch.long)
    following = torch.full((len(rows), longest), IGNORED)
    ends = torch.zeros(len(rows), longest, dtype=torch.bool)
    times = torch.full((len(rows), longest, 2), torch.nan)
    for row, (tokens, prompt) in enumerate(rows):
        inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        following[row, prompt - 1 : len(tokens) - 1] = torch.tensor(tokens[prompt:])
        ends[row, len(tokens) - 2] = True
        for place, span in enumerate(spans[row], start=prompt - 1):
            if span is not None:
                times[row, place] = torch.tensor(span)
    return Targets(
        inputs,
        following,
        ends,
        [[] if line is None else line for line in characters],
        torch.tensor([line is not None for line in characters]),
        times,
    )


def losses(
    model: SpeechModel,
    samples: Tensor,
    lengths: Tensor,
    targets: Targets,
    objective: Objective,
    chunk: int,
    teacher: SpeechModel | None = None,
    clean: Tensor | None = None,
) -> dict[str, Tensor]:
    """The parts of the objective that have a weight, by name, each (batch,), and their weighted sum, "loss".

    samples, lengths  as SpeechModel.encode has them
    chunk             frames; FULL for full context
    clean             what the teacher hears in the place of samples
    """
    features, frame_lengths = model.encode(samples, lengths, None if chunk == FULL else chunk)
    parts: dict[str, Tensor] = {}
    if objective.ctc:
        parts["ctc"] = ctc(model.ctc_log_probs(features), frame_lengths, targets)
    taught = None
    if teacher is not None:
        with torch.no_grad():
            taught, taught_lengths = teacher.encode(samples if clean is None else clean, lengths)
    if objective.features and taught is not None:
        parts["features"] = distance(features, taught, frame_lengths.minimum(taught_lengths))
    if objective.cross_entropy or objective.tokens or objective.alignment:
        log_probs, weights = read(model, features, frame_lengths, targets.tokens)
        if objective.cross_entropy:
            per_token = cross_entropy(log_probs, targets.next, objective.label_smoothing)
            said = targets.next != IGNORED
            if weights is not None and samples_frames(model.decoder):
                per_token = surrogate(per_token, weights.transpose(0, 1), mean_of_others(per_token, said))
            parts["cross_entropy"] = mean_where(per_token, said)
        if objective.tokens and teacher is not None and taught is not None:
            with torch.no_grad():
                wanted, _ = read(teacher, taught, taught_lengths, targets.tokens)
            parts["tokens"] = divergence(log_probs, wanted, (targets.next != IGNORED) & ~targets.ends)
        if objective.alignment:
            assert weights is not None, "check_model has seen to it"
            heads = model.config.alignment_heads
            everyone = weights.transpose(1, 2).flatten(0, 1)
            looked = torch.stack([weights[layer, :, head] for layer, head in heads]) if heads else everyone
            parts["alignment"] = outside(looked, targets.spans, objective.alignment_slack_s)
    total = sum(getattr(objective, name) * part for name, part in parts.items())
    assert isinstance(total, Tensor)
    return {"loss": total, **parts}


def read(model: SpeechModel, features: Tensor, frame_lengths: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
    """Teacher forcing over encoded speech: log-probabilities and attention as Decoder.forward has them."""
    source = model.decoder.source(features, frame_lengths)
    log_probs, _, weights = model.decoder(tokens, source, model.decoder.start(source))
    return log_probs, weights


def cross_entropy(log_probs: Tensor, following: Tensor, smoothing: float) -> Tensor:
    """Of each target that counts (Szegedy et al. 2016, section 7): (batch, targets, vocabulary) to (batch, targets)."""
    per_token = functional.nll_loss(log_probs.transpose(1, 2), following, ignore_index=IGNORED, reduction="none")
    if smoothing:
        per_token = (1 - smoothing) * per_token - smoothing * log_probs.mean(-1)
    return per_token * (following != IGNORED)


def samples_frames(decoder: Decoder) -> bool:
    """Whether choices of frames are to be learned by what came of them (attention/hard.py)."""
    return any(isinstance(part, Hard) for part in decoder.modules())


def ctc(log_probs: Tensor, frame_lengths: Tensor, targets: Targets) -> Tensor:
    """Connectionist temporal classification (Graves et al. 2006) per character, of silence per frame; 0 for what cannot
    be spelled.

    log_probs  (batch, frames, 1 + alphabet)
    """
    sizes = torch.tensor([len(line) for line in targets.characters])
    characters = torch.tensor([character for line in targets.characters for character in line], dtype=torch.long)
    per_row = functional.ctc_loss(
        log_probs.float().transpose(0, 1),
        characters.to(log_probs.device),
        frame_lengths,
        sizes.to(log_probs.device),
        blank=CTC_BLANK,
        reduction="none",
        zero_infinity=True,  # a text longer than its frames has no path
    )
    lasting = torch.where(sizes > 0, sizes, frame_lengths.cpu())  # of silence, a mean over its frames
    return per_row / lasting.clamp(min=1).to(per_row) * targets.spelled


def distance(features: Tensor, taught: Tensor, frame_lengths: Tensor) -> Tensor:
    """Mean squared distance over the frames that both have: (batch, frames, dim) to (batch,)."""
    frames = min(features.shape[1], taught.shape[1])
    per_frame = (features[:, :frames].float() - taught[:, :frames].float()).square().mean(-1)
    return mean_where(per_frame, padding_mask(frame_lengths, frames)[:, 0])


def divergence(log_probs: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the teacher's distribution (Hinton et al. 2015), mean over a row's targets.

    The end is left to the true text: a Whisper without padding does not know where to stop.
    """
    per_token = functional.kl_div(log_probs, wanted, reduction="none", log_target=True).sum(-1)
    return mean_where(per_token, counts)


def outside(weights: Tensor, spans: Tensor, slack_s: float) -> Tensor:
    """How little of the heads' attention lies within the word's time: -log of the share within, mean over a row.

    weights  (heads, batch, targets, frames)
    spans    (batch, targets, 2) seconds, NaN where nobody knows
    """
    time = torch.arange(weights.shape[-1], device=weights.device) * (FRAME_HOP / SAMPLE_RATE)
    known = ~spans[..., 0].isnan()
    within = (time >= spans[..., :1] - slack_s) & (time <= spans[..., 1:] + slack_s)  # NaN compares false
    share = (weights.float() * within).sum(-1)
    return mean_where(-share.clamp(min=1e-4).log().mean(0), known)


def mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over the last axis of the values that count; 0 for a row where none does."""
    return (values * counts).sum(-1) / counts.sum(-1).clamp(min=1)
