"""Elements read or written at places that other tensors name; a place outside ends the run with a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, indirect, load, position
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr, cast, const, maximum, minimum, remainder, where, widened

COMBINE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": maximum,
    "min": minimum,
}


def wrapped(expr: Expr, size: int) -> Expr:
    """An index as int64, counted from the end when it is negative."""
    wide = cast(expr, I64)
    return where(wide < 0, wide + size, wide)


def guard(op: Lowering, indices: Value, place: Callable[..., Expr], size: int) -> None:
    """End the run when an index, as `place` computes it from a position in `indices`, is outside [0, size)."""
    over = [axis(n, f"i{number}") for number, n in enumerate(indices.shape)]
    wide = place(*over)
    op.check(over, (wide < 0) | (wide >= size), f"an index is outside of a dimension of {size}")


@lowers("Gather")
def gather(op: Lowering) -> None:
    data, indices = op[0], op[1]
    at = op.attrs["axis"] % len(data.shape)
    size, depth = data.shape[at], len(indices.shape)
    guard(op, indices, lambda *i: wrapped(load(indices, *i), size), size)
    if size == 0 or 0 in op.output.shape:
        return

    def body(*where_: Affine) -> Expr:
        place = indirect(wrapped(load(indices, *where_[at : at + depth]), size), size)
        return load(data, *where_[:at], place, *where_[at + depth :])

    op.compute(op.output, body)


@lowers("GatherElements")
def gather_elements(op: Lowering) -> None:
    data, indices = op[0], op[1]
    at = op.attrs["axis"] % len(data.shape)
    size = data.shape[at]
    guard(op, indices, lambda *i: wrapped(load(indices, *i), size), size)

    def body(*where_: Affine) -> Expr:
        place = indirect(wrapped(load(indices, *where_), size), size)
        return load(data, *(place if number == at else i for number, i in enumerate(where_)))

    op.compute(op.output, body)


@lowers("GatherND")
def gather_nd(op: Lowering) -> None:
    data, indices, batch = op[0], op[1], op.attrs["batch_dims"]
    depth, outer = indices.shape[-1], len(indices.shape) - 1
    sizes = data.shape[batch : batch + depth]
    _guard_tuples(op, indices, sizes)

    def body(*where_: Affine) -> Expr:
        places = [indirect(wrapped(load(indices, *where_[:outer], d), n), n) for d, n in enumerate(sizes)]
        return load(data, *where_[:batch], *places, *where_[outer:])

    op.compute(op.output, body)


def _guard_tuples(op: Lowering, indices: Value, sizes: Sequence[int]) -> None:
    """The check of indices whose last dimension runs over the dimensions that are indexed."""
    over = [axis(n, f"i{number}") for number, n in enumerate(indices.shape[:-1])]
    for d, size in enumerate(sizes):
        wide = wrapped(load(indices, *over, d), size)
        op.check(over, (wide < 0) | (wide >= size), f"an index is outside of a dimension of {size}")


def _copied(op: Lowering) -> Callable[[Expr, Expr], Expr]:
    """Start a scatter: the output is the data; gives how an update joins what is there."""
    reduction = op.attrs["reduction"]
    if reduction not in COMBINE:
        raise op.refuse(f"reduction is {reduction!r}, it must be one of {', '.join(COMBINE)}")
    op.compute(op.output, lambda *where_: load(op[0], *where_))
    return COMBINE[reduction]


@lowers("ScatterElements")
def scatter_elements(op: Lowering) -> None:
    data, indices, updates = op[0], op[1], op[2]
    at = op.attrs["axis"] % len(data.shape)
    size = data.shape[at]
    guard(op, indices, lambda *i: wrapped(load(indices, *i), size), size)
    combine = _copied(op)

    def target(*where_: Affine) -> list[Affine]:
        place = indirect(wrapped(load(indices, *where_), size), size)
        return [place if number == at else i for number, i in enumerate(where_)]

    op.part(
        op.output,
        indices.shape,
        target,
        lambda *where_: combine(load(op.output, *target(*where_)), load(updates, *where_)),
    )


@lowers("ScatterND")
def scatter_nd(op: Lowering) -> None:
    data, indices, updates = op[0], op[1], op[2]
    depth, outer = indices.shape[-1], len(indices.shape) - 1
    _guard_tuples(op, indices, data.shape[:depth])
    combine = _copied(op)

    def target(*where_: Affine) -> list[Affine]:
        sizes = data.shape[:depth]
        places = [indirect(wrapped(load(indices, *where_[:outer], d), n), n) for d, n in enumerate(sizes)]
        return [*places, *where_[outer:]]

    op.part(
        op.output,
        updates.shape,
        target,
        lambda *where_: combine(load(op.output, *target(*where_)), load(updates, *where_)),
    )


@lowers("TensorScatter")
def tensor_scatter(op: Lowering) -> None:
    cache, update, first = op[0], op[1], op.operand(2)
    at = op.attrs["axis"] % len(cache.shape)
    size, length = cache.shape[at], update.shape[at]
    circular = op.attrs["mode"] == "circular"
    if first is not None:
        over = [axis(first.shape[0], "b")]
        start = cast(load(first, *over), I64)
        beyond = start < 0 if circular else (start < 0) | (start + length > size)
        op.check(over, beyond, f"an index is outside of a dimension of {size}")
    op.compute(op.output, lambda *where_: load(cache, *where_))

    def target(*where_: Affine) -> list[Affine]:
        start = const(0, I64) if first is None else cast(load(first, where_[0]), I64)
        place = start + position(where_[at])
        place = remainder(place, size) if circular else place
        return [indirect(place, size) if number == at else i for number, i in enumerate(where_)]

    op.part(op.output, update.shape, target, lambda *where_: load(update, *where_))


@lowers("OneHot")
def one_hot(op: Lowering) -> None:
    indices, values = op[0], op[2]
    at = op.attrs["axis"] % len(op.output.shape)
    count = op.output.shape[at]

    def body(*where_: Affine) -> Expr:
        rest = [i for number, i in enumerate(where_) if number != at]
        hot = wrapped(load(indices, *rest), count).equals(position(where_[at]))
        return where(hot, load(values, 1), load(values, 0))

    op.compute(op.output, body)


@lowers("Range")
def range_(op: Lowering) -> None:
    start, delta = op[0], op[2]
    wide = widened(start.dtype)

    def body(i: Affine) -> Expr:
        first, step = (cast(load(v, *(0 for _ in v.shape)), wide) for v in (start, delta))
        return cast(first + position(i, wide) * step, op.output.dtype)

    op.compute(op.output, body)
