"""The matrices of Winograd's minimal filtering, exact, and their application to vectors with few operations.

In floats the weights' matrix has fractions. In whole numbers it has none, and what comes out is the correlation times
the square of `divisor`, in arithmetic that may wrap: a last exact division makes good for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import Value, constant

Matrix = tuple[tuple[Fraction, ...], ...]
POINTS = tuple(Fraction(point) for point in (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2)))


@dataclass(frozen=True)
class Filtering:
    """F(outputs, taps): `after @ ((weights @ g) * (before @ d))` is the correlation of d with g, times `divisor`."""

    before: Matrix
    weights: Matrix
    after: Matrix
    divisor: int = 1


def filtering(outputs: int, taps: int) -> Filtering:
    """Cook and Toom's construction on the first points and infinity: interpolate a product of polynomials."""
    size = outputs + taps - 1
    points = POINTS[: size - 1]
    before, weights = [], []
    for j, point in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        before.append((*_from_roots(others), Fraction(0)))
        weights.append(tuple(point**k / scale for k in range(taps)))
    before.append(_from_roots(points))
    weights.append(tuple(Fraction(k == taps - 1) for k in range(taps)))
    after = tuple((*(point**i for point in points), Fraction(i == outputs - 1)) for i in range(outputs))
    return Filtering(tuple(before), tuple(weights), after)


def whole_filtering(outputs: int, taps: int) -> Filtering:
    """The same in whole numbers: the fractions' common denominator multiplies the weights, and the last point's part
    of the result, where it makes weights of the greatest tap no larger than those of the others."""
    exact = filtering(outputs, taps)
    divisor = lcm(*(entry.denominator for row in exact.weights for entry in row))
    weights = tuple(tuple(entry * divisor for entry in row) for row in exact.weights[:-1])
    after = tuple((*row[:-1], row[-1] * divisor) for row in exact.after)
    return Filtering(exact.before, (*weights, exact.weights[-1]), after, divisor)


def quotient(f: Function, x: Value, divisor: int) -> Value:
    """Integers that are multiples of a divisor but for wrapping, divided: exact as long as the power of two in the
    divisor times the result does not wrap."""
    power = (divisor & -divisor).bit_length() - 1
    odd = divisor >> power
    inverse = pow(odd, -1, 1 << x.type.bits)
    x = f.mul(x, constant(inverse - (inverse >> x.type.bits - 1 << x.type.bits), x.type)) if odd > 1 else x
    return f.binary("ashr", x, constant(power, x.type)) if power else x


def _from_roots(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients, constant first, of the monic polynomial with these roots."""
    result = [Fraction(1)]
    for root in roots:
        result = [high - root * low for high, low in zip([Fraction(0), *result], [*result, Fraction(0)], strict=True)]
    return tuple(result)


def apply(f: Function, matrix: Matrix, inputs: Sequence[Value]) -> list[Value]:
    """The product of a constant matrix and a vector of values, sharing the work of neighbours that differ in signs."""
    matrix, inputs = _merge_columns(f, matrix, inputs)
    results: list[Value] = []
    while len(results) < len(matrix):
        i = len(results)
        row = matrix[i]
        if i + 1 < len(matrix) and _mirrored(row, matrix[i + 1]):
            following = matrix[i + 1]
            same = _combine(f, [a if a == b else Fraction(0) for a, b in zip(row, following, strict=True)], inputs)
            opposite = _combine(f, [a if a != b else Fraction(0) for a, b in zip(row, following, strict=True)], inputs)
            results += [f.add(same, opposite), f.sub(same, opposite)]
        else:
            results.append(_combine(f, row, inputs))
    return results


def _mirrored(a: Sequence[Fraction], b: Sequence[Fraction]) -> bool:
    """Whether two rows differ only in signs, in some entries but not in all."""
    if any(x not in (y, -y) for x, y in zip(a, b, strict=True)):
        return False
    same = [x == y for x, y in zip(a, b, strict=True) if x]
    return any(same) and not all(same)


def _merge_columns(f: Function, matrix: Matrix, inputs: Sequence[Value]) -> tuple[Matrix, list[Value]]:
    """Where neighbouring columns differ only in signs, their sum and difference in place of the two."""
    columns: list[Sequence[Fraction]] = list(zip(*matrix, strict=True))
    values = list(inputs)
    j = 0
    while j + 1 < len(columns):
        a, b = columns[j], columns[j + 1]
        if _mirrored(a, b):
            columns[j] = [x if x == y else Fraction(0) for x, y in zip(a, b, strict=True)]
            columns[j + 1] = [x if x != y else Fraction(0) for x, y in zip(a, b, strict=True)]
            values[j], values[j + 1] = f.add(values[j], values[j + 1]), f.sub(values[j], values[j + 1])
            j += 1
        j += 1
    return tuple(zip(*columns, strict=True)), values


def _combine(f: Function, coefficients: Sequence[Fraction], inputs: Sequence[Value]) -> Value:
    """The sum of products with constants; units cost an addition, the others a fused one."""
    terms = [(c, x) for c, x in zip(coefficients, inputs, strict=True) if c]
    units = sorted((term for term in terms if abs(term[0]) == 1), key=lambda term: -term[0])
    rest = [term for term in terms if abs(term[0]) != 1]
    result: Value | None = None
    for c, x in units:
        if result is None and c == 1:
            result = x
        elif result is None:
            result = f.neg(x)
        else:
            result = f.add(result, x) if c == 1 else f.sub(result, x)
    for c, x in rest:
        factor = constant(float(c), x.type)
        if result is None:
            result = f.mul(x, factor)
        elif x.type.floating:
            result = f.intrinsic("fmuladd", x, factor, result)
        else:
            result = f.add(result, f.mul(x, factor))
    assert result is not None
    return result
