"""Composites of a region as the operators that they stand for, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from heddle.backends.onednn.patterns import gelu_by_erf
from heddle.backends.onednn.quantization import Array
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.plugin import Region


def spelled(region: Region) -> Graph:
    """The region's graph with each GELU as one node, and quantized operators as real ones between conversions."""
    graph = with_gelu(region)
    writing = Writing(graph)
    for node in graph.nodes:
        SPELLINGS.get(node.op, Writing.add)(writing, node)
    return graph.replace(nodes=tuple(writing.nodes), constants={**graph.constants, **writing.constants})


def with_gelu(region: Region) -> Graph:
    """The region's graph with each GELU that is spelled out as one node."""
    graph = region.body
    whole: dict[Value, Node] = {}
    inner: set[Value] = set()
    for match in region.matches:
        if match.pattern is gelu_by_erf:
            (result,) = match.outputs
            whole[result] = Node("Gelu", (match["x"],), (result,), name=match.nodes[-1].name)
            inner.update(value for node in match.nodes for value in node.results)
    nodes = [
        whole.get(node.results[0], node)
        for node in graph.nodes
        if node.results[0] in whole or node.results[0] not in inner
    ]
    return graph.replace(nodes=tuple(nodes))


class Writing:
    """The nodes and constants of a graph that is written anew; values are named after the result that they make."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.constants: dict[Value, Array] = {}

    def add(self, node: Node) -> None:
        self.nodes.append(node)

    def constant(self, name: str, array: Array) -> Value:
        value = Value(name, TensorType(array.dtype, array.shape))
        self.constants[value] = array
        return value

    def real(self, name: str, shape: tuple[int, ...]) -> Value:
        return Value(name, TensorType(np.dtype(np.float32), shape))

    def dequantized(self, name: str, x: Value, scale: Value, zero: Value | None, axis: int) -> Value:
        """`x` as DequantizeLinear makes it real."""
        result = self.real(name, x.shape)
        self.add(Node("DequantizeLinear", (x, scale, zero), (result,), {"axis": axis}))
        return result


def _qlinear_conv(writing: Writing, node: Node) -> None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs
    out = node.results[0]
    assert x is not None
    assert w is not None
    assert x_scale is not None
    assert w_scale is not None
    operands = [
        writing.dequantized(f"{out.name} data", x, x_scale, x_zero, 0),
        writing.dequantized(f"{out.name} weights", w, w_scale, w_zero, 0),
    ]
    if rest and rest[0] is not None:
        # The bias counts in products of data and weights.
        of_bias = writing.graph.constants[x_scale].reshape(()) * writing.graph.constants[w_scale]
        scale = writing.constant(f"{out.name} scale of bias", np.asarray(of_bias, np.float32))
        operands.append(writing.dequantized(f"{out.name} bias", rest[0], scale, None, 0))
    total = writing.real(f"{out.name} as real", out.shape)
    writing.add(Node("Conv", tuple(operands), (total,), node.attrs, node.name))
    writing.add(Node("QuantizeLinear", (total, y_scale, y_zero), (out,), {}, node.name))


def _qlinear_matmul(writing: Writing, node: Node) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    out = node.results[0]
    assert a is not None
    assert b is not None
    assert a_scale is not None
    assert b_scale is not None
    left = writing.dequantized(f"{out.name} left", a, a_scale, a_zero, 0)
    right = writing.dequantized(f"{out.name} right", b, b_scale, b_zero, len(b.shape) - 1)
    total = writing.real(f"{out.name} as real", out.shape)
    writing.add(Node("MatMul", (left, right), (total,), {}, node.name))
    writing.add(Node("QuantizeLinear", (total, y_scale, y_zero), (out,), {}, node.name))


def _matmul_integer(writing: Writing, node: Node) -> None:
    a, b, *zeros = node.inputs
    out = node.results[0]
    assert a is not None
    assert b is not None
    a_zero, b_zero = (*zeros, None, None)[:2]
    one = writing.constant(f"{out.name} one", np.ones((), np.float32))
    left = writing.dequantized(f"{out.name} left", a, one, a_zero, 0)
    right = writing.dequantized(f"{out.name} right", b, one, b_zero, 0)
    total = writing.real(f"{out.name} as real", out.shape)
    writing.add(Node("MatMul", (left, right), (total,), {}, node.name))
    writing.add(Node("Cast", (total,), (out,), {"to": "int32"}, node.name))


SPELLINGS: Mapping[str, Callable[[Writing, Node], None]] = {
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "MatMulInteger": _matmul_integer,
}
