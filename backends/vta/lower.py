"""Matches of a region to layers: scales become multipliers and shifts, zero points biases, activations bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from heddle.backends.vta.layers import (
    Concat,
    Conv,
    Copy,
    Layer,
    Leaky,
    Pool,
    Product,
    Residual,
    Scaling,
    Tensor,
    reads,
    scaled,
)
from heddle.backends.vta.patterns import CONCATS, centred, gemm_axis
from heddle.core.errors import BackendError
from heddle.core.ir import Value
from heddle.core.pattern import Match
from numpy.typing import NDArray

LEAKY_BITS = 14
"""Bits behind the point of a leaky rectifier's slope: its rounding stays below a hundredth of an output quantum."""


@dataclass
class Lowering:
    """The layers of a region so far, and the tensor of each value."""

    layers: list[Layer] = field(default_factory=list)
    tensors: dict[Value, Tensor] = field(default_factory=dict)
    last: set[Value] = field(default_factory=set)
    """The values whose channels are their last dimension."""
    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The ONNX nodes that the layer with this output computes, by the output's name."""

    def tensor(self, value: Value, match: Match, operand: str, rows: bool = False) -> Tensor:
        """The tensor of a value, whose scale and zero point the match binds under the operand's name.

        `rows` says that the match takes its channels to be last, which a value of rank 2 always has; a value
        keeps the form in which it was met first.
        """
        scale, zero = _number(match, f"{operand}_scale", 1.0), int(_number(match, f"{operand}_zero_point", 0))
        known = self.tensors.get(value)
        rows = rows or len(value.shape) == 2
        if known is not None:
            if rows and len(value.shape) > 2 and value not in self.last:
                raise BackendError(
                    f"vta: {value}: its channels are its second dimension, {match.pattern.name} takes last"
                )
            return replace(known, scale=scale, zero_point=zero)
        if rows:
            self.last.add(value)
            *outer, channels = value.shape
            sizes = (1, channels, 1, math.prod(outer))
        else:
            batch, channels, *image = value.shape
            sizes = (batch, channels, *([1] * (2 - len(image))), *image)  # type: ignore[assignment]
        made = Tensor(value.name, *sizes, scale, zero, value.dtype == np.uint8)
        self.tensors[value] = made
        return made

    def form(self, value: Value) -> bool:
        """Whether a value was met with its channels last."""
        return value in self.last


def lower(matches: Sequence[Match], outputs: Sequence[Value]) -> Lowering:
    """The layers of matches in topological order; sums that a convolution's drain can do are done there."""
    lowering = Lowering()
    for match in matches:
        layer = _RULES[match.pattern.name](lowering, match)
        lowering.layers.append(layer)
        lowering.nodes[layer.output.name] = tuple(node.name for node in match.nodes if node.name)
    kept = {value.name for value in outputs}
    lowering.layers = fuse_sums(lowering, kept)
    return lowering


def fuse_sums(lowering: Lowering, kept: set[str]) -> list[Layer]:
    """Sums whose one operand is a convolution's result that nothing else reads join that convolution."""
    layers = lowering.layers
    readers: dict[str, int] = {}
    for layer in layers:
        for tensor in reads(layer):
            readers[tensor.name] = readers.get(tensor.name, 0) + 1
    producers: dict[str, Conv] = {layer.output.name: layer for layer in layers if isinstance(layer, Conv)}
    result: dict[str, Layer] = {}
    for layer in layers:
        result[layer.output.name] = layer
        if not isinstance(layer, Copy) or layer.residual is None:
            continue
        for first, second, swapped in (
            (layer.input, layer.residual.tensor, False),
            (layer.residual.tensor, layer.input, True),
        ):
            conv = producers.get(first.name)
            if conv is None or conv.residual is not None or readers[first.name] > 1 or first.name in kept:
                continue
            residual = layer.residual
            if swapped:
                residual = replace(
                    residual, tensor=second, result_multiplier=residual.tensor_multiplier,
                    tensor_multiplier=residual.result_multiplier,
                )  # fmt: skip
            if residual.result_multiplier > 1 << residual.shift:
                continue  # a rounding of the convolution's result would be more than one of the sum's quanta
            del result[first.name]
            result[layer.output.name] = replace(conv, output=layer.output, residual=residual)
            lowering.nodes[layer.output.name] = lowering.nodes[first.name] + lowering.nodes[layer.output.name]
            break
    return list(result.values())


# -- numbers -------------------------------------------------------------------------------------------------------


