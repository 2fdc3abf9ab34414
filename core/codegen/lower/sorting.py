"""The greatest elements in order, each put where as many others come before it."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, indirect, load, position, total
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, cast, is_nan, minimum


@lowers("TopK")
def top_k(op: Lowering) -> None:
    """Of equal elements the first comes first; NaN counts as the greatest."""
    x = op[0]
    at = op.attrs["axis"] % len(x.shape)
    values, indices = (*op.node.outputs, None)[:2]
    count = next(value.shape[at] for value in (values, indices) if value is not None)
    if count > x.shape[at]:
        raise op.refuse(f"{count} elements are wanted of {x.shape[at]}")
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
