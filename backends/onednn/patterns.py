"""What oneDNN takes: one pattern for each operator; how they run together is decided when a region is compiled."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from heddle.backends.onednn.windows import windows
from heddle.core.ir import Node, TensorType, Value
from heddle.core.pattern import (
    Match,
    Pattern,
    attr,
    const,
    dtype,
    either,
    maybe,
    maybe_const,
    ops,
    pattern,
    rank,
    several,
)
from heddle.core.pattern.attributes import attribute

Where = Callable[[Match], str | None]
MOST_AXES = 6
"""Tensors of more axes fall off the library's fast paths."""


def known(match: Match) -> str | None:
    """Refuses tensors of unknown shape, without elements, or of more axes than the library likes."""
    for node in match.nodes:
        for value in (*node.operands, *node.results):
            if not isinstance(value.type, TensorType) or value.type.shape is None:
                return f"{value} is {value.type}, takes a known shape"
            if len(value.type.shape) > MOST_AXES:
                return f"{value} has {len(value.type.shape)} axes, takes at most {MOST_AXES}"
            if value not in match.graph.constants and prod(value.type.shape) == 0:
                return f"{value} is {value.type}, takes at least one element"
    return None


def both(*checks: Where) -> Where:
    """The first reason that any of these gives, after the shapes are known."""

    def all_hold(match: Match) -> str | None:
        return known(match) or next((reason for check in checks if (reason := check(match))), None)

    return all_hold


def _main(match: Match) -> Node:
    return match.nodes[-1]


def _windows_fit(match: Match) -> str | None:
    node = _main(match)
    found = windows(node)
    if any(edge < 0 for edge in (*found.before, *found.after)):
        return f"pads are {found.before} and {found.after}, takes 0 or more in each place"
    if node.op in ("MaxPool", "AveragePool"):
        reach = [(k - 1) * d + 1 for k, d in zip(found.kernel, found.dilations, strict=True)]
        edges = zip(found.before, found.after, reach, strict=True)
        if any(before >= size or after >= size for before, after, size in edges):
            return f"pads are {found.before} and {found.after}, takes less than the window {tuple(reach)}"
    return None


def _averages_fit(match: Match) -> str | None:
    if attribute(_main(match), "ceil_mode") and any(windows(_main(match)).after):
        return "ceil_mode is 1, takes 0: the library counts the last windows differently"
    return None


def _bias_fits(match: Match) -> str | None:
    c = _main(match).inputs[2] if len(_main(match).inputs) > 2 else None
    if c is None:
        return None
    rows, columns = match.outputs[0].shape
    shape_ = (1,) * (2 - len(c.shape)) + tuple(c.shape)
    if len(shape_) != 2 or shape_[0] not in (1, rows) or shape_[1] not in (1, columns):
        return f"c is {c.type}, takes what broadcasts to {match.outputs[0].type}"
    return None


def _broadcasts(match: Match) -> str | None:
    """The library broadcasts its second operand only."""
    node = _main(match)
    out = node.results[0].shape
    left, right = (operand.shape for operand in node.operands)
    if not out:
        return "the operands are scalars, takes at least one axis"
    if left == out or (right == out and node.op in ("Add", "Mul", "Max", "Min")):
        return None
    return f"the operands {left} and {right} are both broadcast to {out}, takes a first one of that shape"


def _last_axis(match: Match) -> str | None:
    node = _main(match)
    axis, axes = attribute(node, "axis"), len(match["x"].shape)
    if axis % axes != axes - 1:
        return f"axis is {axis}, takes the last one"
    for name in ("scale", "bias"):
        vector = match.value(name)
        if vector is not None and vector.shape != match["x"].shape[-1:]:
            return f"{name} is {vector.type}, takes one number for each of the last axis"
    return None


def _per_tensor(match: Match) -> str | None:
    scale, zero = match.array("scale"), match.array("zero_point")
    if scale is None or scale.size != 1 or (zero is not None and zero.size != 1):
        axis = attribute(_main(match), "axis")
        weights = match.array("x")
        if _main(match).op == "DequantizeLinear" and weights is not None and axis is not None:
            return None
        return "scale has several values, takes one: only constants are scaled per channel"
    if scale.dtype != np.float32:
        return f"scale is {scale.dtype}, takes float32"
    return None


