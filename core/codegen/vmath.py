"""Elementary functions in vector arithmetic, for any number of lanes: exp, log, tanh, erf, sigmoid, GELU, arcs.

Each takes a function under construction and a value, and gives the value of the function in every lane. NaN stays NaN,
infinities and signed zeros give what the mathematical limit gives. Errors over all of float32 are kept by the tests, in
units in the last place: exp 1.5, log 1.5, expm1 and log1p 3, tanh 5, erf 5, atan and acos 3, asin 4, sigmoid 3 (whose
results below the smallest normal number may be zero); GELU errs by at most 3e-7 of max(1, |x|). Fast-math flags in
force at the call do not apply within.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import F32, F64, Type, Value, constant

Elementary = Callable[[Function, Value], Value]


@dataclass(frozen=True)
class _Format:
    """What exp needs to know of a float format: ln 2 in two parts whose first has trailing zeros, the range outside of
    which results are 0 or infinite, and the polynomial of (exp(r) - 1 - r) / r^2."""

    integer: Type
    fraction: int
    bias: int
    ln2: tuple[float, float]
    low: float
    high: float
    exp: tuple[float, ...]

    @property
    def rounder(self) -> float:
        return 1.5 * 2.0**self.fraction


_FORMATS = {
    "float": _Format(
        Type("i32"), 23, 127, (0.693359375, -2.12194440e-4), -104.0, 89.0,
        (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    ),
    "double": _Format(
        Type("i64"), 52, 1023, (0.693145751953125, 1.4286068203094172321e-6), -746.0, 710.0,
        tuple(1 / math.factorial(n) for n in range(13, 1, -1)),
    ),
}  # fmt: skip


def _exact(function: Elementary) -> Elementary:
    """The function with every fast-math flag off: its algorithm depends on rounding."""

    @wraps(function)
    def apply(f: Function, x: Value) -> Value:
        with f.fast(""):
            return function(f, x)

    return apply


def _mad(f: Function, a: Value, b: Value, c: Value) -> Value:
    """`a * b + c`, fused where that is one instruction."""
    return f.intrinsic("fmuladd", a, b, c)


def _polynomial(f: Function, x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, the coefficient of the highest power first."""
    result = constant(coefficients[0], x.type)
    for coefficient in coefficients[1:]:
        result = _mad(f, result, x, constant(coefficient, x.type))
    return result


def clamp(f: Function, x: Value, low: float, high: float) -> Value:
    """`x` between two bounds; NaN stays NaN."""
    bottom, top = constant(low, x.type), constant(high, x.type)
    x = f.select(f.compare("olt", x, bottom), bottom, x)
    return f.select(f.compare("ogt", x, top), top, x)


@_exact
def exp(f: Function, x: Value) -> Value:
    """e to the power of x, of float or double."""
    form = _FORMATS[x.type.scalar]
    integer = form.integer.of(x.type.lanes)
    x = clamp(f, x, form.low, form.high)
    shifted = _mad(f, x, constant(1 / math.log(2), x.type), constant(form.rounder, x.type))
    n = f.sub(shifted, constant(form.rounder, x.type))
    r = _mad(f, n, constant(-form.ln2[0], x.type), x)
    r = _mad(f, n, constant(-form.ln2[1], x.type), r)
    p = _mad(f, f.mul(r, r), _polynomial(f, r, form.exp), r)
    p = f.add(p, constant(1.0, x.type))
    # 2^n in two factors: n reaches beyond the exponents of normal numbers on both sides.
    bits = f.bitcast(shifted, integer)
    count = f.sub(bits, f.bitcast(constant(form.rounder, x.type), integer))
    half = f.binary("ashr", count, constant(1, integer))
    for part in (half, f.sub(count, half)):
        biased = f.add(part, constant(form.bias, integer))
        p = f.mul(p, f.bitcast(f.binary("shl", biased, constant(form.fraction, integer)), x.type))
    return p


@_exact
def exp_of_normal(f: Function, x: Value) -> Value:
    """e to the power of x, of float, where that is a normal number; zero where it is smaller, and the greatest such
    power where it is greater."""
    form, integer = _FORMATS["float"], x.type.like("i32")
    least, most = -87.33654, 88.37626
    inside = clamp(f, x, least, most)
    shifted = _mad(f, inside, constant(1 / math.log(2), x.type), constant(form.rounder, x.type))
    n = f.sub(shifted, constant(form.rounder, x.type))
    r = _mad(f, n, constant(-form.ln2[0], x.type), inside)
    r = _mad(f, n, constant(-form.ln2[1], x.type), r)
    p = f.add(_mad(f, f.mul(r, r), _polynomial(f, r, form.exp), r), constant(1.0, x.type))
    biased = f.add(f.bitcast(shifted, integer), constant(form.bias, integer))
    power = f.mul(p, f.bitcast(f.binary("shl", biased, constant(form.fraction, integer)), x.type))
    return f.select(f.compare("olt", x, constant(least, x.type)), constant(0.0, x.type), power)


