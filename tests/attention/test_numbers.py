"""The mechanisms' numbers against independent references: torch's own, the entmax package, and written-out loops."""

import doctest
import math

import pytest

torch = pytest.importorskip("torch")

from asr.attention import (  # noqa: E402
    Additive,
    Concat,
    Dot,
    General,
    LinearAttention,
    Local,
    LocalM,
    LocalP,
    LocationAware,
    Mocha,
    Monotonic,
    MultiHead,
    NoAttention,
    Rotary,
    ScaledDot,
    SelfAttention,
    Shaw,
    Sinusoidal,
    Sparsemax,
    TransformerXL,
    Uniform,
    scaled_dot,
)
from asr.attention.entmax import entmax15  # noqa: E402
from asr.attention.masks import causal_mask, padding_mask  # noqa: E402
from asr.attention.monotonic import stopped  # noqa: E402
from asr.attention.positions import sinusoids, turned, waves  # noqa: E402
from asr.attention.sparsemax import sparsemax  # noqa: E402
from asr.attention.top_k import TopK, of_the_best  # noqa: E402

TARGETS, SOURCES, DIM = 4, 9, 8
PAIRS = [(i, j) for i in range(TARGETS) for j in range(SOURCES)]


@pytest.fixture(autouse=True)
def in_double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def inputs(targets: int = TARGETS):
    return torch.randn(targets, DIM), torch.randn(SOURCES, DIM), torch.randn(SOURCES, DIM)


