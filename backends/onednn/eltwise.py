"""Elementwise operators of one operand as the library's algorithms with two numbers."""

from __future__ import annotations

import numpy as np
from heddle.backends.onednn.program import Post
from heddle.core.ir import Graph, Node
from heddle.core.pattern import attribute

_PLAIN = {
    "Relu": ("relu", 0.0, 0.0), "Sigmoid": ("logistic", 0.0, 0.0), "Tanh": ("tanh", 0.0, 0.0),
    "Abs": ("abs", 0.0, 0.0), "Sqrt": ("sqrt", 0.0, 0.0), "Exp": ("exp", 0.0, 0.0),
    "Softplus": ("soft_relu", 1.0, 0.0), "Mish": ("mish", 0.0, 0.0), "HardSwish": ("hardswish", 1 / 6, 0.5),
    "Neg": ("linear", -1.0, 0.0),
}  # fmt: skip
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
    return None
