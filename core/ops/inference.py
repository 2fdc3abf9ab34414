"""What is known of values before the graph runs: their types, and the values of shape computations."""

from __future__ import annotations

import math
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import Dim, Node, TensorType, Type, Value
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops import symbols
from heddle.core.ops.registry import evaluate_node, infer_node
from heddle.core.ops.shapes import MAX_RANK
from numpy.typing import NDArray

LIMIT = 1024
"""The most elements of a value that is computed only to learn shapes."""

SHAPE_OPS = frozenset(
    (
        *("Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Reshape", "Flatten", "Range", "Transpose"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Floor", "Ceil", "Min", "Max", "Where", "Equal", "Less"),
        *("Greater", "Not", "And", "Or", "Identity", "Expand", "ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax"),
        *("Tile", "Split", "GatherElements", "ScatterElements", "ScatterND", "Sqrt", "Pow", "CumSum"),
    )
)

_LEARNT = SHAPE_OPS | symbols.COMPUTED
"""Operators of whose results anything can be known."""


class Inference:
    """Types nodes one after the other, and remembers the values that are known, wholly or as dimensions."""

    def __init__(self) -> None:
        self.known: dict[Value, NDArray[Any]] = {}
        self.dims: dict[Value, tuple[Dim, ...]] = {}

    def types(self, node: Node) -> tuple[Type, ...]:
        """The types of a node's outputs, whatever its outputs are said to be."""
        types = infer_node(node, self.known)
        for type in types:
            _check(node, type)
        refined = symbols.result_dims(node, self.dims_of)
        if refined is None or not isinstance(types[0], TensorType):
            return types
        return (TensorType(types[0].dtype, merged_dims(types[0].dims, refined)), *types[1:])

    def dims_of(self, value: Value | None) -> tuple[Dim, ...] | None:
        """The elements of a vector (or scalar) of dimensions, where at least some of them are known."""
        if value is None:
            return None
        array = self.known.get(value)
        if array is None:
            return self.dims.get(value)
        if array.dtype.kind not in "iub" or array.ndim > 1 or array.size > LIMIT:
            return None
        return tuple(int(item) for item in array.reshape(-1))

    def learn(self, node: Node) -> None:
        """Remember the values of a node's outputs where they can be known cheaply."""
        if node.op not in _LEARNT or not node.results or not all(_is_small(value.type) for value in node.results):
            return
        if node.op in SHAPE_OPS and all(v in self.known and self.known[v].size <= LIMIT for v in node.operands):
            operands = [None if value is None else self.known[value] for value in node.inputs]
            for value, array in zip(node.outputs, evaluate_node(node, operands), strict=False):
                if value is not None:
                    self.known[value] = array
            return
        dims = symbols.computed_dims(node, self.dims_of)
        if dims is None or all(dim == UNKNOWN for dim in dims):
            return
        (result,) = node.results
        if all(isinstance(dim, int) for dim in dims):
            self.known[result] = symbols.as_array(dims, result)
        else:
            self.dims[result] = dims


def _check(node: Node, type: Type) -> None:
    """GraphError for a tensor that cannot be: of too many dimensions, or of a negative one."""
    if not isinstance(type, TensorType) or type.dims is None:
        return
    if len(type.dims) > MAX_RANK or any(isinstance(dim, int) and dim < 0 for dim in type.dims):
        raise GraphError(f"{node.op}: its result would be {type}")


def _is_small(type: Type) -> bool:
    """True for tensors that are cheap to compute, also in each dimension."""
    shape = type.shape if isinstance(type, TensorType) else None
    return shape is not None and math.prod(shape) <= LIMIT and all(size <= LIMIT for size in shape)


def merged_dims(left: tuple[Dim, ...] | None, right: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """What two descriptions of one shape say together: sizes before symbols before nothing; the left one first."""
    if left is None or right is None:
        return right if left is None else left
    if len(left) != len(right):
        raise GraphError(f"one value has {len(left)} and {len(right)} dimensions")
    return tuple(_merged(a, b) for a, b in zip(left, right, strict=True))


def merged_type(left: Type, right: Type) -> Type:
    """What two descriptions of one value say together; where they contradict each other, the left one holds."""
    if not isinstance(left, TensorType) or not isinstance(right, TensorType) or left.dtype != right.dtype:
        return left
    if left.dims is not None and right.dims is not None and len(left.dims) != len(right.dims):
        return left
    return TensorType(left.dtype, merged_dims(left.dims, right.dims))


def _merged(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int):
        return left
    return right if isinstance(right, int) or left == UNKNOWN else left