def random(module):
    """Every parameter random, so that none hides by being zero."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.eval().requires_grad_(False)


def softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def test_the_textbook_example_is_what_the_docstring_says():
    torch.set_default_dtype(torch.float32)
    outcome = doctest.testmod(scaled_dot)
    assert outcome.attempted > 4
    assert outcome.failed == 0


def test_scaled_dot_equals_torchs_own():
    query, key, value = inputs()
    mask = padding_mask(torch.tensor([5]), SOURCES)[0]
    ours, _, _ = ScaledDot()(query, key, value, mask)
    torch.testing.assert_close(ours, torch.nn.functional.scaled_dot_product_attention(query, key, value, mask))


def test_multihead_equals_torchs_own():
    ours, theirs = random(MultiHead(ScaledDot(), DIM, 2)), torch.nn.MultiheadAttention(DIM, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(DIM), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = (x[None] for x in inputs())
    context, weights, _ = ours(query, key, value)
    expected, mean = theirs(query, key, value)
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(weights.mean(1), mean)


def test_scores_are_the_papers_pair_by_pair():
    query, key, _ = inputs()
    general, additive, concat = random(General(DIM)), random(Additive(DIM)), random(Concat(DIM))
    shaw, xl = random(Shaw(DIM, reach=2)), random(TransformerXL(DIM))
    scores = {
        mechanism: mechanism.score(query, key).squeeze(0) for mechanism in (Dot(), general, additive, concat, shaw, xl)
    }
    for i, j in PAIRS:
        q, k, far = query[i], key[j], j - (i + SOURCES - TARGETS)
        wave = xl.wave.weight @ waves(torch.tensor([far]), DIM)[0].double()
        expected = [
            q @ k,
            q @ general.match.weight.T @ k,
            additive.energy.weight[0]
            @ torch.tanh(additive.query.weight @ q + additive.query.bias + additive.key.weight @ k),
            concat.energy.weight[0] @ torch.tanh(concat.pair.weight @ torch.cat([q, k])),
            q @ (k + shaw.far[min(max(far, -2), 2) + 2]) / math.sqrt(DIM),
            ((q + xl.content[0, 0]) @ k + (q + xl.place[0, 0]) @ wave) / math.sqrt(DIM),
        ]
        for mechanism, one in zip(scores, expected, strict=True):
            torch.testing.assert_close(scores[mechanism][i, j], one, rtol=1e-6, atol=1e-6)


def test_concat_is_additive_written_another_way():
    query, key, value = inputs()
    concat, additive = random(Concat(DIM)), random(Additive(DIM))
    with torch.no_grad():
        additive.query.bias.zero_()
        additive.query.weight.copy_(concat.pair.weight[:, :DIM])
        additive.key.weight.copy_(concat.pair.weight[:, DIM:])
        additive.energy.weight.copy_(concat.energy.weight)
    torch.testing.assert_close(concat(query, key, value)[0], additive(query, key, value)[0])


def test_the_controls_are_the_mean_and_the_last():
    query, key, value = inputs()
    mask = padding_mask(torch.tensor([6]), SOURCES)[0]
    torch.testing.assert_close(Uniform()(query, key, value, mask)[0], value[:6].mean(0).expand(TARGETS, -1))
    torch.testing.assert_close(NoAttention()(query, key, value, mask)[0], value[5].expand(TARGETS, -1))


def test_location_aware_is_the_papers_step_by_step():
    query, key, value = inputs()
    mechanism = random(LocationAware(DIM, filters=3, width=5))
    _, weights, _ = mechanism(query, key, value)
    content, filters, looked = mechanism.content, mechanism.surroundings.weight[:, 0], [0.0] * SOURCES
    for i in range(TARGETS):
        scores = []
        for j in range(SOURCES):
            around = torch.tensor([looked[j + o] if 0 <= j + o < SOURCES else 0.0 for o in range(-2, 3)])
            inside = content.query(query[i]) + content.key(key[j]) + mechanism.location.weight @ (filters @ around)
            scores.append(content.energy.weight[0] @ inside.tanh())
        looked = softmax(scores)
        torch.testing.assert_close(weights[i], torch.tensor(looked))


@pytest.mark.parametrize(("ours", "theirs"), [(sparsemax, "sparsemax"), (entmax15, "entmax15")])
def test_sparse_weights_and_gradients_are_the_entmax_packages(ours, theirs):
    reference = getattr(pytest.importorskip("entmax"), theirs)
    for scale in (0.1, 1.0, 10.0):
        scores = (torch.randn(50, 40) * scale).requires_grad_()
        towards = torch.randn(50, 40)
        gradients = [
            torch.autograd.grad((f(scores, **how) * towards).sum(), scores)[0]
            for f, how in ((ours, {}), (reference, {"dim": -1}))
        ]
        torch.testing.assert_close(ours(scores), reference(scores, dim=-1))
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("function", "alpha"), [(sparsemax, 2.0), (entmax15, 1.5)])
def test_sparse_weights_solve_their_equation(function, alpha):
    """By bisection: max((alpha - 1) scores - tau, 0)^(1 / (alpha - 1)) sums to one."""
    for scores in torch.randn(5, 12) * 3:
        low, high = float(((alpha - 1) * scores).max()) - 1, float(((alpha - 1) * scores).max())
        for _ in range(100):
            tau = (low + high) / 2
            weights = ((alpha - 1) * scores - tau).clamp(min=0) ** (1 / (alpha - 1))
            low, high = (tau, high) if weights.sum() > 1 else (low, tau)
        torch.testing.assert_close(function(scores), weights)
        assert (weights == 0).any()


@pytest.mark.parametrize("function", [sparsemax, entmax15])
def test_sparse_weights_stand_long_rows_and_hidden_frames_in_single_precision(function):
    scores = torch.randn(20, 1_500, dtype=torch.float32) * 4
    scores[:, 1_000:] += torch.finfo(torch.float32).min
    weights = function(scores)
    torch.testing.assert_close(weights.sum(-1), torch.ones(20, dtype=torch.float32))
    torch.testing.assert_close(weights.double(), function(scores.double()), rtol=1e-3, atol=1e-6)
    assert weights[:, 1_000:].abs().max() == 0


@pytest.mark.parametrize("k", [1, 3, 9, 20])
def test_top_k_is_softmax_over_the_k_best_that_may_be_seen(k):
    scores, mask = torch.randn(SOURCES).tolist(), [True] * 7 + [False] * 2
    best = sorted(range(7), key=lambda source: -scores[source])[:k]
    expected = dict(zip(best, softmax([scores[source] for source in best]), strict=True))
    weights, _ = TopK(ScaledDot(), k).share(torch.tensor([scores]), torch.tensor([mask]))
    for source in range(SOURCES):
        assert weights[0, source] == pytest.approx(expected.get(source, 0.0), abs=1e-12)
        assert (weights[0, source] == 0) == (source not in expected)


def test_what_stands_level_with_the_last_of_the_best_is_read_too():
    assert of_the_best(torch.tensor([1.0, 2.0, 1.0, 0.0]), 2).gt(0).tolist() == [True, True, True, False]


def expected_alignment(p: list[list[float]]) -> list[list[float]]:
    """Raffel et al. 2017, equation 9, by enumeration of where the last target stopped."""
    before, rows = [1.0] + [0.0] * (len(p[0]) - 1), []
    for accept in p:
        row = [
            accept[j] * sum(before[k] * math.prod(1 - accept[m] for m in range(k, j)) for k in range(j + 1))
            for j in range(len(accept))
        ]
        rows.append(row)
        before = row
    return rows


def test_monotonic_in_training_is_the_expected_alignment():
    query, key, value = inputs()
    mechanism = random(Monotonic(DIM, noise=0.0)).train()
    _, weights, _ = mechanism(query, key, value)
    expected = expected_alignment(mechanism.clues(query, key).sigmoid().tolist())
    torch.testing.assert_close(weights, torch.tensor(expected))
    assert 0.1 < weights.sum(-1).min() < 0.99


def test_monotonic_in_training_is_the_mean_of_what_it_would_do_by_chance():
    query, key, value = inputs()
    mechanism = random(Monotonic(DIM, noise=0.0)).train()
    _, weights, _ = mechanism(query, key, value)
    accepted = torch.rand(20_000, TARGETS, SOURCES) < mechanism.clues(query, key).sigmoid()
    mechanism.eval()
    state, counts = (torch.ones(20_000, 1, SOURCES),), []
    for i in range(TARGETS):
        looked, state = mechanism.look(accepted[:, i : i + 1].double() - 0.5, None, state)
        counts.append(looked.mean(0))
    torch.testing.assert_close(torch.cat(counts), weights, rtol=0, atol=4 * 0.5 / math.sqrt(20_000))


def test_monotonic_in_use_walks_on_to_the_first_accepted_frame():
    query, key, value = inputs(targets=6)
    mechanism = random(Monotonic(DIM))
    _, weights, _ = mechanism(query, key, value)
    stands, accepted = 0, mechanism.clues(query, key) > 0
    for i in range(6):
        stands = next((j for j in range(stands, SOURCES) if accepted[i, j]), SOURCES)
        expected = torch.zeros(SOURCES)
        expected[stands : stands + 1] = 1
        assert weights[i].tolist() == expected.tolist()
    assert stands > 0


def test_long_rows_keep_their_attention_where_the_papers_division_loses_it():
    p = torch.full((400,), 0.5, dtype=torch.float32)
    before = torch.zeros(400, dtype=torch.float32)
    before[200:] = 1  # the last target stopped at frame 200
    ours = stopped(p, before)
    weights = p * (before - torch.cat([torch.zeros(1), ours[:-1]]))
    torch.testing.assert_close(weights[200:210].double(), 0.5 ** torch.arange(1, 11).double())
    previous = torch.zeros(400, dtype=torch.float32)
    previous[200] = 1
    product = torch.cat([torch.ones(1), (1 - p).cumprod(0)[:-1]])
    papers = p * product * (previous / product.clamp(1e-10, 1)).cumsum(0)
    assert papers.sum() < 1e-6  # all of it is lost


def test_mocha_shares_each_stop_out_over_the_last_frames():
    query, key, value = inputs()
    mechanism, width = random(Mocha(DIM, width=3, noise=0.0)).train(), 3
    _, weights, _ = mechanism(query, key, value)
    energies, scores = (part.tolist() for part in mechanism.clues(query, key).unbind(-1))
    stops = expected_alignment(torch.tensor(energies).sigmoid().tolist())
    expected = torch.zeros(TARGETS, SOURCES)
    for i, s in PAIRS:
        chunk = range(max(0, s - width + 1), s + 1)
        for j, share in zip(chunk, softmax([scores[i][j] for j in chunk]), strict=True):
            expected[i, j] += stops[i][s] * share
    torch.testing.assert_close(weights, expected)


def test_linear_reads_what_its_pattern_says():
    query, key, value = inputs()
    linear, mask = LinearAttention(DIM), torch.rand(TARGETS, SOURCES) > 0.3
    for given in (None, mask, mask[:1]):
        context, _, _ = linear(query, key, value, given)
        torch.testing.assert_close(context, linear.pattern(query, key, given) @ value)
    features = torch.nn.functional.elu(query) + 1, torch.nn.functional.elu(key) + 1
    expected = torch.stack([torch.stack([q @ k for k in features[1]]) for q in features[0]])
    torch.testing.assert_close(linear.pattern(query, key), expected / expected.sum(-1, keepdim=True))


def test_linear_read_once_is_remembered():
    """As a decoder's cross-attention: the sums are made at the first token, and no source is given again."""
    query, key, value = inputs()
    linear = LinearAttention(DIM)
    at_once, _, _ = linear(query, key, value)
    context, _, state = linear(query[:1], key, value)
    rest, _, _ = linear(query[1:], key[:0], value[:0], None, state)
    torch.testing.assert_close(torch.cat([context, rest]), at_once)