def _axes_known(match: Match) -> str | None:
    axes = match.array("axes")
    return "axes are computed, takes constants" if match.value("axes") is not None and axes is None else None


def _scales_only(match: Match) -> str | None:
    node = _main(match)
    source, target = match["x"].shape, match.outputs[0].shape
    mode, transform = attribute(node, "mode"), attribute(node, "coordinate_transformation_mode")
    if source[:2] != target[:2]:
        return f"the result is {target} of {source}, takes spatial axes only"
    whole = all(t % s == 0 for s, t in zip(source[2:], target[2:], strict=True))
    if mode == "nearest":
        rounding = attribute(node, "nearest_mode")
        fits = whole and (transform, rounding) in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"))
        return None if fits else f"mode is nearest, {transform}, {rounding}; takes whole factors, asymmetric, floor"
    if mode != "linear" or transform not in ("half_pixel", "pytorch_half_pixel") or attribute(node, "antialias"):
        return f"mode is {mode} with {transform}, takes linear with half_pixel"
    if not all(t >= s for s, t in zip(source[2:], target[2:], strict=True)):
        return f"the result is {target} of {source}, takes a larger one"
    return None


def _operator(
    name: str, op: str, where: Where = known, dtypes: tuple[str, ...] = ("float32",), **attributes: Any
) -> Pattern:
    """One operator of one operand."""

    def single(x: Any) -> Any:
        return getattr(ops, op)(x, label="node", **attributes)

    return pattern(name, conditions=[dtype("x").among(*dtypes), rank("x").at_least(1)], where=where)(single)


def _two(op: str) -> Pattern:
    def pair(x: Any, z: Any) -> Any:
        return getattr(ops, op)(x, z)

    types = [dtype("x").equals("float32"), dtype("z").equals("float32")]
    return pattern(op.lower(), conditions=types, where=both(_broadcasts))(pair)


def stored(name: str, plain: Value) -> Value:
    """A constant operand, as it is or stored as integers."""
    scale, zero = const(f"{name}_scale"), maybe_const(f"{name}_zero_point")
    found: Value = either(ops.DequantizeLinear(const(f"{name}_stored"), scale, zero), plain)
    return found


@pattern("convolution", conditions=[dtype("x").equals("float32"), rank("x").between(3, 5)], where=both(_windows_fit))
def convolution(x: Any, b: Any) -> Any:
    return ops.Conv(x, stored("w", const("w")), maybe(stored("b", b)), label="conv")


@pattern("deconvolution", conditions=[dtype("x").equals("float32"), rank("x").between(3, 5)], where=both(_windows_fit))
def deconvolution(x: Any, b: Any) -> Any:
    return ops.ConvTranspose(x, stored("w", const("w")), maybe(stored("b", b)), label="conv")


@pattern("matmul", conditions=[dtype("x").equals("float32"), rank("x").at_least(2), rank("w").at_least(2)], where=known)
def matmul(x: Any, w: Any) -> Any:
    return ops.MatMul(x, stored("w", w))


@pattern(
    "gemm",
    conditions=[dtype("x").equals("float32"), attr("gemm", "alpha").equals(1.0), attr("gemm", "beta").equals(1.0)],
    where=both(_bias_fits),
)
def gemm(x: Any, w: Any, c: Any) -> Any:
    return ops.Gemm(x, stored("w", w), maybe(stored("c", c)), label="gemm")


@pattern("clip", conditions=[dtype("x").equals("float32"), rank("x").at_least(1)], where=known)
def clip(x: Any) -> Any:
    return ops.Clip(x, maybe_const("low"), maybe_const("high"))


