"""Which operators become part of the primitive of one before them."""

from __future__ import annotations

from math import prod

import numpy as np
from heddle.backends.libraries.chains import Chain
from heddle.backends.onednn.eltwise import eltwise
from heddle.backends.onednn.quantization import Multiplier
from heddle.core.ir import Graph, Node

FUSED_BINARY = ("Add", "Mul", "Sub", "Max", "Min", "Div")
HEADS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
MOST_POSTS = 8


def chains(graph: Graph, multiplier: Multiplier) -> tuple[dict[Node, Chain], set[int]]:
    """For the node where each chain ends, the chain; and the ids of all nodes that are inside of chains."""
    ends: dict[Node, Chain] = {}
    taken: set[int] = set()
    outputs = set(graph.outputs)
    for node in graph.nodes:
        if id(node) in taken:
            continue
        if node.op not in HEADS:
            chain = _normalization(graph, node) or _sum_of_integers(graph, multiplier, node)
            if chain is not None:
                taken.update(id(one) for one in chain.nodes)
                ends[chain.last] = chain
            continue
        chain = Chain(node)
        while len(chain.tail) < MOST_POSTS and chain.value not in outputs:
            readers = graph.consumers.get(chain.value, ())
            if len(readers) != 1 or id(readers[0]) in taken or not _fuses(graph, multiplier, chain, readers[0]):
                break
            chain.tail.append(readers[0])
            if readers[0].op == "QuantizeLinear":
                break
        taken.update(id(one) for one in chain.nodes)
        ends[chain.last] = chain
    return ends, taken


def _normalization(graph: Graph, node: Node) -> Chain | None:
    """A batch normalization with the rectifier after it."""
    if node.op != "BatchNormalization":
        return None
    chain = Chain(node)
    readers = graph.consumers.get(chain.value, ())
    if len(readers) == 1 and readers[0].op == "Relu" and chain.value not in graph.outputs:
        chain.tail.append(readers[0])
    return chain


def _sum_of_integers(graph: Graph, multiplier: Multiplier, node: Node) -> Chain | None:
    """A sum of two dequantized tensors with what follows it, when that is activations and a quantization."""
    if node.op != "Add" or node.operands[0].shape != node.operands[1].shape:
        return None
    operands = [multiplier.quantized.get(operand) for operand in node.operands]
    if not all(one is not None and one.whole and one.raw.dtype in (np.int8, np.uint8) for one in operands):
        return None
    if any(one is not None and one.raw in graph.constants for one in operands):
        return None
    chain = Chain(node)
    while chain.last.op != "QuantizeLinear":
        readers = graph.consumers.get(chain.value, ())
        if len(readers) != 1 or chain.value in graph.outputs:
            return None
        if readers[0].op != "QuantizeLinear" and eltwise(readers[0], graph) is None:
            return None
        chain.tail.append(readers[0])
    return chain


def _fuses(graph: Graph, multiplier: Multiplier, chain: Chain, node: Node) -> bool:
    """Whether a node that alone reads the chain's value can be part of its primitive."""
    value, result = chain.value, node.results[0]
    if node.op == "QuantizeLinear":
        return multiplier.operands(chain.head) is not None
    if result.shape != value.shape:
        return False
    if eltwise(node, graph) is not None:
        return True
    if node.op not in FUSED_BINARY or list(node.operands).count(value) != 1:
        return False
    if node.op in ("Sub", "Div") and node.operands[0] != value:
        return False
    other = chain.other(node)
    return bool(other.shape) and _spreads(other.shape, value.shape, flat=_is_flat(chain.head))


def _is_flat(head: Node) -> bool:
    """Whether a head is a product by one matrix, of all rows as one axis."""
    return head.op in ("MatMul", "Gemm") and len(head.operands[1].shape) == 2


def _spreads(other: tuple[int, ...], whole: tuple[int, ...], flat: bool) -> bool:
    """Whether an operand's shape is one that the library fuses well: whole, along one axis, or one number."""
    other = (1,) * (len(whole) - len(other)) + other
    if other == whole:
        return True
    along = [axis for axis, size in enumerate(other) if size != 1]
    if any(other[axis] != whole[axis] for axis in along) or len(along) > 1:
        return False
    # An axis of several that are one in the product can only be all of it.
    return not flat or all(axis == len(whole) - 1 or whole[axis] == prod(whole[:-1]) for axis in along)
