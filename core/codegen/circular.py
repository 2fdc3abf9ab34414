"""Sine, cosine and tangent of float in vector arithmetic, by way of double, for every float that there is.

An angle is a number of quarters of the circle and a rest of at most an eighth. Up to `_NEAR` the rest is what two
products leave. Beyond, the fraction of a float times 2 / pi hangs on bits of 2 / pi that go with its exponent: these
are looked up, lane by lane, in three parts, of which the products of two with 24 bits are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.polynomial import Elementary, exact, mad, polynomial
from heddle.core.codegen.values import F64, I64, Value, constant

_NEAR = 2.0**20
_PI_HALVES = (float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a626331p-34"))
"""The first has 33 bits, so that its products with quarters up to `_NEAR` are exact; the second is the rest."""

_ROUNDER = 1.5 * 2.0**52
"""A double plus this has its nearest whole number in its last bits."""

_SINE = tuple((-1) ** n / math.factorial(2 * n + 1) for n in (4, 3, 2, 1, 0))
_COSINE = tuple((-1) ** n / math.factorial(2 * n) for n in (5, 4, 3, 2, 1, 0))
"""In the square of the angle, up to pi / 4: the next terms are below an eighth of a float's last place."""

_LEAST, _GREATEST = -3, 104
"""The last bits of floats from `_NEAR` on are these powers of two; that of infinity and NaN would be one more."""

_FRACTION, _BIAS = 23, 150
"""Of a float: the bits below its exponent, and the exponent of those whose last bit is one."""

_PARTS = (27, 56)
"""So many bits behind the point the first and the second part end of what is looked up, which is below 4."""


def _of_angle(combine: Callable[[Function, Value, Value, Value], Value]) -> Elementary:
    """What is made of the quarters in an angle and of sine and cosine of the rest, as a function of the angle."""

    @exact
    def apply(f: Function, x: Value) -> Value:
        quarters, rest = _quarters(f, x)
        square = f.mul(rest, rest)
        sine, cosine = f.mul(rest, polynomial(f, square, _SINE)), polynomial(f, square, _COSINE)
        return f.convert("fptrunc", combine(f, quarters, sine, cosine), x.type.of(1))

    return apply


def _sine(f: Function, quarters: Value, sine: Value, cosine: Value) -> Value:
    size = f.select(_has_bit(f, quarters, 0), cosine, sine)
    return f.select(_has_bit(f, quarters, 1), f.neg(size), size)


def _cosine(f: Function, quarters: Value, sine: Value, cosine: Value) -> Value:
    return _sine(f, f.add(quarters, constant(1, quarters.type)), sine, cosine)


def _tangent(f: Function, quarters: Value, sine: Value, cosine: Value) -> Value:
    odd = _has_bit(f, quarters, 0)
    return f.div(f.select(odd, f.neg(cosine), sine), f.select(odd, sine, cosine))


sin, cos, tan = map(_of_angle, (_sine, _cosine, _tangent))


def _has_bit(f: Function, word: Value, bit: int) -> Value:
    return f.compare("ne", f.binary("and", word, constant(1 << bit, word.type)), constant(0, word.type))


def _quarters(f: Function, x: Value) -> tuple[Value, Value]:
    """How many quarters of the circle an angle has (their last two bits count), and the rest, as double."""
    wide = f.convert("fpext", x, F64)
    number, whole = _nearest(f, f.mul(wide, constant(2 / math.pi, wide.type)))
    near = mad(
        f, number, constant(-_PI_HALVES[1], wide.type), mad(f, number, constant(-_PI_HALVES[0], wide.type), wide)
    )
    quarters, rest = f.variable(whole), f.variable(near)
    far = f.compare("uge", f.intrinsic("fabs", x), constant(_NEAR, x.type))
    with f.when(f.reduce("or", far)):
        there, beyond = _of_far(f, x)
        f.set(quarters, f.select(far, there, whole))
        f.set(rest, f.select(far, beyond, near))
    return f.get(quarters), f.get(rest)


def _of_far(f: Function, x: Value) -> tuple[Value, Value]:
    """Quarters and rest of angles from `_NEAR` on; the rest of infinity and NaN is NaN."""
    bits = f.bitcast(x, x.type.like("i32"))
    exponent = f.binary("and", f.binary("lshr", bits, constant(_FRACTION, bits.type)), constant(0xFF, bits.type))
    row = f.sub(exponent, constant(_BIAS + _LEAST, bits.type))
    row = f.intrinsic("smax", row, constant(0, bits.type))  # lanes that are near are not looked at
    mantissa = f.binary("and", bits, constant((1 << _FRACTION) - 1, bits.type))
    mantissa = f.binary("or", mantissa, constant(1 << _FRACTION, bits.type))
    size = f.convert("sitofp", mantissa, F64)
    parts = [f.mul(size, _looked_up(f, table, row)) for table in _two_over_pi()]
    whole, quarters = _nearest(f, parts[0])
    fraction = f.add(f.sub(parts[0], whole), parts[1])
    whole, more = _nearest(f, fraction)
    fraction = f.add(f.sub(fraction, whole), parts[2])
    quarters, rest = f.add(quarters, more), f.mul(fraction, constant(math.pi / 2, fraction.type))
    negative = f.compare("slt", bits, constant(0, bits.type))
    return f.select(negative, f.neg(quarters), quarters), f.select(negative, f.neg(rest), rest)


def _nearest(f: Function, x: Value) -> tuple[Value, Value]:
    """The nearest whole number as double, and as integer."""
    rounder = constant(_ROUNDER, x.type)
    shifted = f.add(x, rounder)
    integer = x.type.like("i64")
    return f.sub(shifted, rounder), f.sub(f.bitcast(shifted, integer), f.bitcast(rounder, integer))


def _looked_up(f: Function, values: tuple[float, ...], row: Value) -> Value:
    """In each lane the value of its row."""
    table = f.table(values, F64)
    result = Value("poison", F64.of(row.type.lanes))
    for lane in range(row.type.lanes):
        place = f.gep(table, f.convert("sext", f.extract(row, lane), I64), F64)
        result = f.insert(result, f.load(F64, place), lane)
    return result


@cache
def _two_over_pi() -> tuple[tuple[float, ...], ...]:
    """For each power of two, 2 / pi times it without multiples of 4, in three parts; NaN behind the last."""
    places = 256
    ratio = (1 << 2 * places + 1) // _pi(places)
    parts: list[list[float]] = [[], [], []]
    for power in range(_LEAST, _GREATEST + 1):
        left = (ratio << power - _LEAST) % (4 << places - _LEAST)
        digits = places - _LEAST
        for part, end in zip(parts, (*_PARTS, digits), strict=True):
            taken = left >> digits - end
            part.append(math.ldexp(taken, -end))
            left -= taken << digits - end
    return tuple((*part, math.nan) for part in parts)


def _pi(places: int) -> int:
    """pi with so many binary places, by Machin's formula."""
    spare = 16

    def arc(n: int) -> int:
        """The arc tangent of 1 / n."""
        power, total, odd, sign = (1 << places + spare) // n, 0, 1, 1
        while power:
            total += sign * (power // odd)
            power, odd, sign = power // (n * n), odd + 2, -sign
        return total

    return 4 * (4 * arc(5) - arc(239)) >> spare
