"""The greatest elements in order, each put where as many others come before it."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, compute, fold, group, indirect, load, part, position, total
from heddle.core.ir import Value
from heddle.core.ops.scalar import (
    BOOL,
    Expr,
    cast,
    const,
    highest,
    is_floating,
    is_nan,
    lowest,
    maximum,
    minimum,
    where,
)


@lowers("TopK")
def top_k(op: Lowering) -> None:
    """Of equal elements the first comes first; NaN counts as the greatest."""
    x = op[0]
    at = op.attrs["axis"] % len(x.shape)
    values, indices = (*op.node.outputs, None)[:2]
    count = next(value.shape[at] for value in (values, indices) if value is not None)
    if count > x.shape[at]:
        raise op.refuse(f"{count} elements are wanted of {x.shape[at]}")
    if count * 8 <= x.shape[at] and (op.attrs["largest"] or not is_floating(x.dtype)):
        _selected(op, x, at, count, values, indices)
        return
    rank = op.fresh("rank", I64, x.shape)

    def ranked(*where: Affine) -> Expr:
        j = axis(x.shape[at], "j")
        mine = load(x, *where)
        other = load(x, *(j if number == at else i for number, i in enumerate(where)))
        first, second = (other, mine) if op.attrs["largest"] else (mine, other)
        equal = mine.equals(other) | (is_nan(mine) & is_nan(other))
        ahead = _greater(first, second) | (equal & (position(j) < position(where[at])))
        return total([j], cast(ahead, I64))

    op.compute(rank, ranked)
    if values is not None:
        _ordered(op, values, rank, at, lambda *where: load(x, *where))
    if indices is not None:
        _ordered(op, indices, rank, at, lambda *where: position(where[at]))


def _selected(op: Lowering, x: Value, at: int, count: int, values: Value | None, indices: Value | None) -> None:
    """A few elements: in each turn the best of those that are not taken yet."""
    rest = tuple(n for number, n in enumerate(x.shape) if number != at)
    largest, size = bool(op.attrs["largest"]), x.shape[at]
    taken = op.compute(op.fresh("taken", BOOL, x.shape), lambda *where_: const(False, BOOL))
    worst = const(lowest(x.dtype) if largest else highest(x.dtype), x.dtype)
    best, place = op.fresh("best", x.dtype, rest), op.fresh("place", I64, rest)
    turn = axis(count, "turn")

    def row(where_: tuple[Affine, ...], here: Affine) -> list[Affine]:
        return [*where_[:at], here, *where_[at:]]

    def greatest(*where_: Affine) -> Expr:
        j = axis(size, "j")
        open_ = where(load(taken, *row(where_, j)), worst, load(x, *row(where_, j)))
        return fold([j], worst, open_, maximum if largest else minimum)

    def first(*where_: Affine) -> Expr:
        j = axis(size, "j")
        element = load(x, *row(where_, j))
        found = (element.equals(load(best, *where_)) | is_nan(element)) & ~load(taken, *row(where_, j))
        return fold([j], const(size - 1, I64), where(found, position(j), const(size - 1, I64)), minimum)

    def chosen(*where_: Affine) -> Affine:
        return indirect(load(place, *where_), size)

    steps = [
        compute(best, greatest, op.label),
        compute(place, first, op.label),
        part(taken, rest, lambda *w: row(w, chosen(*w)), lambda *w: const(True, BOOL), op.label),
    ]
    if values is not None:
        steps.append(part(values, rest, lambda *w: row(w, turn), lambda *w: load(x, *row(w, chosen(*w))), op.label))
    if indices is not None:
        steps.append(part(indices, rest, lambda *w: row(w, turn), lambda *w: load(place, *w), op.label))
    op.add(group([turn], steps, op.label))


def _greater(a: Expr, b: Expr) -> Expr:
    return (a > b) | (is_nan(a) & ~is_nan(b))


def _ordered(op: Lowering, output: Value, rank: Value, at: int, body: Callable[..., Expr]) -> None:
    """What each element gives, at its rank; those behind the last rank share a place that is cut off."""
    count = output.shape[at]
    shape = tuple(count + 1 if number == at else n for number, n in enumerate(output.shape))
    room = op.fresh("ordered", output.dtype, shape)

    def target(*where: Affine) -> list[Affine]:
        place = indirect(minimum(load(rank, *where), count), count + 1)
        return [place if number == at else i for number, i in enumerate(where)]

    op.part(room, rank.shape, target, body)
    op.compute(output, lambda *where: load(room, *where))
