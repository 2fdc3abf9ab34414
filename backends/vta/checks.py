"""What patterns demand beyond conditions: scales that are one number each, weights that fit eight bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    channels = stored.shape[axis]
    values = np.moveaxis(stored, axis, 0).astype(np.int32)
    for name, array in (("w_scale", scale), ("w_zero_point", zero)):
        if array is not None and array.size not in (1, channels):
            return f"{name} has {array.size} values for {channels} output channels"
    found = next((node for node in match.nodes if node.op == "DequantizeLinear" and node.inputs[0] == match["w"]), None)
    along = None if found is None else int(found.attrs.get("axis", 1)) % stored.ndim
    if scale.size > 1 and along not in (None, axis):
        return f"w is quantized along axis {along}, takes axis {axis}, that of its output channels"
    if reason := _positive("w", scale):
        return reason
    if zero is not None:
        values = values - zero.astype(np.int32).reshape(-1, *[1] * (values.ndim - 1))
    if values.size and (values.min() < -128 or values.max() > 127):
        return f"w minus its zero point is between {values.min()} and {values.max()}, takes -128 to 127"
    each = np.broadcast_to(scale.astype(np.float64).reshape(-1), channels)
    if groups == 1:
        return Weights(values.astype(np.int8), each)
    parts = values.reshape(channels, groups, -1, *values.shape[2:]).swapaxes(0, 1)
    return Weights(parts.reshape(channels * groups, *parts.shape[2:]).astype(np.int8), np.tile(each, groups))


def weighted(axis: Callable[[Match], int], groups: Callable[[Match], int] = lambda match: 1) -> Where:
    """Refuses weights that the array cannot hold; `axis` is that of the output channels."""
    scales = scalar("x", "y")

    def weights_fit(match: Match) -> str | None:
        if reason := scales(match):
            return reason
        found = weights_of(match, axis(match), groups(match))
        if isinstance(found, str):
            return found
        bias = match.array("b")
        if bias is not None and bias.size != len(found.values):
            return f"b has {bias.size} values for {len(found.values)} output channels"
        return None

    return weights_fit
