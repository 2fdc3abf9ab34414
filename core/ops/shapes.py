"""Pieces of type rules: axes, dimensions and what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import OptionalType, SequenceType, TensorType, Type
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import Operand
from numpy.typing import NDArray

Dims = tuple[Dim, ...]
Axes = tuple[int, ...] | None

MAX_RANK = 64
"""The most dimensions of a tensor: what numpy can hold."""


def axis_of(name: str, axis: int, rank: int) -> int:
    """An axis counted from the front; GraphError when the rank has no such axis."""
    if not -rank <= axis < rank:
        raise GraphError(f"{name}: axis {axis} does not exist, the rank is {rank}")
    return axis % rank


def axes_of(name: str, axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, each once."""
    found = tuple(axis_of(name, int(axis), rank) for axis in axes)
    if len(set(found)) != len(found):
        raise GraphError(f"{name}: an axis is named twice: {list(found)}")
    return found


def ints(value: NDArray[Any]) -> tuple[int, ...]:
    """A one-dimensional (or scalar) integer array as Python integers."""
    return tuple(int(item) for item in np.asarray(value).reshape(-1))


def known_ints(operand: Operand) -> tuple[int, ...] | None:
    """The Python integers of an operand that is constant, else None."""
    return None if operand.value is None else ints(operand.value)


def reduced_type(data: TensorType, axes: Axes | int, keepdims: bool, name: str = "Reduce") -> TensorType:
    """The type after a reduction along axes (None: all); an int says only how many of them there are (or -1)."""
    if data.dims is None:
        return TensorType(data.dtype, () if axes is None and not keepdims else None)
    rank = len(data.dims)
    if isinstance(axes, int):
        left = rank if keepdims else rank - axes if axes >= 0 else None
        return TensorType(data.dtype, unknown(left))
    gone = axes_of(name, range(rank) if axes is None else axes, rank)
    if keepdims:
        return TensorType(data.dtype, tuple(1 if i in gone else dim for i, dim in enumerate(data.dims)))
    return TensorType(data.dtype, tuple(dim for i, dim in enumerate(data.dims) if i not in gone))


def merged(name: str, types: Sequence[TensorType]) -> Dims | None:
    """The dimensions that tensors of one shape share: what is known of any of them."""
    known = [type.dims for type in types if type.dims is not None]
    if not known:
        return None
    if len({len(dims) for dims in known}) > 1:
        raise GraphError(f"{name}: ranks differ: {' and '.join(str(type) for type in types)}")
    return tuple(same_dim(name, column) for column in zip(*known, strict=True))


def same_dim(name: str, dims: Sequence[Dim]) -> Dim:
    """One dimension from several that must be equal: a size if one is known, else a symbol, else unknown."""
    sizes = sorted({dim for dim in dims if isinstance(dim, int)})
    if len(sizes) > 1:
        raise GraphError(f"{name}: dimensions differ: {' and '.join(str(size) for size in sizes)}")
    symbols = [dim for dim in dims if isinstance(dim, str) and dim != UNKNOWN]
    return sizes[0] if sizes else symbols[0] if symbols else UNKNOWN


def joined(name: str, a: Type, b: Type) -> Type:
    """The type of a value that is of either type: what both know of it."""
    if isinstance(a, SequenceType) and isinstance(b, SequenceType):
        return SequenceType(joined(name, a.element, b.element))
    if isinstance(a, OptionalType) and isinstance(b, OptionalType):
        return OptionalType(joined(name, a.element, b.element))
    if isinstance(a, OptionalType) != isinstance(b, OptionalType):
        whole, other = (a, b) if isinstance(a, OptionalType) else (b, a)
        return joined(name, whole, OptionalType(other))
    if not isinstance(a, TensorType) or not isinstance(b, TensorType) or a.dtype != b.dtype:
        raise GraphError(f"{name}: the types differ: {a} and {b}")
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return with_dims(a, None)
    return with_dims(a, tuple(x if x == y else UNKNOWN for x, y in zip(a.dims, b.dims, strict=True)))


def with_dims(type: TensorType, dims: Dims | None) -> TensorType:
    """The type with other dimensions."""
    return TensorType(type.dtype, dims)


def unknown(rank: int | None) -> Dims | None:
    """A rank of which no dimension is known; GraphError beyond what numpy can hold."""
    if rank is not None and rank > MAX_RANK:
        raise GraphError(f"a result has {rank} dimensions, at most {MAX_RANK} are possible")
    return None if rank is None else (UNKNOWN,) * rank


def length_of(vector: Operand) -> int | None:
    """How many elements a one-dimensional operand has, if that is known."""
    if vector.value is not None:
        return int(vector.value.size)
    dims = vector.dims
    if dims is None or not dims or isinstance(dims[0], str):
        return 1 if dims == () else None
    return dims[0]


def scalar_of(operand: Operand | None) -> Any:
    """The Python number of a constant operand with one element, or None when it is not known."""
    return None if operand is None or operand.value is None else operand.value.reshape(-1)[0].item()
