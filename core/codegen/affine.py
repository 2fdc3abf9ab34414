"""Index arithmetic that stays simplified: sums of multiples of axes, quotients, remainders, with known ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

from heddle.core.ops.scalar import Expr


@dataclass(frozen=True, eq=False)
class Axis:
    """A loop variable that runs from 0 to `extent - 1`. Two axes are the same only if they are the same object."""

    extent: int
    name: str = "i"


@dataclass(frozen=True)
class Opaque:
    """An index that is computed, such as one loaded from a tensor; it lies in [low, high]."""

    expr: Expr
    low: int
    high: int


@dataclass(frozen=True)
class Quotient:
    """`inner // divisor`, rounded down, where it could not be simplified."""

    inner: Affine
    divisor: int


@dataclass(frozen=True)
class Remainder:
    """`inner % divisor`, never negative, where it could not be simplified."""

    inner: Affine
    divisor: int


Atom = Axis | Opaque | Quotient | Remainder


@dataclass(frozen=True)
class Affine:
    """`constant + sum(coefficient * atom)`; terms keep the order in which they appeared, equal atoms are merged.

    >>> i, j = axis(4, "i"), axis(8, "j")
    >>> str((i * 8 + j) // 8), str((i * 8 + j) % 8)
    ('i', 'j')
    """

    terms: tuple[tuple[Atom, int], ...] = ()
    constant: int = 0
    _key: frozenset[tuple[Atom, int]] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", frozenset(self.terms))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Affine) and self.constant == other.constant and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.constant, self._key))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        merged = dict(self.terms)
        for atom, coefficient in other.terms:
            merged[atom] = merged.get(atom, 0) + coefficient
        return _rejoined(Affine(_nonzero(merged), self.constant + other.constant))

    __radd__ = __add__

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | int) -> Affine:
        return self + -other

    def __rsub__(self, other: int) -> Affine:
        return -self + other

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((atom, c * factor) for atom, c in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Affine:
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        if rest.low >= 0 and rest.high < divisor:
            return whole
        shared = gcd(divisor, *(c for _, c in rest.terms))
        if shared > 1:
            reduced = Affine(tuple((a, c // shared) for a, c in rest.terms), rest.constant // shared)
            return whole + reduced // (divisor // shared)
        if not rest.constant and len(rest.terms) == 1 and rest.terms[0][1] == 1:
            (atom, _), *_ = rest.terms
            if isinstance(atom, Quotient):
                return whole + atom.inner // (atom.divisor * divisor)
        return whole + Affine(((Quotient(rest, divisor), 1),))

    def __mod__(self, divisor: int) -> Affine:
        if divisor == 1:
            return Affine()
        _, rest = self._split(divisor)
        if rest.low >= 0 and rest.high < divisor:
            return rest
        return Affine(((Remainder(rest, divisor), 1),))

    def _split(self, divisor: int) -> tuple[Affine, Affine]:
        """(q, r) with `self == divisor * q + r` and r as simple as it gets."""
        whole = {atom: c // divisor for atom, c in self.terms if c % divisor == 0}
        rest = {atom: c for atom, c in self.terms if c % divisor}
        left = Affine(_nonzero(rest), self.constant)
        if left.low >= 0 and left.high < divisor:
            return Affine(_nonzero(whole), 0), left
        constant = self.constant // divisor
        return Affine(_nonzero(whole), constant), Affine(left.terms, self.constant - constant * divisor)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value over all axes' ranges; exact for sums of axes, else safe."""
        low = high = self.constant
        for atom, coefficient in self.terms:
            least, most = _range(atom)
            low += coefficient * (least if coefficient > 0 else most)
            high += coefficient * (most if coefficient > 0 else least)
        return low, high

    @property
    def low(self) -> int:
        return self.bounds[0]

    @property
    def high(self) -> int:
        return self.bounds[1]

    @property
    def known(self) -> int | None:
        """The value when it is a constant."""
        return None if self.terms else self.constant

    @cached_property
    def axes(self) -> frozenset[Axis]:
        """Every axis that the value depends on."""
        return frozenset(self._axes())

    def _axes(self) -> Iterator[Axis]:
        for atom, _ in self.terms:
            if isinstance(atom, Axis):
                yield atom
            elif isinstance(atom, Quotient | Remainder):
                yield from atom.inner._axes()
            else:
                yield from axes_of(atom.expr)

    def stride(self, axis: Axis) -> int | None:
        """By how much the value grows per step of an axis; None when that is not constant."""
        total = 0
        for atom, coefficient in self.terms:
            if atom is axis:
                total += coefficient
            elif not isinstance(atom, Axis) and axis in Affine(((atom, 1),)).axes:
                return None
        return total

    def map(self, atoms: Callable[[Atom], Affine]) -> Affine:
        """The value with each atom replaced."""
        result = Affine((), self.constant)
        for atom, coefficient in self.terms:
            result = result + atoms(atom) * coefficient
        return result

    def __str__(self) -> str:
        parts = [_print(atom) if c == 1 else f"{c}*{_print(atom)}" for atom, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


def axis(extent: int, name: str = "i") -> Affine:
    """A fresh axis as an index."""
    return Affine(((Axis(extent, name), 1),))


def of_axis(axis: Axis) -> Affine:
    """An axis as an index; one that has a single step is 0."""
    return Affine(((axis, 1),)) if axis.extent != 1 else Affine()


def only_axis(index: Affine) -> Axis:
    """The axis of an index made by `axis`."""
    ((atom, _),) = index.terms
    assert isinstance(atom, Axis)
    return atom


def flatten(indices: tuple[Affine, ...], shape: tuple[int, ...]) -> Affine:
    """The row-major position of an element."""
    flat = Affine()
    for index, size in zip(indices, shape, strict=True):
        flat = flat * size + index
    return flat


def unflatten(flat: Affine, shape: tuple[int, ...]) -> tuple[Affine, ...]:
    """The element at a row-major position that is inside the shape."""
    indices: list[Affine] = []
    for size in reversed(shape[1:]):
        indices.append(flat % size)
        flat = flat // size
    return (*((flat,) if shape else ()), *reversed(indices))


def substitute(index: Affine, axes: dict[Axis, Affine], expr: Callable[[Expr], Expr]) -> Affine:
    """The index with axes replaced; `expr` does the same to the expressions inside opaque atoms."""

    def atom(a: Atom) -> Affine:
        if isinstance(a, Axis):
            return axes.get(a, Affine(((a, 1),)))
        if isinstance(a, Quotient):
            return substitute(a.inner, axes, expr) // a.divisor
        if isinstance(a, Remainder):
            return substitute(a.inner, axes, expr) % a.divisor
        inner = expr(a.expr)
        if inner.op == "const":
            return Affine((), int(inner.value))
        return Affine(((a if inner is a.expr else Opaque(inner, a.low, a.high), 1),))

    return index.map(atom)


def axes_of(expr: Expr) -> Iterator[Axis]:
    """The axes that an expression's indices mention, bound or free."""
    for arg in expr.args:
        yield from axes_of(arg)
    for index in indices_of(expr):
        yield from index._axes()


def indices_of(expr: Expr) -> tuple[Affine, ...]:
    """The indices that stand in an expression itself (not in its arguments)."""
    if expr.op == "index":
        return (expr.value,)
    if expr.op == "load":
        return tuple(expr.value.indices)
    return ()


def _range(atom: Atom) -> tuple[int, int]:
    if isinstance(atom, Axis):
        return 0, max(atom.extent - 1, 0)
    if isinstance(atom, Quotient):
        return atom.inner.low // atom.divisor, atom.inner.high // atom.divisor
    if isinstance(atom, Remainder):
        return 0, atom.divisor - 1
    return atom.low, atom.high


def _nonzero(terms: dict[Atom, int]) -> tuple[tuple[Atom, int], ...]:
    return tuple((atom, c) for atom, c in terms.items() if c)


def _rejoined(index: Affine) -> Affine:
    """The index with `x // d * (k * d) + x % d * k` written as `x * k`."""
    coefficients = dict(index.terms)
    for atom, k in index.terms:
        if not isinstance(atom, Remainder):
            continue
        quotient = atom.inner // atom.divisor
        if len(quotient.terms) == 1 and not quotient.constant and quotient.terms[0][1] == 1:
            whole = quotient.terms[0][0]
            if coefficients.get(whole) == k * atom.divisor:
                rest = Affine(tuple((a, c) for a, c in index.terms if a not in (atom, whole)), index.constant)
                return rest + atom.inner * k
    return index


def show(expr: Expr) -> str:
    """The expression as text."""
    if expr.op in ("load", "index", "local"):
        return str(expr.value)
    if expr.op == "arg":
        return f"${expr.value}"
    if expr.op == "const":
        return repr(expr.value)
    inner = ", ".join(map(show, expr.args))
    if expr.op == "fold":
        return f"fold[{expr.value}]({inner})"
    return f"{expr.dtype}({inner})" if expr.op == "cast" else f"{expr.op}({inner})"


def _print(atom: Atom) -> str:
    if isinstance(atom, Axis):
        return atom.name
    if isinstance(atom, Opaque):
        return f"[{show(atom.expr)}]"
    return f"({atom.inner}) {'//' if isinstance(atom, Quotient) else '%'} {atom.divisor}"
