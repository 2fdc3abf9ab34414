"""Conversion between dtypes, with the saturation and rounding of the narrow floats."""

from __future__ import annotations

from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import TensorType, Type, dtype_name, dtype_named
from heddle.core.ir.types import DType
from heddle.core.ops import scalar as s
from heddle.core.ops.registry import OPERATORS, DTypeName, Operand, elementwise, op
from heddle.core.ops.scalar import Expr
from numpy.typing import NDArray

SATURATING = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz")


@elementwise("Cast")
def cast(input: Expr, *, to: DTypeName, saturate: int = 1, round_mode: str = "up") -> Expr:
    if to == "float8e8m0":
        return power_of_two(input, bool(saturate), round_mode)
    return saturated(input, dtype_named(to)) if saturate else s.cast(input, to)


def saturated(x: Expr, dtype: DType) -> Expr:
    """A cast that gives the greatest finite value of an 8-bit float where the value is beyond it; else a plain one."""
    if dtype_name(dtype) not in SATURATING or dtype_name(x.dtype) == dtype_name(dtype):
        return s.cast(x, dtype)
    if x.dtype == s.BOOL or not s.is_floating(x.dtype):
        return saturated(s.cast(x, "float32"), dtype) if x.dtype.kind != "O" else s.cast(x, dtype)
    greatest = float(s.finite_range(dtype)[1])
    if s.finite_range(x.dtype)[1] < greatest:
        return s.cast(x, dtype)
    return s.cast(s.minimum(s.maximum(x, -greatest), greatest), dtype)


def power_of_two(x: Expr, saturate: bool, round_mode: str) -> Expr:
    """The exponent alone, as float8e8m0 stores it; infinity and NaN become NaN, the sign is lost."""
    if round_mode not in ("up", "down", "nearest"):
        raise GraphError(f"round_mode is {round_mode!r}, it must be 'up', 'down' or 'nearest'")
    bits = s.bitcast(s.cast(x, "float32"), "uint32")
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    half = 0x400000
    if round_mode == "up":
        away = fraction > 0
    elif round_mode == "nearest":
        away = (fraction > half) | (fraction.equals(half) & (exponent > 0))
    else:
        away = s.const(False, s.BOOL)
    last = 0xFD if saturate else 0xFE
    up = s.cast(away & (exponent <= last), "uint32")
    return s.bitcast(s.cast(exponent + up, "uint8"), "float8e8m0")


def cast_like_type(input: Operand, target_type: Operand, **_: Any) -> Type:
    return TensorType(target_type.dtype, input.dims)


@op("CastLike", infer=cast_like_type)
def cast_like(
    input: NDArray[Any], target_type: NDArray[Any], *, saturate: int = 1, round_mode: str = "up"
) -> NDArray[Any]:
    to = dtype_name(target_type.dtype)
    result: NDArray[Any] = OPERATORS["Cast"].evaluate(input, to=to, saturate=saturate, round_mode=round_mode)
    return result
