"""Attention that a pattern has found, as a plan of cuDNN's fused kernel."""

from __future__ import annotations

import numpy as np
from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.convolutions import PlanBuilder
from heddle.backends.libraries.strides import dense
from heddle.core.codegen.lower import Lowering
from heddle.core.codegen.tensor import load
from heddle.core.ir import Graph, Value
from heddle.core.pattern import Match


def attention(op: Lowering, graph: Graph, match: Match) -> Call:
    """The call of an attention whose keys come turned, as the scores' product needs them."""
    builder = PlanBuilder()
    queries = _heads(op, builder, graph, match["q"], (0, 1, 2, 3))
    keys = _heads(op, builder, graph, match["k"], (0, 1, 3, 2))
    values = _heads(op, builder, graph, match["v"], (0, 1, 2, 3))
    operands = [queries, keys, values]
    mask = match.value("mask")
    if mask is not None:
        shape = (1,) * (4 - len(mask.shape)) + mask.shape
        operands.append(builder.argument(mask, shape, dense(shape)))
    (output,) = match.outputs
    result = builder.apply("attention", *operands, dims=output.shape, scale=scale_of(match))
    return builder.finish(result, output, dense(output.shape), False, op.label)


def scale_of(match: Match) -> float:
    """What the scores are multiplied by."""
    times, over = match.array("times"), match.array("over")
    scale = 1.0 if times is None else float(np.asarray(times, np.float32).reshape(-1)[0])
    return scale if over is None else scale / float(np.asarray(over, np.float32).reshape(-1)[0])


def _heads(op: Lowering, builder: PlanBuilder, graph: Graph, value: Value, order: tuple[int, ...]) -> int:
    """An operand as batch, head, position, channel, read where a transposition before it took it from.

    Channels must lie side by side for the library; where they do not, a copy is made in which they do.
    """
    dims = tuple(value.shape[axis] for axis in order)
    node = graph.producers.get(value)
    source, strides = value, dense(value.shape)
    if node is not None and node.op == "Transpose":
        (source,) = node.operands
        perm = node.attrs.get("perm") or tuple(reversed(range(4)))
        strides = tuple(dense(source.shape)[axis] for axis in perm)
    turned = tuple(strides[axis] for axis in order)
    if turned[-1] == 1:
        return builder.argument(source, dims, turned)
    copy = op.fresh("heads", value.dtype, dims)
    op.compute(copy, lambda *i: load(value, *(i[order.index(axis)] for axis in range(4))))
    return builder.argument(copy, dims, dense(dims))
