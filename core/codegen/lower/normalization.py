"""Normalizations: softmax and its kin, statistics over layers, groups and channels."""

from __future__ import annotations

import math
from collections.abc import Callable

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.reduction import along, greatest_along, place
from heddle.core.codegen.lower.rules import Lowering, lowers, spread
from heddle.core.codegen.tensor import I64, load, position, total
from heddle.core.ir import Value, dtype_named
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import Expr, absolute, cast, const, exp, log, power, sqrt, where, widened


def _reduced(value: Value, at: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if number in at else n for number, n in enumerate(value.shape))


def _row(value: Value, indices: tuple[Affine, ...]) -> Expr:
    """An element of a value whose reduced dimensions are 1."""
    return load(value, *(0 if n == 1 else i for n, i in zip(value.shape, indices, strict=True)))


@lowers("Softmax")
def softmax(op: Lowering) -> None:
    x = op[0]
    at = op.attrs["axis"] % len(x.shape)
    top = op.compute(op.fresh("top", x.dtype, _reduced(x, (at,))), lambda *i: greatest_along(x, at, i, True))
    raised = op.fresh("raised", x.dtype, x.shape)
    op.compute(raised, lambda *i: exp(load(x, *i) - _row(top, i)))
    whole = op.fresh("whole", x.dtype, top.shape)

    def summed(*indices: Affine) -> Expr:
        element, over = along(raised, (at,), indices, True)
        return cast(total(over, cast(element, widened(x.dtype))), x.dtype)

    op.compute(whole, summed)
    op.compute(op.output, lambda *i: load(raised, *i) / _row(whole, i))


@lowers("LogSoftmax")
def log_softmax(op: Lowering) -> None:
    x = op[0]
    at, wide = op.attrs["axis"] % len(x.shape), widened(op[0].dtype)
    top = op.compute(op.fresh("top", x.dtype, _reduced(x, (at,))), lambda *i: greatest_along(x, at, i, True))
    logarithm = op.fresh("log", wide, top.shape)

    def summed(*indices: Affine) -> Expr:
        element, over = along(x, (at,), indices, True)
        return log(total(over, exp(cast(element, wide) - cast(_row(top, indices), wide))))

    op.compute(logarithm, summed)

    def body(*indices: Affine) -> Expr:
        shifted = cast(load(x, *indices), wide) - cast(_row(top, indices), wide)
        return cast(shifted - _row(logarithm, indices), op.output.dtype)

    op.compute(op.output, body)


@lowers("Hardmax")
def hardmax(op: Lowering) -> None:
    x = op[0]
    at = op.attrs["axis"] % len(x.shape)
    top = op.compute(op.fresh("top", x.dtype, _reduced(x, (at,))), lambda *i: greatest_along(x, at, i, True))
    first = op.fresh("first", I64, top.shape)
    place(op, first, x, top, at, True, False)
    op.compute(op.output, lambda *i: cast(_row(first, i).equals(position(i[at])), op.output.dtype))


@lowers("LpNormalization")
def lp_normalization(op: Lowering) -> None:
    x, p = op[0], op.attrs["p"]
    at, wide = op.attrs["axis"] % len(x.shape), widened(op[0].dtype)
    norm = op.fresh("norm", wide, _reduced(x, (at,)))

    def measured(*indices: Affine) -> Expr:
        element, over = along(x, (at,), indices, True)
        return power(total(over, power(absolute(cast(element, wide)), p)), 1 / p)

    op.compute(norm, measured)

    def body(*indices: Affine) -> Expr:
        length = _row(norm, indices)
        zero = length.equals(0)
        return cast(where(zero, const(0, wide), cast(load(x, *indices), wide) / length), op.output.dtype)

    op.compute(op.output, body)


# -- statistics ----------------------------------------------------------------------------------------------------

Element = Callable[[tuple[Affine, ...]], tuple[Expr, list[Affine]]]
"""For a place among the statistics, the element that they are of, and the axes that run over all such elements."""


def statistics(
    op: Lowering, shape: tuple[int, ...], element: Element, wide: DType, epsilon: float
) -> tuple[Value, Value]:
    """The mean and the inverse deviation of groups of elements."""
    mean = op.fresh("mean", wide, shape)
    inverse = op.fresh("inverse", wide, shape)

    def averaged(*indices: Affine) -> Expr:
        x, over = element(indices)
        return total(over, cast(x, wide)) / _count(over)

    def deviation(*indices: Affine) -> Expr:
        x, over = element(indices)
        distance = cast(x, wide) - load(mean, *indices)
        return 1 / sqrt(total(over, distance * distance) / _count(over) + epsilon)

    op.compute(mean, averaged)
    op.compute(inverse, deviation)
    return mean, inverse


def _count(over: list[Affine]) -> int:
    return math.prod(a.high + 1 for a in over)


def _stash(op: Lowering) -> DType:
    """The dtype of the first stage, never narrower than the data's."""
    wanted = widened(dtype_named(op.attrs["stash_type"]))
    return max(widened(op[0].dtype), wanted, key=lambda dtype: dtype.itemsize)


