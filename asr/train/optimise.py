"""The optimiser: rates for parts of the model, their warm-up and decay, and the running average of the weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from asr.errors import OptionError
from asr.train.recipe import Optimiser


def freeze(model: nn.Module, rates: dict[str, float]) -> None:
    """Parameters with a rate of 0.0 learn nothing. OptionError for a beginning that no parameter's name has."""
    names = [name for name, _ in model.named_parameters()]
    for beginning in rates:
        if not any(name.startswith(beginning) for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise OptionError(f"optimiser.rates.{beginning} fits no parameter; they begin with {', '.join(tops)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(rate_of(name, rates, 1.0) > 0)


def rate_of(name: str, rates: dict[str, float], otherwise: float) -> float:
    """The rate with the longest beginning that fits."""
    fitting = [beginning for beginning in rates if name.startswith(beginning)]
    return rates[max(fitting, key=len)] if fitting else otherwise


def build(model: nn.Module, config: Optimiser) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what learns. Vectors (biases, norms) do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = rate_of(name, config.rates, config.learning_rate)
            decay = config.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise OptionError("optimiser.rates freezes every parameter: there is nothing to learn")
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        betas=config.betas,
    )


def share(step: int, steps: int, config: Optimiser) -> float:
    """Of the peak rate at a step, the first of which is 1."""
    if step <= config.warmup:
        return step / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse_sqrt":
        return math.sqrt(max(1, config.warmup) / step)
    done = (step - config.warmup) / max(1, steps - config.warmup)
    left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return config.last + (1 - config.last) * max(0.0, left)


def set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def average_of(model: nn.Module, decay: float) -> AveragedModel:
    """A running average of the weights, quick at first: decay is at most (1 + n) / (10 + n) after n steps."""

    @torch.no_grad()
    def average(averaged: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(new, 1 - now)

    return AveragedModel(model, avg_fn=average)


def clip(parameters: Iterable[nn.Parameter], longest: float) -> float:
    """Shorten the gradient to at most `longest` (0.0: leave it); returns how long it was."""
    norm = nn.utils.clip_grad_norm_(list(parameters), longest or math.inf)
    return float(norm)
