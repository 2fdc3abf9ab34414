"""Pooling over windows and over whole images."""

from __future__ import annotations

import math

from heddle.core.codegen.affine import Affine, axis, flatten
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.lower.slicing import padded
from heddle.core.codegen.lower.windows import kernel_axes, seen, window_of, with_border
from heddle.core.codegen.tensor import I64, fold, indirect, load, position, total
from heddle.core.ir import Value
from heddle.core.ops.pooling import counted
from heddle.core.ops.scalar import (
    Expr,
    absolute,
    cast,
    const,
    is_nan,
    lowest,
    maximum,
    minimum,
    power,
    where,
    widened,
)
from heddle.core.ops.windows import Window


@lowers("AveragePool")
def average_pool(op: Lowering) -> None:
    x = op[0]
    window = window_of(op, op.attrs["kernel_shape"], x.shape[2:])
    wide = widened(x.dtype)
    counts = counted(x.shape[2:], window, bool(op.attrs["count_include_pad"]))
    uniform = counts.size > 0 and bool((counts == counts.flat[0]).all())
    table = None if uniform else op.table("counts", counts.astype(wide))
    source = with_border(op, x, window, const(0, x.dtype))

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        ks = kernel_axes(window)
        summed = total(ks, cast(load(source, n, c, *seen(window, out, ks)), wide))
        count = const(int(counts.flat[0]), wide) if table is None else load(table, 0, 0, *out)
        return cast(summed / count, op.output.dtype)

    op.compute(op.output, body)


@lowers("MaxPool")
def max_pool(op: Lowering) -> None:
    x = op[0]
    window = window_of(op, op.attrs["kernel_shape"], x.shape[2:])
    bottom = const(lowest(x.dtype), x.dtype)
    source = with_border(op, x, window, bottom)

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        ks = kernel_axes(window)
        return fold(ks, bottom, load(source, n, c, *seen(window, out, ks)), maximum)

    op.compute(op.output, body)
    if len(op.node.outputs) > 1 and op.node.outputs[1] is not None:
        _places(op, op.node.outputs[1], source, window)


def _places(op: Lowering, output: Value, source: Value, window: Window) -> None:
    """The flat place of the first greatest element of each window that lies in the operand itself."""
    x, most = op[0], math.prod(window.kernel) - 1
    spatial = x.shape[2:]
    first = op.fresh("first", I64, output.shape)

    def inside(places: list[Affine]) -> Expr:
        bounds = zip(places, window.before, spatial, strict=True)
        tests = [(position(p) >= low) & (position(p) < low + size) for p, low, size in bounds]
        result = tests[0]
        for test in tests[1:]:
            result = result & test
        return result

    def earliest(n: Affine, c: Affine, *out: Affine) -> Expr:
        ks = kernel_axes(window)
        places = seen(window, out, ks)
        element = load(source, n, c, *places)
        best = element.equals(load(op.output, n, c, *out)) | is_nan(element)
        here = position(flatten(tuple(ks), window.kernel))
        return fold(ks, const(most, I64), where(best & inside(places), here, const(most, I64)), minimum)

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        left = load(first, n, c, *out)
        at: list[Expr] = []
        for i in reversed(range(len(spatial))):
            k = left - left / window.kernel[i] * window.kernel[i]
            left = left / window.kernel[i]
            at.insert(0, position(out[i] * window.strides[i] - window.before[i]) + k * window.dilations[i])
        order = range(len(spatial)) if not op.attrs["storage_order"] else reversed(range(len(spatial)))
        place: Expr = position(n * x.shape[1] + c)
        for i in order:
            place = place * spatial[i] + at[i]
        return place

    op.compute(first, earliest)
    op.compute(output, body)


@lowers("LpPool")
def lp_pool(op: Lowering) -> None:
    x, p = op[0], op.attrs["p"]
    window = window_of(op, op.attrs["kernel_shape"], x.shape[2:])
    source = with_border(op, x, window, const(0, x.dtype))
    wide = widened(x.dtype)

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        ks = kernel_axes(window)
        element = absolute(cast(load(source, n, c, *seen(window, out, ks)), wide))
        return cast(power(total(ks, power(element, p)), 1 / p), op.output.dtype)

    op.compute(op.output, body)


# -- whole images --------------------------------------------------------------------------------------------------


def _image(x: Value, n: Affine, c: Affine) -> tuple[Expr, list[Affine]]:
    """An element of a channel's image and the axes that run over it."""
    over = [axis(size, f"r{number}") for number, size in enumerate(x.shape[2:])]
    return load(x, n, c, *over), over


@lowers("GlobalAveragePool")
def global_average_pool(op: Lowering) -> None:
    wide = widened(op[0].dtype)

    def body(n: Affine, c: Affine, *_: Affine) -> Expr:
        element, over = _image(op[0], n, c)
        return cast(total(over, cast(element, wide)) / math.prod(op[0].shape[2:]), op.output.dtype)

    op.compute(op.output, body)


@lowers("GlobalMaxPool")
def global_max_pool(op: Lowering) -> None:
    def body(n: Affine, c: Affine, *_: Affine) -> Expr:
        element, over = _image(op[0], n, c)
        return fold(over, const(lowest(element.dtype), element.dtype), element, maximum)

    op.compute(op.output, body)


@lowers("GlobalLpPool")
def global_lp_pool(op: Lowering) -> None:
    wide, p = widened(op[0].dtype), op.attrs["p"]

    def body(n: Affine, c: Affine, *_: Affine) -> Expr:
        element, over = _image(op[0], n, c)
        return cast(power(total(over, power(absolute(cast(element, wide)), p)), 1 / p), op.output.dtype)

    op.compute(op.output, body)


# -- back again ----------------------------------------------------------------------------------------------------


@lowers("MaxUnpool")
def max_unpool(op: Lowering) -> None:
    x, places, attrs = op[0], op[1], op.attrs
    rank = len(x.shape) - 2
    pads, strides = attrs["pads"] or (0,) * (2 * rank), attrs["strides"] or (1,) * rank
    spans = zip(x.shape[2:], attrs["kernel_shape"], strides, pads[:rank], pads[rank:], strict=True)
    natural = (*x.shape[:2], *((n - 1) * s - a - b + k for n, k, s, a, b in spans))
    size = math.prod(natural)
    over = [axis(n, f"i{number}") for number, n in enumerate(places.shape)]
    place = load(places, *over)
    op.check(over, (place < 0) | (place >= size), f"a place is outside of an output of {size} elements")
    flat = op.fresh("flat", x.dtype, (size,))
    op.compute(flat, lambda _: const(0, x.dtype))
    op.part(flat, x.shape, lambda *i: [indirect(load(places, *i), size)], lambda *i: load(x, *i))
    whole = op.view(op.fresh("natural", x.dtype, natural), flat)
    after = [want - have for want, have in zip(op.output.shape, natural, strict=True)]
    padded(op, op.output, whole, [0] * len(natural), after, const(0, x.dtype))