def _affine(op: Lowering, normal: Expr, scale: Expr, shift: Expr | None) -> Expr:
    """`normal * scale + shift` in the dtype of all of them, as the output's."""
    dtypes = [e.dtype for e in (normal, scale, shift) if e is not None]
    wide = max(dtypes, key=lambda dtype: dtype.itemsize)
    y = cast(normal, wide) * cast(scale, wide)
    return cast(y if shift is None else y + cast(shift, wide), op.output.dtype)


@lowers("LayerNormalization")
def layer_normalization(op: Lowering) -> None:
    x, scale, shift = op[0], op[1], op.operand(2)
    axes = tuple(range(op.attrs["axis"] % len(x.shape), len(x.shape)))
    wide = _stash(op)
    mean, inverse = statistics(op, _reduced(x, axes), lambda i: along(x, axes, i, True), wide, op.attrs["epsilon"])

    def body(*indices: Affine) -> Expr:
        normal = (cast(load(x, *indices), wide) - _row(mean, indices)) * _row(inverse, indices)
        bias = None if shift is None else spread(shift, indices)
        return _affine(op, cast(normal, x.dtype), spread(scale, indices), bias)

    op.compute(op.output, body)
    for value, source in zip(op.node.outputs[1:], (mean, inverse), strict=False):
        if value is not None:
            _copy(op, value, source)


def _copy(op: Lowering, output: Value, source: Value) -> None:
    op.compute(output, lambda *indices: cast(load(source, *indices), output.dtype))


@lowers("RMSNormalization")
def rms_normalization(op: Lowering) -> None:
    x, scale = op[0], op[1]
    axes = tuple(range(op.attrs["axis"] % len(x.shape), len(x.shape)))
    wide = _stash(op)
    root = op.fresh("root", wide, _reduced(x, axes))

    def measured(*indices: Affine) -> Expr:
        element, over = along(x, axes, indices, True)
        element = cast(element, wide)
        return sqrt(total(over, element * element) / _count(over) + op.attrs["epsilon"])

    op.compute(root, measured)

    def body(*indices: Affine) -> Expr:
        normal = cast(cast(load(x, *indices), wide) / _row(root, indices), x.dtype)
        return _affine(op, normal, spread(scale, indices), None)

    op.compute(op.output, body)


@lowers("InstanceNormalization")
def instance_normalization(op: Lowering) -> None:
    x, scale, shift = op[0], op[1], op[2]
    axes, wide = tuple(range(2, len(x.shape))), widened(op[0].dtype)
    mean, inverse = statistics(op, _reduced(x, axes), lambda i: along(x, axes, i, True), wide, op.attrs["epsilon"])

    def body(*indices: Affine) -> Expr:
        normal = (cast(load(x, *indices), wide) - _row(mean, indices)) * _row(inverse, indices)
        return _affine(op, normal, load(scale, indices[1]), load(shift, indices[1]))

    op.compute(op.output, body)


@lowers("GroupNormalization")
def group_normalization(op: Lowering) -> None:
    x, scale, shift = op[0], op[1], op[2]
    groups = op.attrs["num_groups"]
    each, wide = x.shape[1] // groups, _stash(op)

    def element(indices: tuple[Affine, ...]) -> tuple[Expr, list[Affine]]:
        n, g = indices
        over = [axis(size, f"r{number}") for number, size in enumerate((each, *x.shape[2:]))]
        return load(x, n, g * each + over[0], *over[1:]), over

    mean, inverse = statistics(op, (x.shape[0], groups), element, wide, op.attrs["epsilon"])

    def body(*indices: Affine) -> Expr:
        n, g = indices[0], indices[1] // each
        normal = (cast(load(x, *indices), wide) - load(mean, n, g)) * load(inverse, n, g)
        return _affine(op, cast(normal, x.dtype), load(scale, indices[1]), load(shift, indices[1]))

    op.compute(op.output, body)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(op: Lowering) -> None:
    x, wide = op[0], widened(op[0].dtype)
    axes = tuple(a % len(x.shape) for a in op.attrs["axes"])
    mean, inverse = statistics(op, _reduced(x, axes), lambda i: along(x, axes, i, True), wide, 1e-9)

    def body(*indices: Affine) -> Expr:
        normal = (cast(load(x, *indices), wide) - _row(mean, indices)) * _row(inverse, indices)
        return cast(normal, op.output.dtype)

    op.compute(op.output, body)


@lowers("LRN")
def lrn(op: Lowering) -> None:
    """The sum of squares over neighbouring channels; there are zeros beyond the first and the last."""
    x, attrs, wide = op[0], op.attrs, widened(op[0].dtype)
    before, after = (attrs["size"] - 1) // 2, math.ceil((attrs["size"] - 1) / 2)
    shape = (x.shape[0], x.shape[1] + before + after, *x.shape[2:])
    padded = op.fresh("squares", wide, shape)
    op.compute(padded, lambda *i: const(0, wide))

    def square(*indices: Affine) -> Expr:
        element = cast(load(x, *indices), wide)
        return element * element

    op.part(padded, x.shape, lambda n, c, *rest: [n, c + before, *rest], square)

    def body(n: Affine, c: Affine, *rest: Affine) -> Expr:
        k = axis(attrs["size"], "k")
        summed = total([k], load(padded, n, c + k, *rest))
        base = attrs["bias"] + summed * (attrs["alpha"] / attrs["size"])
        return cast(cast(load(x, n, c, *rest), wide) / power(base, attrs["beta"]), op.output.dtype)

    op.compute(op.output, body)
