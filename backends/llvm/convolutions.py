"""Convolutions and pooling as nodes: what a kernel can take, and the computation that stands for it until then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.affine import of_axis, only_axis
from heddle.core.codegen.kernels.image import Window
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.lower.windows import window_of
from heddle.core.codegen.tensor import Compute, load, position, walk
from heddle.core.ir import Value
from heddle.core.ops.scalar import Expr

F32 = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Sliding:
    """What a kernel is to compute of an image: the value of a `contraction`, an expression without loops.

    `padded` is the padding after the image, where an average counts it; `weights` are a convolution's, a constant.
    """

    kind: Literal["conv", "max", "average", "whole max", "whole average"]
    source: Value
    window: Window
    groups: int = 1
    weights: Value | None = None
    padded: tuple[int, int] | None = None


def take_sliding(op: Lowering) -> bool:
    """Add the computation of a node that image kernels can do; False, and nothing added, for any other."""
    x = op.operand(0)
    if x is None or x.dtype != F32 or len(x.shape) != 4 or 0 in x.shape or 0 in op.output.shape:
        return False
    if any(value is not None for value in op.node.outputs[1:]):
        return False
    if op.node.op == "Conv":
        return _take_conv(op)
    if op.node.op in ("MaxPool", "AveragePool"):
        return _take_pool(op)
    if op.node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        kind: Literal["whole max", "whole average"] = "whole max" if op.node.op == "GlobalMaxPool" else "whole average"
        _add(op, Sliding(kind, x, Window((x.shape[2], x.shape[3]))))
        return True
    return False


def sliding_of(step: Compute) -> tuple[Expr, Sliding] | None:
    """The contraction in a computation, as an expression and as what it stands for; None if there is none."""
    for item in walk(step.body):
        if item.op == "contraction":
            return item, item.value
    return None


def is_direct(step: Compute, leaf: Expr) -> bool:
    """Whether the contraction's elements go to the same place of an output of the same shape."""
    if len(step.axes) != len(leaf.args) - 1 or step.at is not None:
        return False
    wanted = (position(of_axis(axis)) for axis in step.axes)
    return all(a.op == b.op and a.value == b.value for a, b in zip(leaf.args[1:], wanted, strict=True))


def _take_conv(op: Lowering) -> bool:
    if op.known(1) is None:
        return False
    window = window_of(op, op[1].shape[2:], op[0].shape[2:])
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    _add(op, Sliding("conv", op[0], made, op.attrs["group"], op[1]), op.operand(2))
    return True


def _take_pool(op: Lowering) -> bool:
    window = window_of(op, op.attrs["kernel_shape"], op[0].shape[2:])
    spans = zip(
        window.kernel, window.dilations, window.strides, window.before, window.out, op[0].shape[2:], strict=True
    )
    for kernel, dilation, stride, before, out, size in spans:
        last = (out - 1) * stride - before
        if (kernel - 1) * dilation < before or last >= size:
            return False
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    if op.node.op == "MaxPool":
        _add(op, Sliding("max", op[0], made))
    else:
        padded = _pair(window.after) if op.attrs["count_include_pad"] else None
        _add(op, Sliding("average", op[0], made, padded=padded))
    return True


def _add(op: Lowering, sliding: Sliding, bias: Value | None = None) -> None:
    axes = tuple(only_axis(fresh_axis(size, name)) for size, name in zip(op.output.shape, "ncyx", strict=True))
    where = [position(of_axis(axis)) for axis in axes]
    body = Expr("contraction", F32, (load(sliding.source, 0, 0, 0, 0), *where), sliding)
    if bias is not None:
        body = body + load(bias, of_axis(axes[1]))
    op.add(Compute(op.output, axes, body, node=op.label))


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    first, second = sizes
    return first, second
