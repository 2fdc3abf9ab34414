"""Convolutions and products with the chains after them, in real numbers or in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from heddle.backends.onednn.chains import Chain
from heddle.backends.onednn.eltwise import eltwise
from heddle.backends.onednn.images import flat
from heddle.backends.onednn.layouts import Layout, dense, in_blocks
from heddle.backends.onednn.library import (
    BIAS,
    DST,
    GLOBAL_STATS,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    SRC_1,
    USE_SCALE,
    USE_SHIFT,
    VARIANCE,
    WEIGHTS,
)
from heddle.backends.onednn.lower import Lowering, fused, operand_tensor
from heddle.backends.onednn.program import Post
from heddle.backends.onednn.quantization import Array, Quantized, output_axis, real_array, result_scale
from heddle.backends.onednn.windows import windows
from heddle.core.ir import Node, Value
from heddle.core.pattern import attribute


def lower_chain(lowering: Lowering, chain: Chain) -> None:
    """Append the primitive of a head and all that follows it."""
    if chain.first.op in ("Conv", "ConvTranspose"):
        _convolution(lowering, chain)
    elif chain.first.op == "BatchNormalization":
        _normalization(lowering, chain)
    elif chain.first.op == "Add":
        _sum_of_integers(lowering, chain)
    else:
        _product(lowering, chain)


def _convolution(lowering: Lowering, chain: Chain) -> None:
    node, out = chain.first, chain.value
    x, w, *rest = node.inputs
    assert x is not None
    assert w is not None
    transposed = node.op == "ConvTranspose"
    groups = int(attribute(node, "group"))
    integers = lowering.multiplier.operands(node)
    weights, more = _weights(lowering, x, w, integers, 0, groups)
    if transposed:
        weights = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:]).swapaxes(1, 2)
        weights = weights[0] if groups == 1 else weights
    elif groups > 1:
        weights = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:])
    layout = lowering.images.of(node)
    source = _image(lowering, node, x if integers is None else integers[0].raw, layout)
    after, scaled = _drain(lowering, chain, integers)
    packed = lowering.constant(weights)
    post = fused(lowering, chain, after, layout)
    target = lowering.result(out, layout(out.shape))
    arguments = {SRC: source, WEIGHTS: packed, DST: target}
    bias = _bias(lowering, rest[0] if rest else None)
    if bias is not None:
        arguments[BIAS] = bias
    found = windows(node)
    numbers = {
        "strides": found.strides, "dilations": tuple(d - 1 for d in found.dilations), "before": found.before,
        "after": found.after,
    }  # fmt: skip
    kind = "deconvolution" if transposed else "convolution"
    lowering.run(kind, arguments, kind, numbers=numbers, packed=WEIGHTS, post=post, **_merge(more, scaled))


def _image(lowering: Lowering, node: Node, x: Value, layout: Layout) -> int:
    """The tensor of a convolution's image, for a result of this layout."""
    if layout is in_blocks and flat(node):
        return lowering.plain(x)
    return lowering.laid(lowering.tensor(x), layout)


