"""Elementwise arithmetic and the mathematical functions."""

from __future__ import annotations

import numpy as np
from heddle.core.ir.types import DType
from heddle.core.ops import scalar as s
from heddle.core.ops.registry import elementwise
from heddle.core.ops.scalar import Expr


@elementwise("Add")
def add(a: Expr, b: Expr) -> Expr:
    return a + b


@elementwise("Sub")
def sub(a: Expr, b: Expr) -> Expr:
    return a - b


@elementwise("Mul")
def mul(a: Expr, b: Expr) -> Expr:
    return a * b


@elementwise("Div")
def div(a: Expr, b: Expr) -> Expr:
    return a / b


@elementwise("Mod")
def mod(a: Expr, b: Expr, *, fmod: int = 0) -> Expr:
    return s.fmod(a, b) if fmod else s.remainder(a, b)


@elementwise("Pow")
def pow(x: Expr, y: Expr) -> Expr:
    """Computed in the wider dtype of the two; the result has the base's."""
    if s.is_integer(x.dtype):
        wide = np.dtype(np.float64) if s.is_floating(y.dtype) else max(x.dtype, np.dtype(np.int64), key=_width)
    else:
        wide = y.dtype if s.is_floating(y.dtype) and _width(y.dtype) > _width(x.dtype) else x.dtype
    return s.cast(s.power(s.cast(x, wide), s.cast(y, wide)), x.dtype)


def _width(dtype: DType) -> tuple[int, bool]:
    return dtype.itemsize, dtype.kind == "u"


@elementwise("Sum")
def sum(*data_0: Expr) -> Expr:
    total = data_0[0]
    for x in data_0[1:]:
        total = total + x
    return total


@elementwise("Mean")
def mean(*data_0: Expr) -> Expr:
    return sum(*data_0) / len(data_0)


@elementwise("Max")
def max_(*data_0: Expr) -> Expr:
    greatest = data_0[0]
    for x in data_0[1:]:
        greatest = s.maximum(greatest, x)
    return greatest


@elementwise("Min")
def min_(*data_0: Expr) -> Expr:
    least = data_0[0]
    for x in data_0[1:]:
        least = s.minimum(least, x)
    return least


@elementwise("Clip")
def clip(input: Expr, min: Expr | None = None, max: Expr | None = None) -> Expr:
    """`max` wins where it is less than `min`."""
    above = input if min is None else s.maximum(input, min)
    return above if max is None else s.minimum(above, max)


@elementwise("Neg")
def neg(x: Expr) -> Expr:
    return -x


@elementwise("Abs")
def abs(x: Expr) -> Expr:
    return s.absolute(x)


@elementwise("Sign")
def sign(input: Expr) -> Expr:
    return s.sign(input)


@elementwise("Reciprocal")
def reciprocal(x: Expr) -> Expr:
    return 1 / x


@elementwise("Sqrt")
def sqrt(x: Expr) -> Expr:
    return s.sqrt(x)


@elementwise("Exp")
def exp(input: Expr) -> Expr:
    return s.exp(input)


@elementwise("Log")
def log(input: Expr) -> Expr:
    return s.log(input)


@elementwise("Erf")
def erf(input: Expr) -> Expr:
    return s.erf(input)


@elementwise("Floor")
def floor(x: Expr) -> Expr:
    return s.floor(x)


@elementwise("Ceil")
def ceil(x: Expr) -> Expr:
    return s.ceil(x)


@elementwise("Round")
def round(x: Expr) -> Expr:
    """To the nearest, halves to the even one."""
    return s.round_even(x)


@elementwise("Sin")
def sin(input: Expr) -> Expr:
    return s.sin(input)


@elementwise("Cos")
def cos(input: Expr) -> Expr:
    return s.cos(input)


@elementwise("Tan")
def tan(input: Expr) -> Expr:
    return s.tan(input)


@elementwise("Asin")
def asin(input: Expr) -> Expr:
    return s.asin(input)


@elementwise("Acos")
def acos(input: Expr) -> Expr:
    return s.acos(input)


@elementwise("Atan")
def atan(input: Expr) -> Expr:
    return s.atan(input)


@elementwise("Sinh")
def sinh(input: Expr) -> Expr:
    return s.sinh(input)


@elementwise("Cosh")
def cosh(input: Expr) -> Expr:
    return s.cosh(input)


@elementwise("Tanh")
def tanh(input: Expr) -> Expr:
    return s.tanh(input)


@elementwise("Asinh")
def asinh(input: Expr) -> Expr:
    return s.asinh(input)


@elementwise("Acosh")
def acosh(input: Expr) -> Expr:
    return s.acosh(input)


@elementwise("Atanh")
def atanh(input: Expr) -> Expr:
    return s.atanh(input)