def _number(match: Match, name: str, default: float) -> float:
    array = match.array(name)
    return default if array is None else float(array.astype(np.float64).reshape(()))


def _bounds(match: Match, output: Tensor) -> tuple[int, int]:
    """The quantized bounds of the result: those of its type, narrowed by a rectifier or a clip."""
    low, high = output.low, output.high
    if match.node("relu") is not None:
        low = max(low, output.zero_point)
    if match.node("clip") is not None:
        for name, side in (("low", max), ("high", min)):
            array = match.array(name)
            if array is None:
                continue
            bound = round(float(array.reshape(())) / output.scale) + output.zero_point
            bound = min(max(bound, output.low), output.high)
            low, high = (side(low, bound), high) if name == "low" else (low, side(high, bound))
    return low, high


def _scaling(match: Match, output: Tensor, ratios: NDArray[np.float64], bias: NDArray[np.int64]) -> Scaling:
    if bias.size and (bias.min() < -(2**31) or bias.max() >= 2**31):
        raise BackendError(f"vta: {output.name}: a bias of {np.abs(bias).max()} does not fit 32 bits")
    pairs = [scaled(float(ratio)) for ratio in ratios]
    multiplier, shift = np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64)
    return Scaling(bias.astype(np.int32), multiplier, shift, output.zero_point, *_bounds(match, output))


def _uniform(match: Match, output: Tensor, channels: int, ratio: float, bias: int) -> Scaling:
    return _scaling(match, output, np.full(channels, ratio), np.full(channels, bias, np.int64))


# -- rules ---------------------------------------------------------------------------------------------------------


def _weighted(
    lowering: Lowering, match: Match, axis: int, rows: bool, weights_of: Callable[[NDArray[Any]], NDArray[Any]]
) -> tuple[Tensor, Tensor, NDArray[np.int8], Scaling]:
    x = lowering.tensor(match["x"], match, "x", rows)
    y = lowering.tensor(match.outputs[0], match, "y", rows)
    weights = centred(match, axis)
    assert not isinstance(weights, str), "the pattern has checked this"
    scale = match.array("w_scale")
    assert scale is not None
    step = x.scale * np.broadcast_to(scale.astype(np.float64).reshape(-1), len(weights))
    bias = np.zeros(len(weights), np.int64)
    stored = match.array("b")
    if stored is not None:
        of = match.array("b_scale")
        unit = step if of is None else np.broadcast_to(of.astype(np.float64).reshape(-1), len(weights))
        bias = np.rint(stored.astype(np.float64).reshape(-1) * (unit / step)).astype(np.int64)
    bias = bias - x.zero_point * weights.reshape(len(weights), -1).sum(1, dtype=np.int64)
    return x, y, weights_of(weights), _scaling(match, y, step / y.scale, bias)


def _conv(lowering: Lowering, match: Match) -> Layer:
    image = len(match["x"].shape) - 2

    def square(weights: NDArray[Any]) -> NDArray[Any]:
        return weights if image == 2 else weights[:, :, None]

    x, y, weights, scaling = _weighted(lowering, match, 0, False, square)
    node = match.node("conv", "qlinearconv")
    assert node is not None
    return Conv(
        y.name,
        x,
        y,
        weights,
        scaling,
        groups=int(node.attrs.get("group", 1)),
        **_window(match, node.attrs, weights.shape[2:], x),
    )


def _window(match: Match, attrs: Mapping[str, Any], kernel: Sequence[int], x: Tensor) -> dict[str, Any]:
    """Strides, pads and dilations of a window over two dimensions; of one dimension, it is the second."""

    def two(values: Sequence[int] | None) -> tuple[int, int]:
        values = tuple(values or ())
        return (1, 1) if not values else (1, values[0]) if len(values) == 1 else (values[0], values[1])

    strides, dilations = two(attrs.get("strides")), two(attrs.get("dilations"))
    pads = tuple(attrs.get("pads") or ())
    if len(pads) == 2:
        pads = (0, pads[0], 0, pads[1])
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            for size, s, k, d in zip((x.height, x.width), strides, kernel, dilations, strict=True)
        ]
        less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
        pads = (*less, *more) if auto == "SAME_UPPER" else (*more, *less)
    return {"strides": strides, "dilations": dilations, "pads": pads or (0, 0, 0, 0)}


def _dense(lowering: Lowering, match: Match) -> Layer:
    axis = gemm_axis(match) if match.pattern.name == "gemm" else 1
    x, y, weights, scaling = _weighted(lowering, match, axis, True, lambda w: w[:, :, None, None])
    return Conv(y.name, x, y, weights, scaling)


