"""Every mechanism in MECHANISMS, and some further compositions, keep the contract, as far as its flags promise it."""

import pytest

torch = pytest.importorskip("torch")

from asr.attention import (  # noqa: E402
    MECHANISMS,
    Composition,
    Hard,
    Local,
    LocationAware,
    Mechanism,
    Monotonic,
    MultiHead,
    Rotary,
    ScaledDot,
    SelfAttention,
    Shaw,
    Sparsemax,
)
from asr.attention.masks import causal_mask, chunk_mask, masked_softmax, padding_mask  # noqa: E402
from asr.attention.top_k import TopK  # noqa: E402

BATCH, TARGETS, SOURCES, DIM, HEADS = 3, 5, 7, 12, 3
COMPOSED = {  # what a recipe could put together besides
    "heads of location_aware": lambda dim, heads: MultiHead(LocationAware(dim // heads), dim, heads),
    "heads of monotonic": lambda dim, heads: MultiHead(Monotonic(dim // heads), dim, heads),
    "heads of hard": lambda dim, heads: MultiHead(Hard(ScaledDot()), dim, heads),
    "self of sparse rotary window": lambda dim, heads: SelfAttention(
        MultiHead(Local(Rotary(Sparsemax(ScaledDot())), reach=2), dim, heads)
    ),
    "self of rotary window in blocks": lambda dim, heads: SelfAttention(
        MultiHead(Rotary(Local(Sparsemax(ScaledDot()), reach=2, weights=False)), dim, heads)
    ),
    "heads of a bell of additive entmax": Composition("additive", "entmax", "local").cross_attention,
    "heads of a sparse concat window": Composition("concat", "sparsemax", "local_m").cross_attention,
    "self of sparse transformer_xl window": Composition(
        "scaled_dot", "entmax", "local", None, "transformer_xl"
    ).self_attention,
    "heads of the best two": lambda dim, heads: MultiHead(TopK(ScaledDot(), k=2), dim, heads),
    "self of sparse shaw": lambda dim, heads: SelfAttention(MultiHead(Sparsemax(Shaw(dim // heads, 2)), dim, heads)),
}
# What the others do does not depend on the mode.
OTHERWISE_IN_TRAINING = ("hard", "gumbel", "monotonic", "mocha", "heads of hard", "heads of monotonic")
CASES = [(name, False) for name in (*MECHANISMS, *COMPOSED)] + [(name, True) for name in OTHERWISE_IN_TRAINING]


def samples(mechanism: Mechanism) -> bool:
    return mechanism.training and not mechanism.exact_gradient


def named(case) -> str:
    return case[0] + "-in-training" * case[1]


def those(promise):
    """Ask only the mechanisms of which `promise` holds."""
    asked = [(name, mode) for name, mode in CASES if promise((MECHANISMS | COMPOSED)[name](DIM, HEADS).train(mode))]
    return pytest.mark.parametrize("mechanism", asked, indirect=True, ids=named)


@pytest.fixture(params=CASES, ids=named)
def mechanism(request, build) -> Mechanism:
    name, training = request.param
    return build((MECHANISMS | COMPOSED)[name], DIM, HEADS).train(training)


def inputs(mechanism: Mechanism, dim: int = DIM, batch: int = BATCH):
    """Query, key and value; of one length for a sequence that reads itself."""
    generator = torch.Generator().manual_seed(1)
    sources = TARGETS if isinstance(mechanism, SelfAttention) else SOURCES
    return [torch.randn(batch, length, dim, generator=generator) for length in (TARGETS, sources, sources)]


def attend(mechanism: Mechanism, *arguments):
    """Call it; what it samples is the same each time."""
    torch.manual_seed(2)
    return mechanism(*arguments)


def nothing(mechanism: Mechanism):
    """The context of a target with nowhere to look: zeros, of which heads make their bias."""
    heads = mechanism.heads if isinstance(mechanism, SelfAttention) else mechanism
    return heads.out.bias if isinstance(heads, MultiHead) else torch.zeros(DIM)


def test_always_three_results_of_the_promised_shapes(mechanism):
    query, key, value = inputs(mechanism)
    context, weights, _ = attend(mechanism, query, key, value)
    assert context.shape == (BATCH, TARGETS, DIM)
    assert (weights is not None) == mechanism.has_weights
    if weights is not None:
        assert weights.shape[0] == BATCH
        assert weights.shape[-2:] == (TARGETS, key.shape[1])
        assert weights.min() >= 0


@those(lambda mechanism: not isinstance(mechanism, MultiHead | SelfAttention))
def test_the_value_may_be_wider_and_any_axes_may_lead(mechanism):
    query, key, value = inputs(mechanism)
    value = torch.cat([value, value[..., :2]], -1)
    context, _, _ = attend(mechanism, query, key, value, causal_mask(TARGETS, SOURCES - TARGETS))
    assert context.shape == (BATCH, TARGETS, DIM + 2)
    if not samples(mechanism):
        stacked = [x[:, None].expand(BATCH, 2, *x.shape[1:]) for x in (query, key, value)]
        twice, _, _ = mechanism(*stacked, causal_mask(TARGETS, SOURCES - TARGETS))
        torch.testing.assert_close(twice, context[:, None].expand(twice.shape))


@those(lambda mechanism: mechanism.has_weights)
def test_what_is_hidden_gets_exactly_zero_and_rows_sum_to_one(mechanism):
    query, key, value = inputs(mechanism)
    lengths = torch.tensor([1, 3, key.shape[1]])
    _, weights, _ = attend(mechanism, query, key, value, padding_mask(lengths, key.shape[1]))
    for row, length in zip(weights, lengths, strict=True):
        assert row[..., length:].abs().sum() == 0
    total = weights.sum(-1)
    if mechanism.rows_sum_to_one:
        torch.testing.assert_close(total, torch.ones_like(total))
    else:
        assert 0.1 < total.max() <= 1 + 1e-6


def test_what_is_hidden_changes_nothing(mechanism):
    query, key, value = inputs(mechanism)
    mask = padding_mask(torch.tensor([3, 3, 1]), key.shape[1])
    changed_key, changed_value = key.clone(), value.clone()
    changed_key[:, 3:] = 100.0
    changed_value[:, 3:] = -100.0
    before, _, _ = attend(mechanism, query, key, value, mask)
    after, _, _ = attend(mechanism, query, changed_key, changed_value, mask)
    torch.testing.assert_close(before, after, rtol=0, atol=0)


@those(lambda mechanism: not samples(mechanism))
def test_padding_changes_nothing(mechanism):
    query, key, value = inputs(mechanism)
    targets = 3 if isinstance(mechanism, SelfAttention) else TARGETS
    mask = padding_mask(torch.full((BATCH,), 3), key.shape[1])
    padded, with_padding, _ = mechanism(query, key, value, mask)
    short, without, _ = mechanism(query[:, :targets], key[:, :3], value[:, :3])
    torch.testing.assert_close(padded[:, :targets], short)
    if without is not None:
        torch.testing.assert_close(with_padding[..., :targets, :3], without)


def test_a_target_with_nowhere_to_look_gets_zeros_and_finite_gradients(mechanism):
    values = [tensor.requires_grad_() for tensor in inputs(mechanism)]
    mask = causal_mask(TARGETS, values[1].shape[1] - TARGETS).expand(BATCH, -1, -1).clone()
    mask[0] = False  # one row of the batch all silent,
    mask[1, 2] = False  # and one target of another
    context, weights, _ = attend(mechanism, *values, mask)
    blind = ~mask.any(-1)
    torch.testing.assert_close(context[blind], nothing(mechanism).expand_as(context[blind]))
    if weights is not None:
        assert weights.movedim(-2, 1)[blind].abs().max() == 0
    context.square().sum().backward()
    assert context.isfinite().all()
    for tensor in [*values, *mechanism.parameters()]:
        assert tensor.grad is None or tensor.grad.isfinite().all()
    for tensor in values[:2]:
        assert tensor.grad is None or tensor.grad[0].abs().max() == 0


@those(lambda mechanism: not samples(mechanism))
@pytest.mark.parametrize("parts", [[1] * TARGETS, [2, 3]], ids=["one-by-one", "in-two-parts"])
def test_step_by_step_equals_all_at_once(mechanism, parts):
    query, key, value = inputs(mechanism)
    if mechanism.steps:
        key, value = key[:, -TARGETS:], value[:, -TARGETS:]
    mask = causal_mask(TARGETS, key.shape[1] - TARGETS)
    at_once, all_weights, _ = mechanism(query, key, value, mask)
    state, contexts, last = None, [], 0
    for part in parts:
        now, last = slice(last, last + part), last + part
        if mechanism.steps:  # earlier keys and values come with the state
            seen = (query[:, now], key[:, now], value[:, now], mask[now, :last])
        else:
            seen = (query[:, now], key, value, mask[now])
        context, weights, state = mechanism(*seen, state)
        contexts.append(context)
        if weights is not None:
            torch.testing.assert_close(weights, all_weights[..., now, : weights.shape[-1]])
    torch.testing.assert_close(torch.cat(contexts, 1), at_once)


def test_the_state_is_what_it_is_said_to_be(mechanism):
    query, key, value = inputs(mechanism)
    if not mechanism.carried:
        assert mechanism.start(key) is None
        return
    start = mechanism.start(key)
    _, _, state = mechanism(query, key, value)
    assert [tensor.shape for tensor in state] == [tensor.shape for tensor in start]
    explicit, _, _ = attend(mechanism, query, key, value, None, start)
    implicit, _, _ = attend(mechanism, query, key, value)
    torch.testing.assert_close(explicit, implicit, rtol=0, atol=0)
    for tensor, described in zip(start, mechanism.carried, strict=True):
        assert tensor.shape[0] == BATCH
        assert tensor.shape[1:] == tuple(SOURCES if size == "sources" else size for size in described.shape)
        assert (tensor == described.init).all()


def is_smooth(mechanism: Mechanism) -> bool:
    """What decides, in use, has no gradient."""
    decides = any(isinstance(part, Monotonic) for part in mechanism.modules()) and not mechanism.training
    return mechanism.exact_gradient and not decides


@those(is_smooth)
def test_the_gradient_is_exact(mechanism):
    mechanism = mechanism.double()
    names, parameters = zip(*mechanism.named_parameters(), strict=True) if [*mechanism.parameters()] else ((), ())
    values = [tensor.double().requires_grad_() for tensor in inputs(mechanism)]
    mask = padding_mask(torch.tensor([2, 3, 5]), values[1].shape[1])

    def context(query, key, value, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(mechanism, given, (query, key, value, mask))[0]

    torch.manual_seed(3)  # the fast mode checks a random projection of the whole Jacobian
    assert torch.autograd.gradcheck(context, (*values, *parameters), fast_mode=True)


def test_gradients_reach_every_parameter_and_input(mechanism):
    query, key, value = [tensor.requires_grad_() for tensor in inputs(mechanism)]
    context, weights, _ = attend(
        mechanism.train(), query, key, value, padding_mask(torch.full((BATCH,), 4), len(key[0]))
    )
    loss = context.square().sum()
    if weights is not None and weights.requires_grad:
        loss = loss + (weights * torch.randn_like(weights)).sum()  # by them hard attention learns: see hard.py
    loss.backward()
    wanted = [*mechanism.parameters(), *((query, key) if mechanism.chooses else ()), value]
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in wanted)


def test_masked_softmax_is_softmax_over_what_is_left():
    scores = torch.randn(3, 4)
    mask = torch.tensor([True, True, False, True])
    expected = torch.zeros(3, 4)
    expected[:, mask] = scores[:, mask].softmax(-1)
    weights, somewhere = masked_softmax(scores, mask.expand(3, 4))
    torch.testing.assert_close(weights, expected)
    assert somewhere.all()


def test_chunk_mask_is_the_rule_of_the_design():
    mask = chunk_mask(frames=20, chunk=4, left_context=8)
    for target in range(20):
        start = target // 4 * 4
        for source in range(20):
            assert mask[target, source] == (start - 8 <= source < start + 4)


def test_a_left_context_of_broken_chunks_is_refused():
    with pytest.raises(ValueError, match="whole number of chunks"):
        chunk_mask(frames=20, chunk=6, left_context=8)


def test_causal_mask_counts_the_past():
    assert causal_mask(2, past=3).tolist() == [[True] * 4 + [False], [True] * 5]
