"""How each operator becomes primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import numpy as np
from heddle.backends.libraries.strides import channels_last, dense
from heddle.backends.onednn.eltwise import eltwise, variable
from heddle.backends.onednn.layouts import BLOCK, in_blocks
from heddle.backends.onednn.library import DST, MULTIPLE_SRC, SCALE, SHIFT, SRC, SRC_1, USE_SCALE, USE_SHIFT
from heddle.backends.onednn.lower import Lowering, operand_tensor
from heddle.backends.onednn.quantization import Quantized, result_scale
from heddle.backends.onednn.windows import windows
from heddle.core.errors import BackendError
from heddle.core.ir import Node
from heddle.core.pattern import attribute


def lower_node(lowering: Lowering, node: Node) -> None:
    """Append what computes one node by itself."""
    if eltwise(node, lowering.graph) is not None:
        _eltwise(lowering, node)
        return
    rule = RULES.get(node.op)
    if rule is None:
        raise BackendError(f"onednn: there is no rule for {node.op}; its pattern should not have taken it")
    rule(lowering, node)


def _eltwise(lowering: Lowering, node: Node) -> None:
    post = eltwise(node, lowering.graph)
    assert post is not None
    source = lowering.tensor(variable(node, lowering.graph))
    target = lowering.result(node.results[0], lowering.tensors[source].strides)
    numbers = {"alpha": post.alpha, "beta": post.beta}
    lowering.run("eltwise", {SRC: source, DST: target}, post.algorithm, numbers=numbers)


def _pool(lowering: Lowering, node: Node) -> None:
    kinds = {"MaxPool": "max_pool", "GlobalMaxPool": "max_pool"}
    padded = node.op == "AveragePool" and attribute(node, "count_include_pad")
    algorithm = kinds.get(node.op, "average_pool_padded" if padded else "average_pool")
    found = windows(node)
    source = lowering.image(node.operands[0])
    target = lowering.result(node.results[0], lowering.layout(source)(node.results[0].shape))
    numbers = {
        "kernel": found.kernel, "strides": found.strides, "dilations": tuple(d - 1 for d in found.dilations),
        "before": found.before, "after": found.after,
    }  # fmt: skip
    lowering.run("pooling", {SRC: source, DST: target}, algorithm, numbers=numbers)


def _binary(lowering: Lowering, node: Node) -> None:
    out = node.results[0]
    first, second = node.operands
    if first.shape != out.shape:
        first, second = second, first
    left = lowering.tensor(first)
    layout = lowering.layout(left)
    left = lowering.laid(left, layout)
    right = operand_tensor(lowering, layout, second, out.shape)
    target = lowering.result(out, lowering.tensors[left].strides)
    lowering.run("binary", {SRC: left, SRC_1: right, DST: target}, node.op.lower())


def _softmax(lowering: Lowering, node: Node) -> None:
    source = lowering.plain(node.operands[0])
    target = lowering.result(node.results[0])
    axis = int(attribute(node, "axis")) % len(lowering.tensors[source].dims)
    kind = "log_softmax" if node.op == "LogSoftmax" else "softmax"
    lowering.run("softmax", {SRC: source, DST: target}, kind, numbers={"axis": axis})


def _layer_norm(lowering: Lowering, node: Node) -> None:
    x, scale, *rest = node.inputs
    assert x is not None
    assert scale is not None
    arguments = {SRC: lowering.plain(x), DST: lowering.result(node.results[0]), SCALE: lowering.plain(scale)}
    shift = rest[0] if rest else None
    if shift is not None:
        arguments[SHIFT] = lowering.plain(shift)
    flags = USE_SCALE | (USE_SHIFT if shift is not None else 0)
    numbers = {"epsilon": float(attribute(node, "epsilon")), "flags": flags}
    lowering.run("layer_normalization", arguments, numbers=numbers)


def _reduce(lowering: Lowering, node: Node) -> None:
    x, out = node.operands[0], node.results[0]
    given = lowering.array(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = attribute(node, "axes") if given is None and "axes" in node.attrs else given
    rank = len(x.shape)
    if axes is None or np.size(axes) == 0:
        chosen = set() if attribute(node, "noop_with_empty_axes") else set(range(rank))
    else:
        chosen = {int(axis) % rank for axis in np.ravel(axes)}
    kept = tuple(1 if axis in chosen else dim for axis, dim in enumerate(x.shape))
    source = lowering.plain(x)
    if kept == x.shape:
        single = UNREDUCED.get(node.op)
        if single is not None:
            same = lowering.add(x.shape, "float32", None, None)
            lowering.run("eltwise", {SRC: source, DST: same}, single, numbers={"alpha": 0.0, "beta": 0.0})
            source = same
        lowering.held[out] = lowering.view(source, out.shape)
        return
    target = lowering.result(out)
    full = lowering.view(target, kept)
    algorithm, power = REDUCTIONS[node.op]
    lowering.run("reduction", {SRC: source, DST: full}, algorithm, numbers={"power": power})


def _sum(lowering: Lowering, node: Node) -> None:
    out = node.results[0]
    if len(node.operands) == 1:
        lowering.held[out] = lowering.tensor(node.operands[0])
        return
    layout = lowering.layout(lowering.tensor(node.operands[0]))
    sources = [lowering.laid(lowering.tensor(operand), layout) for operand in node.operands]
    arguments = {MULTIPLE_SRC + number: source for number, source in enumerate(sources)}
    lowering.run("sum", {**arguments, DST: lowering.result(out, layout(out.shape))})


def _cast(lowering: Lowering, node: Node) -> None:
    source = lowering.tensor(node.operands[0])
    target = lowering.result(node.results[0], lowering.tensors[source].strides)
    lowering.run("reorder", {SRC: source, DST: target})


def _concat(lowering: Lowering, node: Node) -> None:
    out = node.results[0]
    parts = [lowering.tensor(operand) for operand in node.operands]
    rank = len(out.shape)
    found = [lowering.layout(part) for part in parts]
    whole = all(operand.shape[1] % BLOCK == 0 for operand in node.operands) if in_blocks in found else False
    layout = in_blocks if whole else dense if set(found) == {dense} else channels_last
    sources = [lowering.laid(part, layout) for part in parts]
    target = lowering.result(out, layout(out.shape))
    axis = int(attribute(node, "axis")) % rank
    outermost = prod(out.shape[:axis]) == 1 and layout is not channels_last
    if not (outermost and lowering.join(sources, target)):
        arguments = {MULTIPLE_SRC + number: source for number, source in enumerate(sources)}
        lowering.run("concat", {**arguments, DST: target}, numbers={"axis": axis})


def _resize(lowering: Lowering, node: Node) -> None:
    x, out = node.operands[0], node.results[0]
    source = lowering.image(x)
    target = lowering.result(out, lowering.layout(source)(out.shape))
    factors = [t / s for s, t in zip(x.shape[2:], out.shape[2:], strict=True)]
    kind = "nearest" if attribute(node, "mode") == "nearest" else "interpolate"
    lowering.run("resampling", {SRC: source, DST: target}, kind, numbers={"factors": factors})


def _view(lowering: Lowering, node: Node) -> None:
    out = node.results[0]
    x = node.operands[0]
    if x in lowering.quantized and x not in lowering.held and lowering.quantized[x].whole:
        one = lowering.quantized[x]
        raw = replace_shape(one, out.shape, out.name)
        lowering.held[raw.raw] = lowering.view(lowering.plain(one.raw), out.shape or (1,))
        lowering.quantized[out] = raw
        return
    lowering.held[out] = lowering.view(lowering.plain(x), out.shape or (1,))


def replace_shape(one: Quantized, shape: tuple[int, ...], name: str) -> Quantized:
    """The same integers under another shape."""
    raw = replace(one.raw, name=f"{name} as integers", type=replace(one.raw.tensor, dims=shape))
    return Quantized(raw, one.scale, one.zero, one.axis)


def _transpose(lowering: Lowering, node: Node) -> None:
    x, out = node.operands[0], node.results[0]
    rank = len(x.shape)
    order = attribute(node, "perm") or tuple(reversed(range(rank)))
    source = lowering.strided(x)
    strides = lowering.tensors[source].strides
    lowering.held[out] = lowering.view(source, out.shape, tuple(strides[axis] for axis in order))


def _nothing(lowering: Lowering, node: Node) -> None:
    """Integers are remembered from the beginning; whoever cannot use them has them made real."""


def _quantize(lowering: Lowering, node: Node) -> None:
    x, out = node.operands[0], node.results[0]
    source = lowering.tensor(x)
    target = lowering.result(out, lowering.tensors[source].strides)
    lowering.run("reorder", {SRC: source, DST: target}, **lowering.scaling({DST: result_scale(lowering.graph, node)}))


REDUCTIONS: Mapping[str, tuple[str, float]] = {
    "ReduceMean": ("reduce_mean", 0.0), "ReduceSum": ("reduce_sum", 0.0), "ReduceMax": ("reduce_max", 0.0),
    "ReduceMin": ("reduce_min", 0.0), "ReduceProd": ("reduce_mul", 0.0), "ReduceL1": ("reduce_powers", 1.0),
    "ReduceL2": ("reduce_norm", 2.0), "ReduceSumSquare": ("reduce_powers", 2.0),
}  # fmt: skip
"""The library's algorithm and the power that it raises magnitudes to."""

UNREDUCED = {"ReduceL1": "abs", "ReduceL2": "abs", "ReduceSumSquare": "square"}
"""What a reduction of axes of one element computes, where it is not the element itself."""

Rule = Callable[[Lowering, Node], None]
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _pool),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min"), _binary),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _view),
    "LayerNormalization": _layer_norm,
    "Sum": _sum,
    "Cast": _cast,
    "Concat": _concat,
    "Resize": _resize,
    "Transpose": _transpose,
    "DequantizeLinear": _nothing,
    "QuantizeLinear": _quantize,
}
