"""Who may look where, written once. True means may look, everywhere."""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, sources: int) -> Tensor:
    """Hide what lies past each row's length: (batch,) to (batch, 1, sources)."""
    return (torch.arange(sources, device=lengths.device) < lengths[:, None])[:, None]


def causal_mask(targets: int, past: int = 0, device: torch.device | None = None) -> Tensor:
    """Each target sees itself and what came before: (targets, past + targets)."""
    target = torch.arange(targets, device=device)[:, None] + past
    return torch.arange(past + targets, device=device) <= target


def chunk_mask(frames: int, chunk: int, left_context: int, device: torch.device | None = None) -> Tensor:
    """Each frame sees its own chunk to the end and left_context frames before the chunk: (frames, frames).

    Frame j is visible from a chunk that starts at s if s - left_context <= j < s + chunk.
    A whole number of chunks must make up left_context, so that caches cut in whole chunks see the same.
    """
    if left_context % chunk:
        raise ValueError(f"left_context ({left_context}) must be a whole number of chunks of {chunk} frames")
    source = torch.arange(frames, device=device)
    start = (source // chunk * chunk)[:, None]
    return (start - left_context <= source) & (source < start + chunk)


def both(mask: Tensor | None, other: Tensor) -> Tensor:
    """May look by one mask and by the other."""
    return other if mask is None else mask & other


def matrix(mask: Tensor) -> Tensor:
    """A mask with an axis for targets: (sources,) to (1, sources)."""
    return mask if mask.dim() > 1 else mask[None]


def row(mask: Tensor | None, target: int) -> Tensor | None:
    """What one target may see, (..., 1, sources), of a mask that may be the same for all."""
    return mask if mask is None or mask.dim() < 2 or mask.shape[-2] == 1 else mask[..., target : target + 1, :]


def hide(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores, the lowest there is where a target may not look.

    The mask is added while it is small, for it broadcasts: filling the scores would cost two more
    passes over targets x sources, a quarter of an encoder's time at 30 s.
    """
    if mask is None:
        return scores
    return scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)


def somewhere(mask: Tensor | None) -> Tensor | None:
    """Which targets may look anywhere at all: (..., targets, 1), None for all."""
    return None if mask is None else mask.any(-1, keepdim=True)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Softmax over sources, and which targets may look anywhere at all.

    A target with nowhere to look gets an even row, not NaN; whoever uses the weights multiplies by
    the second result (`read`), once, where it costs least.
    """
    return hide(scores, mask).softmax(-1), somewhere(mask)


def read(weights: Tensor, looks: Tensor | None, value: Tensor) -> tuple[Tensor, Tensor]:
    """What the weights find in value, and the weights; zeros where a target has nowhere to look."""
    if looks is None:
        return weights @ value, weights
    return (weights @ value) * looks, weights * looks
