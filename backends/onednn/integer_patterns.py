"""What oneDNN takes of integers: between DequantizeLinear and QuantizeLinear, or as one quantized operator."""

from __future__ import annotations

from typing import Any

from heddle.backends.onednn.checks import (
    MOST_AXES,
    both,
    eight_bits,
    per_tensor,
    scales_of_columns,
    whole_sums,
    windows_fit,
)
from heddle.backends.onednn.patterns import real
from heddle.core.pattern import Condition, Pattern, const, dtype, maybe_const, ops, pattern, rank, size


def _bytes(name: str, least: int, most: int = MOST_AXES) -> list[Condition]:
    """A tensor of bytes with elements, of so many axes."""
    return [dtype(name).among("int8", "uint8"), rank(name).between(least, most), size(name).at_least(1)]


def _one(*names: str) -> list[Condition]:
    """Scales of one number each."""
    return [condition for name in names for condition in (size(name).equals(1), dtype(name).equals("float32"))]


@pattern(
    "dequantize",
    conditions=[
        dtype("x").among("int8", "uint8", "int32"), dtype("scale").equals("float32"), rank("x").at_most(MOST_AXES),
    ],
    where=both(per_tensor),
)  # fmt: skip
def dequantize(x: Any) -> Any:
    return ops.DequantizeLinear(x, const("scale"), maybe_const("zero_point"))


@pattern("quantize", conditions=[*real("x", 0), *_one("scale")], where=both(eight_bits))
def quantize(x: Any) -> Any:
    return ops.QuantizeLinear(x, const("scale"), maybe_const("zero_point"))


def _parameters(name: str) -> tuple[Any, Any]:
    return const(f"{name}_scale"), const(f"{name}_zero_point")


@pattern(
    "qlinear_conv",
    conditions=[*_bytes("x", 3, 5), *_one("x_scale", "y_scale"), dtype("w_scale").equals("float32")],
    where=both(windows_fit, scales_of_columns),
)
def qlinear_conv(x: Any) -> Any:
    return ops.QLinearConv(x, *_parameters("x"), const("w"), *_parameters("w"), *_parameters("y"), maybe_const("b"))


@pattern(
    "qlinear_matmul",
    conditions=[
        *_bytes("x", 2),
        rank("w").at_least(2),
        *_one("x_scale", "y_scale"),
        dtype("w_scale").equals("float32"),
    ],
    where=both(scales_of_columns),
)
def qlinear_matmul(x: Any) -> Any:
    return ops.QLinearMatMul(x, *_parameters("x"), const("w"), *_parameters("w"), *_parameters("y"))


@pattern(
    "matmul_integer",
    conditions=[
        *_bytes("a", 2), *_bytes("b", 2), size("a_zero_point").equals(1), size("b_zero_point").equals(1),
    ],
    where=both(whole_sums),
)  # fmt: skip
def matmul_integer(a: Any, b: Any) -> Any:
    return ops.MatMulInteger(a, b, maybe_const("a_zero_point"), maybe_const("b_zero_point"))


INTEGER_PATTERNS: tuple[Pattern, ...] = (dequantize, quantize, qlinear_conv, qlinear_matmul, matmul_integer)
