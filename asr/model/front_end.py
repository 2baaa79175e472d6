"""Log-mel features as a module, so that they live inside the exported graph and no second implementation can drift.

Whisper's features (Radford et al. 2023, section 2.2): 25 ms Hann windows every 10 ms,
80 Slaney mel bands from 0 to 8 kHz, log10, limited to 8 below the maximum, (x + 4) / 4.
The Fourier transform is a product with sines and cosines: one operator, alike in torch and ONNX.
It is done in float64: beside loud bands the quiet ones are small differences of large sums, and the
logarithm would show what float32 loses there.
"""

import math

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, MEL_HOP, MEL_WINDOW, SAMPLE_RATE, ModelConfig

POWER_FLOOR = 1e-10  # Whisper's clamp before the logarithm
DYNAMIC_RANGE = 8.0  # in log10 of power: 80 dB
FIXED_MAXIMUM = 1.5  # log10 mel power of loud speech; where "fixed" puts the window's maximum
REFLECTED = MEL_WINDOW // 2  # samples that Whisper mirrors before the first


class FrontEnd(nn.Module):
    """A window of samples to log-mel frames."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.log_mel = config.log_mel
        self.pad_frames = config.pad_frames
        mel = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=MEL_WINDOW, n_mels=config.mels)
        self.register_buffer("fourier", fourier_basis(), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel).T.contiguous(), persistent=False)
        self.fourier: Tensor
        self.mel: Tensor

    def forward(self, samples: Tensor, position: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel of the frames that the convolutions need, and which of these exist.

        samples   (batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD), in [-1, 1)
        position  (batch,) index of the first encoder frame in its segment
        total     (batch,) encoder frames with audio in the whole segment; any larger number while more will come
        returns   log-mel (batch, 2 * frames + 3, mels), zero where there is no audio; and
                  (batch, 2 * frames + 3, 1) True where the segment, padded to pad_s, has such a mel frame

        Weights that want padding get zeros of log-mel, as faster-whisper pads, not the features of
        silence, as openai-whisper does: Whisper hears short recordings better so.
        """
        spectrum = hop_windows(mirror_start(samples, position)).double() @ self.fourier
        real, imaginary = spectrum.chunk(2, dim=-1)
        power = (real**2 + imaginary**2).float() @ self.mel
        log_power = power.clamp(min=POWER_FLOOR).log10()

        index = 2 * position[:, None] - 2 + torch.arange(log_power.shape[1], device=samples.device)
        heard = ((index >= 0) & (index < 2 * total[:, None]))[:, :, None]
        exists = ((index >= 0) & (index < 2 * total.clamp(min=self.pad_frames)[:, None]))[:, :, None]
        if self.log_mel == "whisper":
            unheard = math.log10(POWER_FLOOR)
            maximum = log_power.masked_fill(~heard, unheard).amax(dim=(1, 2), keepdim=True)
            limited = torch.maximum(log_power, maximum - DYNAMIC_RANGE)
        else:
            limited = log_power.clamp(min=FIXED_MAXIMUM - DYNAMIC_RANGE)
        return ((limited + 4.0) / 4.0).masked_fill(~heard, 0.0), exists


def fourier_basis() -> Tensor:
    """Hann-windowed cosines, then sines, of the MEL_WINDOW // 2 + 1 frequencies: (MEL_WINDOW, 2 * frequencies)."""
    time = torch.arange(MEL_WINDOW, dtype=torch.float64)[:, None]
    angle = 2 * math.pi * torch.arange(MEL_WINDOW // 2 + 1, dtype=torch.float64) * time / MEL_WINDOW
    hann = torch.hann_window(MEL_WINDOW, dtype=torch.float64)[:, None]
    return torch.cat([angle.cos(), angle.sin()], dim=1) * hann


def hop_windows(samples: Tensor) -> Tensor:
    """Overlapping windows: (batch, n) to (batch, (n - MEL_WINDOW) // MEL_HOP + 1, MEL_WINDOW).

    n must be a whole number of hops and half a hop, as windows of two and a half hops leave it.
    """
    hops = samples[:, : -(MEL_HOP // 2)].reshape(samples.shape[0], -1, MEL_HOP)
    halves = samples[:, MEL_HOP * 2 :].reshape(samples.shape[0], -1, MEL_HOP // 2)[:, ::2]
    return torch.cat([hops[:, :-1], hops[:, 1:], halves], dim=-1)


def mirror_start(samples: Tensor, position: Tensor) -> Tensor:
    """Where a segment starts here, put the mirror image of its first samples before it, as Whisper does."""
    before = LOOK_BACK - REFLECTED
    mirrored = samples[:, LOOK_BACK + 1 : LOOK_BACK + 1 + REFLECTED].flip(1)
    at_start = (position == 0)[:, None]
    history = torch.where(at_start, mirrored, samples[:, before:LOOK_BACK])
    return torch.cat([samples[:, :before], history, samples[:, LOOK_BACK:]], dim=1)


def window_samples(samples: Tensor, frames: int) -> Tensor:
    """Whole segments as `FrontEnd` wants them: (batch, n) to (batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD).

    Longer input is cut, shorter is padded with silence.
    """
    wanted = FRAME_HOP * frames + LOOK_AHEAD
    samples = samples[:, :wanted]
    return functional.pad(samples, (LOOK_BACK, wanted - samples.shape[1]))
