"""Operators of Heddle's own: those whose results are as large as the data says, in full size beside a count."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.ir import TensorType, Type, tensor
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops import indexing, slicing, sorting
from heddle.core.ops.dims import product
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.shapes import axis_of, scalar_of, with_dims
from heddle.core.runtime import turns
from numpy.typing import NDArray

Array = NDArray[Any]
COUNT = tensor("int64")


def _elements(x: Operand) -> Dim:
    return UNKNOWN if x.dims is None else product(x.dims)


def _filled(array: Array, size: int, axis: int = 0) -> Array:
    """The array with zeros behind its elements along an axis, up to a size."""
    missing = [(0, size - n if at == axis % array.ndim else 0) for at, n in enumerate(array.shape)]
    return np.pad(array, missing)


def trim_type(full: Operand, count: Operand, *, axis: int) -> Type:
    if full.dims is None:
        return full.type
    at = axis_of("heddle.Trim", axis, len(full.dims))
    size: Dim = UNKNOWN if count.value is None else int(count.value)
    return with_dims(full.tensor, (*full.dims[:at], size, *full.dims[at + 1 :]))


op("heddle.Trim", infer=trim_type)(turns.trim)


def non_zero_type(x: Operand) -> tuple[Type, ...]:
    return COUNT, tensor("int64", UNKNOWN if x.rank is None else x.rank, _elements(x))


@op("heddle.NonZeroBounded", infer=non_zero_type)
def non_zero(x: Array) -> tuple[Array, Array]:
    found = indexing.non_zero(x)
    return np.asarray(found.shape[1], np.int64), _filled(found, x.size, 1)


def compress_type(input: Operand, condition: Operand, *, axis: int | None) -> tuple[Type, ...]:
    if axis is None:
        return COUNT, with_dims(input.tensor, (_elements(input),))
    if input.dims is not None:
        axis_of("Compress", axis, len(input.dims))
    return COUNT, input.type


@op("heddle.CompressBounded", infer=compress_type)
def compress(input: Array, condition: Array, *, axis: int | None = None) -> tuple[Array, Array]:
    found = np.compress(condition, input, axis=axis)
    count = found.shape[axis or 0]
    return np.asarray(count, np.int64), _filled(found, input.size if axis is None else input.shape[axis], axis or 0)


def slice_type(data: Operand, starts: Operand, ends: Operand, *, axis: int, size: int) -> tuple[Type, ...]:
    if data.dims is None:
        return COUNT, data.type
    at = axis_of("heddle.SliceBounded", axis, len(data.dims))
    dim = data.dims[at]
    full: Dim = min(size, dim) if isinstance(dim, int) else UNKNOWN
    return COUNT, with_dims(data.tensor, (*data.dims[:at], full, *data.dims[at + 1 :]))


@op("heddle.SliceBounded", infer=slice_type)
def slice_(data: Array, starts: Array, ends: Array, *, axis: int, size: int) -> tuple[Array, Array]:
    """A slice of one axis that has at most `size` elements there, as many as lie between its start and its end."""
    found = slicing.slice_(data, starts.reshape(1), ends.reshape(1), np.array([axis]))
    return np.asarray(found.shape[axis], np.int64), _filled(found, min(size, data.shape[axis]), axis)


def unique_type(x: Operand, *, axis: int | None, sorted: int, outputs: int) -> tuple[Type, ...]:
    if axis is None:
        length = _elements(x)
        values: Type = with_dims(x.tensor, (length,))
    else:
        length = UNKNOWN if x.dims is None else x.dims[axis_of("Unique", axis, len(x.dims))]
        values = x.type
    return (COUNT, values, *(tensor("int64", length) for _ in range(3)))[:outputs]


@op("heddle.UniqueBounded", infer=unique_type)
def unique(x: Array, *, axis: int | None = None, sorted: int = 1) -> tuple[Array, ...]:
    values, first, inverse, counts = sorting.unique(x, axis=axis, sorted=sorted)
    size = x.size if axis is None else x.shape[axis]
    full = (_filled(values, size, axis or 0), _filled(first, size), inverse, _filled(counts, size))
    return (np.asarray(first.size, np.int64), *full)


def non_max_suppression_type(
    boxes: Operand, scores: Operand, most: Operand | None, *_: Operand | None, center_point_box: int
) -> tuple[Type, ...]:
    kept = scalar_of(most) if most is not None else 0
    if kept is None or scores.dims is None:
        return COUNT, tensor("int64", UNKNOWN, 3)
    batches, classes, count = scores.dims
    each: Dim = min(max(int(kept), 0), count) if isinstance(count, int) else UNKNOWN
    return COUNT, TensorType(COUNT.dtype, (product([batches, classes, each]), 3))


@op("heddle.NonMaxSuppressionBounded", infer=non_max_suppression_type)
def non_max_suppression(
    boxes: Array,
    scores: Array,
    max_output_boxes_per_class: Array | None = None,
    iou_threshold: Array | None = None,
    score_threshold: Array | None = None,
    *,
    center_point_box: int = 0,
) -> tuple[Array, Array]:
    most = 0 if max_output_boxes_per_class is None else int(max_output_boxes_per_class.reshape(-1)[0])
    found = sorting.non_max_suppression(
        boxes, scores, max_output_boxes_per_class, iou_threshold, score_threshold, center_point_box=center_point_box
    )
    batches, classes, count = scores.shape
    return np.asarray(len(found), np.int64), _filled(found, batches * classes * min(max(most, 0), count))
