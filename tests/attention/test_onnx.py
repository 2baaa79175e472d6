"""What is exported is what was trained: torch against onnxruntime, at two lengths.

An export takes seconds, so each graph holds many mechanisms: those that take any number of targets,
those that take them in order, and sequences that read themselves.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from torch.export import Dim  # noqa: E402

from asr.attention import MECHANISMS, Local, ScaledDot  # noqa: E402
from asr.attention.masks import causal_mask, padding_mask  # noqa: E402

BATCH, DIM, HEADS, OPSET = 2, 12, 3, 20
COVERED = ("self", "self_sparsemax", "self_entmax")  # by tests/export, and with what is AT_ONCE
SELF = [name for name in MECHANISMS if name.startswith("self") and name not in COVERED]
IN_ORDER = ["location_aware", "monotonic", "mocha", "local_m"]  # all that carry a state, and so take a target a call
AT_ONCE = [name for name in MECHANISMS if name not in (*SELF, *IN_ORDER, *COVERED)]


class Together(torch.nn.Module):
    """Mechanisms by name, each with a state of its own: tensors in and out, as model.json's states."""

    def __init__(self, mechanisms, reads_itself=False):
        super().__init__()
        self.mechanisms = torch.nn.ModuleDict(mechanisms)
        self.reads_itself = reads_itself

    def forward(self, query, source, lengths, states):
        results = []
        seen = padding_mask(lengths, source.shape[1])
        if self.reads_itself:
            past = states[0][0].shape[2]
            seen, source = causal_mask(query.shape[1], past) & padding_mask(lengths, past + query.shape[1]), query
        for mechanism, state in zip(self.mechanisms.values(), states, strict=True):
            context, weights, state = mechanism(query, source, source * 0.5, seen, state or None)
            results += [context, *([] if weights is None else [weights]), *(state or ())]
        return results


def exported(model, example, dynamic, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations inside torch
        program = torch.onnx.export(
            model, example, dynamo=True, dynamic_shapes=dynamic, opset_version=OPSET, verbose=False
        )
    program.save(str(path))
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def agree(model, session, example):
    with torch.inference_mode():
        expected = model(*example)
    query, source, lengths, states = example
    tensors = [query, source, lengths, *(tensor for state in states for tensor in state)]
    names = [item.name for item in session.get_inputs()]
    assert len(names) == len(tensors)
    results = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
    assert len(results) == len(expected)
    for ours, theirs in zip(expected, results, strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-4, atol=1e-5)
    return expected


def speech(targets, sources):
    generator = torch.Generator().manual_seed(sources)
    query, source = (torch.randn(BATCH, length, DIM, generator=generator) for length in (targets, sources))
    return query, source, torch.tensor([sources, sources - 2 if sources < 20 else 0])  # of the long ones one is silence


def test_any_number_of_targets_at_once(build, tmp_path):
    model = Together({name: build(MECHANISMS[name], DIM, HEADS) for name in AT_ONCE}).eval()
    states = [[]] * len(AT_ONCE)
    targets, sources = Dim("targets"), Dim("sources")
    session = exported(
        model,
        (*speech(3, 9), states),
        ({1: targets}, {1: sources}, {}, [[]] * len(AT_ONCE)),
        tmp_path / "at_once.onnx",
    )
    for lengths in ((1, 6), (5, 23)):
        agree(model, session, (*speech(*lengths), states))


def test_target_by_target_with_what_is_carried(build, tmp_path):
    mechanisms = {name: build(MECHANISMS[name], DIM, HEADS) for name in IN_ORDER}
    model = Together(mechanisms).eval()

    def start(source):
        return [list(mechanism.start(source)) for mechanism in mechanisms.values()]

    query, source, lengths = speech(1, 9)
    rows, sources = Dim("rows"), Dim("sources")
    shapes = [
        [{0: rows, **({2: sources} if "sources" in one.shape else {})} for one in mechanism.carried]
        for mechanism in mechanisms.values()
    ]
    example = query, source, lengths, start(source)
    session = exported(
        model, example, ({0: rows}, {0: rows, 1: sources}, {0: rows}, shapes), tmp_path / "in_order.onnx"
    )
    for count in (6, 23):
        _, source, lengths = speech(1, count)
        states = start(source)
        for step in range(3):
            query = torch.randn(BATCH, 1, DIM, generator=torch.Generator().manual_seed(step))
            results = agree(model, session, (query, source, lengths, states))
            states = [[next_state] for next_state in results[2::3]]  # each gave context, weights, and what it carries


def test_sequences_that_read_themselves_go_on_where_they_were(build, tmp_path):
    mechanisms = {name: build(MECHANISMS[name], DIM, HEADS) for name in SELF}
    model = Together(mechanisms, reads_itself=True).eval()

    def example(targets, past):
        generator = torch.Generator().manual_seed(past)
        query, _, lengths = speech(targets, targets + past)
        shapes = [[one.shape for one in mechanism.carried] for mechanism in mechanisms.values()]
        grown = [(HEADS, past, DIM // HEADS)] * 2
        states = [[torch.rand(BATCH, *shape, generator=generator) for shape in own or grown] for own in shapes]
        return query, query.clone(), lengths, states

    shapes = [[{}] * 2 if mechanism.carried else [{2: Dim("past")}] * 2 for mechanism in mechanisms.values()]
    session = exported(model, example(3, 4), ({}, {}, {}, shapes), tmp_path / "self.onnx")
    for past in (6, 23):
        agree(model, session, example(3, past))


class InBlocks(torch.nn.Module):
    """Windows computed alone, so that the cost is that of the length."""

    def __init__(self):
        super().__init__()
        self.window = Local(ScaledDot(), reach=4, weights=False)

    def forward(self, query, source, lengths, states):
        return [self.window(query, query, query, padding_mask(lengths, query.shape[1]))[0]]


def test_windows_in_blocks_at_any_length(tmp_path):
    frames = Dim("frames")
    session = exported(InBlocks(), (*speech(9, 9), []), ({1: frames}, {1: frames}, {}, []), tmp_path / "blocks.onnx")
    for length in (6, 8, 23):
        agree(InBlocks(), session, (*speech(length, length), []))
