"""Elements in order: the greatest, the different, the boxes that do not overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.ir import TensorType, Type, tensor
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.shapes import axis_of, scalar_of, unknown, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]
INT64 = np.dtype(np.int64)


def top_k_type(x: Operand, k: Operand, *, axis: int, largest: int, sorted: int) -> tuple[Type, ...]:
    if x.dims is None:
        return x.type, TensorType(INT64, None)
    at = axis_of("TopK", axis, len(x.dims))
    count = scalar_of(k)
    dims = (*x.dims[:at], UNKNOWN if count is None else int(count), *x.dims[at + 1 :])
    return with_dims(x.tensor, dims), TensorType(INT64, dims)


@op("TopK", infer=top_k_type)
def top_k(x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Array, Array]:
    """Of equal elements the first comes first; NaN counts as the greatest."""
    count = int(k.reshape(-1)[0])
    if largest:
        # A stable sort of the reversed axis, reversed, keeps the first of equals first and descends.
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.take(order, range(count), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order.astype(INT64)


def unique_type(x: Operand, *, axis: int | None, sorted: int, outputs: int) -> tuple[Type, ...]:
    vector = tensor(INT64, UNKNOWN)
    if axis is None or x.dims is None:
        values = with_dims(x.tensor, (UNKNOWN,) if axis is None else unknown(None))
    else:
        at = axis_of("Unique", axis, len(x.dims))
        values = with_dims(x.tensor, (*x.dims[:at], UNKNOWN, *x.dims[at + 1 :]))
    return (values, vector, vector, vector)[:outputs]


@op("Unique", infer=unique_type)
def unique(x: Array, *, axis: int | None = None, sorted: int = 1) -> tuple[Array, Array, Array, Array]:
    values, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        values, first, counts = np.take(values, order, axis=axis or 0), first[order], counts[order]
        inverse = rank[inverse]
    return values, first.astype(INT64), inverse.astype(INT64), counts.astype(INT64)


def non_max_suppression_type(*_: Operand | None, center_point_box: int) -> Type:
    return tensor(INT64, UNKNOWN, 3)


@op("NonMaxSuppression", infer=non_max_suppression_type)
def non_max_suppression(
    boxes: Array,
    scores: Array,
    max_output_boxes_per_class: Array | None = None,
    iou_threshold: Array | None = None,
    score_threshold: Array | None = None,
    *,
    center_point_box: int = 0,
) -> Array:
    """Of boxes that overlap by more than the threshold the one with the best score, per batch and class."""
    most = 0 if max_output_boxes_per_class is None else int(max_output_boxes_per_class.reshape(-1)[0])
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(-1)[0])
    chosen: list[tuple[int, int, int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch].astype(np.float64), center_point_box)
        for kind in range(scores.shape[1]):
            ranking = np.argsort(-scores[batch, kind], kind="stable")
            if score_threshold is not None:
                ranking = ranking[scores[batch, kind][ranking] > score_threshold.reshape(-1)[0]]
            kept: list[int] = []
            for box in ranking:
                if len(kept) == most:
                    break
                if all(_iou(corners[box], corners[other]) <= overlap for other in kept):
                    kept.append(int(box))
            chosen += [(batch, kind, box) for box in kept]
    return np.array(chosen, INT64).reshape(-1, 3)


def _corners(boxes: Array, center_point_box: int) -> Array:
    """Boxes as [low, low, high, high]."""
    if center_point_box:
        x, y, width, height = boxes.T
        return np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def _iou(a: Array, b: Array) -> float:
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    common = sides.prod()
    whole = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
    return float(common / whole) if whole > 0 else 0.0
