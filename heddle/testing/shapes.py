"""Which shapes and attributes go together: a rule for each family of operators, for making cases up.

A rule may be generous: what an operator's own type rule refuses is no case and is drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Shape = tuple[int, ...]


class Drawing(Protocol):
    """The case as far as it is drawn, as a rule sees one operator of it."""

    def pick(self, options: Sequence[Any]) -> Any:
        """One of these."""

    def shape(self, number: int) -> Shape | None:
        """The shape of an operand, None while it is open or where it is absent."""

    def present(self, number: int) -> bool:
        """Whether there is such an operand."""

    def want(self, number: int, shape: Shape) -> Shape:
        """Give an open operand this shape, or what the pattern's conditions make of it."""

    def free(self, number: int, ranks: Sequence[int]) -> Shape:
        """The shape of an operand; an open one gets any of these ranks."""

    def hold(self, number: int, values: Sequence[float]) -> None:
        """Give an open operand these values, as a constant of one axis, where the pattern's conditions say nothing."""

    def wish(self, attribute: str, options: Sequence[Any]) -> Any:
        """The value of an attribute: one that the pattern's conditions allow, else one of these."""


Rule = Callable[[Drawing], dict[str, Any]]

TEXTS: Mapping[str, tuple[str, ...]] = {
    "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID"),
    "approximate": ("none", "tanh"),
    "mode": ("nearest", "linear", "cubic", "constant", "reflect", "edge", "wrap", "DCR", "CRD"),
    "coordinate_transformation_mode": ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
}
"""What attributes that are words may say; an operator's own rule refuses those that are not its."""


