"""What a match of each pattern becomes: layers, or only another view of what is there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Any

import numpy as np
from heddle.backends.vta.checks import Weights, bias_of, weights_of
from heddle.backends.vta.geometry import count_of, pool_window, taken, window_of
from heddle.backends.vta.joins import fuse_sums
from heddle.backends.vta.layers import (
    Concat,
    Conv,
    Copy,
    Layer,
    Leaky,
    MatMul,
    Pool,
    Product,
    Residual,
    Scaling,
    Tensor,
    block_of,
)
from heddle.backends.vta.lower import Lowering, tensor_of
from heddle.backends.vta.movement import cuts, order_of
from heddle.backends.vta.patterns import CONCATS, gemm_axis, groups_of
from heddle.backends.vta.scalings import bounds, number, scaling, uniform
from heddle.backends.vta.transposed import phases, window_weights
from heddle.backends.vta.views import View, cut, dense, reshaped, transposed
from heddle.core.errors import BackendError
from heddle.core.ir import Value
from heddle.core.ops.convolution import transposed_padding
from heddle.core.pattern import Match
from heddle.hw.vta.config import Config
from numpy.typing import NDArray

LEAKY_BITS = 14
"""Bits behind the point of a leaky rectifier's slope: its rounding stays below a hundredth of an output quantum."""

Rule = Callable[[Lowering, Match], Iterator[Layer]]


def last(value: Value) -> int:
    """The axis of a value that is its last."""
    return len(value.shape) - 1


# -- weights -------------------------------------------------------------------------------------------------------


def _weighted(match: Match, weights: Weights, x: Tensor, y: Tensor) -> Scaling:
    """The drain of a sum of products with weights."""
    bias = bias_of(match, weights)
    assert not isinstance(bias, str), "the pattern has checked this"
    return scaling(match, y, x.scale * weights.scales / y.scale, bias)


def _weights(match: Match, axis: int, groups: int = 1) -> Weights:
    weights = weights_of(match, axis, groups)
    assert isinstance(weights, Weights), "the pattern has checked this"
    return weights


