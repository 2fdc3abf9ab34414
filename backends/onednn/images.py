"""How the images of each convolution lie: with their channels last, or in blocks."""

from __future__ import annotations

from math import prod

from heddle.backends.libraries.strides import channels_last
from heddle.backends.onednn.layouts import BLOCK, Layout, in_blocks
from heddle.core.ir import Graph, Node
from heddle.core.pattern import attribute

DEEP, BUSY = 128, 1024
"""Windows of several elements over so many channels, each element multiplied so often, are faster with channels last.

It is by more than copies of the images cost.
"""
FLAT = 3
"""A convolution into blocks reads so many channels plane by plane, as the library does in a first layer."""


COPIED = 96
"""From this product over this sum of its columns before and after, a product by a matrix is worth copies into blocks.

As a convolution of one element it is up to 1.3 times as fast as the library's products; with 192 columns before and
after, that is what the copies of operand and result cost.
"""


class Images:
    """Chooses the layout of each convolution's images.

    Without AVX-512 the library's windows of one element are up to 1.3 times as fast with channels in blocks, and those
    of several over few channels about as fast. With AVX-512, and for integers, it is made to have channels last.
    """

    def __init__(self, graph: Graph, wide: bool) -> None:
        """`wide` says that the processor has AVX-512."""
        self._wide = wide
        self._blocks = not wide and not any(node.op == "DequantizeLinear" for node in graph.nodes)

    def of(self, node: Node) -> Layout:
        """The layout of what a convolution writes, and of what it reads unless that is `flat`."""
        return in_blocks if self._blocks and node.op == "Conv" and _suits(node) else channels_last

    def in_columns(self, rows: int, inner: int, outer: int) -> bool:
        """Whether a product of a matrix of so many rows is faster as a convolution over them."""
        whole = inner % BLOCK == 0 and outer % BLOCK == 0
        return not self._wide and whole and rows > 1 and inner * outer >= COPIED * (inner + outer)


def flat(node: Node) -> bool:
    """Whether a convolution into blocks reads its channels plane by plane."""
    return node.operands[0].shape[1] <= FLAT


def _suits(node: Node) -> bool:
    x, w = node.operands[:2]
    channels, out = x.shape[1], node.results[0].shape[1]
    if out % BLOCK or (channels % BLOCK and not flat(node)):
        return False
    group = int(attribute(node, "group"))
    if group > 1:
        return group == channels == out
    taps = prod(w.shape[2:])
    return taps == 1 or channels < DEEP or taps * out < BUSY
