"""Every mechanism in MECHANISMS keeps the contract, as far as its flags promise it."""

import pytest

torch = pytest.importorskip("torch")

from asr.attention import MECHANISMS, Mechanism  # noqa: E402
from asr.attention.masks import causal_mask, chunk_mask, masked_softmax, padding_mask  # noqa: E402

BATCH, TARGETS, SOURCES, DIM, HEADS = 2, 5, 5, 16, 4
names = pytest.mark.parametrize("name", MECHANISMS)


def build(name: str) -> Mechanism:
    torch.manual_seed(0)
    return MECHANISMS[name](DIM, HEADS).eval()


def inputs(sources: int = SOURCES):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(BATCH, length, DIM, generator=generator) for length in (TARGETS, sources, sources))


@names
def test_always_three_results_of_the_promised_shapes(name):
    mechanism = build(name)
    context, weights, _ = mechanism(*inputs(), None)
    assert context.shape == (BATCH, TARGETS, DIM)
    assert (weights is not None) == mechanism.has_weights
    if weights is not None:
        assert weights.shape[-2:] == (TARGETS, SOURCES)


@names
def test_rows_sum_to_one_over_what_may_be_seen(name):
    mechanism = build(name)
    if not (mechanism.has_weights and mechanism.rows_sum_to_one):
        pytest.skip("does not promise it")
    mask = padding_mask(torch.tensor([3, 5]), SOURCES)
    _, weights, _ = mechanism(*inputs(), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    assert weights[0, ..., 3:].abs().max() == 0


@names
def test_what_is_hidden_changes_nothing(name):
    mechanism = build(name)
    query, key, value = inputs()
    mask = padding_mask(torch.tensor([3, 3]), SOURCES)
    changed_key, changed_value = key.clone(), value.clone()
    changed_key[:, 3:] = 100.0
    changed_value[:, 3:] = -100.0
    before, _, _ = mechanism(query, key, value, mask)
    after, _, _ = mechanism(query, changed_key, changed_value, mask)
    torch.testing.assert_close(before, after, rtol=0, atol=0)


@names
def test_a_target_with_nowhere_to_look_gets_zero_weights_and_no_nan(name):
    mechanism = build(name)
    context, weights, _ = mechanism(*inputs(), torch.zeros(BATCH, TARGETS, SOURCES, dtype=torch.bool))
    assert context.isfinite().all()
    if weights is not None:
        assert weights.abs().max() == 0


@names
def test_several_targets_at_once_equal_one_by_one(name):
    mechanism = build(name)
    if not mechanism.several_tokens:
        pytest.skip("does not promise it")
    query, key, value = inputs()
    mask = causal_mask(TARGETS)
    at_once, _, _ = mechanism(query, key, value, mask)
    state, steps = None, []
    for index in range(TARGETS):
        now = slice(index, index + 1)
        if mechanism.steps:  # earlier keys and values come with the state
            context, _, state = mechanism(query[:, now], key[:, now], value[:, now], None, state)
        else:
            context, _, _ = mechanism(query[:, now], key, value, mask[now])
        steps.append(context)
    torch.testing.assert_close(torch.cat(steps, 1), at_once)


@names
def test_gradients_reach_every_parameter_and_input(name):
    mechanism = build(name)
    values = [tensor.requires_grad_() for tensor in inputs()]
    context, _, _ = mechanism(*values, causal_mask(TARGETS))
    context.square().sum().backward()
    wanted = [*mechanism.parameters(), *values]
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in wanted)


def test_scaled_dot_equals_torchs_own():
    query, key, value = inputs()
    mask = padding_mask(torch.tensor([3, 5]), SOURCES)
    ours, _, _ = build("scaled_dot")(query, key, value, mask)
    torch.testing.assert_close(ours, torch.nn.functional.scaled_dot_product_attention(query, key, value, mask))


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
