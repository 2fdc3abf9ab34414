"""Which convolutions have the channels of their images in blocks."""

from __future__ import annotations

from math import prod

from heddle.backends.onednn.layouts import BLOCK, Layout, channels_last, in_blocks
from heddle.core.ir import Graph, Node
from heddle.core.pattern import attribute

DEEP = 128
"""Windows over so many channels or more are faster with channels last, also after a copy."""
SHARE = 0.25
"""Blocks are worth while where at least so much of the multiplications is in windows of one element."""


class Images:
    """Chooses the layout of each convolution's images.

    Without AVX-512 the library's windows of one element are up to 1.3 times as fast with channels in blocks, and all
    others over few channels about as fast, so that a region with many of the first has blocks.
    """

    def __init__(self, graph: Graph, wide: bool) -> None:
        """`wide` says that the processor has vectors for which the library is made to have channels last."""
        heads = [node for node in graph.nodes if node.op == "Conv"]
        whole = sum(map(_multiplications, heads))
        single = sum(_multiplications(node) for node in heads if _window(node) == 1)
        integers = any(node.op == "DequantizeLinear" for node in graph.nodes)
        self._blocks = not wide and not integers and whole > 0 and single >= SHARE * whole

    def of(self, node: Node) -> Layout:
        """The layout of what a convolution writes."""
        return in_blocks if self._blocks and node.op == "Conv" and _suits(node) else channels_last


def flat(node: Node) -> bool:
    """Whether a convolution into blocks reads a few channels plane by plane, as the library does for a first layer."""
    return node.operands[0].shape[1] <= 3


def _suits(node: Node) -> bool:
    x, w = node.operands[:2]
    channels, out = x.shape[1], node.results[0].shape[1]
    group = int(attribute(node, "group"))
    if out % BLOCK or (channels % BLOCK and not flat(node)):
        return False
    if group > 1:
        return group == channels == out
    return _window(node) == 1 or w.shape[1] < DEEP


def _window(node: Node) -> int:
    return prod(node.operands[1].shape[2:])


def _multiplications(node: Node) -> int:
    return prod(node.results[0].shape) * prod(node.operands[1].shape[1:])
