"""Elementwise operators of one operand as the library's algorithms with two numbers."""

from __future__ import annotations

import numpy as np
from heddle.backends.onednn.program import Post
from heddle.core.ir import Graph, Node, Value
from heddle.core.pattern import attribute

_PLAIN = {
    "Relu": ("relu", 0.0, 0.0), "Sigmoid": ("logistic", 0.0, 0.0), "Tanh": ("tanh", 0.0, 0.0),
    "Abs": ("abs", 0.0, 0.0), "Sqrt": ("sqrt", 0.0, 0.0), "Exp": ("exp", 0.0, 0.0),
    "Softplus": ("soft_relu", 1.0, 0.0), "Mish": ("mish", 0.0, 0.0), "HardSwish": ("hardswish", 1 / 6, 0.5),
    "Neg": ("linear", -1.0, 0.0),
}  # fmt: skip
_SMALLEST_INVERTED = 1e-30
"""Numbers of a less extreme magnitude have an inverse that is a normal number."""
_LARGEST = float(np.finfo(np.float32).max)


def eltwise(node: Node, graph: Graph) -> Post | None:
    """The library's form of an operator, None when it is no such one."""
    if node.op in _PLAIN:
        return Post(*_PLAIN[node.op])
    match node.op:
        case "LeakyRelu":
            return Post("relu", float(attribute(node, "alpha")), 0.0)
        case "Elu":
            return Post("elu", float(attribute(node, "alpha")), 0.0)
        case "HardSigmoid":
            return Post("hardsigmoid", float(attribute(node, "alpha")), float(attribute(node, "beta")))
        case "Gelu":
            return Post("gelu_tanh" if attribute(node, "approximate") == "tanh" else "gelu_erf")
        case "Clip":
            bounds = [graph.constants.get(value) if value is not None else None for value in node.inputs[1:3]]
            low, high = (*bounds, None, None)[:2]
            return Post(
                "clip",
                -_LARGEST if low is None else float(low.reshape(-1)[0]),
                _LARGEST if high is None else float(high.reshape(-1)[0]),
            )
        case "Add" | "Sub" | "Mul" | "Div":
            return _linear(node, graph)
    return None


def variable(node: Node, graph: Graph) -> Value:
    """The operand of an elementwise operator that is not a number."""
    return next(operand for operand in node.operands if operand not in graph.constants)


def _linear(node: Node, graph: Graph) -> Post | None:
    """An operator with one number, as a multiple and a sum."""
    numbers = [graph.constants[value] for value in node.operands if value in graph.constants]
    if len(numbers) != 1 or numbers[0].size != 1 or variable(node, graph).shape != node.results[0].shape:
        return None
    number = np.float32(numbers[0].reshape(()))
    first = node.operands[0] in graph.constants
    match node.op:
        case "Add":
            return Post("linear", 1.0, float(number))
        case "Sub":
            return Post("linear", -1.0, float(number)) if first else Post("linear", 1.0, -float(number))
        case "Mul":
            return Post("linear", float(number), 0.0)
    if first or not _SMALLEST_INVERTED < abs(number) < 1 / _SMALLEST_INVERTED:
        return None
    return Post("linear", float(1 / number), 0.0)
