"""Operators that look at images through windows: convolutions, pooling, blocks, sampling."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from heddle.testing.rules.drawing import TEXTS, Drawing, Rule


def convolution(d: Drawing) -> dict[str, Any]:
    """Windows with strides, paddings, dilations and groups."""
    return _convolution(d, 1, (2,))


def quantized_convolution(d: Drawing) -> dict[str, Any]:
    """QLinearConv: weights are operand 3, which may have a scale for each filter."""
    attrs = _convolution(d, 3, (8,))
    filters = (d.shape(3) or (1,))[:1]
    spread = d.pick([(), filters])
    for number in (1, 2, 6, 7):
        d.want(number, ())
    for number in (4, 5):
        d.want(number, spread)
    return attrs


def _convolution(d: Drawing, weights: int, vectors: tuple[int, ...]) -> dict[str, Any]:
    x = d.free(0, (4, 3, 5))
    axes, channels = len(x) - 2, x[1] if len(x) > 1 else 1
    group = d.wish("group", [g for g in (1, 2, 4, channels) if channels and channels % g == 0] or [1])
    wanted = d.wish("kernel_shape", [None])
    kernel = wanted or tuple(d.pick((3, 1, 2)) for _ in range(axes))
    outs = group * d.pick((1, 2, 3, 4, 8, 16))
    w = d.want(weights, (outs, max(1, channels // max(1, group)), *kernel))
    for number in vectors:
        d.want(number, w[:1])
    return window(d, axes) | {"group": group, "kernel_shape": tuple(w[2:])}


def integer_convolution(d: Drawing) -> dict[str, Any]:
    """ConvInteger: no bias, but zero points."""
    attrs = _convolution(d, 1, ())
    for number in (2, 3):
        d.want(number, ())
    return attrs


def transposed(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (4, 3))
    axes, channels = len(x) - 2, x[1]
    group = d.wish("group", [g for g in (1, 2, channels) if channels and channels % g == 0] or [1])
    each = d.pick((1, 2, 4))
    w = d.want(1, (channels, each, *(d.pick((2, 1, 3)) for _ in range(axes))))
    d.want(2, (w[1] * group,))
    return window(d, axes) | {"group": group, "kernel_shape": tuple(w[2:])}


def deformable(d: Drawing) -> dict[str, Any]:
    """DeformConv: offsets for each tap of each output pixel, and a weight where there is a mask."""
    x = d.free(0, (4,))
    if len(x) != 4:
        return {}
    kernel = (d.pick((2, 1, 3)), d.pick((2, 1, 3)))
    w = d.want(1, (d.pick((1, 2, 4)), x[1], *kernel))
    out = tuple(size - k + 1 for size, k in zip(x[2:], kernel, strict=True))
    d.want(2, (x[0], 2 * prod(kernel), *out))
    d.want(3, w[:1])
    d.want(4, (x[0], prod(kernel), *out))
    return {}


def causal(d: Drawing) -> dict[str, Any]:
    """CausalConvWithState: a filter for each channel along the last axis."""
    x = d.free(0, (3,))
    if len(x) != 3:
        return {}
    w = d.want(1, (x[1], 1, d.pick((3, 1, 2, 4))))
    d.want(2, (x[1],))
    d.want(3, (*x[:2], w[2] - 1))
    return {"activation": d.wish("activation", ["none", "silu", "swish"])}


def window(d: Drawing, axes: int) -> dict[str, Any]:
    """Strides, dilations and paddings, uneven ones too; automatic paddings now and then."""
    auto = d.wish("auto_pad", ("NOTSET",) * 9 + TEXTS["auto_pad"])
    pads = d.wish("pads", [(0,) * 2 * axes, (1,) * 2 * axes, (0, 1) * axes, (1,) * axes + (0,) * axes, (2,) * 2 * axes])
    return {
        "strides": d.wish("strides", [(1,) * axes, (2,) * axes, tuple(range(1, axes + 1))]),
        "dilations": d.wish("dilations", [(1,) * axes, (2,) * axes, (*(1,) * (axes - 1), 2), (2, *(1,) * (axes - 1))]),
        "pads": pads if auto == "NOTSET" else None,
        "auto_pad": auto,
    }


def pooling(d: Drawing) -> dict[str, Any]:
    x = d.free(0, (4, 3, 5))
    axes = len(x) - 2
    kernel = d.wish("kernel_shape", [(2,) * axes, (1,) * axes, (3,) * axes, tuple(range(1, axes + 1))])
    attrs = window(d, axes) | {"kernel_shape": kernel, "ceil_mode": d.wish("ceil_mode", [0, 1])}
    return attrs | {"count_include_pad": d.wish("count_include_pad", [0, 1])}


def unpooling(d: Drawing) -> dict[str, Any]:
    """MaxUnpool: places in the result, which is as large as windows side by side make it."""
    x = d.free(0, (4, 3))
    axes = len(x) - 2
    kernel = tuple(d.wish("kernel_shape", [(2,) * axes, (3,) * axes]))
    large = [(size - 1) * k + k for size, k in zip(x[2:], kernel, strict=True)]
    d.want(1, x)
    d.within(1, 0, max(1, prod(x[:2]) * prod(large)))
    d.hold(2, (*x[:2], *large))
    return {"kernel_shape": kernel, "strides": kernel}


def image(d: Drawing) -> dict[str, Any]:
    d.free(0, (4, 3, 5))
    return {"size": d.wish("size", [3, 1, 5, 2])}


def blocks(d: Drawing) -> dict[str, Any]:
    """DepthToSpace and SpaceToDepth: channels that are whole blocks of pixels, or pixels that are whole blocks."""
    given = d.shape(0)
    size = d.wish("blocksize", [2, 1, 3])
    if given is None:
        n, channels = d.pick((1, 2, 3)), d.pick((1, 2, 3, 5)) * size * size
        d.want(0, (n, channels, d.pick((1, 2, 3, 4)) * size, d.pick((1, 2, 5)) * size))
    return {"blocksize": size, "mode": d.wish("mode", ["DCR", "CRD"])}


def columns(d: Drawing) -> dict[str, Any]:
    """Col2Im: blocks that lie in columns."""
    block = (d.pick((2, 1, 3)), d.pick((2, 1)))
    large = (d.pick((5, 4, 3)), d.pick((4, 6, 2)))
    count = prod(max(0, size - k + 1) for size, k in zip(large, block, strict=True))
    d.want(0, (d.pick((1, 2)), d.pick((1, 2, 3)) * prod(block), count))
    d.hold(1, large)
    d.hold(2, block)
    return {}


def resize(d: Drawing) -> dict[str, Any]:
    """Spatial axes made larger by whole factors, or to any size; of scales and sizes there may be one."""
    x = d.free(0, (4, 3, 5))
    factors = [d.pick((2, 1, 3)) for _ in x[2:]]
    d.hold(1, (0.0,) * len(x) + (1.0,) * len(x))
    d.hold(2, (1.0, 1.0, *map(float, factors))[: len(x)])
    odd = d.pick((0, 0, 1))
    d.hold(3, (*x[:2], *(max(1, size * factor - odd) for size, factor in zip(x[2:], factors, strict=True))))
    return {"mode": d.wish("mode", ["nearest", "linear"])}


def grid(d: Drawing) -> dict[str, Any]:
    """GridSample: a place in the image for each pixel of the result."""
    x = d.free(0, (4, 5))
    spatial = len(x) - 2
    d.want(1, (x[0], *(d.pick((3, 1, 2)) for _ in range(spatial)), spatial))
    modes = ["linear", "nearest", *(["cubic"] if spatial == 2 else [])]
    return {
        "mode": d.wish("mode", modes),
        "padding_mode": d.wish("padding_mode", TEXTS["padding_mode"]),
        "align_corners": d.wish("align_corners", [0, 1]),
    }


def affine(d: Drawing) -> dict[str, Any]:
    """AffineGrid: a matrix for each image of a batch."""
    n, spatial = d.pick((1, 2, 3)), d.pick((2, 3))
    d.want(0, (n, spatial, spatial + 1))
    d.hold(1, (n, d.pick((1, 3)), *(d.pick((3, 1, 2, 5)) for _ in range(spatial))))
    return {"align_corners": d.wish("align_corners", [0, 1])}


def regions(d: Drawing) -> dict[str, Any]:
    """RoiAlign: corners of regions, and in which image of the batch each lies."""
    x = d.free(0, (4,))
    count = d.pick((2, 1, 3))
    d.hold(1, [[d.pick((0.0, 1.0)), d.pick((0.0, 0.5)), d.pick((3.0, 5.0)), d.pick((2.0, 4.5))] for _ in range(count)])
    d.want(2, (count,))
    d.within(2, 0, max(1, x[0] if x else 1))
    return {
        "output_height": d.wish("output_height", [2, 1, 3]),
        "output_width": d.wish("output_width", [2, 1, 3]),
        "mode": d.wish("mode", ["avg", "max"]),
        "sampling_ratio": d.wish("sampling_ratio", [2, 0, 1]),
    }


def pooled_regions(d: Drawing) -> dict[str, Any]:
    """MaxRoiPool: the number of the image stands before the corners."""
    x = d.free(0, (4,))
    images = range(max(1, x[0] if x else 1))
    corners = (d.pick((0.0, 1.0)), d.pick((0.0, 1.0)), d.pick((3.0, 5.0)), d.pick((2.0, 4.0)))
    d.hold(1, [[float(d.pick(images)), *corners] for _ in range(d.pick((2, 1)))])
    return {"pooled_shape": d.wish("pooled_shape", [(2, 2), (1, 1), (1, 2)])}


RULES: Mapping[str, Rule] = {
    "Conv": convolution,
    "ConvInteger": integer_convolution,
    "QLinearConv": quantized_convolution,
    "ConvTranspose": transposed,
    "DeformConv": deformable,
    "CausalConvWithState": causal,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooling),
    "MaxUnpool": unpooling,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN", "MeanVarianceNormalization"), image),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), blocks),
    "Col2Im": columns,
    "Resize": resize,
    "GridSample": grid,
    "AffineGrid": affine,
    "RoiAlign": regions,
    "MaxRoiPool": pooled_regions,
}
