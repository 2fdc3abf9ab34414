"""Shape computations over dimensions that are only known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from heddle.core.ir import Dim, Node, TensorType, Value
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.dims import difference, product, quotient, total
from heddle.core.ops.registry import attributes_of
from numpy.typing import NDArray

Dims = tuple[Dim, ...]
Lookup = Callable[[Value | None], Dims | None]


def as_array(dims: Sequence[Dim], like: Value) -> NDArray[Any]:
    """Dimensions that are all sizes, as the array of this value."""
    return np.array(dims, like.dtype).reshape(like.shape)


# -- the values of shape computations ------------------------------------------------------------------------------


def computed_dims(node: Node, known: Lookup) -> Dims | None:
    """The elements of a node's only result, a vector or scalar of dimensions; None where the operator makes none."""
    rule = _RULES.get(node.op)
    if rule is None or len(node.results) != 1 or len(node.outputs) != 1:
        return None
    dims = rule(node, known)
    if dims is not None and dims and node.results[0].tensor.size != len(dims):
        return None
    return dims


def _shape(node: Node, known: Lookup) -> Dims | None:
    type = node.operands[0].type
    if not isinstance(type, TensorType) or type.dims is None:
        return None
    attributes = attributes_of(node)
    return type.dims[attributes["start"] : attributes["end"]]


def _size(node: Node, known: Lookup) -> Dims | None:
    type = node.operands[0].type
    return None if not isinstance(type, TensorType) or type.dims is None else (product(type.dims),)


def _same(node: Node, known: Lookup) -> Dims | None:
    if node.results[0].dtype.kind not in "iu":
        return None
    return known(node.inputs[0])


def _gather(node: Node, known: Lookup) -> Dims | None:
    data, indices = known(node.inputs[0]), known(node.inputs[1])
    source = node.operands[0].tensor.dims
    if data is None or indices is None or source is None or len(source) != 1:
        return None
    if not all(isinstance(index, int) and -len(data) <= index < len(data) for index in indices):
        return None
    return tuple(data[int(index)] for index in indices)


def _concat(node: Node, known: Lookup) -> Dims | None:
    parts: list[Dim] = []
    for value in node.operands:
        dims = known(value)
        if dims is None:
            if value.tensor.size is None or len(value.tensor.dims or ()) != 1:
                return None
            dims = (UNKNOWN,) * value.tensor.size
        parts.extend(dims)
    return tuple(parts)


def _slice(node: Node, known: Lookup) -> Dims | None:
    data, source = known(node.inputs[0]), node.operands[0].tensor.dims
    if data is None or source is None or len(source) != 1:
        return None
    bounds: dict[int, int] = {}
    for position, value in enumerate(node.inputs[1:]):
        bound = known(value)
        if value is not None and (bound is None or len(bound) != 1 or isinstance(bound[0], str)):
            return None
        if bound is not None:
            bounds[position] = int(bound[0])
    step = bounds.get(3, 1)
    return data[bounds[0] : bounds[1] : step] if step > 0 else None


def _arithmetic(apply: Callable[[Dim, Dim], Dim]) -> Callable[[Node, Lookup], Dims | None]:
    def rule(node: Node, known: Lookup) -> Dims | None:
        left, right = known(node.inputs[0]), known(node.inputs[1])
        if left is None or right is None or node.results[0].dtype.kind not in "iu":
            return None
        if len(left) != len(right) and 1 not in (len(left), len(right)):
            return None
        count = max(len(left), len(right))
        left, right = (left * count if len(left) == 1 else left), (right * count if len(right) == 1 else right)
        return tuple(apply(a, b) for a, b in zip(left, right, strict=True))

    return rule


