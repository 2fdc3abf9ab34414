"""Which operators join the call of one before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from heddle.backends.libraries.chains import Chain
from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import attributes_of

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("MatMul", "Gemm")
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh")
"""What cuDNN computes behind a convolution."""


Takes = Callable[[Graph, Chain, Node], bool]


def chains(
    graph: Graph, heads: Mapping[str, Takes], begins: Callable[[Node], bool], apart: frozenset[Value]
) -> dict[Node, Chain | None]:
    """For the last node of each chain the chain, for every other node of one None.

    `heads` gives by operator what may join a chain that begins with it, `begins` tells whether a node does begin one;
    nodes that give a value of `apart` stay out.
    """
    found: dict[Node, Chain | None] = {}
    outputs = set(graph.outputs)
    for node in graph.nodes:
        if node.op not in heads or node in found or apart.intersection(node.results) or not begins(node):
            continue
        chain = Chain(node)
        while chain.value not in outputs:
            readers = graph.consumers.get(chain.value, ())
            if len(readers) != 1 or readers[0] in found or apart.intersection(readers[0].results):
                break
            if not heads[node.op](graph, chain, readers[0]):
                break
            chain.tail.append(readers[0])
        found |= dict.fromkeys(chain.nodes)
        found[chain.last] = chain
    return found


def joins_convolution(graph: Graph, chain: Chain, node: Node) -> bool:
    """Whether cuDNN computes a node behind a convolution: one addition of an image as large, then one activation."""
    if any(one.op in ACTIVATIONS for one in chain.tail) or node.results[0].type != chain.value.type:
        return False
    if node.op == "Clip":
        return all(value in graph.constants for value in node.operands[1:])
    if node.op in ACTIVATIONS:
        return True
    return node.op == "Add" and not chain.tail and _adds(chain, node, chain.value.shape)


def joins_product(graph: Graph, chain: Chain, node: Node) -> bool:
    """Whether cuBLASLt computes a node behind a product: a bias, a matrix as large, a rectifier at the end."""
    if node.results[0].type != chain.value.type or any(one.op == "Relu" for one in chain.tail):
        return False
    if node.op == "Relu":
        return True
    if node.op != "Add" or (chain.head.op == "Gemm" and len(chain.head.operands) > 2 and is_bias(chain, node)):
        return False
    earlier = [is_bias(chain, one) for one in chain.tail]
    if is_bias(chain, node):
        return True not in earlier
    return False not in earlier and _gemm_leaves_addend(chain) and _adds(chain, node, chain.value.shape)


def is_bias(chain: Chain, node: Node) -> bool:
    """Whether a node adds one number for each column."""
    whole = chain.head.results[0].shape
    if node.op != "Add" or len(node.operands) != 2 or node.operands[0] == node.operands[1]:
        return False
    return any(operand.shape in _columns(whole) for operand in node.operands if operand.shape != whole)


def _columns(whole: tuple[int, ...]) -> set[tuple[int, ...]]:
    """The shapes that broadcast one number to each column."""
    return {(1,) * ones + whole[-1:] for ones in range(len(whole))}


def gemm_addend(node: Node) -> Value | None:
    """A Gemm's third operand."""
    return node.inputs[2] if node.op == "Gemm" and len(node.inputs) > 2 else None


def _gemm_leaves_addend(chain: Chain) -> bool:
    c = gemm_addend(chain.head)
    return c is None or (c.shape in _columns(chain.head.results[0].shape) and attributes_of(chain.head)["beta"] == 1)


def _adds(chain: Chain, node: Node, shape: tuple[int, ...]) -> bool:
    return len(set(node.operands)) == 2 and chain.other(node).shape == shape
