"""Scalar expressions: what an elementwise operator means, written once, read by numpy and by the code generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import dtype_name, dtype_named
from heddle.core.ir.types import DType
from numpy.typing import NDArray

Number = bool | int | float
BOOL = np.dtype(np.bool_)


@dataclass(frozen=True, eq=False)
class Expr:
    """A scalar computed from other scalars. `op` is a key of `MEANING`, or `arg` or `const` with a `value`.

    Both sides of an arithmetic operator have one dtype; a Python number takes the dtype of the other side.
    """

    op: str
    dtype: DType
    args: tuple[Expr, ...] = ()
    value: Any = None

    def __add__(self, other: Expr | Number) -> Expr:
        return _arith("add", self, other)

    def __radd__(self, other: Number) -> Expr:
        return _arith("add", other, self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return _arith("sub", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return _arith("sub", other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return _arith("mul", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return _arith("mul", other, self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return _arith("div", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return _arith("div", other, self)

    def __neg__(self) -> Expr:
        return Expr("neg", self.dtype, (self,))

    def __and__(self, other: Expr | Number) -> Expr:
        return _arith("and", self, other)

    def __or__(self, other: Expr | Number) -> Expr:
        return _arith("or", self, other)

    def __xor__(self, other: Expr | Number) -> Expr:
        return _arith("xor", self, other)

    def __invert__(self) -> Expr:
        return Expr("not", self.dtype, (self,))

    def __lshift__(self, other: Expr | Number) -> Expr:
        return _arith("shl", self, other)

    def __rshift__(self, other: Expr | Number) -> Expr:
        return _arith("shr", self, other)

    def __lt__(self, other: Expr | Number) -> Expr:
        return _compare("lt", self, other)

    def __le__(self, other: Expr | Number) -> Expr:
        return _compare("le", self, other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return _compare("gt", self, other)

    def __ge__(self, other: Expr | Number) -> Expr:
        return _compare("ge", self, other)

    def equals(self, other: Expr | Number) -> Expr:
        return _compare("eq", self, other)

    def differs(self, other: Expr | Number) -> Expr:
        return _compare("ne", self, other)

    def __str__(self) -> str:
        if self.op == "arg":
            return f"${self.value}"
        if self.op == "const":
            return repr(self.value)
        inner = ", ".join(str(arg) for arg in self.args)
        return f"{dtype_name(self.dtype)}({inner})" if self.op == "cast" else f"{self.op}({inner})"


def argument(index: int, dtype: DType) -> Expr:
    """The operand number `index` of the operator whose meaning is being written."""
    return Expr("arg", dtype, value=index)


def const(value: Number, dtype: DType | str) -> Expr:
    """A constant of a dtype."""
    dtype = dtype_named(dtype) if isinstance(dtype, str) else dtype
    return Expr("const", dtype, value=dtype.type(value).item() if dtype.kind in "biuf" else float(dtype.type(value)))


def cast(x: Expr, dtype: DType | str) -> Expr:
    """The value in another dtype: floats to integers truncate, integers wrap, anything but zero is true."""
    dtype = dtype_named(dtype) if isinstance(dtype, str) else dtype
    return x if x.dtype == dtype else Expr("cast", dtype, (x,))


def bitcast(x: Expr, dtype: DType | str) -> Expr:
    """The same bits read as another dtype of the same width."""
    dtype = dtype_named(dtype) if isinstance(dtype, str) else dtype
    return x if x.dtype == dtype else Expr("bitcast", dtype, (x,))


def is_floating(dtype: DType) -> bool:
    """True for every floating-point dtype, the narrow ones included."""
    return dtype.kind != "O" and "float" in dtype_name(dtype)


def is_signed(dtype: DType) -> bool:
    """True for every signed integer dtype, the narrow ones included."""
    return dtype.kind != "O" and dtype_name(dtype).startswith("int")


def is_integer(dtype: DType) -> bool:
    """True for every integer dtype, the narrow ones included."""
    return dtype.kind != "O" and dtype_name(dtype).startswith(("int", "uint"))


def lowest(dtype: DType) -> bool | int | float:
    """The least value of a dtype: minus infinity where there is one."""
    if is_floating(dtype) and np.isinf(np.asarray(-math.inf).astype(dtype)):
        return -math.inf
    return finite_range(dtype)[0]


def highest(dtype: DType) -> bool | int | float:
    """The greatest value of a dtype: infinity where there is one."""
    if is_floating(dtype) and np.isinf(np.asarray(math.inf).astype(dtype)):
        return math.inf
    return finite_range(dtype)[1]


def finite_range(dtype: DType) -> tuple[bool | int | float, bool | int | float]:
    """The least and the greatest finite value of a dtype."""
    if dtype == BOOL:
        return False, True
    # ml_dtypes describes its own dtypes and numpy's, but carries no types.
    if is_floating(dtype):
        floats: Any = ml_dtypes.finfo
        return float(floats(dtype).min), float(floats(dtype).max)
    integers: Any = ml_dtypes.iinfo
    return int(integers(dtype).min), int(integers(dtype).max)


def widened(dtype: DType) -> DType:
    """The dtype in which sums are kept: floats narrower than 32 bits are added in 32."""
    return np.dtype(np.float32) if is_floating(dtype) and dtype.itemsize < 4 else dtype


def where(condition: Expr, yes: Expr | Number, no: Expr | Number) -> Expr:
    """`yes` where the condition holds, else `no`."""
    yes, no = _same(yes, no)
    return Expr("select", yes.dtype, (condition, yes, no))


def minimum(a: Expr, b: Expr | Number) -> Expr:
    """The lesser; NaN when either is NaN."""
    return _arith("min", a, b)


def maximum(a: Expr, b: Expr | Number) -> Expr:
    """The greater; NaN when either is NaN."""
    return _arith("max", a, b)


def power(a: Expr, b: Expr | Number) -> Expr:
    """`a` to the power of `b`, of one dtype; integers wrap."""
    return _arith("pow", a, b)


def remainder(a: Expr, b: Expr | Number) -> Expr:
    """The remainder with the sign of the divisor (`%` of Python); 0 when an integer divisor is 0."""
    return _arith("mod", a, b)


def fmod(a: Expr, b: Expr | Number) -> Expr:
    """The remainder with the sign of the dividend (C's `fmod`); 0 when an integer divisor is 0."""
    return _arith("fmod", a, b)


def _unary(op: str) -> Callable[[Expr], Expr]:
    def apply(x: Expr) -> Expr:
        return Expr(op, x.dtype, (x,))

    apply.__name__ = op
    apply.__doc__ = f"`{op}` of a scalar, in its own dtype."
    return apply


absolute = _unary("abs")
sign = _unary("sign")
floor = _unary("floor")
ceil = _unary("ceil")
round_even = _unary("round_even")
trunc = _unary("trunc")
sqrt = _unary("sqrt")
exp = _unary("exp")
log = _unary("log")
log1p = _unary("log1p")
expm1 = _unary("expm1")
erf = _unary("erf")
sin = _unary("sin")
cos = _unary("cos")
tan = _unary("tan")
asin = _unary("asin")
acos = _unary("acos")
atan = _unary("atan")
sinh = _unary("sinh")
cosh = _unary("cosh")
tanh = _unary("tanh")
sigmoid = _unary("sigmoid")
asinh = _unary("asinh")
acosh = _unary("acosh")
atanh = _unary("atanh")


def is_nan(x: Expr) -> Expr:
    """True for NaN."""
    return Expr("isnan", BOOL, (x,))


def is_inf(x: Expr) -> Expr:
    """True for either infinity."""
    return Expr("isinf", BOOL, (x,))


def _same(a: Expr | Number, b: Expr | Number) -> tuple[Expr, Expr]:
    if isinstance(a, Expr) and isinstance(b, Expr):
        if a.dtype != b.dtype:
            raise GraphError(f"operands must have one dtype: {dtype_name(a.dtype)} and {dtype_name(b.dtype)}")
        return a, b
    if isinstance(a, Expr):
        assert not isinstance(b, Expr)
        return a, const(b, a.dtype)
    assert isinstance(b, Expr), "an expression was expected on one side"
    return const(a, b.dtype), b


def _arith(op: str, a: Expr | Number, b: Expr | Number) -> Expr:
    left, right = _same(a, b)
    return Expr(op, left.dtype, (left, right))


def _compare(op: str, a: Expr | Number, b: Expr | Number) -> Expr:
    return Expr(op, BOOL, _same(a, b))


# -- the meaning in numpy ----------------------------------------------------------------------------------------


def _divide(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """True division of floats; of integers the quotient truncated towards zero, 0 when the divisor is 0."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    safe = np.where(b == 0, np.ones_like(b), b)
    quotient = a // safe
    quotient = quotient + ((a % safe != 0) & ((a < 0) != (safe < 0))).astype(a.dtype)
    return np.asarray(np.where(b == 0, np.zeros_like(a), quotient), a.dtype)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A remainder that is 0 where an integer divisor is 0."""

    def apply(a: NDArray[Any], b: NDArray[Any]) -> Any:
        if a.dtype.kind not in "iu":
            return function(a, b)
        return np.where(b == 0, np.zeros_like(a), function(a, np.where(b == 0, np.ones_like(b), b)))

    return apply


def _shift(function: Callable[..., Any]) -> Callable[..., Any]:
    """A shift by the width or more, or by a negative amount, leaves copies of the sign bit alone: 0 or, right, -1."""

    def apply(a: NDArray[Any], b: NDArray[Any]) -> Any:
        width = a.dtype.itemsize * 8
        inside = (b >= 0) & (b < width)
        outside = np.where(a < 0, -1, 0).astype(a.dtype) if function is np.right_shift else np.zeros_like(a)
        return np.where(inside, function(a, np.where(inside, b, np.zeros_like(b))), outside)

    return apply


def _erf(x: NDArray[Any]) -> Any:
    from scipy.special import erf as scipy_erf

    return scipy_erf(x.astype(np.float64)).astype(x.dtype)


def _power(a: NDArray[Any], b: NDArray[Any]) -> Any:
    if a.dtype.kind in "iu":
        return np.where(b < 0, np.zeros_like(a), np.power(a, np.maximum(b, np.zeros_like(b))))
    return np.power(a, b)


MEANING: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "neg": np.negative,
    "min": np.minimum,
    "max": np.maximum,
    "pow": _power,
    "mod": _guarded(np.mod),
    "fmod": _guarded(np.fmod),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shl": _shift(np.left_shift),
    "shr": _shift(np.right_shift),
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "select": np.where,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round_even": np.rint,
    "trunc": np.trunc,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "erf": _erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "isnan": np.isnan,
    "isinf": np.isinf,
}


def convert(array: NDArray[Any], dtype: DType) -> NDArray[Any]:
    """An array in another dtype; numbers become strings as they print, strings are read as numbers."""
    if dtype.kind == "O":
        return array.astype(np.str_).astype(object)
    if array.dtype.kind == "O" and dtype.kind != "f":
        return array.astype(np.float64).astype(dtype)
    return array.astype(dtype)


def evaluate(expr: Expr, args: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The expression over whole arrays, broadcast against each other."""
    if expr.op == "arg":
        return args[int(expr.value)]
    if expr.op == "const":
        return np.asarray(expr.value).astype(expr.dtype)
    operands: list[NDArray[Any]] = [evaluate(arg, args) for arg in expr.args]
    with np.errstate(all="ignore"):
        if expr.op == "cast":
            return convert(operands[0], expr.dtype)
        if expr.op == "bitcast":
            return np.asarray(operands[0].view(expr.dtype))
        return np.asarray(MEANING[expr.op](*operands)).astype(expr.dtype, copy=False)
