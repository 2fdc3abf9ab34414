"""Pooling over windows and over whole images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.scalar import lowest, widened
from heddle.core.ops.shapes import known_ints, with_dims
from heddle.core.ops.windows import Ints, Window, window_dims, window_over, windows
from numpy.typing import NDArray

Array = NDArray[Any]


def pooled_type(name: str, x: Operand, kernel_shape: Ints, **window: Any) -> TensorType:
    """The type of a pooling of x [N, C, *spatial]."""
    if x.dims is None:
        return with_dims(x.tensor, (UNKNOWN,) * (2 + len(kernel_shape)))
    return with_dims(x.tensor, (*x.dims[:2], *window_dims(name, x.dims[2:], kernel_shape, **window)))


def average_pool_type(x: Operand, *, count_include_pad: int, **window: Any) -> Type:
    return pooled_type("AveragePool", x, **window)


@op("AveragePool", infer=average_pool_type)
def average_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    window = window_over("AveragePool", x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    axes = tuple(range(x.ndim, 2 * x.ndim - 2))
    total = windows(x.astype(widened(x.dtype)), window, 0).sum(axis=axes)
    return np.asarray(total / counted(x.shape[2:], window, bool(count_include_pad)).astype(total.dtype)).astype(x.dtype)


def counted(sizes: Ints, window: Window, padding: bool) -> Array:
    """How many elements each window holds, with or without the padding; never what lies beyond the padding."""
    ones = np.ones((1, 1, *sizes), np.int64)
    if padding:
        around = [(0, 0), (0, 0), *zip(window.before, window.after, strict=True)]
        ones = np.pad(ones, around, constant_values=1)
        bare = (0,) * len(sizes)
        window = Window(window.kernel, window.strides, window.dilations, bare, bare, window.out)
    return np.asarray(windows(ones, window, 0).sum(axis=tuple(range(ones.ndim, 2 * ones.ndim - 2))))


def max_pool_type(x: Operand, *, storage_order: int, outputs: int, **window: Any) -> tuple[Type, ...]:
    type = pooled_type("MaxPool", x, **window)
    return (type, TensorType(np.dtype(np.int64), type.dims))[:outputs]


@op("MaxPool", infer=max_pool_type)
def max_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
) -> tuple[Array, Array]:
    """The second output is the flat place of each greatest element; `storage_order` 1 counts columns first."""
    window = window_over("MaxPool", x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    seen = windows(x, window, lowest(x.dtype))
    flat = seen.reshape(*seen.shape[: x.ndim], math.prod(seen.shape[x.ndim :]))
    places = windows(_places(x.shape, storage_order), window, -1).reshape(flat.shape)
    best = np.argmax(np.where(places < 0, np.asarray(lowest(x.dtype)).astype(x.dtype), flat), axis=-1)[..., None]
    best = np.where(np.take_along_axis(places, best, axis=-1) < 0, np.argmax(places >= 0, axis=-1)[..., None], best)
    return np.take_along_axis(flat, best, axis=-1)[..., 0], np.take_along_axis(places, best, axis=-1)[..., 0]


def _places(shape: Ints, storage_order: int) -> Array:
    """The flat index of each element."""
    if not storage_order:
        return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    image = math.prod(shape[2:])
    inner = np.arange(image, dtype=np.int64).reshape(shape[2:], order="F")
    outer = np.arange(math.prod(shape[:2]), dtype=np.int64).reshape(*shape[:2], *[1] * (len(shape) - 2))
    return outer * image + inner


def lp_pool_type(x: Operand, *, p: int, **window: Any) -> Type:
    return pooled_type("LpPool", x, **window)


@op("LpPool", infer=lp_pool_type)
def lp_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    window = window_over("LpPool", x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    seen = windows(np.abs(x.astype(widened(x.dtype))), window, 0)
    total = np.sum(seen**p, axis=tuple(range(x.ndim, 2 * x.ndim - 2)))
    return np.asarray(total ** (1 / p)).astype(x.dtype)


# -- whole images -----------------------------------------------------------------------------------------------


def global_type(x: Operand, **_: Any) -> Type:
    if x.dims is None:
        return x.type
    if len(x.dims) < 2:
        raise GraphError(f"global pooling: [N,C,...] is needed, found {x.type}")
    return with_dims(x.tensor, (*x.dims[:2], *[1] * (len(x.dims) - 2)))


def _spatial(x: Array) -> Ints:
    return tuple(range(2, x.ndim))


@op("GlobalAveragePool", infer=global_type)
def global_average_pool(x: Array) -> Array:
    return np.asarray(np.mean(x.astype(widened(x.dtype)), axis=_spatial(x), keepdims=True)).astype(x.dtype)


@op("GlobalMaxPool", infer=global_type)
def global_max_pool(x: Array) -> Array:
    return np.asarray(np.max(x, axis=_spatial(x), keepdims=True))


@op("GlobalLpPool", infer=global_type)
def global_lp_pool(x: Array, *, p: int = 2) -> Array:
    total = np.sum(np.abs(x.astype(widened(x.dtype))) ** p, axis=_spatial(x), keepdims=True)
    return np.asarray(total ** (1 / p)).astype(x.dtype)


# -- back again -------------------------------------------------------------------------------------------------


def _unpooled(sizes: Ints, kernel_shape: Ints, pads: Ints | None, strides: Ints | None) -> Ints:
    rank = len(sizes)
    pads, strides = pads or (0,) * (2 * rank), strides or (1,) * rank
    pairs = zip(sizes, kernel_shape, strides, pads[:rank], pads[rank:], strict=True)
    return tuple((n - 1) * s - a - b + k for n, k, s, a, b in pairs)


def max_unpool_type(
    x: Operand,
    i: Operand,
    output_shape: Operand | None,
    *,
    kernel_shape: Ints,
    pads: Ints | None,
    strides: Ints | None,
) -> Type:
    if output_shape is not None and output_shape.value is not None:
        return with_dims(x.tensor, known_ints(output_shape))
    if x.dims is None or output_shape is not None or any(isinstance(dim, str) for dim in x.dims[2:]):
        head = (UNKNOWN, UNKNOWN) if x.dims is None else x.dims[:2]
        return with_dims(x.tensor, (*head, *(UNKNOWN,) * len(kernel_shape)))
    sizes = tuple(int(dim) for dim in x.dims[2:])
    return with_dims(x.tensor, (*x.dims[:2], *_unpooled(sizes, kernel_shape, pads, strides)))


@op("MaxUnpool", infer=max_unpool_type)
def max_unpool(
    x: Array,
    i: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The places are those in the natural output; a larger `output_shape` has zeros behind it."""
    natural = (*x.shape[:2], *_unpooled(x.shape[2:], kernel_shape, pads, strides))
    flat = np.zeros(math.prod(natural), x.dtype)
    flat[i.reshape(-1)] = x.reshape(-1)
    result = flat.reshape(natural)
    if output_shape is None:
        return result
    whole = np.zeros(tuple(map(int, output_shape)), x.dtype)
    whole[tuple(slice(0, n) for n in natural)] = result
    return whole
