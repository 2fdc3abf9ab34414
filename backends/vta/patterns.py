"""What the accelerator takes: quantized operators, however the model spells them, with the conditions it sets."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import numpy as np
from heddle.core.ir import Value
from heddle.core.pattern import (
    Condition,
    Match,
    Pattern,
    among,
    attr,
    const,
    dequantize,
    dtype,
    maybe_const,
    ops,
    optional,
    pattern,
    quantize,
    quantized,
    rank,
    shape,
)
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
        for name in names:
            if match.array(name) is not None:
                return f"{name} is constant, takes what the model computes"
            for part in (f"{name}_scale", f"{name}_zero_point"):
                array = match.array(part)
                if array is not None and array.size != 1:
                    return f"{part} has {array.size} values, takes one: quantize activations per tensor"
            scale = match.array(f"{name}_scale")
            if scale is not None and not (np.isfinite(scale).all() and (scale > 0).all()):
                return f"{name}_scale is {scale.reshape(-1)[0]}, takes a positive number"
        return None

    return one_scale_each


def centred(match: Match, axis: int) -> NDArray[np.int8] | str:
    """The weights minus their zero points, output channels first; or why they do not fit eight bits."""
    weights, zero = match.array("w"), match.array("w_zero_point")
    if weights is None:
        return "w is computed, takes a constant"
    stored = np.moveaxis(weights, axis, 0).astype(np.int32)
    if zero is not None:
        points = zero.astype(np.int32).reshape(-1)
        if points.size not in (1, len(stored)):
            return f"w_zero_point has {points.size} values for {len(stored)} channels"
        stored = stored - points.reshape(-1, *[1] * (stored.ndim - 1))
    if stored.size and (stored.min() < -128 or stored.max() > 127):
        return f"w minus its zero point is between {stored.min()} and {stored.max()}, takes -128 to 127"
    return stored.astype(np.int8)


def weighted(axis: Callable[[Match], int]) -> Where:
    """Refuses weights that the array cannot hold; `axis` is that of the output channels."""
    scales = scalar("x", "y")

    def weights_fit(match: Match) -> str | None:
        if reason := scales(match):
            return reason
        found = centred(match, axis(match))
        if isinstance(found, str):
            return found
        scale = match.array("w_scale")
        if scale is None or scale.size not in (1, len(found)):
            return f"w_scale has {0 if scale is None else scale.size} values for {len(found)} output channels"
        bias = match.array("b")
        if bias is not None and bias.size != len(found):
            return f"b has {bias.size} values for {len(found)} output channels"
        return None

    return weights_fit


def activation(x: Any) -> Value:
    """A rectifier or a clip where there is one; their bounds are folded into the drain."""
    clipped: Value = optional(lambda h: ops.Clip(h, maybe_const("low"), maybe_const("high"), label="clip"))(
        optional(lambda h: ops.Relu(h, label="relu"))(x)
    )
    return clipped


def gemm_axis(match: Match) -> int:
    """The axis of a Gemm's weights that output channels lie on."""
    return 0 if match.attr("gemm", "transB") else 1


@pattern("conv", conditions=[*activations("x"), rank("x").among(3, 4)], where=weighted(lambda match: 0))
def conv(x: Any, w: Any) -> Any:
    return quantized("Conv", x, w, bias=maybe_const("b"), activation=activation)


@pattern(
    "gemm",
    conditions=[
        *activations("x"), rank("x").equals(2), attr("gemm", "alpha").equals(1.0),
        attr("gemm", "beta").equals(1.0), attr("gemm", "transA").equals(0),
    ],
    where=weighted(gemm_axis),
)  # fmt: skip
def gemm(x: Any, w: Any) -> Any:
    return quantized("Gemm", x, w, bias=maybe_const("b"), activation=activation)


@pattern(
    "matmul", conditions=[*activations("x"), rank("w").equals(2), rank("x").at_least(2)],
    where=weighted(lambda match: 1),
)  # fmt: skip
def matmul(x: Any, w: Any) -> Any:
    return quantized("MatMul", x, w, activation=activation)


