"""What the data says how many there are of: every result in full size, and a count of what is used of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from heddle.core.codegen.affine import Affine, axis, flatten, unflatten
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, compute, fold, group, guarded, indirect, load, part, position
from heddle.core.ir import Value
from heddle.core.ops.scalar import (
    BOOL,
    Expr,
    cast,
    const,
    lowest,
    maximum,
    minimum,
    where,
)

F64 = np.dtype(np.float64)


def result_of(op: Lowering, number: int) -> Value | None:
    """One of the results of a node, if anybody reads it."""
    return op.node.outputs[number] if number < len(op.node.outputs) else None


def select(op: Lowering, size: int, wanted: Callable[[Affine], Expr]) -> tuple[Value, Value]:
    """How many of `size` elements are wanted, and where the first, second, ... of them are; the rest means nothing."""
    rank = op.fresh("rank", I64, (size,))

    def so_far(i: Affine) -> Expr:
        here = cast(wanted(i), I64)
        return guarded(position(i).equals(0), here, load(rank, i - 1) + here)

    op.part(rank, (size,), lambda i: [i], so_far)
    place = op.fresh("place", I64, (size + 1,))
    op.part(
        place,
        (size,),
        lambda i: [indirect(where(wanted(i), load(rank, i) - 1, size), size + 1)],
        lambda i: position(i),
    )
    count = result_of(op, 0) or op.fresh("count", I64, ())
    op.compute(count, lambda: load(rank, size - 1) if size else const(0, I64))
    return count, place


def _used(count: Value, index: Affine, value: Expr) -> Expr:
    """The value of an element that is counted; 0 behind them."""
    return where(position(index) < load(count), value, const(0, value.dtype))


@lowers("heddle.NonZeroBounded")
def non_zero(op: Lowering) -> None:
    x, full = op[0], result_of(op, 1)
    size = math.prod(x.shape)

    def wanted(i: Affine) -> Expr:
        element = load(x, *unflatten(i, x.shape))
        return element if x.dtype == BOOL else element.differs(const(0, x.dtype))

    count, place = select(op, size, wanted)
    if full is None or not math.prod(full.shape):
        return
    rows = [
        lambda k, d=d: _used(count, k, position(unflatten(indirect(load(place, k), size), x.shape)[d]))
        for d in range(len(x.shape))
    ]
    for d, row in enumerate(rows):
        op.part(full, (size,), lambda k, d=d: [d, k], row)


@lowers("heddle.CompressBounded")
def compress(op: Lowering) -> None:
    x, condition, full = op[0], op[1], result_of(op, 1)
    along = op.attrs["axis"]
    shape = x.shape if along is not None else (math.prod(x.shape),)
    at = 0 if along is None else along % len(shape)
    size, given = shape[at], condition.shape[0]
    if given > size:
        beyond = axis(given - size, "i")
        op.check([beyond], load(condition, beyond + size), f"the condition is true beyond the {size} elements")
    count, place = select(op, min(size, given), lambda i: load(condition, i))
    if full is None or not math.prod(full.shape):
        return

    def body(*indices: Affine) -> Expr:
        k = indices[at]
        source = indirect(load(place, indirect(position(k), min(size, given) + 1)), size)
        inside = [source if number == at else i for number, i in enumerate(indices)]
        element = load(x, *(unflatten(flatten(tuple(inside), shape), x.shape) if along is None else inside))
        return _used(count, k, element)

    op.compute(full, body)


@lowers("heddle.SliceBounded")
def window(op: Lowering) -> None:
    x, full, at = op[0], result_of(op, 1), op.attrs["axis"] % len(op[0].shape)
    size = x.shape[at]
    begin, end = (cast(load(op[i], *(0,) * len(op[i].shape)), I64) for i in (1, 2))
    begin, end = (maximum(minimum(where(place < 0, place + size, place), size), 0) for place in (begin, end))
    count = result_of(op, 0) or op.fresh("count", I64, ())
    op.compute(count, lambda: maximum(end - begin, 0))
    if full is None or not math.prod(full.shape):
        return

    def body(*indices: Affine) -> Expr:
        place = indirect(minimum(begin + position(indices[at]), size - 1), size)
        return _used(count, indices[at], load(x, *(place if number == at else i for number, i in enumerate(indices))))

    op.compute(full, body)


# -- NonMaxSuppression ----------------------------------------------------------------------------------------------


@lowers("heddle.NonMaxSuppressionBounded")
def non_max_suppression(op: Lowering) -> None:
    """In each turn the best box that is left, of which then those go that overlap it too much."""
    boxes, scores, full = op[0], op[1], result_of(op, 1)
    batches, classes, size = scores.shape
    given = op.operand(2)
    most = 0 if given is None else min(max(int(op.demand(2, "the greatest number of boxes").reshape(-1)[0]), 0), size)
    if not batches * classes * most:
        op.compute(result_of(op, 0) or op.fresh("count", I64, ()), lambda: const(0, I64))
        return
    corners = op.compute(op.fresh("corners", F64, (batches, size, 4)), _corners(op, boxes))
    gone = op.fresh("gone", BOOL, scores.shape)
    least = op.operand(4)

    def worthless(b: Affine, c: Affine, i: Affine) -> Expr:
        if least is None:
            return const(False, BOOL)
        return ~(load(scores, b, c, i) > cast(load(least, *(0 for _ in least.shape)), scores.dtype))

    op.compute(gone, worthless)
    limit = op.operand(3)
    threshold = const(0.0, F64) if limit is None else cast(load(limit, *(0 for _ in limit.shape)), F64)
    b, c, turn = axis(batches, "b"), axis(classes, "c"), axis(most, "turn")
    best, place = op.fresh("best", scores.dtype, ()), op.fresh("box", I64, ())
    kept = op.fresh("kept", I64, (batches, classes, most))
    worst = const(lowest(scores.dtype), scores.dtype)

    def greatest() -> Expr:
        j = axis(size, "j")
        return fold([j], worst, where(load(gone, b, c, j), worst, load(scores, b, c, j)), maximum)

    def where_best() -> Expr:
        j = axis(size, "j")
        found = load(scores, b, c, j).equals(load(best)) & ~load(gone, b, c, j)
        return fold([j], const(size, I64), where(found, position(j), const(size, I64)), minimum)

    def overlapping(i: Affine) -> Expr:
        chosen = indirect(load(place), size)
        too_much = _overlap(corners, b, i, chosen) > threshold
        taken = position(i).equals(load(place))
        return load(gone, b, c, i) | (load(place) < size) & (taken | too_much)

    op.add(
        group(
            [b, c, turn],
            [
                compute(best, greatest, op.label),
                compute(place, where_best, op.label),
                part(gone, (size,), lambda i: [b, c, i], overlapping, op.label),
                part(kept, (), lambda: [b, c, turn], lambda: load(place), op.label),
            ],
            op.label,
        )
    )
    shape = (batches, classes, most)
    count, row = select(op, math.prod(shape), lambda i: load(kept, *unflatten(i, shape)) < size)
    if full is None:
        return

    def selected(k: Affine) -> tuple[Affine, Affine, Affine]:
        first, second, third = unflatten(indirect(load(row, k), math.prod(shape)), shape)
        return first, second, third

    fields: list[Callable[[Affine], Expr]] = [
        lambda k: position(selected(k)[0]),
        lambda k: position(selected(k)[1]),
        lambda k: load(kept, *selected(k)),
    ]
    for number, field in enumerate(fields):
        op.part(
            full,
            (full.shape[0],),
            lambda k, number=number: [k, number],
            lambda k, field=field: _used(count, k, field(k)),
        )


def _corners(op: Lowering, boxes: Value) -> Callable[[Affine, Affine, Affine], Expr]:
    """Boxes as low y, low x, high y, high x, whichever way they are given."""

    def corner(b: Affine, i: Affine, side: Affine) -> Expr:
        first, second, third, fourth = (cast(load(boxes, b, i, number), F64) for number in range(4))
        if op.attrs["center_point_box"]:
            half_height, half_width = fourth / 2.0, third / 2.0
            sides = (second - half_height, first - half_width, second + half_height, first + half_width)
        else:
            sides = (minimum(first, third), minimum(second, fourth), maximum(first, third), maximum(second, fourth))
        at = position(side)
        return where(at.equals(0), sides[0], where(at.equals(1), sides[1], where(at.equals(2), sides[2], sides[3])))

    return corner


def _overlap(corners: Value, b: Affine, i: Affine, j: Affine) -> Expr:
    """The area that two boxes share, by the area that they cover together."""
    zero = const(0.0, F64)

    def side(box: Affine, number: int) -> Expr:
        return load(corners, b, box, number)

    def area(box: Affine) -> Expr:
        return (side(box, 2) - side(box, 0)) * (side(box, 3) - side(box, 1))

    shared = const(1.0, F64)
    for low in (0, 1):
        high = minimum(side(i, low + 2), side(j, low + 2))
        shared = shared * maximum(high - maximum(side(i, low), side(j, low)), zero)
    whole = area(i) + area(j) - shared
    return where(whole > 0.0, shared / where(whole > 0.0, whole, const(1.0, F64)), zero)
