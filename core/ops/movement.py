"""The same elements in another shape or order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, tensor
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.dims import product, quotient
from heddle.core.ops.registry import Operand, broadcast, op, same_type
from heddle.core.ops.shapes import axes_of, axis_of, ints, length_of, unknown, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]


@op("Identity", infer=same_type)
def identity(input: Any) -> Any:
    return input


# -- shapes as values -------------------------------------------------------------------------------------------


def shape_type(data: Operand, *, start: int, end: int | None) -> Type:
    if data.rank is None:
        return tensor("int64", UNKNOWN)
    return tensor("int64", len(range(data.rank)[start:end]))


@op("Shape", infer=shape_type)
def shape(data: Array, *, start: int = 0, end: int | None = None) -> Array:
    return np.array(data.shape[start:end], np.int64)


def size_type(data: Operand) -> Type:
    return tensor("int64")


@op("Size", infer=size_type)
def size(data: Array) -> Array:
    return np.asarray(data.size, np.int64)


# -- new shapes -------------------------------------------------------------------------------------------------


def reshape_type(data: Operand, shape: Operand, *, allowzero: int) -> Type:
    if shape.value is None:
        return with_dims(data.tensor, unknown(length_of(shape)))
    target = ints(shape.value)
    if min(target, default=0) < -1 or target.count(-1) > 1:
        raise GraphError(f"Reshape: the shape is {list(target)}, it may hold sizes and at most one -1")
    copied = [i for i, dim in enumerate(target) if dim == 0 and not allowzero]
    if data.dims is None:
        return with_dims(
            data.tensor, tuple(UNKNOWN if dim == -1 or i in copied else dim for i, dim in enumerate(target))
        )
    if copied and copied[-1] >= len(data.dims):
        raise GraphError(f"Reshape: dimension {copied[-1]} cannot be copied from {data.type}")
    dims: list[Dim] = [data.dims[i] if i in copied else dim for i, dim in enumerate(target)]
    rest = [dim for i, dim in enumerate(data.dims) if i not in copied]
    given = [int(dim) for i, dim in enumerate(target) if i not in copied and dim != -1]
    if -1 in target:
        dims[target.index(-1)] = _quotient(data, target, rest, given)
    elif all(isinstance(dim, int) for dim in rest) and math.prod(int(dim) for dim in rest) != math.prod(given):
        raise GraphError(f"Reshape: {data.type} does not have the elements of {list(target)}")
    return with_dims(data.tensor, tuple(dims))


def _quotient(data: Operand, target: tuple[int, ...], rest: list[Dim], given: list[int]) -> Dim:
    """The dimension that is left when the given ones are divided out of the rest."""
    known = math.prod(dim for dim in rest if isinstance(dim, int))
    symbols = [dim for dim in rest if isinstance(dim, str)]
    divisor = math.prod(given)
    if not symbols:
        if divisor == 0 or known % divisor:
            raise GraphError(f"Reshape: {data.type} does not have the elements of {list(target)}")
        return known // divisor
    return quotient(rest, given)


@op("Reshape", infer=reshape_type)
def reshape(data: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """A 0 copies the dimension (unless `allowzero`), a -1 is what remains."""
    target = [data.shape[i] if dim == 0 and not allowzero else dim for i, dim in enumerate(ints(shape))]
    return data.reshape(target)


def flatten_type(input: Operand, *, axis: int) -> Type:
    if input.dims is None:
        return with_dims(input.tensor, unknown(2))
    at = axis if axis == len(input.dims) else axis_of("Flatten", axis, len(input.dims))
    return with_dims(input.tensor, (product(input.dims[:at]), product(input.dims[at:])))


@op("Flatten", infer=flatten_type)
def flatten(input: Array, *, axis: int = 1) -> Array:
    axis = axis + input.ndim if axis < 0 else axis
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


def squeeze_type(data: Operand, axes: Operand | None) -> Type:
    if data.dims is None:
        return data.type
    if axes is None:
        if any(isinstance(dim, str) for dim in data.dims):
            return with_dims(data.tensor, None)
        return with_dims(data.tensor, tuple(dim for dim in data.dims if dim != 1))
    if axes.value is None:
        count = length_of(axes)
        return with_dims(data.tensor, unknown(None if count is None else len(data.dims) - count))
    gone = axes_of("Squeeze", ints(axes.value), len(data.dims))
    wrong = [i for i in gone if isinstance(data.dims[i], int) and data.dims[i] != 1]
    if wrong:
        raise GraphError(f"Squeeze: dimension {wrong[0]} of {data.type} is not 1")
    return with_dims(data.tensor, tuple(dim for i, dim in enumerate(data.dims) if i not in gone))


@op("Squeeze", infer=squeeze_type)
def squeeze(data: Array, axes: Array | None = None) -> Array:
    return np.squeeze(data, axis=None if axes is None else ints(axes))


def unsqueeze_type(data: Operand, axes: Operand) -> Type:
    if data.dims is None:
        return data.type
    if axes.value is None:
        count = length_of(axes)
        return with_dims(data.tensor, unknown(None if count is None else len(data.dims) + count))
    rank = len(data.dims) + axes.value.size
    new = axes_of("Unsqueeze", ints(axes.value), rank)
    old = iter(data.dims)
    return with_dims(data.tensor, tuple(1 if i in new else next(old) for i in range(rank)))


@op("Unsqueeze", infer=unsqueeze_type)
def unsqueeze(data: Array, axes: Array) -> Array:
    return np.expand_dims(data, ints(axes))


def expand_type(input: Operand, shape: Operand) -> Type:
    if shape.value is not None:
        target = TensorType(input.dtype, ints(shape.value))
        return with_dims(input.tensor, broadcast("Expand", [input.tensor, target]))
    rank = length_of(shape)
    return with_dims(input.tensor, None if rank is None or input.rank is None else unknown(max(rank, input.rank)))


@op("Expand", infer=expand_type)
def expand(input: Array, shape: Array) -> Array:
    return np.array(np.broadcast_to(input, np.broadcast_shapes(input.shape, ints(shape))))


def transpose_type(data: Operand, *, perm: tuple[int, ...] | None) -> Type:
    if data.dims is None:
        return with_dims(data.tensor, unknown(None if perm is None else len(perm)))
    rank = len(data.dims)
    order = tuple(reversed(range(rank))) if perm is None else axes_of("Transpose", perm, rank)
    if len(order) != rank:
        raise GraphError(f"Transpose: perm {list(order)} does not order the {rank} dimensions of {data.type}")
    return with_dims(data.tensor, tuple(data.dims[i] for i in order))


@op("Transpose", infer=transpose_type)
def transpose(data: Array, *, perm: tuple[int, ...] | None = None) -> Array:
    return np.array(np.transpose(data, perm), order="C")


# -- between depth and space ------------------------------------------------------------------------------------


def _blocks(name: str, input: Operand, blocksize: int, mode: str, out: int) -> Type:
    """The type when `blocksize` squared moves between channels and both spatial dimensions; `out` is 1 outward."""
    if mode not in ("DCR", "CRD"):
        raise GraphError(f"{name}: mode is {mode!r}, it must be 'DCR' or 'CRD'")
    if input.dims is None:
        return with_dims(input.tensor, unknown(4))
    if len(input.dims) != 4:
        raise GraphError(f"{name}: {input.type} must have four dimensions")
    n, *rest = input.dims
    factors = (blocksize * blocksize, blocksize, blocksize)
    dims = []
    for i, (dim, factor) in enumerate(zip(rest, factors, strict=True)):
        grows = (i == 0) != bool(out)
        if isinstance(dim, str):
            dims.append(dim if factor == 1 else UNKNOWN)
        elif grows:
            dims.append(dim * factor)
        elif dim % factor:
            raise GraphError(f"{name}: dimension {i + 1} of {input.type} is not a multiple of {factor}")
        else:
            dims.append(dim // factor)
    return with_dims(input.tensor, (n, *dims))


def depth_to_space_type(input: Operand, *, blocksize: int, mode: str) -> Type:
    return _blocks("DepthToSpace", input, blocksize, mode, 1)


def space_to_depth_type(input: Operand, *, blocksize: int, mode: str) -> Type:
    return _blocks("SpaceToDepth", input, blocksize, mode, 0)


@op("DepthToSpace", infer=depth_to_space_type)
def depth_to_space(input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    n, c, h, w = input.shape
    b, depth = blocksize, c // blocksize**2
    if mode == "DCR":
        moved = input.reshape(n, b, b, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        moved = input.reshape(n, depth, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return moved.reshape(n, depth, h * b, w * b)


@op("SpaceToDepth", infer=space_to_depth_type)
def space_to_depth(input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    n, c, h, w = input.shape
    b = blocksize
    moved = input.reshape(n, c, h // b, b, w // b, b)
    moved = moved.transpose(0, 3, 5, 1, 2, 4) if mode == "DCR" else moved.transpose(0, 1, 3, 5, 2, 4)
    return moved.reshape(n, c * b * b, h // b, w // b)