def _is_gelu(match: Match) -> str | None:
    """Refuses constants other than those of x / 2 * (1 + erf(x / sqrt(2)))."""
    for name, wanted in (("root", np.sqrt(2)), ("one", 1.0), ("half", 0.5)):
        array = match.array(name)
        if array is None or array.size != 1 or abs(float(array.reshape(-1)[0]) - wanted) > 1e-5:
            return f"{name} is not the number {wanted:.6g}, takes it: the rest is not a GELU"
    return None


@pattern("gelu_by_erf", conditions=[dtype("x").equals("float32"), rank("x").at_least(1)], where=both(_is_gelu))
def gelu_by_erf(x: Any) -> Any:
    grown = ops.Add(ops.Erf(ops.Div(x, const("root"))), const("one"))
    return ops.Mul(ops.Mul(x, grown), const("half"))


@pattern("layer_norm", conditions=[dtype("x").equals("float32"), rank("x").between(2, 5)], where=both(_last_axis))
def layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    return ops.LayerNormalization(x, scale, maybe(bias), label="norm")


def _reduction(op: str) -> Pattern:
    def reduce(x: Any) -> Any:
        return getattr(ops, op)(x, maybe_const("axes"))

    conditions = [dtype("x").equals("float32"), rank("x").at_least(1)]
    return pattern(op.lower(), conditions=conditions, where=both(_axes_known))(reduce)


@pattern("concat", where=both(lambda match: None if match.outputs[0].dtype == np.float32 else "takes float32"))
def concat() -> Any:
    return ops.Concat(several("xs"))


@pattern("resize", conditions=[dtype("x").equals("float32"), rank("x").between(3, 5)], where=both(_scales_only))
def resize(x: Any) -> Any:
    return ops.Resize(x, maybe_const("roi"), maybe_const("scales"), maybe_const("sizes"))


@pattern("reshape", conditions=[dtype("x").among("float32", "int8", "uint8"), rank("x").at_least(1)], where=known)
def reshape(x: Any) -> Any:
    return ops.Reshape(x, const("to"))


@pattern("dequantize", conditions=[dtype("x").among("int8", "uint8", "int32")], where=both(_per_tensor))
def dequantize(x: Any) -> Any:
    return ops.DequantizeLinear(x, const("scale"), maybe_const("zero_point"))


def _eight_bits(match: Match) -> str | None:
    result = match.outputs[0]
    return None if result.dtype in (np.int8, np.uint8) else f"the result is {result.type}, takes int8 or uint8"


@pattern("quantize", conditions=[dtype("x").equals("float32")], where=both(_eight_bits, _per_tensor))
def quantize(x: Any) -> Any:
    return ops.QuantizeLinear(x, const("scale"), maybe_const("zero_point"))


def _axes_constant(op: str) -> Pattern:
    def view(x: Any) -> Any:
        return getattr(ops, op)(x, maybe_const("axes"))

    return pattern(op.lower(), conditions=[dtype("x").equals("float32"), rank("x").at_least(1)], where=known)(view)


ELTWISE = (
    "Relu", "Sigmoid", "Tanh", "Elu", "Abs", "Sqrt", "Exp", "Log", "LeakyRelu", "Gelu", "HardSigmoid", "HardSwish",
    "Softplus", "Mish",
)  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min")
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")

PATTERNS: tuple[Pattern, ...] = (
    gelu_by_erf,
    convolution, deconvolution, matmul, gemm,
    _operator("max_pool", "MaxPool", both(_windows_fit), ("float32", "int8", "uint8"), storage_order=0),
    _operator("average_pool", "AveragePool", both(_windows_fit, _averages_fit)),
    _operator("global_average_pool", "GlobalAveragePool"), _operator("global_max_pool", "GlobalMaxPool"),
    clip, *(_operator(op.lower(), op) for op in ELTWISE), *(_two(op) for op in BINARY),
    layer_norm, _operator("softmax", "Softmax"), _operator("log_softmax", "LogSoftmax"),
    *(_reduction(op) for op in REDUCTIONS), concat, resize, reshape, _operator("flatten", "Flatten"),
    _operator("transpose", "Transpose"), _axes_constant("Squeeze"), _axes_constant("Unsqueeze"),
    dequantize, quantize,
)  # fmt: skip
