"""Elements read or written at places that other tensors name."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Type, tensor
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import Operand, op, same_type
from heddle.core.ops.shapes import axis_of, scalar_of, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]


def gather_type(data: Operand, indices: Operand, *, axis: int) -> Type:
    if data.dims is None or indices.dims is None:
        return with_dims(data.tensor, None)
    at = axis_of("Gather", axis, len(data.dims))
    return with_dims(data.tensor, (*data.dims[:at], *indices.dims, *data.dims[at + 1 :]))


@op("Gather", infer=gather_type)
def gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.take(data, indices.astype(np.int64), axis=axis)


def gather_elements_type(data: Operand, indices: Operand, *, axis: int) -> Type:
    if data.rank is not None:
        axis_of("GatherElements", axis, data.rank)
    return with_dims(data.tensor, indices.dims)


@op("GatherElements", infer=gather_elements_type)
def gather_elements(data: Array, indices: Array, *, axis: int = 0) -> Array:
    return data[_places(data.shape, indices, axis)]


def _places(shape: tuple[int, ...], indices: Array, axis: int) -> tuple[Array, ...]:
    """An index per dimension, of the shape of `indices`: its own place, except along the axis."""
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + shape[axis], indices).astype(np.int64)
    return tuple(places)


def gather_nd_type(data: Operand, indices: Operand, *, batch_dims: int) -> Type:
    if data.dims is None or indices.dims is None or isinstance(indices.dims[-1], str):
        return with_dims(data.tensor, None)
    depth = indices.dims[-1]
    if batch_dims + depth > len(data.dims):
        raise GraphError(f"GatherND: indices {indices.type} reach deeper than {data.type}")
    return with_dims(data.tensor, (*indices.dims[:-1], *data.dims[batch_dims + depth :]))


@op("GatherND", infer=gather_nd_type)
def gather_nd(data: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    depth = indices.shape[-1]
    inner = tuple(range(batch_dims, indices.ndim - 1))
    batch = [np.expand_dims(b, inner) for b in list[Array](np.indices(indices.shape[:batch_dims], sparse=True))]
    places = tuple(indices[..., i].astype(np.int64) for i in range(depth))
    return np.asarray(data[(*batch, *places)]).reshape(*indices.shape[:-1], *data.shape[batch_dims + depth :])


# -- writing ----------------------------------------------------------------------------------------------------

REDUCTIONS: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _write(name: str, target: Array, places: Any, updates: Array, reduction: str) -> None:
    if reduction == "none":
        target[places] = updates
    elif reduction in REDUCTIONS:
        REDUCTIONS[reduction].at(target, places, updates)
    else:
        raise GraphError(f"{name}: reduction is {reduction!r}, it must be none, {', '.join(REDUCTIONS)}")


@op("ScatterElements", infer=same_type)
def scatter_elements(data: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none") -> Array:
    result = data.copy()
    _write("ScatterElements", result, _places(data.shape, indices, axis), updates, reduction)
    return result


@op("ScatterND", infer=same_type)
def scatter_nd(data: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    result = data.copy()
    places = tuple(indices[..., i].astype(np.int64) for i in range(indices.shape[-1]))
    _write("ScatterND", result, places or ..., updates, reduction)
    return result


@op("TensorScatter", infer=same_type)
def tensor_scatter(
    past_cache: Array, update: Array, write_indices: Array | None = None, *, axis: int = -2, mode: str = "linear"
) -> Array:
    """Each batch's update written into its cache from its own index on; `circular` wraps at the end."""
    if mode not in ("linear", "circular"):
        raise GraphError(f"TensorScatter: mode is {mode!r}, it must be 'linear' or 'circular'")
    result = past_cache.copy()
    axis = axis % past_cache.ndim
    for batch in range(past_cache.shape[0]):
        start = 0 if write_indices is None else int(write_indices[batch])
        places = np.arange(start, start + update.shape[axis])
        if mode == "circular":
            places = places % past_cache.shape[axis]
        cache = np.moveaxis(result[batch], axis - 1, 0)
        cache[places] = np.moveaxis(update[batch], axis - 1, 0)
    return result


# -- positions --------------------------------------------------------------------------------------------------


def one_hot_type(indices: Operand, depth: Operand, values: Operand, *, axis: int) -> Type:
    if indices.dims is None:
        return with_dims(values.tensor, None)
    at = axis_of("OneHot", axis, len(indices.dims) + 1)
    size = scalar_of(depth)
    return with_dims(values.tensor, (*indices.dims[:at], UNKNOWN if size is None else int(size), *indices.dims[at:]))


@op("OneHot", infer=one_hot_type)
def one_hot(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    count = int(depth.reshape(-1)[0])
    whole = indices.astype(np.int64)
    whole = np.where(whole < 0, whole + count, whole)
    axis = axis % (indices.ndim + 1)
    classes = np.arange(count).reshape([-1 if i == axis else 1 for i in range(indices.ndim + 1)])
    return np.asarray(np.where(np.expand_dims(whole, axis) == classes, values[1], values[0])).astype(values.dtype)


def non_zero_type(x: Operand) -> Type:
    return tensor("int64", UNKNOWN if x.rank is None else x.rank, UNKNOWN)


@op("NonZero", infer=non_zero_type)
def non_zero(x: Array) -> Array:
    return np.stack(np.nonzero(x)).astype(np.int64) if x.ndim else np.zeros((0, int(bool(x))), np.int64)