@_exact
def expm1(f: Function, x: Value) -> Value:
    """e to the power of x, less one, of float: 2^n (e^r - 1) + (2^n - 1), with 2^(n - 1), which is in range."""
    form, integer = _FORMATS["float"], x.type.like("i32")
    inside = clamp(f, x, -20.0, 89.0)
    shifted = _mad(f, inside, constant(1 / math.log(2), x.type), constant(form.rounder, x.type))
    n = f.sub(shifted, constant(form.rounder, x.type))
    r = _mad(f, n, constant(-form.ln2[0], x.type), inside)
    r = _mad(f, n, constant(-form.ln2[1], x.type), r)
    q = _mad(f, f.mul(r, r), _polynomial(f, r, form.exp), r)
    count = f.sub(f.bitcast(shifted, integer), f.bitcast(constant(form.rounder, x.type), integer))
    biased = f.add(count, constant(form.bias - 1, integer))
    half = f.bitcast(f.binary("shl", biased, constant(form.fraction, integer)), x.type)
    result = _mad(f, half, q, f.sub(half, constant(0.5, x.type)))
    result = f.add(result, result)
    return f.select(f.compare("oeq", x, constant(0.0, x.type)), x, result)


@_exact
def log1p(f: Function, x: Value) -> Value:
    """The natural logarithm of one more, of float: that of the rounded sum, and what rounding took from it."""
    one = constant(1.0, x.type)
    u = f.add(x, one)
    result = f.add(log(f, u), f.div(f.sub(x, f.sub(u, one)), u))
    # Where the correction is no number: infinity, -1, and a zero keeps its sign.
    kept = f.binary("or", f.compare("oeq", u, constant(math.inf, x.type)), f.compare("oeq", x, constant(0.0, x.type)))
    result = f.select(f.compare("oeq", u, constant(0.0, x.type)), constant(-math.inf, x.type), result)
    return f.select(kept, x, result)


_ATAN = (-0.0645937588, 0.107462983, -0.142642325, 0.199995501, -0.333333318)
_ASIN = (0.0338059084, 0.0170777493, 0.031116184, 0.0445980292, 0.0750009878, 0.166666663)
"""Polynomials in the square of x of (f(x) / x - 1) / x^2, fitted up to tan(pi / 8) and 1 / 2."""


@_exact
def atan(f: Function, x: Value) -> Value:
    """The arc tangent, of float: turned by a quarter or an eighth of a circle, it is of a small number."""
    size, one = f.intrinsic("fabs", x), constant(1.0, x.type)
    large = f.compare("ogt", size, constant(math.tan(3 * math.pi / 8), x.type))
    middle = f.compare("ogt", size, constant(math.tan(math.pi / 8), x.type))
    above = f.select(large, constant(-1.0, x.type), f.select(middle, f.sub(size, one), size))
    below = f.select(large, size, f.select(middle, f.add(size, one), one))
    turned = f.select(large, constant(math.pi / 2, x.type), constant(math.pi / 4, x.type))
    turned = f.select(middle, turned, constant(0.0, x.type))
    t = f.div(above, below)
    square = f.mul(t, t)
    result = f.add(turned, _mad(f, f.mul(square, t), _polynomial(f, square, _ATAN), t))
    return f.intrinsic("copysign", result, x)


def _arc(f: Function, x: Value) -> tuple[Value, Value]:
    """Whether |x| is above 1/2, and the arc sine of what is small then: |x| itself, or sqrt((1 - |x|) / 2)."""
    size = f.intrinsic("fabs", x)
    above = f.compare("ogt", size, constant(0.5, x.type))
    halved = _mad(f, size, constant(-0.5, x.type), constant(0.5, x.type))
    square = f.select(above, halved, f.mul(size, size))
    t = f.select(above, f.intrinsic("sqrt", halved), size)
    return above, _mad(f, f.mul(square, t), _polynomial(f, square, _ASIN), t)


@_exact
def asin(f: Function, x: Value) -> Value:
    """The arc sine, of float; NaN beyond one."""
    above, arc = _arc(f, x)
    turned = _mad(f, arc, constant(-2.0, x.type), constant(math.pi / 2, x.type))
    return f.intrinsic("copysign", f.select(above, turned, arc), x)