@pytest.mark.parametrize("inside", [ScaledDot(), Sparsemax(ScaledDot())])
@pytest.mark.parametrize("length", [3, 8, 21, 24])
def test_local_in_blocks_equals_local_by_mask(inside, length):
    x = torch.randn(2, length, DIM)
    causal = causal_mask(length)
    padding = padding_mask(torch.tensor([length, length - 2]), length)
    for mask in (None, causal, padding, causal & padding):
        masked, weights, _ = Local(inside, reach=4)(x, x, x, mask)
        in_blocks, none, _ = Local(inside, reach=4, weights=False)(x, x, x, mask)
        assert none is None
        torch.testing.assert_close(in_blocks, masked)
        for i in range(length):
            assert weights[:, i, : max(0, i - 4)].sum() == weights[:, i, i + 5 :].sum() == 0


def test_local_in_blocks_costs_the_length_and_not_its_square():
    def largest(length: int) -> int:
        sizes = []

        class Watch(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, function, types, arguments=(), keywords=None):
                result = function(*arguments, **(keywords or {}))
                sizes.extend([result.numel()] if isinstance(result, torch.Tensor) else [])
                return result

        x = torch.randn(1, length, DIM)
        with Watch():
            Local(ScaledDot(), reach=4, weights=False)(x, x, x, padding_mask(torch.tensor([length]), length))
        return max(sizes)

    assert largest(400) == 2 * largest(200)