def _product(lowering: Lowering, chain: Chain) -> None:
    node, out = chain.first, chain.value
    x, w, *rest = node.inputs
    assert x is not None
    assert w is not None
    integers = lowering.multiplier.operands(node)
    after, scaled = _drain(lowering, chain, integers)
    flat = len(w.shape) == 2
    rows = prod(node.results[0].shape[:-1])
    whole = (rows, out.shape[-1]) if flat else out.shape
    source = _left(lowering, node, x if integers is None else integers[0].raw, flat)
    more: dict[str, Any] = {}
    constant = _known(lowering, w) is not None
    if constant:
        weights, more = _weights(lowering, x, w, integers, output_axis(node), 1)
        right = lowering.constant(weights.T if _turned(node) else weights)
    else:
        right = lowering.strided(w)
        if _turned(node):
            right = lowering.view(right, w.shape[::-1], lowering.tensors[right].strides[::-1])
    # Only matrices with several rows gain by weights in blocks, and only inner products take those everywhere.
    blocked = constant and flat and rows > 1 and integers is None and _row_major(lowering, source)
    if blocked:
        columns, rows_of = lowering.tensors[right].dims[::-1]
        right = lowering.view(right, (columns, rows_of), (1, columns))
    elif not flat:
        source, right = (_ranked(lowering, one, len(out.shape)) for one in (source, right))
    arguments = {SRC: source, WEIGHTS: right}
    bias, after = _product_bias(lowering, chain, rest[0] if rest else None, after)
    post = fused(lowering, chain, after, None)
    if rest and rest[0] is not None and bias is None:
        post = (Post("add", tensor=operand_tensor(lowering, rest[0], whole, None)), *post)
    if flat and len(out.shape) != 2:
        post = tuple(_flattened(lowering, one, whole) for one in post)
    if bias is not None:
        leading = () if blocked else (1,) * (len(whole) - 1)
        arguments[BIAS] = lowering.view(bias, (*leading, out.shape[-1]))
    target = lowering.result(out)
    arguments[DST] = lowering.view(target, whole) if lowering.tensors[target].dims != whole else target
    kind = "inner_product" if blocked else "matmul"
    lowering.run(kind, arguments, packed=WEIGHTS if constant else None, post=post, **_merge(more, scaled))


def _left(lowering: Lowering, node: Node, x: Value, flat: bool) -> int:
    """The tensor of a product's first operand; as one matrix where the second is one."""
    source = lowering.strided(x)
    if node.op == "Gemm" and attribute(node, "transA"):
        return lowering.view(source, x.shape[::-1], lowering.tensors[source].strides[::-1])
    if flat and len(x.shape) != 2:
        return lowering.view(lowering.laid(source, dense), (prod(x.shape[:-1]), x.shape[-1]))
    return source


def _row_major(lowering: Lowering, tensor: int) -> bool:
    one = lowering.tensors[tensor]
    return one.strides == dense(one.dims)


def _normalization(lowering: Lowering, chain: Chain) -> None:
    """Images lie as they did."""
    x, *vectors = chain.first.operands
    source = lowering.tensor(x)
    layout = lowering.layout(source)
    source = lowering.laid(source, layout)
    named = zip((SCALE, SHIFT, MEAN, VARIANCE), vectors, strict=True)
    arguments = {SRC: source} | {argument: lowering.plain(vector) for argument, vector in named}
    post = fused(lowering, chain, chain.after, layout)
    numbers = {
        "epsilon": float(attribute(chain.first, "epsilon")),
        "flags": GLOBAL_STATS | USE_SCALE | USE_SHIFT,
    }
    arguments[DST] = lowering.result(chain.value, layout(chain.value.shape))
    lowering.run("batch_normalization", arguments, numbers=numbers, post=post)


def _sum_of_integers(lowering: Lowering, chain: Chain) -> None:
    """Bytes in and bytes out: the primitive scales its operands, and zero points are sums after it."""
    left, right = (lowering.quantized[operand] for operand in chain.first.operands)
    result = result_scale(lowering.graph, chain.last)
    source = lowering.tensor(left.raw)
    layout = lowering.layout(source)
    sources = [lowering.laid(lowering.tensor(one.raw), layout) for one in (left, right)]
    offset = sum(float(one.scale.reshape(())) * float(one.zero.reshape(())) for one in (left, right))
    activations = [eltwise(node, lowering.graph) for node in chain.after[:-1]]
    scaled = Post("linear", float(1 / result.scale.reshape(())), float(result.zero.reshape(())))
    post = (Post("linear", 1.0, -offset), *(one for one in activations if one is not None), scaled)
    target = lowering.result(chain.value, layout(chain.value.shape))
    arguments = {SRC: sources[0], SRC_1: sources[1], DST: target}
    scales = {SRC: (0, lowering.constant(left.scale.reshape(1))), SRC_1: (0, lowering.constant(right.scale.reshape(1)))}
    lowering.run("binary", arguments, "add", post=post if offset else post[1:], scales=scales)


