"""Convolutions as plain nests of loops over a padded operand."""

from __future__ import annotations

from collections.abc import Callable

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.lower.slicing import padded
from heddle.core.codegen.lower.windows import kernel_axes, seen, window_of, with_border
from heddle.core.codegen.tensor import load, total
from heddle.core.ir import Value
from heddle.core.ops.convolution import transposed_padding
from heddle.core.ops.scalar import Expr, cast, const, widened
from heddle.core.ops.windows import window_over


@lowers("Conv")
def conv(op: Lowering) -> None:
    x, w, b = op[0], op[1], op.operand(2)
    wide = widened(x.dtype)

    def finish(y: Expr, filter_: Affine) -> Expr:
        return cast(y if b is None else y + cast(load(b, filter_), wide), op.output.dtype)

    convolve(op, x, w, const(0, x.dtype), lambda e: cast(e, wide), lambda e, m: cast(e, wide), finish)


def convolve(
    op: Lowering,
    x: Value,
    w: Value,
    fill: Expr,
    left: Callable[[Expr], Expr],
    right: Callable[[Expr, Affine], Expr],
    finish: Callable[[Expr, Affine], Expr],
) -> None:
    """The output of a convolution: `finish` of the sum of products of what elements and weights contribute."""
    window = window_of(op, w.shape[2:], x.shape[2:])
    group = op.attrs["group"]
    per_group, filters = w.shape[1], w.shape[0] // group
    source = with_border(op, x, window, fill)

    def body(n: Affine, m: Affine, *out: Affine) -> Expr:
        c, ks = axis(per_group, "c"), kernel_axes(window)
        channel = c if group == 1 else m // filters * per_group + c if per_group > 1 else m // filters
        element = left(load(source, n, channel, *seen(window, out, ks)))
        return finish(total([c, *ks], element * right(load(w, m, c, *ks), m)), m)

    op.compute(op.output, body)


@lowers("ConvTranspose")
def conv_transpose(op: Lowering) -> None:
    """A convolution of the input with zeros between its elements, with the kernel turned round."""
    x, w, b, attrs = op[0], op[1], op.operand(2), op.attrs
    rank = len(x.shape) - 2
    strides, dilations = attrs["strides"] or (1,) * rank, attrs["dilations"] or (1,) * rank
    padding = attrs["output_padding"] or (0,) * rank
    before, out = transposed_padding(
        x.shape[2:], w.shape[2:], strides, dilations, padding, attrs["output_shape"], attrs["pads"], attrs["auto_pad"]
    )
    kernel, group = w.shape[2:], attrs["group"]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    source = _stuffed(op, x, strides, [r - low for r, low in zip(reach, before, strict=True)], reach, out)
    wide = widened(x.dtype)
    filters, per_group = w.shape[1], x.shape[1] // group

    def body(n: Affine, m: Affine, *where: Affine) -> Expr:
        c = axis(per_group, "c")
        ks = [axis(k, f"k{number}") for number, k in enumerate(kernel)]
        places = [o + r - k * d for o, r, k, d in zip(where, reach, ks, dilations, strict=True)]
        channel = m // filters * per_group + c
        product = cast(load(source, n, channel, *places), wide) * cast(load(w, channel, m % filters, *ks), wide)
        y = total([c, *ks], product)
        return cast(y if b is None else y + cast(load(b, m), wide), op.output.dtype)

    op.compute(op.output, body)


def _stuffed(
    op: Lowering,
    x: Value,
    strides: tuple[int, ...],
    offsets: list[int],
    reach: list[int],
    out: tuple[int, ...],
) -> Value:
    """[N, C, *(out + reach)] of zeros with element i of each axis at `i * stride + offset`, where that is inside."""
    sizes = [n + r for n, r in zip(out, reach, strict=True)]
    value = op.fresh("stuffed", x.dtype, (*x.shape[:2], *sizes))
    op.compute(value, lambda *indices: const(0, x.dtype))
    first, count = [], []
    for size, stride, offset, room in zip(x.shape[2:], strides, offsets, sizes, strict=True):
        low = max(0, -(offset // stride)) if offset < 0 else 0
        high = min(size, (room - 1 - offset) // stride + 1)
        first.append(low)
        count.append(max(0, high - low))

    def target(n: Affine, c: Affine, *where: Affine) -> list[Affine]:
        return [n, c, *((i + f) * s + o for i, f, s, o in zip(where, first, strides, offsets, strict=True))]

    def body(n: Affine, c: Affine, *where: Affine) -> Expr:
        return load(x, n, c, *(i + f for i, f in zip(where, first, strict=True)))

    op.part(value, (*x.shape[:2], *count), target, body)
    return value


@lowers("Col2Im")
def col2im(op: Lowering) -> None:
    """Every block is added where it came from, in an image with its padding, which is then cut off."""
    x, attrs = op[0], op.attrs
    sizes = tuple(int(n) for n in op.demand(1, "the shape of the image").reshape(-1))
    kernel = tuple(int(n) for n in op.demand(2, "the shape of a block").reshape(-1))
    window = window_over("Col2Im", sizes, kernel, attrs["strides"], attrs["dilations"], attrs["pads"])
    rank = len(sizes)
    batch, channels = op.output.shape[:2]
    room = [n + a + b for n, a, b in zip(sizes, window.before, window.after, strict=True)]
    image = op.fresh("image", x.dtype, (batch, channels, *room))
    op.compute(image, lambda *indices: const(0, x.dtype))
    blocks = (batch, channels, *kernel, *window.out)
    flat = op.view(op.fresh("blocks", x.dtype, blocks), x)

    def target(*indices: Affine) -> list[Affine]:
        return [*indices[:2], *seen(window, indices[2 + rank :], indices[2 : 2 + rank])]

    op.part(image, blocks, target, lambda *indices: load(image, *target(*indices)) + load(flat, *indices))
    cut = [0, 0, *(-n for n in window.before)]
    padded(op, op.output, image, cut, [0, 0, *(-n for n in window.after)], const(0, x.dtype))
