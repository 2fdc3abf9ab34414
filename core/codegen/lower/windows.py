"""What convolutions and pooling share: the padded operand and the elements that a window sees."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.rules import Lowering
from heddle.core.codegen.lower.slicing import padded
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr
from heddle.core.ops.windows import Window, window_over


def window_of(op: Lowering, kernel: tuple[int, ...], sizes: tuple[int, ...]) -> Window:
    """The window of a node's attributes."""
    attrs = op.attrs
    names = ("strides", "dilations", "pads", "auto_pad", "ceil_mode")
    return window_over(op.node.op, sizes, kernel, **{name: attrs[name] for name in names if name in attrs})


def with_border(op: Lowering, x: Value, window: Window, fill: Expr) -> Value:
    """The operand [N, C, *spatial] with all that windows see around it; itself where they see nothing else."""
    before, after = [0, 0], [0, 0]
    for i, size in enumerate(x.shape[2:]):
        needed = (window.out[i] - 1) * window.strides[i] + window.extent[i]
        before.append(window.before[i])
        after.append(max(window.after[i], needed - size - window.before[i], 0))
    if not any(before) and not any(after):
        return x
    shape = [n + low + high for n, low, high in zip(x.shape, before, after, strict=True)]
    return padded(op, op.fresh("padded", x.dtype, shape), x, before, after, fill)


def kernel_axes(window: Window) -> list[Affine]:
    """An axis for each dimension of the kernel."""
    return [axis(k, f"k{number}") for number, k in enumerate(window.kernel)]


def seen(window: Window, out: Sequence[Affine], kernel: Sequence[Affine]) -> list[Affine]:
    """Where in the padded operand a window's elements are."""
    return [o * s + k * d for o, s, k, d in zip(out, window.strides, kernel, window.dilations, strict=True)]