def test_local_m_moves_on_at_its_rate_and_stays_at_the_end():
    query, key, value = inputs()
    _, weights, (count,) = LocalM(ScaledDot(), reach=1, rate=3.5)(
        query, key, value, padding_mask(torch.tensor([8]), SOURCES)[0]
    )
    seen = [row.nonzero().flatten().tolist() for row in weights]
    assert seen == [[0, 1], [3, 4], [6, 7], [6, 7]]  # around 0, 3.5, 7 and, for there are but 8, 7
    assert count.item() == TARGETS


def test_local_p_looks_around_the_place_it_predicts():
    query, key, value = inputs()
    mechanism = random(LocalP(ScaledDot(), DIM, reach=2))
    _, weights, _ = mechanism(query, key, value)
    for i in range(TARGETS):
        place = SOURCES * torch.sigmoid(mechanism.place.weight[0] @ torch.tanh(mechanism.hidden.weight @ query[i]))
        window = [j for j in range(SOURCES) if abs(j - place) <= 2]
        shares = softmax([float(query[i] @ key[j]) / math.sqrt(DIM) for j in window])
        expected = torch.zeros(SOURCES)
        for j, share in zip(window, shares, strict=True):
            expected[j] = share * torch.exp(-((j - place) ** 2) / 2)  # s = reach / 2 = 1
        torch.testing.assert_close(weights[i], expected)