@_exact
def acos(f: Function, x: Value) -> Value:
    """The arc cosine, of float; NaN beyond one."""
    above, arc = _arc(f, x)
    negative = f.compare("olt", x, constant(0.0, x.type))
    twice = f.add(arc, arc)
    far = f.select(negative, f.sub(constant(math.pi, x.type), twice), twice)
    near = f.sub(constant(math.pi / 2, x.type), f.select(negative, f.neg(arc), arc))
    return f.select(above, far, near)


@_exact
def log(f: Function, x: Value) -> Value:
    """The natural logarithm, of float."""
    assert x.type.scalar == "float"
    integer = x.type.like("i32")
    tiny = f.compare("olt", x, constant(2.0**-126, x.type))
    scaled = f.select(tiny, f.mul(x, constant(2.0**23, x.type)), x)
    # The exponent that leaves a mantissa between sqrt(1/2) and sqrt(2).
    bits = f.bitcast(scaled, integer)
    offset = f.sub(bits, constant(0x3F3504F3, integer))
    exponent = f.binary("ashr", offset, constant(23, integer))
    mantissa = f.sub(bits, f.binary("shl", exponent, constant(23, integer)))
    e = f.convert("sitofp", exponent, F32)
    e = f.sub(e, f.select(tiny, constant(23.0, x.type), constant(0.0, x.type)))
    r = f.sub(f.bitcast(mantissa, x.type), constant(1.0, x.type))
    square = f.mul(r, r)
    tail = (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
    y = f.mul(f.mul(square, r), _polynomial(f, r, tail))
    y = _mad(f, e, constant(-2.12194440e-4, x.type), y)
    y = _mad(f, square, constant(-0.5, x.type), y)
    y = _mad(f, e, constant(0.693359375, x.type), f.add(r, y))
    y = f.select(f.compare("oeq", x, constant(math.inf, x.type)), x, y)
    y = f.select(f.compare("oeq", x, constant(0.0, x.type)), constant(-math.inf, x.type), y)
    return f.select(f.compare("ult", x, constant(0.0, x.type)), constant(math.nan, x.type), y)


@_exact
def tanh(f: Function, x: Value) -> Value:
    """The hyperbolic tangent, of float: a quotient of polynomials, exact at the bounds."""
    assert x.type.scalar == "float"
    x = clamp(f, x, -7.90531110763549805, 7.90531110763549805)
    y = f.mul(x, x)
    above = (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    )
    below = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
    return f.mul(x, f.div(_polynomial(f, y, above), _polynomial(f, y, below)))


@_exact
def erf(f: Function, x: Value) -> Value:
    """The error function, of float."""
    assert x.type.scalar == "float"
    given, x = x, clamp(f, x, -3.832506856900711, 3.832506856900711)
    y = f.mul(x, x)
    above = (
        *(0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861),
        *(0.18520832239976145, 1.128379143519084),
    )
    below = (
        *(-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667),
        *(0.11098505178285362, 0.49746925110067538, 1.0),
    )
    inside = f.mul(x, f.div(_polynomial(f, y, above), _polynomial(f, y, below)))
    # Exactly one from there on, so that GELU of what is far below is zero.
    one = f.intrinsic("copysign", constant(1.0, x.type), x)
    return f.select(f.compare("one", given, x), one, inside)


@_exact
def sigmoid(f: Function, x: Value) -> Value:
    """1 / (1 + e^-x), of float or double."""
    one = constant(1.0, x.type)
    if x.type.scalar != "float":
        return f.div(one, f.add(one, exp(f, f.neg(x))))
    result = f.div(one, f.add(one, exp_of_normal(f, f.neg(x))))
    return f.select(f.compare("olt", x, constant(-87.33654, x.type)), constant(0.0, x.type), result)


@_exact
def gelu(f: Function, x: Value) -> Value:
    """x * P(X <= x) of a normal X, of float."""
    half = f.mul(x, constant(0.5, x.type))
    return _mad(f, half, erf(f, f.mul(x, constant(math.sqrt(0.5), x.type))), half)


AVAILABLE: dict[tuple[str, Type], Elementary] = {
    **{(function.__name__, F32): function for function in (exp, expm1, log, log1p, tanh, erf, sigmoid, gelu)},
    **{(function.__name__, F32): function for function in (asin, acos, atan)},
    **{(function.__name__, F64): function for function in (exp, sigmoid)},
}
"""The functions at hand, by name and scalar type."""
