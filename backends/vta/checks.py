"""What patterns demand beyond conditions: scales that are one number each, weights that fit eight bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.backends.vta.scalings import number
from heddle.core.ir import dtype_name
from heddle.core.pattern import Condition, Match, dtype
from numpy.typing import NDArray

Where = Callable[[Match], str | None]


def activations(*names: str) -> list[Condition]:
    """The conditions on quantized activations."""
    return [dtype(name).among("uint8", "int8") for name in names]


def scalar(*names: str) -> Where:
    """Refuses scales or zero points of these operands that are not one number each, or scales that are not positive."""

    def one_scale_each(match: Match) -> str | None:
        result = match.outputs[0]
        if result.dtype not in (np.int8, np.uint8):
            return f"the result is {result.type}, takes int8 or uint8"
        if not all(result.shape):
            return f"the result is {result.type}, takes one that has elements"
        for name in names:
            value = match.value(name)
            if value is not None and not all(value.shape):
                return f"{name} is {value.type}, takes one that has elements"
            if match.array(name) is not None:
                return f"{name} is constant, takes what the model computes"
            for part in (f"{name}_scale", f"{name}_zero_point"):
                array = match.array(part)
                if array is not None and array.size != 1:
                    return f"{part} has {array.size} values, takes one: quantize activations per tensor"
            if reason := _positive(name, match.array(f"{name}_scale")):
                return reason
        return None

    return one_scale_each


def _positive(name: str, scale: NDArray[Any] | None) -> str | None:
    if scale is None or (np.isfinite(scale).all() and (scale > 0).all()):
        return None
    wrong = next(number for number in scale.reshape(-1) if not (np.isfinite(number) and number > 0))
    return f"{name}_scale is {wrong}, takes positive numbers"


@dataclass(frozen=True, eq=False)
class Weights:
    """Constant weights, output channels first, and the scale of each output channel."""

    values: NDArray[np.int8]
    scales: NDArray[np.float64]


def weights_of(match: Match, axis: int, groups: int = 1) -> Weights | str:
    """The weights minus their zero points, or why the array cannot hold them.

    The output channels of a group lie along `axis`; the groups of a transposed convolution are parts of axis 0.
    """
    stored, scale, zero = match.array("w"), match.array("w_scale"), match.array("w_zero_point")
    if stored is None:
        return "w is computed, takes a constant"
    if scale is None:
        return "w_scale is computed, takes a constant"
    if not _is_whole(stored):
        return f"w is {dtype_name(stored.dtype)}, takes integers of eight bits or fewer"
    channels = stored.shape[axis]
    values = np.moveaxis(stored, axis, 0)
    for name, array in (("w_scale", scale), ("w_zero_point", zero)):
        if array is not None and array.size not in (1, channels):
            return f"{name} has {array.size} values for {channels} output channels"
    found = next((node for node in match.nodes if node.op == "DequantizeLinear" and node.inputs[0] == match["w"]), None)
    along = None if found is None else int(found.attrs.get("axis", 1)) % stored.ndim
    if scale.size > 1 and along not in (None, axis):
        return f"w is quantized along axis {along}, takes axis {axis}, that of its output channels"
    if found is not None and found.attrs.get("block_size"):
        return "w is quantized by blocks, takes one scale for each output channel"
    if reason := _positive("w", scale):
        return reason
    if zero is not None and zero.any():
        values = values.astype(np.int32) - zero.astype(np.int32).reshape(-1, *[1] * (values.ndim - 1))
    if values.dtype != np.int8 and values.size and (values.min() < -128 or values.max() > 127):
        return f"w minus its zero point is between {values.min()} and {values.max()}, takes -128 to 127"
    each = np.broadcast_to(scale.astype(np.float64).reshape(-1), channels)
    values = values.astype(np.int8, copy=False)
    if groups == 1:
        return Weights(values, each)
    parts = values.reshape(channels, groups, -1, *values.shape[2:]).swapaxes(0, 1)
    return Weights(parts.reshape(channels * groups, *parts.shape[2:]), np.tile(each, groups))


def _is_whole(array: NDArray[Any]) -> bool:
    return dtype_name(array.dtype).lstrip("u").startswith("int")


def bias_of(match: Match, weights: Weights) -> NDArray[np.int64] | str:
    """What the drain adds to each channel's sum of products, zero points included; or why it cannot."""
    values = weights.values.reshape(len(weights.values), -1)
    added = np.zeros(len(values), np.int64)
    stored = match.array("b")
    if stored is not None:
        if stored.shape[-1:] != (len(values),) or stored.size != len(values):
            return f"b has the shape {list(stored.shape)} for {len(values)} output channels"
        if not _is_whole(stored):
            return f"b is {dtype_name(stored.dtype)}, takes int32"
        real = stored.reshape(-1).astype(np.float64)
        step = number(match, "x_scale", 1.0) * weights.scales
        zero, unit = match.array("b_zero_point"), match.array("b_scale")
        if zero is not None:
            real = real - zero.reshape(-1)
        if unit is not None:
            real = real * (unit.reshape(-1).astype(np.float64) / step)
        lost = (np.abs(real - np.rint(real)) * step).max() / number(match, "y_scale", 1.0)
        if lost > 0.5:
            return f"b as a multiple of x_scale * w_scale is {lost:.2g} quanta of the result off, takes 0.5 at most"
        added = np.rint(real).astype(np.int64)
    zero_point, limits = int(number(match, "x_zero_point", 0)), np.iinfo(match["x"].dtype)
    positive, total = np.maximum(values, 0).sum(1, dtype=np.int64), values.sum(1, dtype=np.int64)
    low, high = limits.min - zero_point, limits.max - zero_point
    most, least = positive * high + (total - positive) * low, positive * low + (total - positive) * high
    if (most + added).max() >= 2**31 or (least + added).min() < -(2**31):
        return "the sum of the products and b do not fit 32 bits"
    return np.asarray(added - zero_point * total)


def weighted(axis: Callable[[Match], int], groups: Callable[[Match], int] = lambda match: 1) -> Where:
    """Refuses weights that the array cannot hold; `axis` is that of the output channels."""
    scales = scalar("x", "y")

    def weights_fit(match: Match) -> str | None:
        if reason := scales(match):
            return reason
        found = weights_of(match, axis(match), groups(match))
        if isinstance(found, str):
            return found
        bias = bias_of(match, found)
        return bias if isinstance(bias, str) else None

    return weights_fit