def _square(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights of one dimension as those of two, of which the first is one."""
    return weights if weights.ndim == 4 else weights[:, :, None]


def _conv(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, y = lowering.read(match, "x", 1), lowering.write(match, 1)
    weights = _weights(match, 0)
    node = match.node("conv", "qlinearconv")
    assert node is not None
    values = _square(weights.values)
    yield Conv(
        y.name, x, y, values, _weighted(match, weights, x, y), groups=int(node.attrs.get("group", 1)),
        **taken(window_of(node, match["x"], weights.values.shape[2:])),
    )  # fmt: skip


def _two(values: Sequence[int] | None, one: int = 1) -> tuple[int, int]:
    """A number for each of two dimensions; of one dimension, it is the second."""
    given = tuple(values or ())
    return (one, one) if not given else (one, given[0]) if len(given) == 1 else (given[0], given[1])


def _conv_transpose(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, y = lowering.read(match, "x", 1), lowering.write(match, 1)
    groups = groups_of(match)
    weights = _weights(match, 1, groups)
    values = _square(weights.values)
    attrs = {name: match.attr("convtranspose", name) for name in ("strides", "dilations", "output_padding", "pads")}
    strides, dilations, padding = _two(attrs["strides"]), _two(attrs["dilations"]), _two(attrs["output_padding"], 0)
    pads = tuple(attrs["pads"] or ())
    sizes, kernel = (x.height, x.width), (values.shape[2], values.shape[3])
    before, out = transposed_padding(
        sizes, kernel, strides, dilations, padding, match.attr("convtranspose", "output_shape") and (y.height, y.width),
        (0, pads[0], 0, pads[1]) if len(pads) == 2 else pads or None, match.attr("convtranspose", "auto_pad"),
    )  # fmt: skip
    assert out == (y.height, y.width)
    view = lowering.views[match.outputs[0]]
    height = None if len(view.sizes) == 3 else 2
    axes = [
        list(phases(size, k, s, d, b, o))
        for size, k, s, d, b, o in zip(sizes, kernel, strides, dilations, before, out, strict=True)
    ]
    for rows, columns in product(*axes):
        part = cut(view, last(match.outputs[0]), columns.first, columns.count, strides[1])
        assert part is not None
        if height is not None:
            part = cut(part, height, rows.first, rows.count, strides[0])
            assert part is not None
        taps = window_weights(values, rows, columns)
        yield Conv(
            f"{y.name}/{rows.first},{columns.first}", x, tensor_of(part, y.scale, y.zero_point, y.unsigned),
            taps, _weighted(match, Weights(taps, weights.scales), x, y),
            pads=(rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1]),
            dilations=(rows.dilation, columns.dilation), groups=groups,
        )  # fmt: skip


def _dense(lowering: Lowering, match: Match) -> Iterator[Layer]:
    axis = 1 if match.pattern.name == "matmul" else gemm_axis(match)
    channel = last(match["x"])
    x, y = lowering.read(match, "x", channel), lowering.write(match, channel)
    weights = _weights(match, axis)
    yield Conv(y.name, x, y, weights.values[:, :, None, None], _weighted(match, weights, x, y))


def _matmul_of_two(lowering: Lowering, match: Match) -> Iterator[Layer]:
    left, right, axis = match["x"], match["z"], last(match["x"])
    x = lowering.tensor(_full_lanes(lowering, match), match, "x", left.dtype == np.uint8)
    view = lowering.along(right, axis - 1)
    unsigned = right.dtype == np.uint8
    neighbours = view.pitches[axis] == 1 or view.sizes[axis] == 1
    z = lowering.tensor(view, match, "z", unsigned)
    if unsigned or not neighbours:
        view = lowering.copied(right, view, inner=axis, signed=unsigned)
        z = tensor_of(view, z.scale, z.zero_point - 128 * unsigned, False)
    y = lowering.write(match, axis)
    count = x.blocks(lowering.config) * lowering.lanes
    bias = count * x.zero_point * z.zero_point
    yield MatMul(y.name, x, z, y, uniform(match, y, x.scale * z.scale / y.scale, bias))


def _full_lanes(lowering: Lowering, match: Match) -> View:
    """The first operand with its channels last, and its zero point in the lanes that have no channel."""
    value, zero = match["x"], int(number(match, "x_zero_point", 0))
    view = lowering.along(value, last(value))
    if view.sizes[view.channel] % lowering.lanes == 0:
        return view
    return lowering.copied(value, view, clears=zero)


# -- pooling -------------------------------------------------------------------------------------------------------


def _pool(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, y = lowering.read(match, "x", 1), lowering.write(match, 1)
    window = pool_window(match)
    rows, columns = window.kernel
    if match.pattern.name in ("max_pool", "integer_max_pool"):
        drain = uniform(match, y, x.scale / y.scale, -x.zero_point)
        yield Pool(y.name, x, y, "max", (rows, columns), drain, **taken(window))
        return
    count = count_of(match)
    assert count is not None, "the pattern has checked this"
    drain = uniform(match, y, x.scale / y.scale / count, -x.zero_point * rows * columns)
    yield Pool(y.name, x, y, "sum", (rows, columns), drain, **taken(window))


def _global_pool(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, y = lowering.read(match, "x", 1), lowering.write(match, 1)
    count = x.height * x.width
    drain = uniform(match, y, x.scale / y.scale / count, -x.zero_point * count)
    yield Pool(y.name, x, y, "sum", (x.height, x.width), drain)


# -- element by element --------------------------------------------------------------------------------------------


def _pair(lowering: Lowering, match: Match) -> tuple[Tensor, Tensor, Tensor]:
    channel = lowering.view(match["x"]).channel
    return lowering.read(match, "x"), lowering.read(match, "z", channel), lowering.write(match, channel)


def _copy(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x = lowering.read(match, "x")
    y = lowering.write(match, lowering.view(match["x"]).channel)
    yield Copy(y.name, x, y, uniform(match, y, x.scale / y.scale, -x.zero_point))


def _add(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, z, y = _pair(lowering, match)
    ratios = (x.scale / y.scale, z.scale / y.scale)
    shift = min(max(23 - math.frexp(max(ratios))[1], 0), 63)
    multipliers = [round(ratio * 2.0**shift) for ratio in ratios]
    if max(multipliers) >= 2**24:
        raise BackendError(f"vta: {y.name}: an operand's scale is {max(ratios)} times the result's, takes below 2**24")
    residual = Residual(z, multipliers[0], multipliers[1], shift, y.zero_point, *bounds(match, y))
    pairs = np.full(x.channels, 1 << 30, np.int64), np.full(x.channels, 30, np.int64)
    same = Scaling(np.full(x.channels, -x.zero_point, np.int32), *pairs, x.zero_point, x.low, x.high)
    yield Copy(y.name, x, y, same, residual)


def _mul(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x, z, y = _pair(lowering, match)
    yield Product(y.name, x, z, y, uniform(match, y, x.scale * z.scale / y.scale, 0))


def _leaky(lowering: Lowering, match: Match) -> Iterator[Layer]:
    x = lowering.read(match, "x")
    y = lowering.write(match, lowering.view(match["x"]).channel)
    slope = round(match.attr("leaky", "alpha") * 2**LEAKY_BITS)
    yield Leaky(y.name, x, y, slope, LEAKY_BITS, uniform(match, y, x.scale / y.scale / 2**LEAKY_BITS, 0))


# -- movement ------------------------------------------------------------------------------------------------------


def _moved(lowering: Lowering, match: Match, view: View) -> Iterator[Layer]:
    """A view as the result, copied where the result has another scale."""
    result = match.outputs[0]
    x = lowering.tensor(view, match, "x", match["x"].dtype == np.uint8)
    if match.array("y_scale") is None or _quantized_alike(match, x):
        lowering.views[result] = view
        return
    y = lowering.write(match, view.channel)
    yield Copy(y.name, x, y, uniform(match, y, x.scale / y.scale, -x.zero_point))


def _quantized_alike(match: Match, x: Tensor) -> bool:
    same = (number(match, "y_scale", 1.0), number(match, "y_zero_point", 0)) == (x.scale, x.zero_point)
    return same and match.outputs[0].dtype == match["x"].dtype


def _reshape(lowering: Lowering, match: Match) -> Iterator[Layer]:
    return _moved(lowering, match, lowering.reshape(match["x"], match.outputs[0].shape))


def _transpose(lowering: Lowering, match: Match) -> Iterator[Layer]:
    return _moved(lowering, match, transposed(lowering.view(match["x"]), order_of(match)))


def _slice(lowering: Lowering, match: Match) -> Iterator[Layer]:
    value, taken = match["x"], cuts(match)
    view, gathered = lowering.view(value), None
    strided = {axis for axis, _, _, step in taken if step > 1}
    if view.channel in strided:
        view = lowering.along(value, next(axis for axis in range(last(value), -1, -1) if axis not in strided))
    for axis, start, count, step in taken:
        part = cut(view, axis, start, count, step)
        if part is None:
            gathered = start, count
        else:
            view = part
    if gathered is None:
        yield from _moved(lowering, match, view)
        return
    first, count = gathered
    x = lowering.tensor(view, match, "x", value.dtype == np.uint8)
    y = lowering.write(match, view.channel)
    yield Concat(y.name, (x,), y, uniform(match, y, x.scale / y.scale, -x.zero_point), first)


def _concat(lowering: Lowering, match: Match) -> Iterator[Layer]:
    axis = match.attr("concat", "axis") % len(match.outputs[0].shape)
    parts = _parts(match)
    channel = lowering.view(parts[0][0]).channel
    inputs = [
        tensor_of(lowering.along(value, channel), scale, zero, value.dtype == np.uint8) for value, scale, zero in parts
    ]
    y = lowering.write(match, channel)
    whole = lowering.views[match.outputs[0]]
    starts = list(accumulate((value.shape[axis] for value, _, _ in parts), initial=0))
    places = [cut(whole, axis, start, value.shape[axis]) for (value, _, _), start in zip(parts, starts, strict=False)]
    if any(place is None for place in places):
        ratios = np.concatenate([np.full(t.channels, t.scale / y.scale) for t in inputs])
        biases = np.concatenate([np.full(t.channels, -t.zero_point, np.int64) for t in inputs])
        yield Concat(y.name, tuple(inputs), y, scaling(match, y, ratios, biases))
        return
    for number_, (x, place) in enumerate(zip(inputs, places, strict=True)):
        assert place is not None
        part = tensor_of(place, y.scale, y.zero_point, y.unsigned)
        yield Copy(f"{y.name}/{number_}", x, part, uniform(match, part, x.scale / y.scale, -x.zero_point))


def _parts(match: Match) -> list[tuple[Value, float, int]]:
    """What a concatenation joins: values, their scales, their zero points."""
    if match.pattern.name == "qlinear_concat":
        parts = match.all("parts")
        numbers = [float(match.graph.constants[part].reshape(())) for part in parts if part in match.graph.constants]
        return [(x, numbers[2 * at], int(numbers[2 * at + 1])) for at, x in enumerate(parts[::3])]
    names = sorted((name for name in match.bindings if re.fullmatch(r"x\d+", name)), key=lambda name: int(name[1:]))
    return [
        (match[name], number(match, f"{name}_scale", 1.0), int(number(match, f"{name}_zero_point", 0)))
        for name in names
    ]


RULES: Mapping[str, Rule] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "gemm": _dense,
    "qgemm": _dense,
    "matmul": _dense,
    "matmul_of_two": _matmul_of_two,
    "max_pool": _pool,
    "integer_max_pool": _pool,
    "average_pool": _pool,
    "qlinear_average_pool": _pool,
    "global_average_pool": _global_pool,
    "qlinear_global_average_pool": _global_pool,
    "add": _add,
    "qlinear_add": _add,
    "mul": _mul,
    "qlinear_mul": _mul,
    "leaky_relu": _leaky,
    "qlinear_leaky_relu": _leaky,
    "requantize": _copy,
    "reshape": _reshape,
    "flatten": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "integer_slice": _slice,
    "qlinear_concat": _concat,
    **{f"concat{count}": _concat for count in CONCATS},
}


# -- whole regions -------------------------------------------------------------------------------------------------


def lower(config: Config, matches: Sequence[Match], inputs: Sequence[Value], outputs: Sequence[Value]) -> Lowering:
    """The layers of matches in topological order; sums that a convolution's drain can do are done there."""
    lowering = Lowering(config, preferences(block_of(config), matches))
    for match in matches:
        nodes = tuple(node.name for node in match.nodes if node.name)
        for layer in RULES[match.pattern.name](lowering, match):
            lowering.add(layer, nodes)
    for value in outputs:
        lowering.leave(value, inputs)
    fuse_sums(lowering, {lowering.views[value].memory for value in outputs})
    return lowering


def preferences(lanes: int, matches: Sequence[Match]) -> dict[Value, int]:
    """Which axis of each value had best be its channels: the one that its first reader takes."""
    wanted = {value: 1 for match in matches for value in (*match.body.inputs, *match.outputs) if len(value.shape) == 2}
    for match in reversed(matches):
        rule, result = RULES[match.pattern.name], wanted.get(match.outputs[0])
        operands = [value for value in match.body.inputs if value.dtype in (np.int8, np.uint8)]
        for value in operands:
            channel: int | None
            if rule in (_conv, _conv_transpose, _pool, _global_pool):
                channel = 1
            elif rule is _dense:
                channel = last(value)
            elif rule is _matmul_of_two:
                channel = last(value) - (value is match["z"])
            elif rule is _transpose:
                channel = None if result is None else order_of(match)[result]
            elif rule is _reshape:
                channel = None if result is None else _before(lanes, match, result)
            else:
                channel = result
            if channel is not None:
                wanted[value] = channel
    return wanted


def _before(lanes: int, match: Match, channel: int) -> int | None:
    """The axis of channels before a reshape that makes this one of it."""
    before, after = match["x"].shape, match.outputs[0].shape
    for axis in range(1, len(before)):
        found = reshaped(dense("", before, axis, lanes), after)
        if found is not None and found.channel == channel:
            return axis
    found = reshaped(dense("", after, channel, lanes), before)
    return None if found is None else found.channel