def convolution(d: Drawing) -> dict[str, Any]:
    """Conv and ConvTranspose: windows with strides, paddings, dilations and groups."""
    x = d.free(0, (4, 3, 5))
    axes, channels = len(x) - 2, x[1] if len(x) > 1 else 1
    group = d.wish("group", [g for g in (1, 2, 4, channels) if channels and channels % g == 0] or [1])
    wanted = d.wish("kernel_shape", [None])
    kernel = wanted or tuple(d.pick((3, 1, 2)) for _ in range(axes))
    outs = group * d.pick((1, 2, 3, 4, 8, 16))
    w = d.want(1, (outs, max(1, channels // max(1, group)), *kernel))
    if d.present(2):
        d.want(2, w[:1])
    attrs = window(d, axes)
    return attrs | {"group": group, "kernel_shape": tuple(w[2:])}


def transposed(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (4, 3))
    axes, channels = len(x) - 2, x[1]
    group = d.wish("group", [g for g in (1, 2, channels) if channels and channels % g == 0] or [1])
    each = d.pick((1, 2, 4))
    w = d.want(1, (channels, each, *(d.pick((2, 1, 3)) for _ in range(axes))))
    if d.present(2):
        d.want(2, (w[1] * group,))
    return window(d, axes) | {"group": group, "kernel_shape": tuple(w[2:])}


def window(d: Drawing, axes: int) -> dict[str, Any]:
    """Strides, dilations and paddings, uneven ones too; automatic paddings now and then."""
    auto = d.wish("auto_pad", ("NOTSET",) * 9 + TEXTS["auto_pad"])
    pads = d.wish("pads", [(0,) * 2 * axes, (1,) * 2 * axes, (0, 1) * axes, (1,) * axes + (0,) * axes, (2,) * 2 * axes])
    return {
        "strides": d.wish("strides", [(1,) * axes, (2,) * axes, tuple(range(1, axes + 1))]),
        "dilations": d.wish("dilations", [(1,) * axes, (2,) * axes]),
        "pads": pads if auto == "NOTSET" else None,
        "auto_pad": auto,
    }


def pooling(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (4, 3, 5))
    axes = len(x) - 2
    kernel = d.wish("kernel_shape", [(2,) * axes, (1,) * axes, (3,) * axes, tuple(range(1, axes + 1))])
    attrs = window(d, axes) | {"kernel_shape": kernel, "ceil_mode": d.wish("ceil_mode", [0, 1])}
    return attrs | {"count_include_pad": d.wish("count_include_pad", [0, 1])}


def image(d: Drawing) -> dict[str, Any]:
    d.free(0, (4, 3, 5))
    return {}


def matmul(d: Drawing) -> dict[str, Any]:
    a = d.free(0, (2, 3, 4, 1))
    if not a:
        return {}
    columns = d.pick((4, 1, 3, 8, 16, 17))
    options: list[Shape] = [(a[-1], columns)]
    if len(a) > 2:
        options += [(*a[:-2], a[-1], columns), (1,) * (len(a) - 2) + (a[-1], columns)]
    d.want(1, d.pick([options[0], *options, (a[-1],)]))
    return {}


def gemm(d: Drawing) -> dict[str, Any]:
    a = d.free(0, (2,))
    trans_a, trans_b = d.wish("transA", [0, 1]), d.wish("transB", [0, 1])
    if len(a) != 2:
        return {}
    rows, depth = (a[1], a[0]) if trans_a else a
    columns = d.pick((4, 1, 3, 8, 16, 17))
    b = d.want(1, (columns, depth) if trans_b else (depth, columns))
    columns = b[0] if trans_b else b[-1]
    if d.present(2):
        d.want(2, d.pick([(columns,), (rows, columns), (1, columns), (rows, 1), (1,), ()]))
    return {
        "transA": trans_a,
        "transB": trans_b,
        "alpha": d.wish("alpha", [1.0, 0.5, -2.0]),
        "beta": d.wish("beta", [1.0, 0.25, 0.0]),
    }


def elementwise(d: Drawing) -> dict[str, Any]:
    """Operands that broadcast to the first, or the first to them."""
    x = d.free(0, (4, 2, 3, 1, 0, 5))
    for number in range(1, 8):
        if d.present(number) and d.shape(number) is None:
            thin = tuple(1 if d.pick((False, True)) else size for size in x)
            tail = tuple(x[d.pick(range(len(x))) :]) if x else ()
            d.want(number, d.pick([x, thin, tail, (1,), ()]))
    return {}


def clip(d: Drawing) -> dict[str, Any]:
    """Bounds are single numbers."""
    d.free(0, (4, 2, 3, 1, 0))
    for number in (1, 2):
        d.want(number, ())
    return {}


def per_channel(d: Drawing) -> dict[str, Any]:
    """A tensor, then one number for each of its channels: batch and instance normalization."""
    x = d.free(0, (4, 3, 2))
    for number in range(1, 5):
        if d.present(number):
            d.want(number, (x[1] if len(x) > 1 else 1,))
    return {"epsilon": d.wish("epsilon", [1e-5, 1e-3])}


def last_axes(d: Drawing) -> dict[str, Any]:
    """Layer normalization: scale and shift over the axes from `axis` on."""
    x = d.free(0, (3, 2, 4))
    axis = d.wish("axis", [-1, *range(1, len(x))])
    for number in (1, 2):
        if d.present(number):
            d.want(number, x[axis:])
    return {"axis": axis, "epsilon": d.wish("epsilon", [1e-5, 1e-3])}


def along_axis(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (2, 3, 4, 1))
    return {"axis": d.wish("axis", [-1, *range(len(x))])}


def concat(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (4, 2, 3, 1))
    axis = d.wish("axis", list(range(len(x))) or [0])
    for number in range(1, 8):
        if d.present(number) and len(x):
            other = list(x)
            other[axis] = d.pick((x[axis], 1, 3, 16))
            d.want(number, tuple(other))
    return {"axis": axis}


def transpose(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (2, 3, 4))
    forward = tuple(range(len(x)))
    return {"perm": d.wish("perm", [forward[::-1], forward, forward[1:] + forward[:1]])}


def reshape(d: Drawing) -> dict[str, Any]:
    """The axes reversed, joined or kept, one of them perhaps to be counted."""
    x = d.free(0, (4, 2, 3, 1))
    if d.present(1):
        d.hold(1, d.pick([(-1,), x[::-1], (*x[:1], -1), (0, -1), (1, *x)]))
    return {}


def resize(d: Drawing) -> dict[str, Any]:
    """Spatial axes made larger by whole factors, or to any size."""
    x = d.free(0, (4, 3, 5))
    factors = [d.pick((2, 1, 3)) for _ in x[2:]]
    if d.present(1):
        d.hold(1, (0.0,) * len(x) + (1.0,) * len(x))
    if d.present(2):
        d.hold(2, (1.0, 1.0, *map(float, factors)))
    if d.present(3):
        odd = d.pick((0, 0, 1))
        d.hold(3, (*x[:2], *(max(1, size * factor - odd) for size, factor in zip(x[2:], factors, strict=True))))
    return {"mode": d.wish("mode", ["nearest", "linear"])}


def reduction(d: Drawing) -> dict[str, Any]:
    d.free(0, (2, 3, 4))
    if d.present(1):
        d.want(1, (1,))
    return {"keepdims": d.wish("keepdims", [1, 0])}


def linear(d: Drawing) -> dict[str, Any]:
    """DequantizeLinear and QuantizeLinear: one scale, or one for each place along an axis."""
    x = d.free(0, (4, 2, 3))
    axis = d.wish("axis", [0, 1])
    deep = d.pick((False, False, False, True)) and len(x) > axis
    scale = d.want(1, (x[axis],) if deep else ())
    if d.present(2):
        d.want(2, scale)
    return {"axis": axis} if deep else {}


def linear_quantized(d: Drawing) -> dict[str, Any]:
    """QLinearConv: the convolution's rule over operands 0, 3 and 8."""
    x = d.free(0, (4, 3))
    axes, channels = len(x) - 2, x[1]
    group = d.wish("group", [g for g in (1, 2, channels) if channels and channels % g == 0] or [1])
    outs = group * d.pick((1, 2, 8))
    w = d.want(3, (outs, max(1, channels // group), *(d.pick((3, 1, 2)) for _ in range(axes))))
    for number in (1, 2, 6, 7):
        d.want(number, ())
    spread = d.pick([(), w[:1]])
    d.want(4, spread)
    d.want(5, spread)
    if d.present(8):
        d.want(8, w[:1])
    return window(d, axes) | {"group": group, "kernel_shape": tuple(w[2:])}


def linear_product(d: Drawing) -> dict[str, Any]:
    """QLinearMatMul: the product's rule over operands 0 and 3."""
    a = d.free(0, (2, 3))
    d.want(3, (a[-1], d.pick((4, 1, 3, 16))))
    for number in (1, 2, 4, 5, 6, 7):
        d.want(number, ())
    return {}


RULES: Mapping[str, Rule] = {
    "Conv": convolution,
    "ConvInteger": convolution,
    "ConvTranspose": transposed,
    "QLinearConv": linear_quantized,
    "QLinearMatMul": linear_product,
    "MatMul": matmul,
    "MatMulInteger": matmul,
    "Gemm": gemm,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN", "DepthToSpace"), image),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), per_channel),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), last_axes),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Flatten", "ArgMax", "ArgMin"), along_axis),
    "Clip": clip,
    "Concat": concat,
    "Transpose": transpose,
    "Reshape": reshape,
    "Resize": resize,
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), linear),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"), reduction
    ),
}
"""The rule of each operator that has one of its own; the others' operands broadcast."""