def _flattened(lowering: Lowering, post: Any, whole: tuple[int, ...]) -> Any:
    """A post-operation whose operand has the axes of the flattened product."""
    if post.tensor is None:
        return post
    dims = lowering.tensors[post.tensor].dims
    return replace(post, tensor=lowering.view(post.tensor, (prod(dims[:-1]), dims[-1])))


def _turned(node: Node) -> bool:
    return node.op == "Gemm" and bool(attribute(node, "transB"))


def _ranked(lowering: Lowering, tensor: int, rank: int) -> int:
    """The tensor with leading axes of one added."""
    one = lowering.tensors[tensor]
    lacking = rank - len(one.dims)
    if not lacking:
        return tensor
    return lowering.view(tensor, (1,) * lacking + one.dims, (prod(one.dims),) * lacking + one.strides)


def _product_bias(
    lowering: Lowering, chain: Chain, c: Value | None, after: Sequence[Node]
) -> tuple[int | None, Sequence[Node]]:
    """The bias of a product: Gemm's own, or a constant vector that the chain adds first."""
    columns = chain.value.shape[-1]
    if c is not None:
        if prod(c.shape) != columns or c.shape[-1:] != (columns,):
            return None, after
        array = _known(lowering, c)
        return (lowering.plain(c) if array is None else lowering.constant(array.reshape(-1))), after
    if after and after[0].op == "Add":
        value = chain.first.results[0]
        (other,) = (operand for operand in after[0].operands if operand != value)
        array = _known(lowering, other)
        if array is not None and array.size == columns and array.shape[-1] == columns:
            return lowering.constant(array.reshape(-1)), after[1:]
    return None, after


def _known(lowering: Lowering, value: Value) -> Array | None:
    """A constant's array, dequantized where it is stored as integers."""
    if value in lowering.quantized:
        array = lowering.array(lowering.quantized[value].raw)
        return None if array is None else real_array(lowering.quantized[value], array)
    return lowering.array(value)


def _bias(lowering: Lowering, value: Value | None) -> int | None:
    if value is None:
        return None
    array = _known(lowering, value)
    return lowering.plain(value) if array is None else lowering.constant(array)


def _weights(
    lowering: Lowering, x: Value, w: Value, integers: tuple[Quantized, Quantized] | None, axis: int, groups: int
) -> tuple[Array, dict[str, Any]]:
    """The weights as they are multiplied, and the scales that go with them."""
    if integers is None:
        array = _known(lowering, w)
        assert array is not None, w
        return array, {}
    left, right = integers
    array = lowering.array(right.raw)
    assert array is not None
    more = lowering.scaling({SRC: left})
    # A mask has a bit for each axis that scales differ over: output channels, after groups where there are some.
    mask = 0 if right.scale.size == 1 else (3 if groups > 1 else 1)
    product = w.shape and len(w.shape) == 2 and mask
    more["scales"][WEIGHTS] = (2 if product else mask, lowering.constant(right.scale.reshape(-1)))
    return array, more


def _drain(
    lowering: Lowering, chain: Chain, integers: tuple[Quantized, Quantized] | None
) -> tuple[Sequence[Node], dict[str, Any]]:
    """The chain's nodes before a quantization that ends it, and that quantization's scales."""
    if chain.last.op != "QuantizeLinear" or not chain.after:
        return chain.after, {}
    return chain.after[:-1], lowering.scaling({DST: result_scale(lowering.graph, chain.last)})


def _merge(*groups: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for group in groups for key, value in group.get(name, {}).items()}
        for name in ("scales", "zero_points")
    }
