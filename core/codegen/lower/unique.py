"""The different elements of a tensor, or rows along an axis, in full size beside their count."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from heddle.core.codegen.affine import Affine, axis, unflatten
from heddle.core.codegen.lower.counted import result_of
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, fold, group, guarded, indirect, load, part, position, total
from heddle.core.ir import Value
from heddle.core.ops.scalar import BOOL, Expr, cast, const, is_floating, is_nan, minimum, where

I32 = np.dtype(np.int32)

Order = Callable[[Affine, Affine], Expr]
"""-1, 0 or 1 as one element comes before another, is equal to it, or comes after it."""

FEW = 256
"""So many elements are held against each other one; more are sorted first. Rows always are, by their table."""


@lowers("heddle.UniqueBounded")
def unique(op: Lowering) -> None:
    """Of equal elements the first counts. All NaN are equal, and last."""
    x = op[0]
    along = op.attrs["axis"]
    shape = x.shape if along is not None else (math.prod(x.shape),)
    at = 0 if along is None else along % len(shape)
    size = shape[at]
    count, values, first, inverse, counts = (result_of(op, number) for number in range(5))
    order = _order(op, x, shape, at, size)
    rank = inverse or op.fresh("inverse", I64, (size,))
    earliest = op.fresh("earliest", I64, (size,))
    (_by_sorting if len(shape) == 1 and size > FEW else _by_pairs)(op, order, earliest, rank)

    def distinct(i: Affine) -> Expr:
        return load(earliest, i).equals(position(i))

    if count is not None:
        op.compute(count, lambda: _total(size, distinct))

    def target(i: Affine) -> Affine:
        return indirect(where(distinct(i), load(rank, i), size), size + 1)

    if first is not None:
        room = _room(op, "first", (size + 1,))
        op.part(room, (size,), lambda i: [target(i)], lambda i: position(i))
        op.compute(first, lambda i: load(room, i))
    if counts is not None:
        op.compute(counts, lambda i: const(0, I64))
        op.part(
            counts,
            (size,),
            lambda i: [indirect(load(rank, i), size)],
            lambda i: load(counts, indirect(load(rank, i), size)) + 1,
        )
    if values is not None:
        chosen = op.fresh("chosen", x.dtype, tuple(n + 1 if number == at else n for number, n in enumerate(shape)))
        op.compute(chosen, lambda *indices: const(0, x.dtype))

        def element(*indices: Affine) -> Expr:
            return load(x, *(unflatten(indices[0], x.shape) if along is None else indices))

        op.part(chosen, shape, lambda *w: [target(i) if n == at else i for n, i in enumerate(w)], element)
        op.compute(values, lambda *indices: load(chosen, *indices))


def _by_pairs(op: Lowering, order: Order, earliest: Value, rank: Value) -> None:
    """For each element the first one that is equal, and the number of that among the different ones."""
    size = earliest.shape[0]

    def first_equal(i: Affine) -> Expr:
        j = axis(size, "j")
        return fold([j], const(size, I64), where(order(i, j).equals(0), position(j), const(size, I64)), minimum)

    def before(i: Affine) -> Expr:
        j = axis(size, "j")
        ahead = order(j, i) < 0 if op.attrs["sorted"] else position(j) < load(earliest, i)
        return total([j], cast(load(earliest, j).equals(position(j)) & ahead, I64))

    op.compute(earliest, first_equal)
    op.compute(rank, before)


def _by_sorting(op: Lowering, order: Order, earliest: Value, rank: Value) -> None:
    """The same, along the elements in order, where equal ones are neighbours."""
    size = earliest.shape[0]
    places = op.compute(op.fresh("places", I64, (size,)), lambda k: position(k))
    width = 1
    while width < size:
        places = _merged(op, order, places, width)
        width *= 2

    def at(k: Affine) -> Affine:
        return indirect(load(places, k), size)

    def differs(k: Affine) -> Expr:
        return order(at(k - 1), at(k)).differs(0)

    leader, number = (op.fresh(stem, I64, (size,)) for stem in ("leader", "number"))

    def led(k: Affine) -> Expr:
        here = load(places, k)
        return guarded(position(k).equals(0), here, where(differs(k), here, load(leader, k - 1)))

    def numbered(k: Affine) -> Expr:
        return guarded(position(k).equals(0), const(0, I64), load(number, k - 1) + cast(differs(k), I64))

    op.part(leader, (size,), lambda k: [k], led)
    op.part(earliest, (size,), lambda k: [at(k)], lambda k: load(leader, k))
    if op.attrs["sorted"]:
        op.part(number, (size,), lambda k: [k], numbered)
        op.part(rank, (size,), lambda k: [at(k)], lambda k: load(number, k))
        return

    def so_far(i: Affine) -> Expr:
        here = cast(load(earliest, i).equals(position(i)), I64)
        return guarded(position(i).equals(0), here, load(number, i - 1) + here)

    op.part(number, (size,), lambda i: [i], so_far)
    op.compute(rank, lambda i: load(number, indirect(load(earliest, i), size)) - 1)


def _merged(op: Lowering, order: Order, places: Value, width: int) -> Value:
    """Places that are in order in runs of a width, a power of two, in order in runs twice as long.

    Each element goes as far as there are elements of the other run of its pair that come before it: so many are found
    by steps of half the size each time. Equal ones keep their order.
    """
    size = places.shape[0]
    found, turn = _room(op, "found", (size,)), axis(width.bit_length(), "turn")

    def further(k: Affine) -> Expr:
        left = position((k // width) % 2).equals(0)
        begin = position(k // (2 * width)) * (2 * width) + where(left, const(width, I64), 0)
        step = const(width, I64) >> position(turn)
        there = load(found, k) + step
        inside = (there <= size - begin) & (there <= width)
        other = indirect(minimum(begin + there - 1, size - 1), size)
        compared = order(indirect(load(places, other), size), indirect(load(places, k), size))
        return load(found, k) + where(inside & (compared < where(left, const(0, I32), 1)), step, 0)

    def target(k: Affine) -> list[Affine]:
        begin = position(k // (2 * width)) * (2 * width)
        return [indirect(begin + position(k % width) + load(found, k), size)]

    op.add(group([turn], [part(found, (size,), lambda k: [k], further, op.label)], op.label))
    merged = op.fresh("places", I64, (size,))
    op.part(merged, (size,), target, lambda k: load(places, k))
    return merged


def _room(op: Lowering, stem: str, shape: tuple[int, ...]) -> Value:
    return op.compute(op.fresh(stem, I64, shape), lambda *_: const(0, I64))


def _total(size: int, each: Callable[[Affine], Expr]) -> Expr:
    j = axis(size, "j")
    return total([j], cast(each(j), I64))


def _order(op: Lowering, x: Value, shape: tuple[int, ...], at: int, size: int) -> Order:
    """The order of elements, or of rows, along the axis."""
    others = tuple(n for number, n in enumerate(shape) if number != at)
    along = op.attrs["axis"]

    def compared(i: Affine, j: Affine, *rest: Affine) -> Expr:
        a, b = (load(x, *(unflatten(k, x.shape) if along is None else [*rest[:at], k, *rest[at:]])) for k in (i, j))
        if x.dtype == BOOL:
            a, b = cast(a, I32), cast(b, I32)
        less, more = a < b, b < a
        if is_floating(x.dtype):
            less, more = less | (is_nan(b) & ~is_nan(a)), more | (is_nan(a) & ~is_nan(b))
        return cast(more, I32) - cast(less, I32)

    if not others:
        return compared
    table = op.fresh("order", I32, (size, size))
    op.compute(table, lambda i, j: const(0, I32))
    rest_shape = (math.prod(others),)

    def so_far(e: Affine, i: Affine, j: Affine) -> Expr:
        """The first difference decides: elements are compared one after the other, the table kept between them."""
        known = load(table, i, j)
        return where(known.equals(0), compared(i, j, *unflatten(e, others)), known)

    op.part(table, (*rest_shape, size, size), lambda e, i, j: [i, j], so_far)
    return lambda i, j: load(table, i, j)
