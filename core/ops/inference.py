"""What is known of values before the graph runs: their types, and the values of shape computations."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.ir import Node, TensorType, Type, Value
from heddle.core.ops.registry import evaluate_node, infer_node
from numpy.typing import NDArray

LIMIT = 1024
"""The most elements of a value that is computed only to learn shapes."""

_SHAPE_OPS = frozenset(
    (
        *("Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Reshape", "Flatten", "Range"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Floor", "Ceil", "Min", "Max", "Where", "Equal", "Less"),
        *("Greater", "Not", "And", "Or", "Identity", "Expand", "ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax"),
        *("Transpose", "Tile", "Split", "GatherElements", "ScatterElements", "ScatterND", "Sqrt", "Pow", "CumSum"),
    )
)


class Inference:
    """Types nodes one after the other, and remembers the values that are known."""

    def __init__(self) -> None:
        self.known: dict[Value, NDArray[Any]] = {}

    def types(self, node: Node) -> tuple[Type, ...]:
        """The types of a node's outputs, whatever its outputs are said to be."""
        return infer_node(node, self.known)

    def learn(self, node: Node) -> None:
        """Remember the values of a node's outputs where they can be known cheaply."""
        if node.op not in _SHAPE_OPS:
            return
        if any(not isinstance(v.type, TensorType) or v.type.size is None or v.type.size > LIMIT for v in node.results):
            return
        if node.op in ("Shape", "Size"):
            (source,) = node.operands
            if not isinstance(source.type, TensorType) or source.type.shape is None:
                return
            operands = [np.broadcast_to(np.zeros((), source.type.dtype), source.type.shape)]
        else:
            if any(value not in self.known or self.known[value].size > LIMIT for value in node.operands):
                return
            operands = [None if value is None else self.known[value] for value in node.inputs]  # type: ignore[misc]
        for value, array in zip(node.outputs, evaluate_node(node, operands), strict=False):
            if value is not None:
                self.known[value] = array