def _pool(lowering: Lowering, match: Match) -> Layer:
    x = lowering.tensor(match["x"], match, "x")
    maximum = match.pattern.name in ("max_pool", "integer_max_pool")
    y = lowering.tensor(match.outputs[0], match, "y")
    node = match.node("pool")
    assert node is not None
    if match.pattern.name.endswith("global_average_pool"):
        kernel = (x.height, x.width)
        window: dict[str, Any] = {}
    else:
        sizes = tuple(node.attrs["kernel_shape"])
        kernel = (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
        window = _window(match, node.attrs, kernel, x)
    count = 1 if maximum else kernel[0] * kernel[1]
    scaling = _uniform(match, y, x.channels, x.scale / y.scale / count, -x.zero_point * count)
    return Pool(y.name, x, y, "max" if maximum else "sum", kernel, scaling, **window)


def _copy(lowering: Lowering, match: Match) -> Layer:
    x = lowering.tensor(match["x"], match, "x", lowering.form(match["x"]))
    y = lowering.tensor(match.outputs[0], match, "y", lowering.form(match["x"]))
    return Copy(y.name, x, y, _uniform(match, y, x.channels, x.scale / y.scale, -x.zero_point))


def _pair(lowering: Lowering, match: Match) -> tuple[Tensor, Tensor, Tensor]:
    rows = lowering.form(match["x"]) or lowering.form(match["z"])
    return (
        lowering.tensor(match["x"], match, "x", rows),
        lowering.tensor(match["z"], match, "z", rows),
        lowering.tensor(match.outputs[0], match, "y", rows),
    )


def _add(lowering: Lowering, match: Match) -> Layer:
    x, z, y = _pair(lowering, match)
    ratios = (x.scale / y.scale, z.scale / y.scale)
    shift = min(max(23 - math.frexp(max(ratios))[1], 0), 63)
    multipliers = [round(ratio * 2.0**shift) for ratio in ratios]
    if max(multipliers) >= 2**24:
        raise BackendError(f"vta: {y.name}: an operand's scale is {max(ratios)} times the result's, takes below 2**24")
    residual = Residual(z, multipliers[0], multipliers[1], shift, y.zero_point, *_bounds(match, y))
    pairs = np.full(x.channels, 1 << 30, np.int64), np.full(x.channels, 30, np.int64)
    same = Scaling(np.full(x.channels, -x.zero_point, np.int32), *pairs, x.zero_point, x.low, x.high)
    return Copy(y.name, x, y, same, residual)


def _mul(lowering: Lowering, match: Match) -> Layer:
    x, z, y = _pair(lowering, match)
    return Product(y.name, x, z, y, _uniform(match, y, x.channels, x.scale * z.scale / y.scale, 0))


def _leaky(lowering: Lowering, match: Match) -> Layer:
    x = lowering.tensor(match["x"], match, "x", lowering.form(match["x"]))
    y = lowering.tensor(match.outputs[0], match, "y", lowering.form(match["x"]))
    slope = round(match.attr("leaky", "alpha") * 2**LEAKY_BITS)
    scaling = _uniform(match, y, x.channels, x.scale / y.scale / 2**LEAKY_BITS, 0)
    return Leaky(y.name, x, y, slope, LEAKY_BITS, scaling)


def _concat(lowering: Lowering, match: Match) -> Layer:
    count = len([name for name in match.bindings if re.fullmatch(r"x\d+", name)])
    parts = [f"x{number}" for number in range(count)]
    inputs = tuple(lowering.tensor(match[part], match, part) for part in parts)
    y = lowering.tensor(match.outputs[0], match, "y")
    ratios = np.concatenate([np.full(t.channels, t.scale / y.scale) for t in inputs])
    biases = np.concatenate([np.full(t.channels, -t.zero_point, np.int64) for t in inputs])
    return Concat(y.name, inputs, y, _scaling(match, y, ratios, biases))


_RULES: Mapping[str, Callable[[Lowering, Match], Layer]] = {
    "conv": _conv,
    "gemm": _dense,
    "matmul": _dense,
    "max_pool": _pool,
    "integer_max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _pool,
    "add": _add,
    "mul": _mul,
    "leaky_relu": _leaky,
    "qlinear_add": _add,
    "qlinear_mul": _mul,
    "qlinear_leaky_relu": _leaky,
    "qlinear_global_average_pool": _pool,
    "requantize": _copy,
    "flatten": _copy,
    **{f"concat{count}": _concat for count in CONCATS},
}
