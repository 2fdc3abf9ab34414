"""Tensors sampled anew at another size: each axis by a matrix of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Type
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.shapes import axes_of, with_dims
from numpy.typing import NDArray

Array = NDArray[Any]

MODES = ("nearest", "linear", "cubic")
POLICIES = ("stretch", "not_larger", "not_smaller")


def resize_type(
    x: Operand,
    roi: Operand | None,
    scales: Operand | None,
    sizes: Operand | None,
    *,
    axes: tuple[int, ...] | None,
    keep_aspect_ratio_policy: str,
    mode: str,
    **_: Any,
) -> Type:
    if mode not in MODES or keep_aspect_ratio_policy not in POLICIES:
        raise GraphError(f"Resize: mode {mode!r} and policy {keep_aspect_ratio_policy!r} are not both known")
    if (scales is None) == (sizes is None):
        raise GraphError("Resize: one of scales and sizes is needed, and not both")
    if x.dims is None:
        return x.type
    where = axes_of("Resize", range(len(x.dims)) if axes is None else axes, len(x.dims))
    given = scales or sizes
    dims = list(x.dims)
    if given is None or given.value is None:
        return with_dims(x.tensor, tuple(UNKNOWN if i in where else dim for i, dim in enumerate(dims)))
    if given.value.size != len(where):
        raise GraphError(f"Resize: {given.value.size} numbers are given for {len(where)} axes of {x.type}")
    if all(isinstance(dims[axis], int) for axis in where):
        known = [int(dims[axis]) for axis in where]
        for axis, size in zip(where, target(known, *_given(scales, sizes), keep_aspect_ratio_policy)[1], strict=True):
            dims[axis] = size
        return with_dims(x.tensor, tuple(dims))
    for axis, number in zip(where, given.value.reshape(-1).tolist(), strict=True):
        dims[axis] = _one(dims[axis], number, scales is not None, keep_aspect_ratio_policy)
    return with_dims(x.tensor, tuple(dims))


def _given(scales: Operand | None, sizes: Operand | None) -> tuple[Array | None, Array | None]:
    return None if scales is None else scales.value, None if sizes is None else sizes.value


def _one(dim: Dim, number: float, scaled: bool, policy: str) -> Dim:
    """One axis when others are not known."""
    if scaled:
        return math.floor(dim * number) if isinstance(dim, int) else dim if number == 1 else UNKNOWN
    return int(number) if policy == "stretch" else UNKNOWN


def target(
    inputs: Sequence[int], scales: Array | None, sizes: Array | None, policy: str
) -> tuple[list[float], list[int]]:
    """The scale and the output size of each resized axis."""
    if sizes is None:
        assert scales is not None
        factors = [float(scale) for scale in scales.reshape(-1)]
        return factors, [math.floor(n * scale) for n, scale in zip(inputs, factors, strict=True)]
    wanted = [int(size) for size in sizes.reshape(-1)]
    if policy == "stretch":
        return [want / n for want, n in zip(wanted, inputs, strict=True)], wanted
    choose = min if policy == "not_larger" else max
    factor = choose(want / n for want, n in zip(wanted, inputs, strict=True))
    return [factor] * len(wanted), [math.floor(factor * n + 0.5) for n in inputs]


def positions(mode: str, size: int, scale: float, out: int, roi: tuple[float, float]) -> Array:
    """Where in the input each element of the output lies, along one axis."""
    x = np.arange(out, dtype=np.float64)
    width = scale * size
    if mode == "half_pixel":
        return (x + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - out / width) + (x + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return (x + 0.5) / scale - 0.5 if width > 1 else np.full(out, -0.5)
    if mode == "align_corners":
        return x * ((size - 1) / (width - 1)) if width != 1 else np.zeros(out)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        if width == 1:
            return np.full(out, (start + end) * (size - 1) / 2)
        return start * (size - 1) + x * ((end - start) * (size - 1) / (width - 1))
    raise GraphError(f"Resize: coordinate_transformation_mode {mode!r} is not known")


NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def cubic(distance: Array, a: float) -> Array:
    """The weight of Keys' cubic kernel at a distance."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def linear(distance: Array) -> Array:
    """The weight of the triangle at a distance."""
    return np.asarray(np.maximum(0, 1 - np.abs(distance)))


def weights(
    at: Array, size: int, mode: str, scale: float, *, a: float, antialias: bool, exclude_outside: bool
) -> Array:
    """How much each input element counts for each output element; the edges are repeated outwards."""
    stretch = min(scale, 1.0) if antialias else 1.0
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    taps = np.floor(at)[:, None] + np.arange(1 - reach, reach + 1)
    distance = (taps - at[:, None]) * stretch
    counts = linear(distance) if mode == "linear" else cubic(distance, a)
    if exclude_outside:
        counts = np.where((taps < 0) | (taps >= size), 0, counts)
    if antialias or exclude_outside:
        counts = counts / counts.sum(axis=1, keepdims=True)
    result = np.zeros((len(at), size))
    np.add.at(result, (np.arange(len(at))[:, None], np.clip(taps, 0, size - 1).astype(np.int64)), counts)
    return result


@op("Resize", infer=resize_type)
def resize(
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    where = axes_of("Resize", range(x.ndim) if axes is None else axes, x.ndim)
    factors, out = target([x.shape[axis] for axis in where], scales, sizes, keep_aspect_ratio_policy)
    result = x if mode == "nearest" else x.astype(np.float64)
    beyond = np.zeros((1,) * x.ndim, np.bool_)
    for i, axis in enumerate(where):
        size = x.shape[axis]
        span = (0.0, 1.0) if roi is None or not roi.size else (float(roi[i]), float(roi[len(where) + i]))
        if factors[i] == 1 and out[i] == size and coordinate_transformation_mode != "tf_crop_and_resize":
            continue
        at = positions(coordinate_transformation_mode, size, factors[i], out[i], span)
        if coordinate_transformation_mode == "tf_crop_and_resize":
            outside = (at < 0) | (at > size - 1)
            beyond = beyond | outside.reshape([-1 if j == axis else 1 for j in range(x.ndim)])
        if mode == "nearest":
            place = np.clip(NEAREST[nearest_mode](at), 0, size - 1).astype(np.int64)
            result = np.take(result, place, axis=axis)
            continue
        matrix = weights(
            at,
            size,
            mode,
            factors[i],
            a=cubic_coeff_a,
            antialias=bool(antialias),
            exclude_outside=bool(exclude_outside),
        )
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return np.asarray(np.where(beyond, extrapolation_value, result) if beyond.any() else result).astype(x.dtype)
