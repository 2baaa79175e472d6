"""8 bits without coupling rows.

Stock dynamic quantisation takes one scale from a whole activation tensor, so what one
row yields depends on its neighbours: on the batch, on the padding, on how many tokens
are verified at once. Here each row has its own:

    scale = max |x| / 127        q = round(x / scale) + 128, in 1 .. 255
    y     = (q - 128) W_q * scale * W_scale

with signed 8-bit weights and a scale for each output channel. Integer sums do not depend
on their order, so a row's result is the same bits whatever else is in the tensor.

The embedding and the output layer are one matrix and share one 8-bit initialiser.
The front end and the convolutions stay fp32: they are small, and see the raw samples.

Limit: x86 processors without VNNI (before Ice Lake, before Zen 4) add products of
neighbouring pairs in 16 bits and saturate; large activations then lose accuracy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

LEVELS = 127  # each side of zero
ZERO_POINT = 128
SMALLEST_SCALE = 1e-12  # of a row of zeros
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter writes which module a node comes from
KEPT = ("front_end", "conv1", "conv2")  # modules that stay fp32


def quantise_rows(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Columns of (inputs, outputs) to signed 8 bits, and the scale of each output channel (outputs,)."""
    scale = np.maximum(np.abs(weights).max(axis=0) / LEVELS, SMALLEST_SCALE).astype(np.float32)
    return np.round(weights / scale).astype(np.int8), scale


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every MatMul by a constant in 8 bits, and the embedding that shares its matrix."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    _Quantiser(quantised.graph).run()
    onnx.checker.check_model(quantised)
    return quantised


@dataclass(frozen=True)
class _Matrix:
    """An 8-bit weight: names of its initialisers."""

    values: str  # (inputs, outputs) int8
    scale: str  # (outputs,) float


class _Quantiser:
    """Rewrites one graph; the nodes are written anew in order."""

    def __init__(self, graph: onnx.GraphProto):
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.transposed = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Transpose" and node.input[0] in self.constants
        }
        self.matrices: dict[str, _Matrix] = {}
        self.rows: dict[str, tuple[str, str]] = {}  # activation -> its 8-bit rows, their scales
        self.nodes: list[NodeProto] = []

    def run(self) -> None:
        shared = {self.transposed.get(name, name) for name in self._weights_multiplied()}
        self._add("zero_point", np.uint8(ZERO_POINT))
        self._add("offset", np.float32(ZERO_POINT))
        self._add("levels", np.float32(LEVELS))
        self._add("smallest_scale", np.float32(SMALLEST_SCALE))
        self._add("last_axis", np.array([-1]))
        for node in self.graph.node:
            if node.op_type == "MatMul" and self._weight_of(node) is not None:
                self._multiply(node)
            elif node.op_type == "Gather" and node.input[0] in shared:
                self._embed(node)
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self._drop_unused()

    def _weights_multiplied(self) -> list[str]:
        return [node.input[1] for node in self.graph.node if node.op_type == "MatMul" and self._weight_of(node)]

    def _weight_of(self, node: NodeProto) -> str | None:
        """The float matrix that a MatMul multiplies by, if it is a constant and not to be kept."""
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
        if any(module in scopes for module in KEPT):
            return None
        name = self.transposed.get(node.input[1], node.input[1])
        tensor = self.constants.get(name)
        return name if tensor is not None and len(tensor.dims) == 2 else None

    def _matrix(self, name: str, turned: bool) -> _Matrix:
        """Quantise an initialiser once; turned: it is stored (outputs, inputs)."""
        if name not in self.matrices:
            weights = numpy_helper.to_array(self.constants[name])
            values, scale = quantise_rows(weights.T if turned else weights)
            self.matrices[name] = _Matrix(
                self._add(f"{name}.int8", np.ascontiguousarray(values)), self._add(f"{name}.scale", scale)
            )
        return self.matrices[name]

    def _multiply(self, node: NodeProto) -> None:
        source = self._weight_of(node)
        assert source is not None
        matrix = self._matrix(source, turned=node.input[1] in self.transposed)
        rows, row_scale = self._quantised_rows(node.input[0])
        name = node.output[0]
        total = self._node("MatMulInteger", [rows, matrix.values, "zero_point"], f"{name}.sums")
        total = self._node("Cast", [total], f"{name}.float_sums", to=TensorProto.FLOAT)
        total = self._node("Mul", [total, row_scale], f"{name}.row_scaled")
        self._node("Mul", [total, matrix.scale], name)

    def _quantised_rows(self, x: str) -> tuple[str, str]:
        """The rows of an activation in 8 bits, computed once for all who read them."""
        if x not in self.rows:
            size = self._node("Abs", [x], f"{x}.size")
            peak = self._node("ReduceMax", [size, "last_axis"], f"{x}.peak", keepdims=1)
            scale = self._node("Div", [peak, "levels"], f"{x}.raw_scale")
            scale = self._node("Max", [scale, "smallest_scale"], f"{x}.scale")
            steps = self._node("Div", [x, scale], f"{x}.steps")
            steps = self._node("Round", [steps], f"{x}.whole_steps")
            steps = self._node("Add", [steps, "offset"], f"{x}.offset_steps")
            self.rows[x] = self._node("Cast", [steps], f"{x}.uint8", to=TensorProto.UINT8), scale
        return self.rows[x]

    def _embed(self, node: NodeProto) -> None:
        """Look tokens up in the output layer's columns: (dim, vocabulary) by (batch, targets)."""
        matrix = self._matrix(node.input[0], turned=True)
        tokens, name = node.input[1], node.output[0]
        columns = self._node("Gather", [matrix.values, tokens], f"{name}.columns", axis=1)
        columns = self._node("Cast", [columns], f"{name}.float_columns", to=TensorProto.FLOAT)
        rows = self._node("Transpose", [columns], f"{name}.rows", perm=[1, 2, 0])
        scale = self._node("Gather", [matrix.scale, tokens], f"{name}.token_scale", axis=0)
        scale = self._node("Unsqueeze", [scale, "last_axis"], f"{name}.token_scales")
        self._node("Mul", [rows, scale], name)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _add(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _drop_unused(self) -> None:
        """Remove the float weights, and the transpositions that only they needed."""
        used = {name for node in self.graph.node if node.op_type != "Transpose" for name in node.input}
        used |= {tensor.name for tensor in self.graph.output}
        kept = [
            node
            for node in self.graph.node
            if node.op_type != "Transpose" or node.input[0] not in self.constants or node.output[0] in used
        ]
        used |= {name for node in kept for name in node.input}
        initialisers = [tensor for tensor in self.graph.initializer if tensor.name in used]
        for field, values in ((self.graph.node, kept), (self.graph.initializer, initialisers)):
            del field[:]
            field.extend(values)
