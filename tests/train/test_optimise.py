import math

import pytest
import torch
from torch import nn

from asr.errors import OptionError
from asr.train import optimise
from asr.train.recipe import Optimiser


@pytest.fixture
def model() -> nn.Module:
    return nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})


def test_the_longest_beginning_gives_the_rate() -> None:
    rates = {"encoder": 1.0, "encoder.conv": 2.0}
    assert [optimise.rate_of(name, rates, 9.0) for name in ("encoder.x", "encoder.conv1", "ctc")] == [1.0, 2.0, 9.0]


def test_parts_have_their_rates_and_vectors_do_not_decay(model: nn.Module) -> None:
    config = Optimiser(learning_rate=0.1, rates={"encoder": 0.2}, weight_decay=0.5)
    groups = {(group["lr"], group["weight_decay"]) for group in optimise.build(model, config).param_groups}
    assert groups == {(0.1, 0.5), (0.1, 0.0), (0.2, 0.5), (0.2, 0.0)}


def test_a_frozen_part_stays(model: nn.Module) -> None:
    optimise.freeze(model, {"encoder": 0.0})
    before = [parameter.clone() for parameter in model.parameters()]
    optimiser = optimise.build(model, Optimiser(rates={"encoder": 0.0}))
    sum(layer(torch.ones(1, 2)).sum() for layer in model.values()).backward()
    optimiser.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert moved == [False, False, True, True]


def test_a_part_that_is_not_there_is_said(model: nn.Module) -> None:
    with pytest.raises(OptionError, match=r"optimiser.rates.encodr fits no parameter; they begin with decoder"):
        optimise.freeze(model, {"encodr": 0.0})


def test_freezing_everything_is_said(model: nn.Module) -> None:
    optimise.freeze(model, {"encoder": 0.0, "decoder": 0.0})
    with pytest.raises(OptionError, match="freezes every parameter"):
        optimise.build(model, Optimiser())


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1.0, 1.0), ("inverse_sqrt", math.sqrt(1 / 6), 0.3015)],
)
def test_rates_warm_up_and_decay(schedule: str, middle: float, end: float) -> None:
    config = Optimiser(schedule=schedule, warmup=10, last=0.1)  # type: ignore[arg-type]
    shares = [optimise.share(step, 110, config) for step in (1, 5, 10, 60, 110)]
    assert shares == pytest.approx([0.1, 0.5, 1.0, middle, end], abs=1e-4)


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert optimise.share(1, 10, Optimiser(warmup=0, schedule="constant")) == 1.0


def test_the_average_follows_quickly_at_first_and_slowly_later(model: nn.Module) -> None:
    average = optimise.average_of(model, 0.9)
    weight = model["encoder"].weight
    followed = []
    for step in range(200):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update_parameters(model)
        followed.append(float(average.module["encoder"].weight.detach()[0, 0]))
    assert followed[0] == 0.0
    assert followed[3] > 1.5  # not the tenth of the way that 0.9 would have gone each time
    assert 199 - followed[-1] == pytest.approx(9.0, abs=0.5)  # decay / (1 - decay) behind


def test_clipping_tells_the_length_before(model: nn.Module) -> None:
    weight = model["encoder"].weight
    weight.grad = torch.full_like(weight, 3.0)
    assert optimise.clip([weight], 1.0) == pytest.approx(6.0)
    assert float(weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)
    assert optimise.clip([weight], 0.0) == pytest.approx(1.0, rel=1e-4)
    assert float(weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)
