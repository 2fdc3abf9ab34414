"""Tensors sampled anew at another size: each axis by the few elements, and their weights, that a place sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Array, Lowering, lowers
from heddle.core.codegen.tensor import indirect, load, total
from heddle.core.ir import Value
from heddle.core.ops.resizing import NEAREST, positions, target, weights
from heddle.core.ops.scalar import Expr, cast, const, where, widened
from heddle.core.ops.shapes import axes_of

_FEW = 4
"""Up to so many weighted elements are written out; more are a loop."""


@lowers("Resize")
def resize(op: Lowering) -> None:
    x, attrs = op[0], op.attrs
    rank = len(x.shape)
    axes = axes_of("Resize", range(rank) if attrs["axes"] is None else attrs["axes"], rank)
    scales = None if op.operand(2) is None else op.demand(2, "the list of scales")
    sizes = None if op.operand(3) is None else op.demand(3, "the list of sizes")
    crops = attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
    roi = op.demand(1, "the region") if op.operand(1) is not None and crops else None
    factors, out = target([x.shape[a] for a in axes], scales, sizes, attrs["keep_aspect_ratio_policy"])
    current = x
    outside: list[tuple[int, Array]] = []
    for number, at in enumerate(axes):
        if factors[number] == 1 and out[number] == x.shape[at] and not crops:
            continue
        span = (0.0, 1.0) if roi is None or not roi.size else (float(roi[number]), float(roi[len(axes) + number]))
        mode = attrs["coordinate_transformation_mode"]
        places = positions(mode, x.shape[at], factors[number], out[number], span)
        if crops:
            outside.append((at, (places < 0) | (places > x.shape[at] - 1)))
        current = _axis(op, current, at, places, factors[number])
    beyond = [(at, op.table(f"outside{at}", mask)) for at, mask in outside if mask.any()]

    def body(*indices: Affine) -> Expr:
        result = cast(load(current, *indices), op.output.dtype)
        for at, mask in beyond:
            result = where(load(mask, indices[at]), const(attrs["extrapolation_value"], op.output.dtype), result)
        return result

    op.compute(op.output, body)


def _axis(op: Lowering, source: Value, at: int, places: Array, factor: float) -> Value:
    """A value resized along one axis."""
    attrs, size = op.attrs, source.shape[at]
    shape = [len(places) if number == at else n for number, n in enumerate(source.shape)]
    if attrs["mode"] == "nearest":
        result = op.fresh("resized", source.dtype, shape)
        nearest = np.clip(NEAREST[attrs["nearest_mode"]](places), 0, size - 1).astype(np.int64)
        index = _index(op, at, nearest, size)
        return op.compute(result, lambda *i: load(source, *(index(k) if n == at else k for n, k in enumerate(i))))
    wide = widened(source.dtype)
    result = op.fresh("resized", wide, shape)
    matrix = weights(
        places,
        size,
        attrs["mode"],
        factor,
        a=attrs["cubic_coeff_a"],
        antialias=bool(attrs["antialias"]),
        exclude_outside=bool(attrs["exclude_outside"]),
    )
    taps = max(1, int((matrix != 0).sum(axis=1).max(initial=0)))
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :taps]
    where_, how = (
        op.table(f"taps{at}", order),
        op.table(f"weights{at}", np.take_along_axis(matrix, order, 1).astype(wide)),
    )

    def term(indices: tuple[Affine, ...], tap: Affine | int) -> Expr:
        place = indirect(load(where_, indices[at], tap), size)
        element = load(source, *(place if n == at else k for n, k in enumerate(indices)))
        return cast(element, wide) * load(how, indices[at], tap)

    def body(*indices: Affine) -> Expr:
        if taps > _FEW:
            tap = axis(taps, "tap")
            return total([tap], term(indices, tap))
        result = term(indices, 0)
        for number in range(1, taps):
            result = result + term(indices, number)
        return result

    return op.compute(result, body)


def _index(op: Lowering, at: int, places: Array, size: int) -> Callable[[Affine], Affine]:
    """Places along an axis as an index: by arithmetic where they are regular, else from a table."""
    steps = np.arange(len(places))
    for factor in range(1, 9):
        if (places == steps // factor).all():
            return lambda i: i // factor
        if (places == steps * factor).all():
            return lambda i: i * factor
    table = op.table(f"places{at}", places)
    return lambda i: indirect(load(table, i), size)
