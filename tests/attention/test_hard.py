"""How hard attention learns: on a case so small that every choice can be enumerated."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from asr.attention import Dot, Gumbel, Hard, MultiHead, hard  # noqa: E402
from asr.attention.hard import expect, mean_of_others, surrogate  # noqa: E402

TARGETS, SOURCES, DIM = 2, 3, 4
CHOICES = list(itertools.product(range(SOURCES), repeat=TARGETS))


@pytest.fixture
def case():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, length, DIM, dtype=torch.double) for length in (TARGETS, SOURCES, SOURCES))
    return query.requires_grad_(), key, value, torch.randn(DIM, dtype=torch.double)


def losses_of(context, towards):
    """(batch, targets): curved in each context, and the second target's depends on both."""
    first, second = (context - towards).square().sum(-1).unbind(-1)
    return torch.stack([first, second * (1 + first)], -1)


def enumerated(case):
    """Each pair of frames, its probability, and its loss."""
    query, key, value, towards = case
    p = Dot().score(query, key).softmax(-1)[0]
    for a, b in CHOICES:
        yield (a, b), p[0, a] * p[1, b], losses_of(value[:, [a, b]], towards).sum()


def exact_gradient(case):
    return torch.autograd.grad(sum(p * loss for _, p, loss in enumerated(case)), case[0])[0]


@pytest.mark.parametrize("baseline", [0.0, 5.0])
def test_reinforce_is_unbiased(case, monkeypatch, baseline):
    query, key, value, towards = case
    estimate = torch.zeros_like(query)
    for choice, p, loss in enumerated(case):
        monkeypatch.setattr(hard, "sample", lambda _, chosen=choice: torch.tensor([chosen]))
        context, weights, _ = Hard(Dot()).train()(query, key, value)
        losses = losses_of(context, towards)
        taught = surrogate(losses, weights, baseline)
        torch.testing.assert_close(taught, losses, rtol=0, atol=0)  # the values stay what they were
        torch.testing.assert_close(taught.sum(), loss)
        estimate += p.detach() * torch.autograd.grad(taught.sum(), query)[0]
    torch.testing.assert_close(estimate, exact_gradient(case))


def test_a_layer_or_head_more_is_a_choice_more(case):
    query, key, value, _ = case
    several = MultiHead(Hard(Dot()), DIM, 2).double().train()
    torch.manual_seed(1)
    context, weights, _ = several(query, key, value)
    assert weights.shape == (1, 2, TARGETS, SOURCES)
    losses = context.sum(-1)
    gradient = torch.autograd.grad(surrogate(losses, weights).sum() - losses.sum(), several.query.weight)[0]
    scores = several.mechanism.score(several.split(several.query(query)), several.split(several.key(key)))
    log_p = (weights.detach() * scores.log_softmax(-1)).sum((1, 3))
    to_come = torch.stack([losses.sum(-1), losses[:, 1]], -1).detach()
    torch.testing.assert_close(gradient, torch.autograd.grad((to_come * log_p).sum(), several.query.weight)[0])


def test_frames_are_sampled_by_their_probability(case):
    query, key, value, _ = case
    many = 20_000
    _, weights, _ = Hard(Dot()).train()(
        query.expand(many, -1, -1), key.expand(many, -1, -1), value.expand(many, -1, -1)
    )
    _, gumbel, _ = Gumbel(Dot()).train()(
        query.expand(many, -1, -1), key.expand(many, -1, -1), value.expand(many, -1, -1)
    )
    expected = Dot().score(query, key).softmax(-1)[0]
    for sampled in (weights, gumbel):
        assert set(sampled.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(sampled.mean(0), expected, rtol=0, atol=4 * 0.5 / math.sqrt(many))


def test_in_use_the_likeliest_frame_is_read(case):
    query, key, value, _ = case
    best = Dot().score(query, key).argmax(-1)[0]
    for mechanism in (Hard(Dot()).eval(), Gumbel(Dot()).eval()):
        torch.testing.assert_close(mechanism(query, key, value)[0][0], value[0, best])


def gradients(case, mechanism, many, baseline=None):
    """One estimate of the gradient for each of `many` examples: (many, targets, dim)."""
    torch.manual_seed(4)
    query, key, value, towards = case
    queries = query.detach().expand(many, -1, -1).clone().requires_grad_()
    context, weights, _ = mechanism.train()(queries, key.expand(many, -1, -1), value.expand(many, -1, -1))
    losses = losses_of(context, towards)
    taught = losses if baseline is None else surrogate(losses, weights, baseline)
    return torch.autograd.grad(taught.sum(), queries)[0]


def test_the_bias_of_gumbel_is_measured_and_so_is_its_noise(case):
    """In lengths of the exact gradient; the docstring of gumbel.py quotes these figures."""
    many, exact = 50_000, exact_gradient(case)[0]
    expected = sum(p * losses_of(case[2][:, choice], case[3]) for choice, p, _ in enumerated(case)).detach()
    estimates = {
        "reinforce": gradients(case, Hard(Dot()), many, 0.0),
        "baseline": gradients(case, Hard(Dot()), many, expected),
        "gumbel": gradients(case, Gumbel(Dot()), many),
        "cold": gradients(case, Gumbel(Dot(), temperature=0.2), many),
    }
    bias = {name: float((one.mean(0) - exact).norm() / exact.norm()) for name, one in estimates.items()}
    noise = {name: float(one.std(0).norm() / exact.norm()) for name, one in estimates.items()}
    print(bias, noise)
    error = max(noise.values()) / math.sqrt(many)  # of the bias
    assert bias["reinforce"] < 4 * error
    assert bias["baseline"] < 4 * error
    assert 0.4 < bias["gumbel"] < 0.6
    assert 0.05 < bias["cold"] < 0.2
    assert noise["gumbel"] < noise["baseline"] < noise["reinforce"]
    assert noise["cold"] > noise["baseline"]


def test_the_baseline_follows_the_losses():
    baseline = 0.0
    for _ in range(100):
        baseline = expect(baseline, torch.tensor([2.0, 4.0]))
    assert baseline == pytest.approx(3.0, rel=1e-4)


def test_a_rows_baseline_is_what_the_others_lost():
    losses = torch.tensor([[1.0, 3.0], [5.0, 0.0], [9.0, 2.0]])
    real = torch.tensor([[True, True], [True, False], [True, True]])
    expected = [[16 / 3] * 2, [15 / 4, 0.0], [9 / 3] * 2]
    torch.testing.assert_close(mean_of_others(losses, real), torch.tensor(expected))
    assert mean_of_others(losses[:1], real[:1]).abs().max() == 0, "nobody else is there"
