"""SpecAugment (Park et al. 2019): stretches of time and bands of frequency hidden from the model while it trains.

A masked cell gets the mean of its row, which is what the paper's zero is to features of mean zero. Each row is masked
within its own length. Where masks are long and the row is short they are shortened, as in the paper's policies for
Switchboard (p = 0.2), so that even a single word can still be read.
"""

import torch
from torch import Tensor, nn

from asr.model.front_end import FrontEnd
from asr.train.recipe import Augment

LONGEST_SHARE = 0.2  # of a row that one mask of time covers


class MaskedFrontEnd(nn.Module):
    """A front end that masks what it gives, in training alone. It adds nothing to the state of the model.

    The masks are drawn from torch's own generator.
    """

    def __init__(self, front_end: FrontEnd, augment: Augment):
        super().__init__()
        self.front_end = front_end
        self.augment = augment

    def forward(self, samples: Tensor, position: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """As FrontEnd's: log-mel (batch, 2 * frames + 3, mels), and which of its frames exist."""
        with torch.autocast(samples.device.type, enabled=False):  # a spectrum in 8 bits of mantissa is none
            log_mel, exists = self.front_end(samples, position, total)
        if not self.training:
            return log_mel, exists
        frames = log_mel.shape[1]
        first = (2 - 2 * position).clamp(min=0, max=frames)  # the front end begins two mel frames before `position`
        last = (2 + 2 * (total - position)).clamp(min=0, max=frames)
        return mask(log_mel, first, last.maximum(first), self.augment), exists


def mask(log_mel: Tensor, first: Tensor, last: Tensor, augment: Augment) -> Tensor:
    """Hide stretches of each row's frames, from first up to but without last, and bands of these frames.

    log_mel      (batch, frames, mels), zero outside first to last
    first, last  (batch,)
    """
    _, frames, mels = log_mel.shape
    length = last - first
    everything = torch.full_like(length, mels)
    times = _drawn(augment.time_masks, (LONGEST_SHARE * length).long().clamp(max=augment.time_mask_frames), length)
    bands = _drawn(augment.frequency_masks, everything.clamp(max=augment.frequency_mask_bands), everything)

    index = torch.arange(frames, device=log_mel.device)
    in_time = _covered(index - first[:, None], times)[:, :, None]
    in_band = _covered(torch.arange(mels, device=log_mel.device)[None], bands)[:, None]
    heard = ((index >= first[:, None]) & (index < last[:, None]))[:, :, None]
    mean = log_mel.sum(dim=(1, 2), keepdim=True) / (length * mels).clamp(min=1)[:, None, None]
    return torch.where((in_time | in_band) & heard, mean, log_mel)


def _drawn(masks: int, longest: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Where masks start and end, each (batch, masks): of 0 up to `longest` (batch,), anywhere in `length` (batch,)."""
    chance = torch.rand(2, len(length), masks, device=length.device)
    size = (chance[0] * (longest[:, None] + 1)).long()
    start = (chance[1] * (length[:, None] - size + 1)).long()
    return start, start + size


def _covered(index: Tensor, spans: tuple[Tensor, Tensor]) -> Tensor:
    """index (batch or 1, n) to (batch, n): True where any of the row's spans covers it."""
    start, end = spans
    return ((index[:, :, None] >= start[:, None]) & (index[:, :, None] < end[:, None])).any(-1)