def test_rotary_is_a_turn_in_the_plane():
    x = torch.randn(SOURCES, DIM)
    result = turned(x, torch.arange(SOURCES))
    for place in range(SOURCES):
        for i in range(DIM // 2):
            point = complex(x[place, i], x[place, i + DIM // 2])
            expected = point * complex(math.cos(a := place * 10_000 ** (-2 * i / DIM)), math.sin(a))
            assert complex(result[place, i], result[place, i + DIM // 2]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "compose",
    [lambda: Rotary(ScaledDot()), lambda: Shaw(DIM, reach=3), lambda: TransformerXL(DIM)],
    ids=["rotary", "shaw", "transformer_xl"],
)
def test_relative_positions_know_distances_alone(compose):
    """What comes before and is not seen moves every place, and changes nothing."""
    mechanism, x = random(compose()), torch.randn(1, 12, DIM)
    context, _, _ = mechanism(x[:, 5:], x[:, 5:], x[:, 5:])
    hidden = torch.arange(12) >= 5
    later, _, _ = mechanism(x[:, 5:], x, x, hidden)
    torch.testing.assert_close(later, context, rtol=1e-5, atol=1e-6)
    order = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    swapped, _, _ = mechanism(x[:, 5:], x[:, 5 + order], x[:, 5 + order])
    assert (swapped - context).abs().max() > 1e-3  # while ScaledDot alone could not tell


def test_without_positions_the_order_of_the_sources_is_not_seen():
    query, key, value = inputs()
    order = torch.randperm(SOURCES)
    torch.testing.assert_close(ScaledDot()(query, key[order], value[order])[0], ScaledDot()(query, key, value)[0])


def test_sinusoids_go_on_where_the_past_ends():
    torch.set_default_dtype(torch.float32)
    expected = sinusoids(50, 16)
    assert torch.equal(Sinusoidal()(torch.zeros(50, 16)), expected)
    torch.testing.assert_close(Sinusoidal()(torch.zeros(20, 16), past=30), expected[30:])


@pytest.mark.parametrize(
    ("compose", "why"),
    [
        (lambda: SelfAttention(MultiHead(LocationAware(4), 8, 2)), "no order"),
        (lambda: SelfAttention(MultiHead(LinearAttention(4), 8, 2), Sinusoidal()), "does not count its past"),
        (lambda: Local(LinearAttention(4)), "carries a state"),
        (lambda: Local(Rotary(ScaledDot()), weights=False), "put Rotary around Local"),
        (lambda: Rotary(LinearAttention(4)), "carries a state"),
        (lambda: Rotary(Sparsemax(General(4))), "General does not score by q . k"),
        (lambda: LocalM(Monotonic(4)), "carries a state"),
        (lambda: LocalP(LocationAware(4), 4), "carries a state"),
        (lambda: LocalP(Rotary(ScaledDot()), 4), "does more than share out scores"),
        (lambda: TransformerXL(3), "even dim of at least 4"),
        (lambda: LocationAware(4, width=4), "must be odd"),
        (lambda: turned(torch.zeros(2, 3), torch.arange(2)), "even dim"),
        (lambda: waves(torch.arange(2), 2), "even dim"),
    ],
)
def test_what_cannot_be_composed_is_refused_with_the_reason(compose, why):
    with pytest.raises(ValueError, match=why):
        compose()


def test_a_composition_promises_what_its_parts_promise():
    assert not MultiHead(Monotonic(4), 8, 2).rows_sum_to_one
    assert not SelfAttention(MultiHead(LinearAttention(4), 8, 2)).has_weights
    assert not SelfAttention(MultiHead(Local(ScaledDot(), weights=False), 8, 2)).has_weights
    assert SelfAttention(MultiHead(Local(ScaledDot()), 8, 2)).has_weights
    assert not MultiHead(LocationAware(4), 8, 2).several_tokens
