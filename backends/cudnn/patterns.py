"""What is taken: a pattern for each operator, and attention as one; how they run together is decided when compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import inf
from typing import Any

from heddle.backends.cudnn import convolutions, products
from heddle.backends.cudnn.chains import CONVOLUTIONS, PRODUCTS
from heddle.backends.cudnn.chips import Chip
from heddle.backends.cudnn.kernels.capable import refusal
from heddle.backends.libraries.checks import shapes_known
from heddle.core.ir import Node
from heddle.core.pattern import (
    Match,
    Pattern,
    attr,
    const,
    dim,
    dtype,
    either,
    maybe,
    maybe_const,
    ops,
    pattern,
    rank,
    several,
    size,
)
from heddle.core.pattern.conditions import Condition

MOST_AXES = 8
"""Kernels are spread over so many."""
known = shapes_known(MOST_AXES)
ATTENTION = "attention"
HEAD = 128
"""The most channels that a head of the fused attention has."""

UNARY = (
    "Relu", "LeakyRelu", "ThresholdedRelu", "Elu", "Celu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Softplus",
    "Softsign", "Mish", "Gelu", "Shrink", "Neg", "Abs", "Sign", "Reciprocal", "Sqrt", "Exp", "Log", "Erf", "Floor",
    "Ceil", "Round", "Tanh", "IsNaN", "Softmax", "LogSoftmax", "GlobalAveragePool", "GlobalMaxPool",
)  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
VARIADIC = ("Sum", "Mean", "Max", "Min")
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
)  # fmt: skip
PER_CHANNEL = ("BatchNormalization", "GroupNormalization", "InstanceNormalization")
MOVED = ("float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")
"""The types of elements that are moved as they are."""


def computed(match: Match) -> str | None:
    """Refuses what neither the libraries nor kernels of threads compute."""
    reason = known(match)
    if reason is not None:
        return reason
    (node,) = match.nodes
    return _vectors(node) or (None if _called(node) else refusal(node, match.graph.constants))


def _vectors(node: Node) -> str | None:
    """Refuses normalizations whose other operands are not one number for each channel."""
    if node.op not in PER_CHANNEL:
        return None
    x, *vectors = node.operands
    if len(x.shape) < 2:
        return f"{x} is {x.type}, takes at least two axes"
    odd = next((vector for vector in vectors if vector.shape != x.shape[1:2]), None)
    return None if odd is None else f"{odd} is {odd.type}, takes one number for each of {x.shape[1]} channels"


def _called(node: Node) -> bool:
    """Whether a library computes a node."""
    if node.op in CONVOLUTIONS:
        return convolutions.suits(node)
    return node.op in PRODUCTS and products.suits(node)


def fits_fused_attention(match: Match) -> str | None:
    """Refuses shapes that the library's fused kernel does not take, and scales that make scores larger.

    Large scores are far apart in float32, in which the kernel holds them, where the definition rounds them to float16.
    """
    reason = known(match)
    if reason is not None:
        return reason
    queries, keys = match["q"].shape, match["k"].shape
    for name, least, most in (("times", 0.0, 1.0), ("over", 1.0, inf)):
        array = match.array(name)
        number = None if array is None else float(array.reshape(()))
        if number is not None and not (number > 0 and least <= number <= most):
            return f"{name} is {number}, takes a positive number that makes no score larger"
    mask = match.value("mask")
    if mask is not None and (len(mask.shape) > 4 or mask.shape[-2:] != (queries[2], keys[3])):
        return f"mask is {mask.type}, takes one number for each query and key"
    return None


def _among(types: Sequence[str], *names: str) -> list[Condition]:
    return [dtype(name).among(*types) for name in names]


def _operator(op: str, types: Sequence[str], build: Callable[..., Any], *more: Condition) -> Pattern:
    """One operator whose first operand is of one of these types."""
    return pattern(op.lower(), conditions=[*_among(types, "x"), *more], where=computed)(build)


def _of_one(op: str, types: Sequence[str]) -> Pattern:
    return _operator(op, types, lambda x: getattr(ops, op)(x), rank("x").at_least(1))


def _of_two(op: str, types: Sequence[str]) -> Pattern:
    return _operator(op, types, lambda x, z: getattr(ops, op)(x, z))


def _of_any(op: str, types: Sequence[str]) -> Pattern:
    def join() -> Any:
        return getattr(ops, op)(several("xs"))

    return pattern(op.lower(), conditions=_among(types, "xs"), where=computed)(join)


def _with_list(op: str, name: str, types: Sequence[str]) -> Pattern:
    """An operator whose second operand is a constant list, which may be absent."""
    return _operator(op, types, lambda x: getattr(ops, op)(x, maybe_const(name)), rank("x").at_least(1))


def _in_blocks(op: str) -> Pattern:
    def move(x: Any) -> Any:
        return getattr(ops, op)(x, label="node")

    return _operator(op, MOVED, move, attr("node", "blocksize").at_least(1), rank("x").equals(4))


def _attention(types: Sequence[str]) -> Pattern:
    def attend(q: Any, k: Any, v: Any, mask: Any) -> Any:
        scores = ops.MatMul(q, k)
        scaled = either(ops.Mul(scores, const("times")), ops.Div(scores, const("over")), scores)
        masked = either(ops.Add(scaled, mask), scaled)
        return ops.MatMul(ops.Softmax(masked, label="softmax"), v)

    four = [rank(name).equals(4) for name in ("q", "k", "v")]
    heads = [item for name in ("q", "v") for item in (dim(name, 3).multiple_of(8), dim(name, 3).at_most(HEAD))]
    alike = [dim(name, axis).equals(dim("q", axis)) for name in ("k", "v") for axis in (0, 1)]
    scales = [size(name).equals(1) for name in ("times", "over")]
    conditions = [*_among(types, "q"), *four, *heads, *alike, *scales, attr("softmax", "axis").among(-1, 3)]
    return pattern(ATTENTION, conditions=conditions, where=fits_fused_attention)(attend)


@cache
def patterns(chip: Chip) -> tuple[Pattern, ...]:
    """The patterns of a GPU, the most wanted first."""
    half = ("float16", "bfloat16") if chip.bfloat16 else ("float16",)
    real = ("float32", *half)
    return (
        _attention(half),
        _operator("Conv", real, lambda x, w, b: ops.Conv(x, w, maybe(b)), rank("x").between(3, 5)),
        _operator("ConvTranspose", real, lambda x, w, b: ops.ConvTranspose(x, w, maybe(b)), rank("x").between(3, 5)),
        _operator("MatMul", real, lambda x, w: ops.MatMul(x, w)),
        _operator(
            "Gemm", real, lambda x, w, c: ops.Gemm(x, w, maybe(c), label="gemm"),
            *(attr("gemm", name).differs(0.0) for name in ("alpha", "beta")),  # nothing is read that zero multiplies
        ),
        _of_one("MaxPool", real), _of_one("AveragePool", real),
        *(_of_one(op, real) for op in UNARY), _of_one("Not", ("bool",)),
        *(_of_two(op, (*real, "int64", "int32") if op != "PRelu" else real) for op in BINARY),
        *(_of_two(op, ("bool",)) for op in ("And", "Or", "Xor")),
        *(_of_any(op, real) for op in VARIADIC),
        _operator("Clip", real, lambda x: ops.Clip(x, maybe_const("low"), maybe_const("high"))),
        _operator("Cast", MOVED, lambda x: ops.Cast(x, label="node"), attr("node", "to").among(*MOVED)),
        _operator("Where", ("bool",), lambda x, y, z: ops.Where(x, y, z)),
        _operator("LayerNormalization", real, lambda x, scale, bias: ops.LayerNormalization(x, scale, maybe(bias))),
        _operator("RMSNormalization", real, lambda x, scale: ops.RMSNormalization(x, scale)),
        _operator(
            "GroupNormalization", real,
            lambda x, scale, bias: ops.GroupNormalization(x, scale, bias, label="node"),
            attr("node", "num_groups").at_least(1), dim("x", 1).multiple_of(attr("node", "num_groups")),
        ),
        _operator("InstanceNormalization", real, lambda x, scale, bias: ops.InstanceNormalization(x, scale, bias)),
        _operator(
            "BatchNormalization", real,
            lambda x, scale, bias, mean, variance: ops.BatchNormalization(x, scale, bias, mean, variance),
        ),
        *(_with_list(op, "axes", real) for op in REDUCTIONS),
        _of_one("ArgMax", real), _of_one("ArgMin", real),
        *(_of_one(op, MOVED) for op in ("Transpose", "Flatten", "Identity")),
        _in_blocks("DepthToSpace"), _in_blocks("SpaceToDepth"),
        _of_any("Concat", MOVED),
        *(_with_list(op, "to", MOVED) for op in ("Reshape", "Expand", "Tile")),
        *(_with_list(op, "axes", MOVED) for op in ("Squeeze", "Unsqueeze")),
        _operator(
            "Slice", MOVED,
            lambda x: ops.Slice(x, *(maybe_const(name) for name in ("starts", "ends", "axes", "steps"))),
        ),
        _operator("Pad", MOVED, lambda x: ops.Pad(x, maybe_const("pads"), maybe_const("fill"), maybe_const("axes"))),
        _operator("Gather", MOVED, lambda x, i: ops.Gather(x, i)),
        _operator("GatherElements", MOVED, lambda x, i: ops.GatherElements(x, i)),
        _operator("GatherND", MOVED, lambda x, i: ops.GatherND(x, i)),
        _operator("Trilu", MOVED, lambda x: ops.Trilu(x, maybe_const("k"))),
        _operator(
            "Resize", real,
            lambda x: ops.Resize(x, maybe_const("roi"), maybe_const("scales"), maybe_const("sizes")),
        ),
    )  # fmt: skip
