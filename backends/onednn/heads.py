"""Each head with the chain after it: convolutions, normalizations and sums of integers; `products` has the products."""

from __future__ import annotations

from functools import partial

from heddle.backends.libraries.chains import Chain
from heddle.backends.onednn.eltwise import eltwise
from heddle.backends.onednn.factors import bias_of, drain, merged, unsigned, weights_of
from heddle.backends.onednn.images import flat
from heddle.backends.onednn.layouts import Layout, in_blocks
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
from heddle.backends.onednn.products import product
from heddle.backends.onednn.program import Post
from heddle.backends.onednn.quantization import result_scale
from heddle.backends.onednn.windows import windows
from heddle.core.ir import Node, Value
from heddle.core.pattern import attribute


def lower_chain(lowering: Lowering, chain: Chain) -> None:
    """Append the primitive of a head and all that follows it."""
    if chain.head.op in ("Conv", "ConvTranspose"):
        _convolution(lowering, chain)
    elif chain.head.op == "BatchNormalization":
        _normalization(lowering, chain)
    elif chain.head.op == "Add":
        _sum_of_integers(lowering, chain)
    else:
        product(lowering, chain)


def _convolution(lowering: Lowering, chain: Chain) -> None:
    node, out = chain.head, chain.value
    x, w, *rest = node.inputs
    assert x is not None
    assert w is not None
    transposed = node.op == "ConvTranspose"
    groups = int(attribute(node, "group"))
    integers = lowering.multiplier.operands(node)
    weights, more = weights_of(lowering, w, integers, 0, groups)
    if transposed:
        weights = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:]).swapaxes(1, 2)
        weights = weights[0] if groups == 1 else weights
    elif groups > 1:
        weights = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:])
    layout = lowering.images.of(node)
    source = unsigned(lowering, _image(lowering, node, x if integers is None else integers[0].raw, layout), integers)
    after, scaled = drain(lowering, chain, integers)
    packed = lowering.constant(weights)
    post = fused(lowering, chain, after, partial(operand_tensor, lowering, layout))
    target = lowering.result(out, layout(out.shape))
    arguments = {SRC: source, WEIGHTS: packed, DST: target}
    bias = bias_of(lowering, rest[0] if rest else None)
    if bias is not None:
        arguments[BIAS] = bias
    found = windows(node)
    numbers = {
        "strides": found.strides, "dilations": tuple(d - 1 for d in found.dilations), "before": found.before,
        "after": found.after,
    }  # fmt: skip
    kind = "deconvolution" if transposed else "convolution"
    lowering.run(kind, arguments, kind, numbers=numbers, packed=WEIGHTS, post=post, **merged(more, scaled))


def _image(lowering: Lowering, node: Node, x: Value, layout: Layout) -> int:
    """The tensor of a convolution's image, for a result of this layout."""
    if layout is in_blocks and flat(node):
        return lowering.plain(x)
    return lowering.laid(lowering.tensor(x), layout)


def _normalization(lowering: Lowering, chain: Chain) -> None:
    """Images lie as they did."""
    x, *vectors = chain.head.operands
    source = lowering.tensor(x)
    layout = lowering.layout(source)
    source = lowering.laid(source, layout)
    named = zip((SCALE, SHIFT, MEAN, VARIANCE), vectors, strict=True)
    arguments = {SRC: source} | {argument: lowering.plain(vector) for argument, vector in named}
    post = fused(lowering, chain, chain.tail, partial(operand_tensor, lowering, layout))
    numbers = {
        "epsilon": float(attribute(chain.head, "epsilon")),
        "flags": GLOBAL_STATS | USE_SCALE | USE_SHIFT,
    }
    arguments[DST] = lowering.result(chain.value, layout(chain.value.shape))
    lowering.run("batch_normalization", arguments, numbers=numbers, post=post)


def _sum_of_integers(lowering: Lowering, chain: Chain) -> None:
    """Bytes in and bytes out: the primitive scales its operands, and zero points are sums after it."""
    left, right = (lowering.quantized[operand] for operand in chain.head.operands)
    result = result_scale(lowering.graph, chain.last)
    source = lowering.tensor(left.raw)
    layout = lowering.layout(source)
    sources = [lowering.laid(lowering.tensor(one.raw), layout) for one in (left, right)]
    offset = sum(float(one.scale.reshape(())) * float(one.zero.reshape(())) for one in (left, right))
    activations = [eltwise(node, lowering.graph) for node in chain.tail[:-1]]
    scaled = Post("linear", float(1 / result.scale.reshape(())), float(result.zero.reshape(())))
    post = (Post("linear", 1.0, -offset), *(one for one in activations if one is not None), scaled)
    target = lowering.result(chain.value, layout(chain.value.shape))
    arguments = {SRC: sources[0], SRC_1: sources[1], DST: target}
    scales = {SRC: (0, lowering.constant(left.scale.reshape(1))), SRC_1: (0, lowering.constant(right.scale.reshape(1)))}
    lowering.run("binary", arguments, "add", post=post if offset else post[1:], scales=scales)