@pattern("max_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=scalar("x", "y"))
def max_pool(x: Any) -> Any:
    return quantize(ops.MaxPool(dequantize(x), label="pool"))


@pattern("integer_max_pool", conditions=[*activations("x"), rank("x").among(3, 4)])
def integer_max_pool(x: Any) -> Any:
    return ops.MaxPool(x, label="pool")


def _counts_alike(match: Match) -> str | None:
    """Refuses averages over windows of different sizes: the drain has one multiplier for a channel."""
    if reason := scalar("x", "y")(match):
        return reason
    pads = match.attr("pool", "pads") or ()
    if any(pads) and not match.attr("pool", "count_include_pad"):
        return "count_include_pad is 0 with padding, takes 1: averages would count fewer values at the border"
    if match.attr("pool", "ceil_mode"):
        return "ceil_mode is 1, takes 0: the last averages would count fewer values"
    if match.attr("pool", "auto_pad") not in ("NOTSET", "VALID", None):
        return f"auto_pad is {match.attr('pool', 'auto_pad')!r}, takes explicit pads"
    return None


@pattern("average_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=_counts_alike)
def average_pool(x: Any) -> Any:
    return quantize(ops.AveragePool(dequantize(x), label="pool"))


@pattern("global_average_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=scalar("x", "y"))
def global_average_pool(x: Any) -> Any:
    return quantize(ops.GlobalAveragePool(dequantize(x), label="pool"))


@pattern(
    "add", conditions=[*activations("x", "z"), shape("x").equals(shape("z")), rank("x").between(2, 4)],
    where=scalar("x", "z", "y"),
)  # fmt: skip
def add(x: Any, z: Any) -> Any:
    return quantize(activation(ops.Add(dequantize(x), dequantize(z), label="add")))


@pattern(
    "mul", conditions=[*activations("x", "z"), shape("x").equals(shape("z")), rank("x").between(2, 4)],
    where=scalar("x", "z", "y"),
)  # fmt: skip
def mul(x: Any, z: Any) -> Any:
    return quantize(activation(ops.Mul(dequantize(x), dequantize(z), label="mul")))


def _slope_below_one(match: Match) -> str | None:
    slope = match.attr("leaky", "alpha")
    return scalar("x", "y")(match) or (f"alpha is {slope}, takes 0 to 1" if not 0 <= slope <= 1 else None)


@pattern("leaky_relu", conditions=[*activations("x"), rank("x").between(2, 4)], where=_slope_below_one)
def leaky_relu(x: Any) -> Any:
    return quantize(ops.LeakyRelu(dequantize(x), label="leaky"))


@pattern("requantize", conditions=[*activations("x"), rank("x").between(2, 4)], where=scalar("x", "y"))
def requantize(x: Any) -> Any:
    return quantize(activation(dequantize(x)))


def _one_pixel(match: Match) -> str | None:
    dims = match["x"].shape
    if any(dim != 1 for dim in dims[2:]):
        return f"x is {match['x'].type}, takes one pixel: other shapes change the order of the data"
    if dims[0] != 1:
        return f"x is {match['x'].type}, takes a batch of 1: rows of a batch lie otherwise than images of one"
    if dims[:2] != match.outputs[0].shape:
        return f"the result is {match.outputs[0].type}, takes [batch, channels]"
    return scalar("x", "y")(match)


@pattern("flatten", conditions=[*activations("x"), rank("x").equals(4)], where=_one_pixel)
def flatten(x: Any) -> Any:
    return quantize(ops.Flatten(dequantize(x), label="flatten"))


def _scaled(name: str) -> list[Value]:
    """The scale and the zero point of an operand or of the result, as the operators of onnxruntime take them."""
    return [const(f"{name}_scale"), maybe_const(f"{name}_zero_point")]


def _microsoft(op: str, *names: str, label: str, **attributes: Any) -> Callable[..., Value]:
    """An operator of onnxruntime on quantized operands of these names."""

    def apply(*operands: Value) -> Value:
        parts = [part for name, x in zip(names, operands, strict=True) for part in (x, *_scaled(name))]
        made: Value = getattr(ops, f"com.microsoft.{op}")(*parts, *_scaled("y"), label=label, **attributes)
        return made

    return apply


@pattern("qlinear_add", conditions=add.conditions, where=scalar("x", "z", "y"))
def qlinear_add(x: Any, z: Any) -> Any:
    return _microsoft("QLinearAdd", "x", "z", label="add")(x, z)


@pattern("qlinear_mul", conditions=mul.conditions, where=scalar("x", "z", "y"))
def qlinear_mul(x: Any, z: Any) -> Any:
    return _microsoft("QLinearMul", "x", "z", label="mul")(x, z)


@pattern("qlinear_leaky_relu", conditions=leaky_relu.conditions, where=_slope_below_one)
def qlinear_leaky_relu(x: Any) -> Any:
    return _microsoft("QLinearLeakyRelu", "x", label="leaky")(x)


@pattern("qlinear_global_average_pool", conditions=global_average_pool.conditions, where=scalar("x", "y"))
def qlinear_global_average_pool(x: Any) -> Any:
    return _microsoft("QLinearGlobalAveragePool", "x", label="pool", channels_last=0)(x)


CONCATS = range(2, 9)
"""How many tensors a concatenation may join."""


def _concat(count: int) -> Pattern:
    """Tensors joined along their channels."""
    names = [f"x{number}" for number in range(count)]

    def join(*parts: Any) -> Any:
        joined = ops.Concat(*(dequantize(part) for part in parts), label="concat", axis=among(1, -3))
        return quantize(activation(joined))

    join.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])  # type: ignore[attr-defined]
    conditions = [*activations(*names), *(rank(name).equals(4) for name in names)]
    return pattern(f"concat{count}", conditions=conditions, where=scalar(*names, "y"))(join)


PATTERNS: tuple[Pattern, ...] = (
    conv, gemm, matmul, max_pool, integer_max_pool, average_pool, global_average_pool, add, mul, leaky_relu, flatten,
    qlinear_add, qlinear_mul, qlinear_leaky_relu, qlinear_global_average_pool, requantize,
    *(_concat(count) for count in CONCATS),
)  # fmt: skip
