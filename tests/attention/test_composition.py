"""Compositions by name are what composing by hand gives; what does not go together is refused with what would."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from asr.attention import (  # noqa: E402
    MECHANISMS,
    Additive,
    Composition,
    Concat,
    Dot,
    Entmax,
    General,
    Gumbel,
    Hard,
    Learned,
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
)
from asr.attention.parts import PARTS  # noqa: E402
from asr.errors import OptionError  # noqa: E402

LENGTH, DIM, HEADS, SIZE = 20, 24, 3, 8


def itself(inside, position=None):
    return SelfAttention(MultiHead(inside, DIM, HEADS), position)


BY_NAME = {  # in a recipe, and by hand
    "none": lambda: NoAttention(),
    "uniform": lambda: Uniform(),
    "scaled_dot": lambda: ScaledDot(),
    "dot": lambda: Dot(),
    "general": lambda: General(DIM),
    "concat": lambda: Concat(DIM),
    "additive": lambda: Additive(DIM),
    "location_aware": lambda: LocationAware(DIM),
    "multihead": lambda: MultiHead(ScaledDot(), DIM, HEADS),
    "hard": lambda: Hard(General(DIM)),
    "gumbel": lambda: Gumbel(General(DIM)),
    "monotonic": lambda: Monotonic(DIM),
    "mocha": lambda: Mocha(DIM),
    "local": lambda: LocalP(General(DIM), DIM),
    "local_m": lambda: LocalM(General(DIM)),
    "sparsemax": lambda: MultiHead(Sparsemax(ScaledDot()), DIM, HEADS),
    "entmax": lambda: MultiHead(Entmax(ScaledDot()), DIM, HEADS),
    "linear": lambda: MultiHead(LinearAttention(SIZE), DIM, HEADS),
    "self": lambda: itself(ScaledDot()),
    "self_sinusoidal": lambda: itself(ScaledDot(), Sinusoidal()),
    "self_learned": lambda: itself(ScaledDot(), Learned(DIM)),
    "self_shaw": lambda: itself(Shaw(SIZE)),
    "self_transformer_xl": lambda: itself(TransformerXL(SIZE, HEADS)),
    "self_rotary": lambda: itself(Rotary(ScaledDot())),
    "self_local": lambda: itself(Local(ScaledDot())),
    "self_sparsemax": lambda: itself(Sparsemax(ScaledDot())),
    "self_entmax": lambda: itself(Entmax(ScaledDot())),
    "self_linear": lambda: itself(LinearAttention(SIZE)),
}

CROSS = [  # tables that have no name of their own
    ({"score": "additive", "weights": "entmax", "heads": 3}, lambda: MultiHead(Entmax(Additive(8)), DIM, 3)),
    ({"score": "location_aware", "heads": 2}, lambda: MultiHead(LocationAware(12), DIM, 2)),
    ({"score": "dot", "mask": "local_m", "heads": 1}, lambda: MultiHead(LocalM(Dot()), DIM, 1)),
    (
        {"score": "concat", "weights": "sparsemax", "mask": "local"},
        lambda: MultiHead(LocalP(Sparsemax(Concat(SIZE)), SIZE), DIM, HEADS),
    ),
    ({"score": "additive", "weights": "mocha", "heads": 4}, lambda: MultiHead(Mocha(6), DIM, 4)),
    ({"weights": "hard", "mask": "local_m"}, lambda: MultiHead(LocalM(Hard(ScaledDot())), DIM, HEADS)),
]
ITSELF = [
    (
        {"score": "scaled_dot", "weights": "softmax", "mask": "local", "position": "rotary", "heads": 3},
        lambda: itself(Rotary(Local(ScaledDot()))),
    ),
    ({"score": "additive", "position": "learned"}, lambda: itself(Additive(SIZE), Learned(DIM))),
    ({"weights": "entmax", "position": "transformer_xl"}, lambda: itself(Entmax(TransformerXL(SIZE, HEADS)))),
    ({"weights": "sparsemax", "mask": "local", "position": "shaw"}, lambda: itself(Local(Sparsemax(Shaw(SIZE))))),
]


def same(ours, theirs):
    """Of the same parts in the same places, with the same parameters, and the same results."""
    generator = torch.Generator().manual_seed(1)
    x, other = torch.randn(2, LENGTH, DIM, generator=generator), torch.randn(2, 30, DIM, generator=generator)
    found = []
    for make in (ours, theirs):
        torch.manual_seed(0)
        mechanism = make()
        torch.manual_seed(2)  # of what samples
        read = (x, x) if isinstance(mechanism, SelfAttention) else (other, other)
        context, weights, _ = mechanism(x, *read)
        found.append((repr(mechanism), mechanism.state_dict(), context, weights))
    (parts, parameters, context, weights), (parts_2, parameters_2, context_2, weights_2) = found
    assert parts == parts_2
    assert list(parameters) == list(parameters_2)
    assert all(torch.equal(one, parameters_2[name]) for name, one in parameters.items())
    assert torch.equal(context, context_2)
    assert (weights is None) == (weights_2 is None)
    assert weights is None or torch.equal(weights, weights_2)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_ready_mechanism_is_what_its_name_says(name):
    same(lambda: MECHANISMS[name](DIM, HEADS), BY_NAME[name])


@pytest.mark.parametrize(("table", "by_hand"), CROSS)
def test_what_reads_another_sequence_is_as_composed_by_hand(table, by_hand):
    same(lambda: Composition.read("cross", table).cross_attention(DIM, HEADS), by_hand)


@pytest.mark.parametrize(("table", "by_hand"), ITSELF)
def test_what_reads_itself_is_as_composed_by_hand(table, by_hand):
    same(lambda: Composition.read("own", table).self_attention(DIM, HEADS), by_hand)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"scores": "dot"}, "unknown: here.scores; known are score, weights, mask, heads, position"),
        ({"score": "dots"}, "here.score is 'dots'; it can be uniform, scaled_dot, dot, general"),
        ({"weights": ["entmax"]}, r"here.weights is \['entmax'\]; it can be softmax, sparsemax, entmax"),
        ({"mask": "causal"}, "here.mask is 'causal'; it can be global, local, local_m"),
        ({"position": "alibi"}, "here.position is 'alibi'; it can be none, sinusoidal"),
        ({"heads": 0}, "here.heads is 0; it can be a whole number from 1"),
        ({"heads": "4"}, "here.heads is '4'"),
        ({"heads": True}, "here.heads is True"),
    ],
)
def test_a_part_that_there_is_not_is_refused_with_those_there_are(table, said):
    with pytest.raises(OptionError, match=said):
        Composition.read("here", table)


@pytest.mark.parametrize(
    ("reads_itself", "table", "why", "would"),
    [
        (False, {"position": "rotary"}, "a sequence that reads itself", "position = none$"),
        (False, {"score": "location_aware", "weights": "entmax"}, "shares its scores out itself", "weights = softmax$"),
        (False, {"weights": "monotonic"}, "additive scores alone", "score = additive; weights = softmax, sparsemax"),
        (False, {"score": "location_aware", "mask": "local_m"}, "carries a state", "mask = global$"),
        (False, {"score": "location_aware", "mask": "local"}, "carries a state", "mask = global$"),
        (False, {"weights": "hard", "mask": "local"}, "does more than share out scores", "mask = global, local_m$"),
        (
            False,
            {"heads": 5},
            r"dim \(24\) must be a whole multiple of heads \(5\)",
            "heads = 1, 2, 3, 4, 6, 8, 12, 24$",
        ),
        (True, {"score": "location_aware"}, "reads itself in no order", "score = uniform, scaled_dot, dot"),
        (True, {"score": "additive", "weights": "mocha"}, "reads itself in no order", "weights = softmax, "),
        (True, {"weights": "hard"}, "in the cross-attention alone", "weights = softmax, sparsemax"),
        (True, {"mask": "local_m"}, "along another sequence", "mask = global, local$"),
        (
            True,
            {"score": "general", "position": "rotary"},
            "does not score by q . k",
            "score = scaled_dot, dot; position",
        ),
        (
            True,
            {"score": "dot", "position": "shaw"},
            "made of scaled_dot scores",
            "score = scaled_dot; position = none",
        ),
        (True, {"position": "rotary", "heads": 8}, "even dim of at least 2, not 3", "heads = 1, 2, 3, 4, 6, 12$"),
        (True, {"position": "transformer_xl", "heads": 12}, "at least 4, not 2", "heads = 1, 2, 3, 4, 6$"),
        (
            True,
            {"score": "concat", "weights": "mocha", "position": "shaw"},
            "additive scores alone",
            "no change of one part",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_what_would(reads_itself, table, why, would):
    composition = Composition.read("here", table)
    before = torch.random.get_rng_state()
    with pytest.raises(OptionError, match=f"^here = {{ score = .* }}: .*{why}.*; .*{would}"):
        composition.check("here", DIM, HEADS, reads_itself)
    assert torch.equal(torch.random.get_rng_state(), before)  # what is tried does not change what is learned


@pytest.mark.parametrize("reads_itself", [False, True], ids=["another", "itself"])
def test_whatever_is_not_refused_attends(reads_itself):
    """Every combination there is: most go together, and what goes gives a context."""
    x, went, refused = torch.randn(1, 6, 8), 0, 0
    for parts in itertools.product(*PARTS.values()):
        one = Composition(**dict(zip(PARTS, parts, strict=True)))
        if one.refusal(8, 2, reads_itself):
            refused += 1
            continue
        mechanism = one.self_attention(8, 2) if reads_itself else one.cross_attention(8, 2)
        context, _, _ = mechanism(x, x, x)
        assert context.shape == x.shape
        assert context.isfinite().all()
        went += 1
    assert went > 50
    assert refused > 50
