"""Elementary functions of kernels that the code generator leaves to the C library elsewhere: a GPU has none.

Both lose nothing near zero, where their definitions would cancel: the rounding of `u` is made good by its own logarithm
or difference.
"""

from __future__ import annotations

import math

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.polynomial import Elementary
from heddle.core.codegen.values import F32, Type, Value, constant
from heddle.core.codegen.vmath import exp, log


def expm1(f: Function, x: Value) -> Value:
    """e to the power of x, less 1, of float: `(u - 1) * x / log(u)` where u is e to the power of x."""
    one, minus = constant(1.0, x.type), constant(-1.0, x.type)
    u = exp(f, x)
    less = f.sub(u, one)
    ratio = f.mul(less, f.div(x, log(f, u)))
    found = f.select(f.compare("oeq", u, one), x, ratio)
    found = f.select(f.compare("oeq", less, minus), minus, found)
    return f.select(f.compare("oeq", u, constant(math.inf, x.type)), u, found)


def log1p(f: Function, x: Value) -> Value:
    """The logarithm of 1 + x, of float: `log(u) * x / (u - 1)` where u is 1 + x."""
    one = constant(1.0, x.type)
    u = f.add(x, one)
    found = f.mul(log(f, u), f.div(x, f.sub(u, one)))
    found = f.select(f.compare("oeq", u, one), x, found)
    return f.select(f.compare("oeq", x, constant(math.inf, x.type)), x, found)


FUNCTIONS: dict[tuple[str, Type], Elementary] = {("expm1", F32): expm1, ("log1p", F32): log1p}
"""The functions of this module, by name and scalar type."""
