"""What the accelerator computes: quantized operators, however the model spells them, with the conditions it sets."""

from __future__ import annotations

from functools import cache
from inspect import Parameter, Signature
from typing import Any

from heddle.backends.vta.checks import Where, activations, scalar, weighted
from heddle.backends.vta.geometry import count_of, elements_seen
from heddle.backends.vta.movement import movements
from heddle.core.ir import Value
from heddle.core.pattern import (
    Match,
    Pattern,
    attr,
    const,
    dequantize,
    maybe_const,
    ops,
    optional,
    pattern,
    quantize,
    quantized,
    rank,
    several,
    shape,
)


def activation(x: Any) -> Value:
    """A rectifier or a clip where there is one; their bounds are folded into the drain."""
    clipped: Value = optional(lambda h: ops.Clip(h, maybe_const("low"), maybe_const("high"), label="clip"))(
        optional(lambda h: ops.Relu(h, label="relu"))(x)
    )
    return clipped


def _scaled(name: str) -> list[Value]:
    """The scale and the zero point of an operand or of the result, as the operators of onnxruntime take them."""
    return [const(f"{name}_scale"), maybe_const(f"{name}_zero_point")]


def _microsoft(op: str, *operands: Value, label: str, **attributes: Any) -> Value:
    """An operator of onnxruntime on quantized operands."""
    parts = [part for x in operands for part in (x, *_scaled(x.name))]
    made: Value = getattr(ops, f"com.microsoft.{op}")(*parts, *_scaled("y"), label=label, **attributes)
    return made


# -- weights -------------------------------------------------------------------------------------------------------


def gemm_axis(match: Match) -> int:
    """The axis of a Gemm's weights that output channels lie on."""
    return 0 if match.attr("gemm", "transB") else 1


def groups_of(match: Match) -> int:
    """The groups of a transposed convolution."""
    return int(match.attr("convtranspose", "group"))


@pattern("conv", conditions=[*activations("x"), rank("x").among(3, 4)], where=weighted(lambda match: 0))
def conv(x: Any, w: Any) -> Any:
    return quantized("Conv", x, w, bias=maybe_const("b"), activation=activation)


@pattern(
    "conv_transpose", conditions=[*activations("x"), rank("x").among(3, 4)],
    where=weighted(lambda match: 1, groups_of),
)  # fmt: skip
def conv_transpose(x: Any, w: Any) -> Any:
    return quantized("ConvTranspose", x, w, bias=maybe_const("b"), activation=activation)


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
    "qgemm",
    conditions=[
        *activations("x"), rank("x").equals(2), attr("gemm", "alpha").equals(1.0), attr("gemm", "transA").equals(0),
    ],
    where=weighted(gemm_axis),
)  # fmt: skip
def qgemm(x: Any, w: Any) -> Any:
    operands = (x, *_scaled("x"), w, *_scaled("w"), maybe_const("b"), *_scaled("y"))
    return getattr(ops, "com.microsoft.QGemm")(*operands, label="gemm")


def _matmul(most: int) -> Pattern:
    """Rows of at most so many dimensions times constant weights."""

    @pattern(
        "matmul", conditions=[*activations("x"), rank("w").equals(2), rank("x").between(2, most)],
        where=weighted(lambda match: 1),
    )  # fmt: skip
    def matmul(x: Any, w: Any) -> Any:
        return quantized("MatMul", x, w, activation=activation)

    return matmul


def _matrices_alike(match: Match) -> str | None:
    x, z = match["x"].shape, match["z"].shape
    if x[:-2] != z[:-2]:
        return f"x is {match['x'].type} and z {match['z'].type}, takes as many matrices of each"
    return scalar("x", "z", "y")(match)


@pattern(
    "matmul_of_two", conditions=[*activations("x", "z"), rank("x").between(2, 4), rank("z").equals(rank("x"))],
    where=_matrices_alike,
)  # fmt: skip
def matmul_of_two(x: Any, z: Any) -> Any:
    return quantized("MatMul", x, z, activation=activation)


# -- pooling -------------------------------------------------------------------------------------------------------


def _sees_something(*names: str) -> Where:
    """Refuses windows that lie in the padding as a whole, whose greatest element is nothing."""
    scales = scalar(*names)

    def every_window_sees_something(match: Match) -> str | None:
        if reason := scales(match):
            return reason
        return None if elements_seen(match).all() else "a window lies wholly in the padding, takes narrower pads"

    return every_window_sees_something