def _add(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if any(isinstance(number, int) and number < 0 for number in (a, b)):
        return difference(a, -b) if isinstance(b, int) else difference(b, -a) if isinstance(a, int) else UNKNOWN
    return total([a, b])


def _subtract(a: Dim, b: Dim) -> Dim:
    return _add(a, -b) if isinstance(b, int) else difference(a, b)


def _multiply(a: Dim, b: Dim) -> Dim:
    return product([a, b])


def _divide(a: Dim, b: Dim) -> Dim:
    return quotient([a], [b])


def _equal(node: Node, known: Lookup) -> Dims | None:
    """A dimension is never negative, so it differs from every negative number."""

    def compare(a: Dim, b: Dim) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return int(a == b)
        if (isinstance(a, int) and a < 0) or (isinstance(b, int) and b < 0):
            return 0
        return 1 if a == b != UNKNOWN else UNKNOWN

    left, right = known(node.inputs[0]), known(node.inputs[1])
    if left is None or right is None or len(left) != len(right):
        return None
    return tuple(compare(a, b) for a, b in zip(left, right, strict=True))


def _where(node: Node, known: Lookup) -> Dims | None:
    parts = [known(value) for value in node.inputs]
    if any(part is None or len(part) != len(parts[0] or ()) for part in parts):
        return None
    condition, yes, no = (part or () for part in parts)
    choose = {1: 0, 0: 1}
    return tuple(
        (a, b)[choose[int(c)]] if isinstance(c, int) else a if a == b else UNKNOWN
        for c, a, b in zip(condition, yes, no, strict=True)
    )


def _reduce_product(node: Node, known: Lookup) -> Dims | None:
    dims = known(node.inputs[0])
    return None if dims is None or node.results[0].tensor.size != 1 else (product(dims),)


_RULES: Mapping[str, Callable[[Node, Lookup], Dims | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Equal": _equal,
    "Where": _where,
    "ReduceProd": _reduce_product,
    "Add": _arithmetic(_add),
    "Sub": _arithmetic(_subtract),
    "Mul": _arithmetic(_multiply),
    "Div": _arithmetic(_divide),
    **dict.fromkeys(("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten"), _same),
}

COMPUTED = frozenset(_RULES)
"""Operators that compute with dimensions."""


# -- shapes that follow from them ----------------------------------------------------------------------------------


def result_dims(node: Node, known: Lookup) -> Dims | None:
    """The dimensions of the result of an operator that is told them as an operand; None when they do not follow."""
    if node.op == "Reshape":
        return _reshaped(node, known(node.inputs[1]))
    if node.op == "Expand":
        return _expanded(node, known(node.inputs[1]))
    if node.op == "Range":
        start, limit, step = (known(value) for value in node.inputs)
        return limit if start == (0,) and step == (1,) else None
    return None


def _reshaped(node: Node, shape: Dims | None) -> Dims | None:
    if shape is None:
        return None
    source = node.operands[0].tensor.dims
    zero = attributes_of(node)["allowzero"]
    dims: list[Dim] = []
    for axis, dim in enumerate(shape):
        if dim == 0 and not zero:
            dims.append(source[axis] if source is not None and axis < len(source) else UNKNOWN)
        else:
            dims.append(dim)
    if dims.count(-1) == 1:
        at = dims.index(-1)
        rest = dims[:at] + dims[at + 1 :]
        dims[at] = UNKNOWN if source is None or 0 in rest else quotient(source, rest)
    elif UNKNOWN in dims and dims.count(UNKNOWN) == 1 and source is not None and -1 not in dims and 0 not in dims:
        at = dims.index(UNKNOWN)
        dims[at] = quotient(source, dims[:at] + dims[at + 1 :])
    return tuple(UNKNOWN if isinstance(dim, int) and dim < 0 else dim for dim in dims)


def _expanded(node: Node, shape: Dims | None) -> Dims | None:
    source = node.operands[0].tensor.dims
    if shape is None or source is None:
        return None
    rank = max(len(shape), len(source))
    dims: list[Dim] = []
    for wanted, here in zip((1,) * (rank - len(shape)) + shape, (1,) * (rank - len(source)) + source, strict=True):
        if here == 1 or wanted == here:
            dims.append(wanted)
        elif wanted == 1 or isinstance(here, int):
            dims.append(here)
        else:
            dims.append(wanted if isinstance(wanted, int) else UNKNOWN)
    return tuple(dims)
