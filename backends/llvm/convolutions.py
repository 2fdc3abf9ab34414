"""Convolutions and pooling as nodes: what a kernel can take, and the computation that stands for it until then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from heddle.core.codegen.affine import Affine, of_axis, only_axis
from heddle.core.codegen.affine import axis as fresh_axis
from heddle.core.codegen.kernels.image import Window
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.lower.windows import window_of
from heddle.core.codegen.tensor import Compute, load, position, walk
from heddle.core.ir import Value
from heddle.core.ops.convolution import transposed_padding
from heddle.core.ops.scalar import Expr, cast, finite_range, maximum, minimum, round_even
from numpy.typing import NDArray

Array = NDArray[Any]

F32 = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Dequantized:
    """What a float tensor is made of: integers less a zero point, times a scale, both along `axis` where not single."""

    source: Value
    scale: Array
    zero_point: Array
    axis: int


@dataclass(frozen=True, eq=False)
class Quantized:
    """How sums of bytes become floats: of the source less `zero_point` times weights, by `scale` for each channel, and
    then plus `shift`; a `bias` is of integers and is added to the sums. Without a scale they stay integers.
    """

    zero_point: int
    scale: Array | None
    bias: Array | None = None
    shift: Array | None = None


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
    quantized: Quantized | None = None


def take_dequantized(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    """Remember where a float tensor comes from; one that is made of constants is a constant."""
    if op.node.op != "DequantizeLinear" or op.output.dtype != F32 or op.attrs["block_size"]:
        return False
    scale, zero = op.known(1), op.known(2)
    if scale is None or scale.dtype != F32 or (zero is None and op.operand(2) is not None):
        return False
    source = op[0]
    if source.dtype.name not in ("uint8", "int8", "int32"):
        return False
    zero = np.zeros(scale.shape, np.int32) if zero is None else zero.astype(np.int32)
    axis = op.attrs["axis"] % max(len(source.shape), 1)
    known[op.output] = Dequantized(source, scale, zero, axis)
    integers = op.known(0)
    if integers is None:
        return False
    shape = [-1 if i == axis else 1 for i in range(len(source.shape))] if scale.size > 1 else []
    floats = (integers.astype(np.int32) - zero.reshape(shape)).astype(np.float32) * scale.reshape(shape)
    op.tables[op.output] = np.asarray(floats, np.float32).reshape(source.shape)
    return True


def note_transposed(op: Lowering, known: dict[Value, Dequantized]) -> None:
    """Remember that a dequantized tensor transposed is made of its integers transposed, which takes fewer bytes.

    A step that nobody reads then is left out.
    """
    x = known.get(op[0]) if op.node.op == "Transpose" else None
    if x is None:
        return
    order = list(op.attrs["perm"] or reversed(range(len(x.source.shape))))
    if (integers := op.constants.get(x.source, op.tables.get(x.source))) is not None:
        moved = op.table("integers", integers.transpose(order))
    else:

        def body(*where: Affine) -> Expr:
            return load(x.source, *(where[order.index(i)] for i in range(len(order))))

        moved = op.compute(op.fresh("integers", x.source.dtype, op.output.shape), body)
    known[op.output] = replace(x, source=moved, axis=order.index(x.axis) if order else 0)


def take_sliding(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    """Add the computation of a node that image kernels can do; False, and nothing added, for any other.

    `known` are the tensors that are made of integers.
    """
    x = op.operand(0)
    if op.node.op == "QLinearConv":
        return _take_qlinear_conv(op)
    if op.node.op == "ConvInteger":
        return _take_conv_integer(op)
    if len(op.node.results) != 1 or op.node.outputs[0] is None:
        return False
    if x is None or x.dtype != F32 or 0 in x.shape or 0 in op.output.shape:
        return False
    if op.node.op == "Conv" and len(x.shape) == 3:
        return _take_row_conv(op)
    if len(x.shape) != 4:
        return False
    if op.node.op == "Conv":
        return _take_conv(op, known)
    if op.node.op == "ConvTranspose":
        return _take_conv_transpose(op)
    if op.node.op in ("MaxPool", "AveragePool"):
        return _take_pool(op, known.get(x))
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


def _take_conv(op: Lowering, known: dict[Value, Dequantized]) -> bool:
    if op.known(1) is None:
        return False
    x, w = known.get(op[0]), known.get(op[1])
    window = window_of(op, op[1].shape[2:], op[0].shape[2:])
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    group = op.attrs["group"]
    weights = None if x is None or w is None else _weights(op, x, w)
    if x is not None and w is not None and weights is not None:
        scale = np.resize((x.scale.reshape(()).astype(np.float64) * w.scale).astype(np.float32), op[1].shape[0])
        form = Quantized(int(x.zero_point.reshape(())), scale)
        _add(op, Sliding("conv", x.source, made, group, weights, quantized=form), op.operand(2))
    else:
        _add(op, Sliding("conv", op[0], made, group, op[1]), op.operand(2))
    return True


def _take_row_conv(op: Lowering) -> bool:
    """A convolution along one axis, as one over an image of a single row."""
    weights = op.known(1)
    if weights is None:
        return False
    (n, channels, width), (_, filters, ends) = op[0].shape, op.output.shape
    window = window_of(op, weights.shape[2:], (width,))
    (kernel,), (stride,), (dilation,), (before,) = window.kernel, window.strides, window.dilations, window.before
    made = Window((1, kernel), (1, stride), (1, dilation), (0, before))
    image = op.view(op.fresh("row", F32, (n, channels, 1, width)), op[0])
    result = op.fresh("rows", F32, (n, filters, 1, ends))
    sliding = Sliding("conv", image, made, op.attrs["group"], op.table("filters", np.expand_dims(weights, 2)))
    _add(op, sliding, op.operand(2), output=result)
    op.view(op.output, result)
    return True


def _take_conv_transpose(op: Lowering) -> bool:
    """A convolution with a filter for each phase of the output, whose results are then put between each other.

    Where the first element of the input begins to write is 0: with stride s, element s q + p of an axis is the sum over
    t of x[q - t] w[s t + p], and p is its phase.
    """
    weights, attrs = op.known(1), op.attrs
    if weights is None or any(dilation != 1 for dilation in attrs["dilations"] or ()):
        return False
    (n, _, *sizes), kernel, strides = op[0].shape, weights.shape[2:], _pair(attrs["strides"] or (1, 1))
    padding, given = attrs["output_padding"] or (0, 0), (attrs["output_shape"], attrs["pads"], attrs["auto_pad"])
    cut, out = transposed_padding(tuple(sizes), kernel, strides, (1, 1), padding, *given)
    taps = tuple(-(-k // s) for k, s in zip(kernel, strides, strict=True))
    first = tuple(c // s for c, s in zip(cut, strides, strict=True))
    ends = tuple((c + o - 1) // s + 1 for c, o, s in zip(cut, out, strides, strict=True))
    pads = _pair(tuple(t - 1 - f for t, f in zip(taps, first, strict=True)))
    if min(pads) < 0:
        return False
    filters = op.table("filters", _filters_of_phases(weights, strides, _pair(taps), attrs["group"]))
    phases = op.fresh("phases", F32, (n, filters.shape[0], *(e - f for e, f in zip(ends, first, strict=True))))
    _add(op, Sliding("conv", op[0], Window(_pair(taps), pads=pads), attrs["group"], filters), output=phases)
    bias = op.operand(2)
    for number, phase in enumerate(np.ndindex(strides)):
        begin = [(p - c) % s for p, c, s in zip(phase, cut, strides, strict=True)]
        count = [-(-(o - b) // s) for o, b, s in zip(out, begin, strides, strict=True)]
        ahead = [(b + c) // s - f for b, c, s, f in zip(begin, cut, strides, first, strict=True)]

        def target(n: Affine, m: Affine, *at: Affine, begin: Sequence[int] = begin) -> list[Affine]:
            return [n, m, *(i * s + b for i, s, b in zip(at, strides, begin, strict=True))]

        def body(
            n: Affine, m: Affine, y: Affine, x: Affine, number: int = number, ahead: Sequence[int] = ahead
        ) -> Expr:
            value = load(phases, n, m * (strides[0] * strides[1]) + number, y + ahead[0], x + ahead[1])
            return value if bias is None else value + load(bias, m)

        op.part(op.output, (*op.output.shape[:2], *count), target, body)
    return True


def _filters_of_phases(weights: Array, strides: tuple[int, int], taps: tuple[int, int], group: int) -> Array:
    """The filters of a transposed convolution, each taken apart into its phases, as those of one that slides."""
    (channels, filters, *kernel), (down, across), (rows, columns) = weights.shape, strides, taps
    room = [(0, t * s - k) for t, s, k in zip(taps, strides, kernel, strict=True)]
    whole = np.pad(weights, ((0, 0), (0, 0), *room))
    apart = whole.reshape(group, channels // group, filters, rows, down, columns, across)[..., ::-1, :, ::-1, :]
    ordered = apart.transpose(0, 2, 4, 6, 1, 3, 5)
    return ordered.reshape(group * filters * down * across, channels // group, rows, columns)


def _take_qlinear_conv(op: Lowering) -> bool:
    """The operator that names scales and zero points itself: its bias is added to the sums."""
    parameters = [op.known(number) for number in (1, 2, 4, 5, 6, 7)]
    bias = op.known(8)
    if any(array is None for array in parameters) or (bias is None and op.operand(8) is not None):
        return False
    x_scale, x_zero, w_scale, w_zero, y_scale, y_zero = (np.asarray(array) for array in parameters)
    x, w = Dequantized(op[0], x_scale, x_zero.astype(np.int32), 1), Dequantized(op[3], w_scale, w_zero, 0)
    if len(op[0].shape) != 4 or 0 in op.output.shape or (weights := _weights(op, x, w)) is None:
        return False
    if x_scale.dtype != F32 or y_scale.size != 1 or y_zero.size != 1:
        return False
    window = window_of(op, weights.shape[2:], op[0].shape[2:])
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    scale = np.resize(
        (x_scale.reshape(()) * w_scale.reshape(-1) / y_scale.reshape(())).astype(np.float32), weights.shape[0]
    )
    form = Quantized(int(x_zero.reshape(())), scale, bias)
    sliding = Sliding("conv", op[0], made, op.attrs["group"], weights, quantized=form)
    low, high = finite_range(op.output.dtype)
    shift = float(y_zero.reshape(()))

    def requantized(value: Expr) -> Expr:
        return cast(minimum(maximum(round_even(value) + shift, low), high), op.output.dtype)

    _add(op, sliding, after=requantized)
    return True


def _take_conv_integer(op: Lowering) -> bool:
    """The operator whose results are the sums themselves."""
    zeros = [np.zeros(1, np.int32) if op.operand(number) is None else op.known(number) for number in (2, 3)]
    if len(op[0].shape) != 4 or 0 in op.output.shape or any(zero is None for zero in zeros):
        return False
    x_zero, w_zero = (np.asarray(zero).astype(np.int32) for zero in zeros)
    one = np.ones(1, F32)
    weights = _weights(op, Dequantized(op[0], one, x_zero, 1), Dequantized(op[1], one, w_zero, 0))
    if weights is None:
        return False
    window = window_of(op, weights.shape[2:], op[0].shape[2:])
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    form = Quantized(int(x_zero.reshape(())), None)
    _add(op, Sliding("conv", op[0], made, op.attrs["group"], weights, quantized=form))
    return True


def _weights(op: Lowering, x: Dequantized, w: Dequantized) -> Value | None:
    """The weights less their zero points, where a convolution of these can be done in sums of bytes; else None."""
    single = x.scale.size == x.zero_point.size == 1 and x.source.dtype.name in ("uint8", "int8")
    integers = op.constants.get(w.source, op.tables.get(w.source))
    if not single or integers is None or integers.dtype.itemsize != 1:
        return None
    zero = w.zero_point.astype(np.int32)
    if (w.axis != 0 and w.scale.size > 1) or zero.size not in (1, len(integers)):
        return None
    if integers.dtype == np.int8 and not zero.any():
        return w.source
    centred = integers.astype(np.int32) - zero.reshape(-1, *(1 for _ in integers.shape[1:]))
    least, most = np.iinfo(np.int8).min, np.iinfo(np.int8).max
    if centred.min() < least or centred.max() > most:
        return None
    return op.table(f"{w.source.name}.centred", centred.astype(np.int8))


def _take_pool(op: Lowering, known: Dequantized | None) -> bool:
    window = window_of(op, op.attrs["kernel_shape"], op[0].shape[2:])
    spans = zip(
        window.kernel, window.dilations, window.strides, window.before, window.out, op[0].shape[2:], strict=True
    )
    for kernel, dilation, stride, before, out, size in spans:
        last = (out - 1) * stride - before
        if (kernel - 1) * dilation < before or last >= size:
            return False
    made = Window(_pair(window.kernel), _pair(window.strides), _pair(window.dilations), _pair(window.before))
    if op.node.op == "MaxPool" and known is not None and known.scale.size == 1 and known.scale.reshape(()) > 0:
        # A greater byte is a greater float: the greatest is found among the bytes.
        _add(op, Sliding("max", known.source, made), known=known)
    elif op.node.op == "MaxPool":
        _add(op, Sliding("max", op[0], made))
    else:
        padded = _pair(window.after) if op.attrs["count_include_pad"] else None
        _add(op, Sliding("average", op[0], made, padded=padded))
    return True


def _add(
    op: Lowering,
    sliding: Sliding,
    bias: Value | None = None,
    known: Dequantized | None = None,
    after: Callable[[Expr], Expr] = lambda value: value,
    output: Value | None = None,
) -> None:
    output = output or op.output
    axes = tuple(only_axis(fresh_axis(size, name)) for size, name in zip(output.shape, "ncyx", strict=True))
    where = [position(of_axis(axis)) for axis in axes]
    integers = sliding.quantized is not None and sliding.quantized.scale is None
    dtype = known.source.dtype if known is not None else np.dtype(np.int32) if integers else F32
    body = Expr("contraction", dtype, (load(sliding.source, 0, 0, 0, 0), *where), sliding)
    if known is not None:
        body = cast(cast(body, "int32") - int(known.zero_point.reshape(())), F32) * float(known.scale.reshape(()))
    if bias is not None:
        body = body + load(bias, of_axis(axes[1]))
    op.add(Compute(output, axes, after(body), node=op.label))


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    first, second = sizes
    return first, second
