"""Elementary functions in vector arithmetic, for any number of lanes: exp, log, tanh, erf, sigmoid, arcs, fmod.

Each takes a function under construction and a value, and gives the value of the function in every lane. NaN stays NaN,
infinities and signed zeros give what the mathematical limit gives. Errors over all of float32 are kept by the tests, in
units in the last place: exp 1.5, log 1.5, expm1 and log1p 3, tanh 5, erf 5, sin, cos and tan 0.6, atan and acos 3,
asin 4, sigmoid 3 (whose results below the smallest normal number may be zero); fmod is exact. Fast-math flags in force
at the call do not apply within.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heddle.core.codegen.circular import cos, sin, tan
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.polynomial import Elementary, clamp, exact, mad, polynomial
from heddle.core.codegen.values import F32, F64, Type, Value, constant


@dataclass(frozen=True)
class _Format:
    """What exp needs to know of a float format: ln 2 in two parts whose first has trailing zeros, the range outside of
    which results are 0 or infinite, and the polynomial of (exp(r) - 1 - r) / r^2 (the float's errs by 3e-9 of exp(r)).
    """

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
        (1.3814473605e-3, 8.3687456102e-3, 4.1668391832e-2, 1.6666520392e-1, 4.9999993429e-1),
    ),
    "double": _Format(
        Type("i64"), 52, 1023, (0.693145751953125, 1.4286068203094172321e-6), -746.0, 710.0,
        tuple(1 / math.factorial(n) for n in range(13, 1, -1)),
    ),
}  # fmt: skip


@exact
def exp(f: Function, x: Value) -> Value:
    """e to the power of x, of float or double."""
    form = _FORMATS[x.type.scalar]
    integer = form.integer.of(x.type.lanes)
    x = clamp(f, x, form.low, form.high)
    shifted = mad(f, x, constant(1 / math.log(2), x.type), constant(form.rounder, x.type))
    n = f.sub(shifted, constant(form.rounder, x.type))
    r = mad(f, n, constant(-form.ln2[0], x.type), x)
    r = mad(f, n, constant(-form.ln2[1], x.type), r)
    p = mad(f, f.mul(r, r), polynomial(f, r, form.exp), r)
    p = f.add(p, constant(1.0, x.type))
    # 2^n in two factors: n reaches beyond the exponents of normal numbers on both sides.
    bits = f.bitcast(shifted, integer)
    count = f.sub(bits, f.bitcast(constant(form.rounder, x.type), integer))
    half = f.binary("ashr", count, constant(1, integer))
    for part in (half, f.sub(count, half)):
        biased = f.add(part, constant(form.bias, integer))
        p = f.mul(p, f.bitcast(f.binary("shl", biased, constant(form.fraction, integer)), x.type))
    return p


_VANISHED, _INFINITE = -88.0, 88.5
"""Here, where exponents of floats end, `_factors` has a power of two that is zero, and one that is infinite."""


@exact
def exp_of_distance(f: Function, x: Value) -> Value:
    """e to the power of x, of float, which is not above zero: zero where that is no normal number."""
    bottom = constant(_VANISHED, x.type)
    near_one, power = _factors(f, f.select(f.compare("olt", x, bottom), bottom, x))
    return f.mul(near_one, power)


def _factors(f: Function, x: Value) -> tuple[Value, Value]:
    """A number near one and a power of two, whose product is e to the power of a float; x lies between the ends."""
    form, type, integer = _FORMATS["float"], x.type, x.type.like("i32")
    rounder = constant(form.rounder + form.bias, type)  # the last bits are those of an exponent then
    shifted = mad(f, x, constant(1 / math.log(2), type), rounder)
    n = f.sub(shifted, rounder)
    r = mad(f, n, constant(-form.ln2[0], type), x)
    r = mad(f, n, constant(-form.ln2[1], type), r)
    power = f.binary("shl", f.bitcast(shifted, integer), constant(form.fraction, integer))
    return polynomial(f, r, (*form.exp, 1.0, 1.0)), f.bitcast(power, type)


@exact
def expm1(f: Function, x: Value) -> Value:
    """e to the power of x, less one, of float: 2^n (e^r - 1) + (2^n - 1), with 2^(n - 1), which is in range."""
    form, integer = _FORMATS["float"], x.type.like("i32")
    inside = clamp(f, x, -20.0, 89.0)
    shifted = mad(f, inside, constant(1 / math.log(2), x.type), constant(form.rounder, x.type))
    n = f.sub(shifted, constant(form.rounder, x.type))
    r = mad(f, n, constant(-form.ln2[0], x.type), inside)
    r = mad(f, n, constant(-form.ln2[1], x.type), r)
    q = mad(f, f.mul(r, r), polynomial(f, r, form.exp), r)
    count = f.sub(f.bitcast(shifted, integer), f.bitcast(constant(form.rounder, x.type), integer))
    biased = f.add(count, constant(form.bias - 1, integer))
    half = f.bitcast(f.binary("shl", biased, constant(form.fraction, integer)), x.type)
    result = mad(f, half, q, f.sub(half, constant(0.5, x.type)))
    result = f.add(result, result)
    return f.select(f.compare("oeq", x, constant(0.0, x.type)), x, result)


@exact
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


@exact
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
    result = f.add(turned, mad(f, f.mul(square, t), polynomial(f, square, _ATAN), t))
    return f.intrinsic("copysign", result, x)


def _arc(f: Function, x: Value) -> tuple[Value, Value]:
    """Whether |x| is above 1/2, and the arc sine of what is small then: |x| itself, or sqrt((1 - |x|) / 2)."""
    size = f.intrinsic("fabs", x)
    above = f.compare("ogt", size, constant(0.5, x.type))
    halved = mad(f, size, constant(-0.5, x.type), constant(0.5, x.type))
    square = f.select(above, halved, f.mul(size, size))
    t = f.select(above, f.intrinsic("sqrt", halved), size)
    return above, mad(f, f.mul(square, t), polynomial(f, square, _ASIN), t)


@exact
def asin(f: Function, x: Value) -> Value:
    """The arc sine, of float; NaN beyond one."""
    above, arc = _arc(f, x)
    turned = mad(f, arc, constant(-2.0, x.type), constant(math.pi / 2, x.type))
    return f.intrinsic("copysign", f.select(above, turned, arc), x)


@exact
def acos(f: Function, x: Value) -> Value:
    """The arc cosine, of float; NaN beyond one."""
    above, arc = _arc(f, x)
    negative = f.compare("olt", x, constant(0.0, x.type))
    twice = f.add(arc, arc)
    far = f.select(negative, f.sub(constant(math.pi, x.type), twice), twice)
    near = f.sub(constant(math.pi / 2, x.type), f.select(negative, f.neg(arc), arc))
    return f.select(above, far, near)


@exact
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
    y = f.mul(f.mul(square, r), polynomial(f, r, tail))
    y = mad(f, e, constant(-2.12194440e-4, x.type), y)
    y = mad(f, square, constant(-0.5, x.type), y)
    y = mad(f, e, constant(0.693359375, x.type), f.add(r, y))
    y = f.select(f.compare("oeq", x, constant(math.inf, x.type)), x, y)
    y = f.select(f.compare("oeq", x, constant(0.0, x.type)), constant(-math.inf, x.type), y)
    return f.select(f.compare("ult", x, constant(0.0, x.type)), constant(math.nan, x.type), y)


@exact
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
    return f.mul(x, f.div(polynomial(f, y, above), polynomial(f, y, below)))


@exact
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
    inside = f.mul(x, f.div(polynomial(f, y, above), polynomial(f, y, below)))
    # Exactly one from there on, so that GELU of what is far below is zero.
    one = f.intrinsic("copysign", constant(1.0, x.type), x)
    return f.select(f.compare("one", given, x), one, inside)


@exact
def sigmoid(f: Function, x: Value) -> Value:
    """1 / (1 + e^-x), of float or double."""
    one = constant(1.0, x.type)
    if x.type.scalar != "float":
        return f.div(one, f.add(one, exp(f, f.neg(x))))
    near_one, power = _factors(f, f.neg(clamp(f, x, -_INFINITE, -_VANISHED)))
    return f.div(one, mad(f, near_one, power, one))


@exact
def fmod(f: Function, a: Value, b: Value) -> Value:
    """What is left of a by whole multiples of b, of float; it has the sign of a.

    As double, a quotient's first 29 bits times b are exact, and so is what they leave. Mostly one turn is enough.
    """
    dividend, divisor = (f.convert("fpext", f.intrinsic("fabs", value), F64) for value in (a, b))
    type, integer = dividend.type, dividend.type.like("i64")
    zero = constant(0.0, type)
    none = f.compare("oeq", divisor, zero)
    none = f.binary("or", none, f.compare("uno", dividend, divisor))
    none = f.binary("or", none, f.compare("oeq", dividend, constant(math.inf, type)))
    left = f.variable(f.select(none, constant(math.nan, type), dividend))
    with f.repeat() as (_, done):
        rest = f.get(left)
        greater = f.compare("oge", rest, divisor)
        f.leave(done, f.compare("eq", f.reduce("or", greater), constant(False, greater.type.of(1))))
        quotient = f.bitcast(f.div(rest, divisor), integer)
        quotient = f.binary("and", quotient, constant(-1 << 24, integer))
        less = f.sub(rest, f.mul(f.intrinsic("trunc", f.bitcast(quotient, type)), divisor))
        less = f.select(f.compare("olt", less, zero), f.add(less, divisor), less)  # the quotient was rounded up
        f.set(left, f.select(greater, less, rest))
    return f.intrinsic("copysign", f.convert("fptrunc", f.get(left), a.type.of(1)), a)


AVAILABLE: dict[tuple[str, Type], Elementary] = {
    **{(function.__name__, F32): function for function in (exp, expm1, log, log1p, tanh, erf, sigmoid)},
    **{(function.__name__, F32): function for function in (asin, acos, atan, fmod)},
    **{(name, F32): function for name, function in (("sin", sin), ("cos", cos), ("tan", tan))},
    **{(function.__name__, F64): function for function in (exp, sigmoid)},
}
"""The functions at hand, by name and scalar type."""

BRANCHING = frozenset({"sin", "cos", "tan", "fmod", "mod"})
"""Operations whose code branches, so that LLVM makes no vectors of a loop over them."""

ABREAST: dict[str, int] = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "sigmoid"), 4),
    **dict.fromkeys(("erf", "asin", "acos", "atan"), 2),
}
"""How many vectors a loop over a function should have side by side: the steps of one wait for each other, and functions
with many constants run out of registers. Measured on Zen 3."""
