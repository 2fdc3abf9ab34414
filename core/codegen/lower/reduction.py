"""Reductions along axes: folds, positions of the greatest and the least, running folds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import I64, fold, guarded, load, position, rewrite, total
from heddle.core.ir import Value
from heddle.core.ops import OPERATORS, Reduction
from heddle.core.ops import scalar as s
from heddle.core.ops.scalar import Expr, argument, cast, const, widened


def reduced_axes(op: Lowering) -> tuple[int, ...]:
    """The axes that a reduction's second operand names, counted from 0."""
    rank = len(op[0].shape)
    given = op.operand(1)
    if given is not None and given.tensor.size != 0:
        named = op.demand(1, "the list of axes").reshape(-1)
        return tuple(sorted({int(a) % rank for a in named}))
    return () if op.attrs["noop_with_empty_axes"] else tuple(range(rank))


def along(source: Value, axes: tuple[int, ...], indices: tuple[Affine, ...], keep: bool) -> tuple[Expr, list[Affine]]:
    """The element of `source` to fold for a place in the result, and the axes to fold over."""
    free = iter(indices)
    folded: list[Affine] = []
    where: list[Affine | int] = []
    for number, size in enumerate(source.shape):
        if number in axes:
            folded.append(axis(size, f"r{number}"))
            where.append(folded[-1])
            if keep:
                next(free)
        else:
            where.append(next(free))
    return load(source, *where), folded


def lower_reduction(op: Lowering) -> None:
    """The rule of every operator that is defined as a fold."""
    reduction = OPERATORS[op.node.op].reduction
    assert reduction is not None
    axes = reduced_axes(op)
    source = op[0]
    count = int(np.prod([source.shape[a] for a in axes], dtype=np.int64))

    def body(*indices: Affine) -> Expr:
        x, over = along(source, axes, indices, bool(op.attrs["keepdims"]))
        return apply(reduction, x, over, count, op.output)

    op.compute(op.output, body)


def apply(reduction: Reduction, x: Expr, over: list[Affine], count: int, output: Value) -> Expr:
    """A reduction of an element over axes."""
    each = rewrite(reduction.each(argument(0, x.dtype)), arguments=[x])
    wide = widened(each.dtype)
    result = fold(over, const(reduction.initial(wide), wide), cast(each, wide), reduction.combine)
    finished = rewrite(reduction.finish(argument(0, wide), count), arguments=[result])
    return cast(finished, output.dtype)


@lowers("ReduceLogSumExp")
def log_sum_exp(op: Lowering) -> None:
    """Shifted by the greatest element, so that nothing overflows."""
    axes, source, keep = reduced_axes(op), op[0], bool(op.attrs["keepdims"])
    wide = widened(source.dtype)
    top = op.fresh("top", wide, op.output.shape)

    def greatest(*indices: Affine) -> Expr:
        x, over = along(source, axes, indices, keep)
        best = fold(over, const(s.lowest(wide), wide), cast(x, wide), s.maximum)
        return s.where(s.is_inf(best), const(0, wide), best)

    def body(*indices: Affine) -> Expr:
        x, over = along(source, axes, indices, keep)
        shift = load(top, *indices)
        return cast(s.log(total(over, s.exp(cast(x, wide) - shift))) + shift, op.output.dtype)

    op.compute(top, greatest)
    op.compute(op.output, body)


@lowers("ArgMax", "ArgMin")
def arg_extreme(op: Lowering) -> None:
    """The first place (or the last) of the extreme value; a NaN is the most extreme of all."""
    extreme = greatest_along if op.node.op == "ArgMax" else least_along
    source = op[0]
    at = op.attrs["axis"] % len(source.shape)
    if source.shape[at] == 0:
        raise op.refuse("there is no greatest of no elements")
    keep = bool(op.attrs["keepdims"])
    best = op.fresh("best", source.dtype, op.output.shape)
    op.compute(best, lambda *indices: extreme(source, at, indices, keep))
    place(op, op.output, source, best, at, keep, bool(op.attrs["select_last_index"]))


def greatest_along(source: Value, at: int, indices: tuple[Affine, ...], keep: bool) -> Expr:
    """The greatest element along an axis."""
    x, over = along(source, (at,), indices, keep)
    return fold(over, const(s.lowest(x.dtype), x.dtype), x, s.maximum)


def least_along(source: Value, at: int, indices: tuple[Affine, ...], keep: bool) -> Expr:
    """The least element along an axis."""
    x, over = along(source, (at,), indices, keep)
    return fold(over, const(s.highest(x.dtype), x.dtype), x, s.minimum)


def place(op: Lowering, output: Value, source: Value, best: Value, at: int, keep: bool, last: bool) -> None:
    """Where along an axis `source` equals `best`: the first place, or the last."""
    size = source.shape[at]

    def body(*indices: Affine) -> Expr:
        x, over = along(source, (at,), indices, keep)
        found = x.equals(load(best, *indices)) | s.is_nan(x)
        here = position(over[0])
        if last:
            return fold(over, const(0, I64), s.where(found, here, const(0, I64)), s.maximum)
        return fold(over, const(size - 1, I64), s.where(found, here, const(size - 1, I64)), s.minimum)

    op.compute(output, body)


@lowers("CumSum", "CumProd")
def running(op: Lowering) -> None:
    """Each element from the one before it, in place."""
    source, output = op[0], op.output
    at = 0 if len(source.shape) == 1 else int(op.demand(1, "the axis").reshape(-1)[0]) % len(source.shape)
    size = source.shape[at]
    combine: Callable[[Expr, Expr], Expr] = (lambda a, b: a + b) if op.node.op == "CumSum" else (lambda a, b: a * b)
    first = const(0 if op.node.op == "CumSum" else 1, output.dtype)
    step, exclusive = (-1 if op.attrs["reverse"] else 1), bool(op.attrs["exclusive"])

    def target(*indices: Affine) -> list[Affine]:
        return [size - 1 - i if number == at and step < 0 else i for number, i in enumerate(indices)]

    def body(*indices: Affine) -> Expr:
        here = target(*indices)
        before = [i - step if number == at else i for number, i in enumerate(here)]
        so_far = load(output, *before)
        begins = position(indices[at]).equals(0)
        if exclusive:
            return guarded(begins, first, combine(so_far, load(source, *before)))
        return guarded(begins, load(source, *here), combine(so_far, load(source, *here)))

    op.part(output, output.shape, target, body)
