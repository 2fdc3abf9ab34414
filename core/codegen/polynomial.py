"""What elementary functions in vector arithmetic are made of: exact steps, sums of products, bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import Value, constant

Elementary = Callable[..., Value]
"""Takes a function under construction and operands of one type, gives the result in every lane."""


def exact(function: Elementary) -> Elementary:
    """The function with every fast-math flag off: its algorithm depends on rounding."""

    @wraps(function)
    def apply(f: Function, *x: Value) -> Value:
        with f.fast(""):
            return function(f, *x)

    return apply


def mad(f: Function, a: Value, b: Value, c: Value) -> Value:
    """`a * b + c`, fused where that is one instruction."""
    return f.intrinsic("fmuladd", a, b, c)


def polynomial(f: Function, x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, the coefficient of the highest power first."""
    result = constant(coefficients[0], x.type)
    for coefficient in coefficients[1:]:
        result = mad(f, result, x, constant(coefficient, x.type))
    return result


def clamp(f: Function, x: Value, low: float, high: float) -> Value:
    """`x` between two bounds; NaN stays NaN."""
    bottom, top = constant(low, x.type), constant(high, x.type)
    x = f.select(f.compare("olt", x, bottom), bottom, x)
    return f.select(f.compare("ogt", x, top), top, x)
