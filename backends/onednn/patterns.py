"""What oneDNN takes of real numbers: one pattern for each operator; how they run together is decided later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from heddle.backends.libraries.checks import Check
from heddle.backends.onednn.checks import (
    MOST_AXES,
    alike,
    all_real,
    averages_fit,
    both,
    broadcasts,
    known,
    scales_only,
    windows_fit,
)
from heddle.core.ir import Value
from heddle.core.pattern import (
    Condition,
    Pattern,
    among,
    attr,
    const,
    dim,
    dtype,
    either,
    maybe,
    maybe_const,
    ops,
    pattern,
    rank,
    several,
    size,
    value,
)


def real(name: str, least: int = 1, most: int = MOST_AXES) -> list[Condition]:
    """A float32 tensor with elements, of so many axes."""
    return [dtype(name).equals("float32"), rank(name).between(least, most), size(name).at_least(1)]


def stored(name: str, plain: Value) -> Value:
    """A constant operand, as it is or stored as integers."""
    scale, zero = const(f"{name}_scale"), maybe_const(f"{name}_zero_point")
    found: Value = either(ops.DequantizeLinear(const(f"{name}_stored"), scale, zero), plain)
    return found


# -- convolutions and products ------------------------------------------------------------------------------------


@pattern("convolution", conditions=real("x", 3, 5), where=both(windows_fit))
def convolution(x: Any, b: Any) -> Any:
    return ops.Conv(x, stored("w", const("w")), maybe(stored("b", b)), label="conv")


@pattern("deconvolution", conditions=real("x", 3, 5), where=both(windows_fit))
def deconvolution(x: Any, b: Any) -> Any:
    return ops.ConvTranspose(x, stored("w", const("w")), maybe(stored("b", b)), label="conv")


@pattern("matmul", conditions=[*real("x", 2), rank("w").at_least(2), rank("w_stored").at_least(2)], where=known)
def matmul(x: Any, w: Any) -> Any:
    return ops.MatMul(x, stored("w", w))


@pattern(
    "gemm",
    conditions=[*real("x", 2, 2), attr("gemm", "alpha").equals(1.0), attr("gemm", "beta").equals(1.0)],
    where=known,
)
def gemm(x: Any, w: Any, c: Any) -> Any:
    return ops.Gemm(x, stored("w", w), maybe(stored("c", c)), label="gemm")


# -- element by element --------------------------------------------------------------------------------------------


def _of_one(name: str, op: str, where: Check = known, more: Sequence[Condition] = ()) -> Pattern:
    """An operator of one operand."""

    def single(x: Any) -> Any:
        return getattr(ops, op)(x, label="node")

    return pattern(name, conditions=[*real("x"), *more], where=where)(single)


def _of_two(op: str) -> Pattern:
    def pair(x: Any, z: Any) -> Any:
        return getattr(ops, op)(x, z)

    types = [*real("x", 0), *real("z", 0)]
    return pattern(op.lower(), conditions=types, where=both(broadcasts))(pair)


@pattern("clip", conditions=real("x"), where=known)
def clip(x: Any) -> Any:
    return ops.Clip(x, maybe_const("low"), maybe_const("high"))


@pattern("sum", where=both(all_real, alike))
def sum_of_all() -> Any:
    return ops.Sum(several("xs"))


def _one_number(name: str, exact: float) -> list[Condition]:
    """A constant of one element that is this number, as float32 holds it."""
    return [value(name).each(among(float(np.float32(exact)))), size(name).equals(1)]


_GELU = [*_one_number("root", np.sqrt(2)), *_one_number("one", 1.0), *_one_number("half", 0.5)]


@pattern("gelu_by_erf", conditions=[*real("x"), *_GELU], where=known)
def gelu_by_erf(x: Any) -> Any:
    grown = ops.Add(ops.Erf(ops.Div(x, const("root"))), const("one"))
    half = const("half")
    return either(ops.Mul(ops.Mul(x, grown), half), ops.Mul(ops.Mul(x, half), grown))


# -- along axes ----------------------------------------------------------------------------------------------------


@pattern(
    "layer_norm",
    conditions=[
        *real("x", 2, 5), attr("norm", "axis").among(-1, rank("x") - 1), rank("scale").equals(1),
        size("scale").equals(dim("x", -1)), rank("bias").equals(1), size("bias").equals(dim("x", -1)),
    ],
    where=known,
)  # fmt: skip
def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    return ops.LayerNormalization(x, scale, maybe(bias), label="norm")


_PER_CHANNEL = ("scale", "bias", "mean", "variance")


@pattern(
    "batch_norm",
    conditions=[
        *real("x", 2, 5), attr("norm", "training_mode").equals(0),
        *(size(name).equals(dim("x", 1)) for name in _PER_CHANNEL),
        *(dtype(name).equals("float32") for name in _PER_CHANNEL),
    ],
    where=known,
)  # fmt: skip
def batch_norm(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    return ops.BatchNormalization(x, scale, bias, mean, variance, label="norm")


def _reduction(op: str) -> Pattern:
    def reduce(x: Any) -> Any:
        return getattr(ops, op)(x, maybe_const("axes"))

    return pattern(op.lower(), conditions=real("x"), where=known)(reduce)


@pattern("concat", where=both(all_real))
def concat() -> Any:
    return ops.Concat(several("xs"))


# -- resampling: the two ways in which the library picks samples ---------------------------------------------------

_PLACES = {"linear": ("half_pixel", "pytorch_half_pixel"), "nearest": ("asymmetric",)}


def _resize(mode: str, by: str) -> Pattern:
    def resize(x: Any) -> Any:
        given = (const("scales"),) if by == "scales" else (None, const("sizes"))
        return ops.Resize(x, maybe_const("roi"), *given, label="resize", mode=mode)

    conditions = [
        *real("x", 3, 5), attr("resize", "coordinate_transformation_mode").among(*_PLACES[mode]),
        attr("resize", "antialias").equals(0), attr("resize", "exclude_outside").equals(0),
        attr("resize", "keep_aspect_ratio_policy").equals("stretch"),
    ]  # fmt: skip
    if mode == "nearest":
        conditions.append(attr("resize", "nearest_mode").equals("floor"))
    return pattern(f"{mode}_by_{by}", conditions=conditions, where=both(scales_only))(resize)


# -- other names of the same elements -----------------------------------------------------------------------------

_ANY_BYTES = ("float32", "int8", "uint8")


def _view(name: str, op: str, *operands: str, optional: bool = False) -> Pattern:
    def view(x: Any) -> Any:
        return getattr(ops, op)(x, *((maybe_const if optional else const)(operand) for operand in operands))

    conditions = [dtype("x").among(*_ANY_BYTES), rank("x").between(1, MOST_AXES), size("x").at_least(1)]
    return pattern(name, conditions=conditions, where=known)(view)


ELTWISE = (
    "Relu", "Sigmoid", "Tanh", "Elu", "Abs", "Sqrt", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Softplus", "Mish",
    "Neg",
)  # fmt: skip
"""Not Log: the library takes denormal numbers for the least normal one."""
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min")
REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
)  # fmt: skip

MAX_POOL = pattern(
    "max_pool",
    conditions=[dtype("x").among(*_ANY_BYTES), rank("x").between(3, 5), size("x").at_least(1)],
    where=both(windows_fit),
)(lambda x: ops.MaxPool(x, label="node", storage_order=0))

LEAKY_RELU = _of_one("leakyrelu", "LeakyRelu", more=[attr("node", "alpha").differs(0.0)])
"""By zero the library does not multiply: infinity would leave as zero."""

REAL_PATTERNS: tuple[Pattern, ...] = (
    gelu_by_erf,
    convolution, deconvolution, matmul, gemm, MAX_POOL,
    _of_one("average_pool", "AveragePool", both(windows_fit, averages_fit)),
    _of_one("global_average_pool", "GlobalAveragePool"), _of_one("global_max_pool", "GlobalMaxPool"),
    clip, *(_of_one(op.lower(), op) for op in ELTWISE), LEAKY_RELU, *(_of_two(op) for op in BINARY), sum_of_all,
    layer_norm, batch_norm, _of_one("softmax", "Softmax"), _of_one("log_softmax", "LogSoftmax"),
    *(_reduction(op) for op in REDUCTIONS), concat,
    *(_resize(mode, by) for mode in _PLACES for by in ("scales", "sizes")),
    _view("reshape", "Reshape", "to"), _view("flatten", "Flatten"), _view("transpose", "Transpose"),
    _view("squeeze", "Squeeze", "axes", optional=True), _view("unsqueeze", "Unsqueeze", "axes"),
)  # fmt: skip
