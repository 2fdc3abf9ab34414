"""Tensors made from little: ranges, identities, random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_named
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import DTypeName, Operand, op
from heddle.core.ops.scalar import widened
from heddle.core.ops.shapes import scalar_of
from numpy.typing import NDArray

Array = NDArray[Any]


def range_type(start: Operand, limit: Operand, delta: Operand, *, stash_type: str) -> Type:
    if start.value is None or limit.value is None or delta.value is None:
        return TensorType(start.dtype, (UNKNOWN,))
    if scalar_of(delta) == 0:
        raise GraphError("Range: delta is 0, it must not be")
    return TensorType(start.dtype, (_count(start.value, limit.value, delta.value),))


def _count(start: Array, limit: Array, delta: Array) -> int:
    first, last, step = (array.reshape(-1)[0].item() for array in (start, limit, delta))
    if isinstance(first, int):
        return int(max(0, -((first - last) // step)))
    return int(max(0, math.ceil((last - first) / step)))


@op("Range", infer=range_type)
def range_(start: Array, limit: Array, delta: Array, *, stash_type: DTypeName = "float32") -> Array:
    wide = widened(start.dtype)
    steps = np.arange(_count(start, limit, delta)).astype(wide)
    return np.asarray(start.reshape(()).astype(wide) + steps * delta.reshape(()).astype(wide)).astype(start.dtype)


def eye_like_type(input: Operand, *, dtype: str | None, k: int) -> Type:
    return TensorType(input.dtype if dtype is None else dtype_named(dtype), input.dims)


@op("EyeLike", infer=eye_like_type)
def eye_like(input: Array, *, dtype: DTypeName | None = None, k: int = 0) -> Array:
    rows, columns = input.shape
    return np.asarray(np.eye(rows, columns, k)).astype(input.dtype if dtype is None else dtype_named(dtype))


# -- random numbers ---------------------------------------------------------------------------------------------


def _random(seed: float | None) -> np.random.Generator:
    """Numbers that a seed determines; without one they differ from call to call."""
    return np.random.default_rng(None if seed is None else np.frombuffer(np.float64(seed).tobytes(), np.uint32))


def shaped_type(*, dtype: str, shape: tuple[int, ...], **_: Any) -> Type:
    return TensorType(dtype_named(dtype), tuple(shape))


def like_type(input: Operand, *, dtype: str | None, **_: Any) -> Type:
    return TensorType(input.dtype if dtype is None else dtype_named(dtype), input.dims)


@op("RandomNormal", infer=shaped_type)
def random_normal(
    *,
    dtype: DTypeName = "float32",
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
    shape: tuple[int, ...],
) -> Array:
    return np.asarray(_random(seed).normal(mean, scale, shape)).astype(dtype_named(dtype))


@op("RandomNormalLike", infer=like_type)
def random_normal_like(
    input: Array, *, dtype: DTypeName | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Array:
    result = np.asarray(_random(seed).normal(mean, scale, input.shape))
    return result.astype(input.dtype if dtype is None else dtype_named(dtype))


@op("RandomUniform", infer=shaped_type)
def random_uniform(
    *,
    dtype: DTypeName = "float32",
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
    shape: tuple[int, ...],
) -> Array:
    return np.asarray(_random(seed).uniform(low, high, shape)).astype(dtype_named(dtype))


@op("RandomUniformLike", infer=like_type)
def random_uniform_like(
    input: Array, *, dtype: DTypeName | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Array:
    result = np.asarray(_random(seed).uniform(low, high, input.shape))
    return result.astype(input.dtype if dtype is None else dtype_named(dtype))


@op("Bernoulli", infer=like_type)
def bernoulli(input: Array, *, dtype: DTypeName | None = None, seed: float | None = None) -> Array:
    drawn = np.asarray(_random(seed).random(input.shape) < input.astype(np.float64))
    return drawn.astype(input.dtype if dtype is None else dtype_named(dtype))


def multinomial_type(input: Operand, *, dtype: str, sample_size: int, seed: float | None) -> Type:
    return TensorType(dtype_named(dtype), (UNKNOWN if input.dims is None else input.dims[0], sample_size))


@op("Multinomial", infer=multinomial_type)
def multinomial(input: Array, *, dtype: DTypeName = "int32", sample_size: int = 1, seed: float | None = None) -> Array:
    """Classes drawn by unnormalized log-probabilities."""
    random = _random(seed)
    raised = np.exp(input.astype(np.float64) - input.max(axis=1, keepdims=True).astype(np.float64))
    edges = np.cumsum(raised / raised.sum(axis=1, keepdims=True), axis=1)
    drawn = random.random((input.shape[0], sample_size, 1)) > edges[:, None, :]
    return np.asarray(np.minimum(drawn.sum(axis=2), input.shape[1] - 1)).astype(dtype_named(dtype))


def dropout_type(
    data: Operand, ratio: Operand | None, training_mode: Operand | None, *, seed: int | None, outputs: int
) -> tuple[Type, ...]:
    return (data.type, TensorType(np.dtype(np.bool_), data.dims))[:outputs]


@op("Dropout", infer=dropout_type)
def dropout(
    data: Array, ratio: Array | None = None, training_mode: Array | None = None, *, seed: int | None = None
) -> tuple[Array, Array]:
    """The data itself, unless training: then a share of it becomes zero and the rest grows to keep the sum."""
    share = 0.5 if ratio is None else float(ratio)
    if training_mode is None or not bool(training_mode) or share == 0:
        return data, np.ones(data.shape, np.bool_)
    kept = _random(seed).random(data.shape) >= share
    return np.asarray(np.where(kept, data / (1 - share), 0)).astype(data.dtype), kept