@pattern("max_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=_sees_something("x", "y"))
def max_pool(x: Any) -> Any:
    return quantize(ops.MaxPool(dequantize(x), label="pool"))


@pattern("integer_max_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=_sees_something("x"))
def integer_max_pool(x: Any) -> Any:
    return ops.MaxPool(x, label="pool")


def _counts_alike(match: Match) -> str | None:
    """Refuses averages over windows of different sizes: the drain has one multiplier for a channel."""
    if reason := scalar("x", "y")(match):
        return reason
    if count_of(match) is None:
        return "averages at the border count fewer elements, takes count_include_pad=1 and ceil_mode=0, or no padding"
    return None


@pattern("average_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=_counts_alike)
def average_pool(x: Any) -> Any:
    return quantize(ops.AveragePool(dequantize(x), label="pool"))


@pattern("qlinear_average_pool", conditions=average_pool.conditions, where=_counts_alike)
def qlinear_average_pool(x: Any) -> Any:
    return _microsoft("QLinearAveragePool", x, label="pool", channels_last=0)


@pattern("global_average_pool", conditions=[*activations("x"), rank("x").among(3, 4)], where=scalar("x", "y"))
def global_average_pool(x: Any) -> Any:
    return quantize(ops.GlobalAveragePool(dequantize(x), label="pool"))


@pattern("qlinear_global_average_pool", conditions=global_average_pool.conditions, where=scalar("x", "y"))
def qlinear_global_average_pool(x: Any) -> Any:
    return _microsoft("QLinearGlobalAveragePool", x, label="pool", channels_last=0)


# -- element by element --------------------------------------------------------------------------------------------


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


@pattern("qlinear_add", conditions=add.conditions, where=scalar("x", "z", "y"))
def qlinear_add(x: Any, z: Any) -> Any:
    return _microsoft("QLinearAdd", x, z, label="add")


@pattern("qlinear_mul", conditions=mul.conditions, where=scalar("x", "z", "y"))
def qlinear_mul(x: Any, z: Any) -> Any:
    return _microsoft("QLinearMul", x, z, label="mul")


@pattern("qlinear_leaky_relu", conditions=leaky_relu.conditions, where=_slope_below_one)
def qlinear_leaky_relu(x: Any) -> Any:
    return _microsoft("QLinearLeakyRelu", x, label="leaky")


# -- joining -------------------------------------------------------------------------------------------------------

CONCATS = range(2, 9)
"""How many tensors a concatenation of dequantized operands may join."""


def _concat(count: int) -> Pattern:
    """Tensors joined along one axis."""
    names = [f"x{number}" for number in range(count)]

    def join(*parts: Any) -> Any:
        return quantize(activation(ops.Concat(*(dequantize(part) for part in parts), label="concat")))

    join.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])  # type: ignore[attr-defined]
    conditions = [*activations(*names), *(rank(name).between(2, 4) for name in names)]
    return pattern(f"concat{count}", conditions=conditions, where=scalar(*names, "y"))(join)


def _joins_computed(match: Match) -> str | None:
    """Refuses operands of QLinearConcat that are constants, or scales that are not."""
    if reason := scalar("y")(match):
        return reason
    if len(match.outputs[0].shape) not in range(2, 5):
        return f"the result is {match.outputs[0].type}, takes 2 to 4 dimensions"
    parts, constants = match.all("parts"), match.graph.constants
    if not all(all(part.shape) for part in parts[::3]):
        return "an operand is empty, takes those that have elements"
    for x, *others in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if x in constants:
            return f"{x} is constant, takes what the model computes"
        if any(each not in constants or constants[each].size != 1 for each in others):
            return f"the scale or the zero point of {x} is not one constant number"
    return None


@pattern("qlinear_concat", where=_joins_computed)
def qlinear_concat() -> Any:
    scales = const("y_scale"), const("y_zero_point")
    return getattr(ops, "com.microsoft.QLinearConcat")(*scales, several("parts"), label="concat")


@cache
def patterns(lanes: int, turns: bool) -> tuple[Pattern, ...]:
    """The patterns of an accelerator with so many lanes in a vector; `turns`: it can load pixels as weights."""
    return (
        conv, conv_transpose, gemm, qgemm, _matmul(4 if turns else 2), *([matmul_of_two] if turns else []),
        max_pool, integer_max_pool, average_pool, global_average_pool, add, mul, leaky_relu,
        qlinear_add, qlinear_mul, qlinear_leaky_relu, qlinear_average_pool, qlinear_global_average_pool,
        *movements(lanes, turns), requantize, qlinear_concat,
        *(_concat(count) for count in CONCATS),
    )  # fmt: skip
