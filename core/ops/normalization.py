"""Normalizations: softmax and its kin, statistics over batches, layers, groups and channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_named
from heddle.core.ops import scalar as s
from heddle.core.ops.convolution import along_channels
from heddle.core.ops.registry import DTypeName, Operand, op, same_type
from heddle.core.ops.scalar import Expr, argument, widened
from heddle.core.ops.shapes import axis_of
from numpy.typing import NDArray

Array = NDArray[Any]


def along_axis_type(input: Operand, *, axis: int, **_: Any) -> Type:
    if input.rank is not None:
        axis_of("Softmax", axis, input.rank)
    return input.type


@op("Softmax", infer=along_axis_type)
def softmax(input: Array, *, axis: int = -1) -> Array:
    raised = np.exp(input - np.max(input, axis=axis, keepdims=True, initial=-np.inf))
    total = raised.sum(axis=axis, keepdims=True, dtype=widened(input.dtype)).astype(input.dtype)
    return np.asarray(raised / total)


@op("LogSoftmax", infer=along_axis_type)
def log_softmax(input: Array, *, axis: int = -1) -> Array:
    x = input.astype(widened(input.dtype))
    x = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(x - np.log(np.exp(x).sum(axis=axis, keepdims=True))).astype(input.dtype)


@op("Hardmax", infer=along_axis_type)
def hardmax(input: Array, *, axis: int = -1) -> Array:
    """One at the first of the greatest elements, zero elsewhere."""
    result = np.zeros_like(input)
    np.put_along_axis(result, np.argmax(input, axis=axis, keepdims=True), np.asarray(1).astype(input.dtype), axis=axis)
    return result


@op("LpNormalization", infer=along_axis_type)
def lp_normalization(input: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Zero where the norm is zero."""
    x = input.astype(widened(input.dtype))
    norm = np.sum(np.abs(x) ** p, axis=axis, keepdims=True) ** (1 / p)
    return np.asarray(np.where(norm == 0, np.zeros_like(x), x / np.where(norm == 0, 1, norm))).astype(input.dtype)


# -- statistics -------------------------------------------------------------------------------------------------


def standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """An array with mean 0 and variance 1 over axes, the mean that was taken and the inverse deviation."""
    mean = np.asarray(x.mean(axis=axes, keepdims=True))
    centred = x - mean
    inverse = 1 / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + x.dtype.type(epsilon))
    return centred * inverse, mean, inverse


def _stashed(x: Array, stash_type: str) -> Array:
    """In the dtype of the first stage, and never in a narrower one."""
    wanted = widened(dtype_named(stash_type))
    return x.astype(max(widened(x.dtype), wanted, key=lambda dtype: dtype.itemsize))


def layer_normalization_type(
    x: Operand, scale: Operand, b: Operand | None, *, axis: int, epsilon: float, stash_type: str, outputs: int
) -> tuple[Type, ...]:
    stash = dtype_named(stash_type)
    if x.dims is None:
        statistic = TensorType(stash, None)
    else:
        at = axis_of("LayerNormalization", axis, len(x.dims))
        statistic = TensorType(stash, (*x.dims[:at], *[1] * (len(x.dims) - at)))
    return (x.type, statistic, statistic)[:outputs]


@op("LayerNormalization", infer=layer_normalization_type)
def layer_normalization(
    x: Array,
    scale: Array,
    b: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: DTypeName = "float32",
) -> tuple[Array, Array, Array]:
    y, mean, inverse = standardized(_stashed(x, stash_type), tuple(range(axis % x.ndim, x.ndim)), epsilon)
    y = y.astype(x.dtype) * scale
    stash = dtype_named(stash_type)
    return (y if b is None else y + b).astype(x.dtype), mean.astype(stash), inverse.astype(stash)


@op("RMSNormalization", infer=same_type)
def rms_normalization(
    x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: DTypeName = "float32"
) -> Array:
    wide = _stashed(x, stash_type)
    square = (wide * wide).mean(axis=tuple(range(axis % x.ndim, x.ndim)), keepdims=True)
    normal = np.asarray(wide / np.sqrt(square + wide.dtype.type(epsilon))).astype(x.dtype)
    return (normal * scale).astype(x.dtype)


