"""What the accelerator's layers mean, written a second time, in plain numpy over whole tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.backends.vta.layers import Concat, Conv, Copy, Layer, Leaky, MatMul, Pool, Product, Residual, Scaling, Turn
from numpy.typing import NDArray

Ints = NDArray[Any]


def evaluate(layer: Layer, x: Ints, *more: Ints) -> Ints:
    """The output of a layer for its input, and for its residual or its other operands."""
    other = more[0] if more else None
    x = x.astype(np.int64)
    if isinstance(layer, Turn):
        return x.swapaxes(1, 3)
    if isinstance(layer, Conv):
        total = _convolve(layer, x)
    elif isinstance(layer, Pool):
        total = _pool(layer, x)
    elif isinstance(layer, Copy):
        total = x
    elif isinstance(layer, Concat):
        joined = np.concatenate([x, *(array.astype(np.int64) for array in more)], axis=1)
        total = joined[:, layer.first : layer.first + layer.output.channels]
    elif isinstance(layer, MatMul):
        assert other is not None
        total = _multiply(layer, x, other.astype(np.int64))
    elif isinstance(layer, Product):
        assert other is not None
        total = (x - layer.input.zero_point) * (other.astype(np.int64) - layer.other.zero_point)
    else:
        assert isinstance(layer, Leaky)
        centred = x - layer.input.zero_point
        total = np.maximum(centred << layer.bits, centred * layer.slope)
    first = _scale(layer.scaling, total)
    residual = getattr(layer, "residual", None)
    return first if residual is None else _add(layer.scaling, residual, first, other)


def rounded(value: Ints, shift: Ints | int) -> Ints:
    """`value / 2**shift` to the nearest integer, halves to the even one; exact for 64 bits and shifts up to 63."""
    shift = np.asarray(shift, np.int64)
    whole = value >> shift
    rest = value - (whole << shift)  # from 0 to below 2**shift
    half = np.left_shift(1, np.maximum(shift - 1, 0))
    up = (shift > 0) & ((rest > half) | ((rest == half) & (whole % 2 == 1)))
    return whole + up


def _scale(scaling: Scaling, total: Ints) -> Ints:
    def channels(array: Ints) -> Ints:
        return array.astype(np.int64)[None, : total.shape[1], None, None]

    value = (total + channels(scaling.bias)) * channels(scaling.multiplier)
    return np.clip(rounded(value, channels(scaling.shift)) + scaling.zero_point, scaling.low, scaling.high)


def _add(scaling: Scaling, residual: Residual, first: Ints, other: Ints | None) -> Ints:
    assert other is not None
    centred = other.astype(np.int64) - residual.tensor.zero_point
    value = (first - scaling.zero_point) * residual.result_multiplier + centred * residual.tensor_multiplier
    return np.clip(rounded(value, residual.shift) + residual.zero_point, residual.low, residual.high)


def _windows(x: Ints, layer: Conv | Pool, kernel: tuple[int, int], fill: int) -> dict[tuple[int, int], Ints]:
    """For each tap of a kernel, the input values that it meets, as an output-shaped array."""
    for axis, (before, after) in ((2, layer.pads[::2]), (3, layer.pads[1::2])):  # negative ones cut
        size = x.shape[axis]
        x = np.take(x, range(max(-before, 0), size - max(-after, 0)), axis)
        around = [(0, 0)] * 4
        around[axis] = max(before, 0), max(after, 0)
        x = np.pad(x, around, constant_values=fill)
    rows, columns = layer.output.height, layer.output.width
    views = {}
    for y in range(kernel[0]):
        for z in range(kernel[1]):
            down, across = y * layer.dilations[0], z * layer.dilations[1]
            views[y, z] = x[
                :, :,
                down : down + (rows - 1) * layer.strides[0] + 1 : layer.strides[0],
                across : across + (columns - 1) * layer.strides[1] + 1 : layer.strides[1],
            ]  # fmt: skip
    return views


def _convolve(layer: Conv, x: Ints) -> Ints:
    outputs, per_group, *kernel = layer.weights.shape
    total = np.zeros((x.shape[0], outputs, layer.output.height, layer.output.width))
    each = outputs // layer.groups
    for (y, z), view in _windows(x, layer, (kernel[0], kernel[1]), layer.input.zero_point).items():
        if per_group == each == 1:
            total += layer.weights[:, 0, y, z].astype(np.float64)[None, :, None, None] * view
            continue
        for group in range(layer.groups):
            here = slice(group * each, (group + 1) * each)
            weights = layer.weights[here, :, y, z].astype(np.float64)
            seen = view[:, group * per_group : (group + 1) * per_group].astype(np.float64)
            total[:, here] += np.tensordot(weights, seen, (1, 1)).swapaxes(0, 1)
    return total.astype(np.int64)  # sums of products of bytes are exact in float64


def _multiply(layer: MatMul, x: Ints, other: Ints) -> Ints:
    """The sums of products of both without their zero points, and what the bias of the drain takes away again."""
    left, right = x - layer.input.zero_point, other - layer.other.zero_point
    bias = layer.scaling.bias.astype(np.int64)[None, :, None, None]
    return np.einsum("bchm,bchn->bnhm", left, right) - bias


def _pool(layer: Pool, x: Ints) -> Ints:
    fill = layer.input.low if layer.kind == "max" else layer.input.zero_point
    views = np.stack(list(_windows(x, layer, layer.kernel, fill).values()))
    return views.max(0) if layer.kind == "max" else views.sum(0)