@op("InstanceNormalization", infer=same_type)
def instance_normalization(input: Array, scale: Array, b: Array, *, epsilon: float = 1e-5) -> Array:
    y, _, _ = standardized(input.astype(widened(input.dtype)), tuple(range(2, input.ndim)), epsilon)
    return (y * along_channels(scale, input.ndim) + along_channels(b, input.ndim)).astype(input.dtype)


@op("GroupNormalization", infer=same_type)
def group_normalization(
    x: Array,
    scale: Array,
    bias: Array,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: DTypeName = "float32",
) -> Array:
    groups = _stashed(x, stash_type).reshape(x.shape[0], num_groups, -1)
    y = standardized(groups, (2,), epsilon)[0].reshape(x.shape).astype(x.dtype)
    return (y * along_channels(scale, x.ndim) + along_channels(bias, x.ndim)).astype(x.dtype)


@op("MeanVarianceNormalization", infer=same_type)
def mean_variance_normalization(x: Array, *, axes: tuple[int, ...] = (0, 2, 3)) -> Array:
    return standardized(x.astype(widened(x.dtype)), axes, 1e-9)[0].astype(x.dtype)


@op("LRN", infer=same_type)
def lrn(x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Array:
    wide = x.astype(widened(x.dtype))
    square = wide * wide
    total = np.zeros_like(square)
    channels = x.shape[1]
    for c in range(channels):
        low, high = max(0, c - (size - 1) // 2), min(channels - 1, c + math.ceil((size - 1) / 2))
        total[:, c] = square[:, low : high + 1].sum(axis=1)
    return np.asarray(wide / (bias + alpha / size * total) ** beta).astype(x.dtype)


# -- batches ----------------------------------------------------------------------------------------------------


def batch_normalization_type(
    x: Operand,
    scale: Operand,
    b: Operand,
    input_mean: Operand,
    input_var: Operand,
    *,
    training_mode: int,
    outputs: int,
    **_: Any,
) -> tuple[Type, ...]:
    if outputs > 1 and not training_mode:
        raise GraphError(f"BatchNormalization: {outputs} outputs are asked for, without training_mode it has one")
    return (x.type, input_mean.type, input_var.type)[:outputs]


def normalize_batch(
    x: Expr,
    scale: Expr,
    b: Expr,
    input_mean: Expr,
    input_var: Expr,
    *,
    epsilon: float,
    momentum: float,
    training_mode: int,
) -> Expr:
    """What inference means element by element; training has no such meaning."""
    if training_mode:
        raise GraphError("training_mode is 1, only inference is elementwise")
    wide = widened(max((x.dtype, input_mean.dtype, scale.dtype), key=lambda dtype: dtype.itemsize))
    centred = s.cast(x, wide) - s.cast(input_mean, wide)
    normal = centred / s.sqrt(s.cast(input_var, wide) + epsilon)
    return s.cast(normal * s.cast(scale, wide) + s.cast(b, wide), x.dtype)


@op("BatchNormalization", infer=batch_normalization_type, scalar=normalize_batch, along=lambda **_: 1)
def batch_normalization(
    x: Array,
    scale: Array,
    b: Array,
    input_mean: Array,
    input_var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> tuple[Array, Array, Array]:
    mean, variance = input_mean, input_var
    if training_mode:
        axes = tuple(i for i in range(x.ndim) if i != 1)
        mean = x.astype(input_mean.dtype).mean(axis=axes)
        variance = x.astype(input_var.dtype).var(axis=axes)
    operands = [argument(i, array.dtype) for i, array in enumerate((x, scale, b, mean, variance))]
    meaning = normalize_batch(*operands, epsilon=epsilon, momentum=momentum, training_mode=0)
    vectors = [along_channels(vector, max(x.ndim, 2)) for vector in (scale, b, mean, variance)]
    y = s.evaluate(meaning, [x, *vectors] if x.ndim > 1 else [x, scale, b, mean, variance])
    running = [
        (old * momentum + new * (1 - momentum)).astype(old.dtype)
        for old, new in ((input_mean, mean), (input_var, variance))
    ]
    return y, running[0], running[1]
