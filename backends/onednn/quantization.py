"""Values that are held as integers, and where the library may multiply them as such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.backends.onednn.ranges import Range, ranges
from heddle.core.ir import Graph, Node, Value
from heddle.core.pattern import attribute
from numpy.typing import NDArray

Array = NDArray[Any]

VNNI = "avx512vnni"
"""The processor's feature (LLVM's name) with which the library sums products of bytes in 32 bits.

Without it, it adds two neighbouring products in 16 bits, which saturates, and halves weights that meet signed data.
"""
LEAST, MOST = -(2**15), 2**15 - 1
"""The numbers of 16 bits."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A real value as integers: which value holds them, their scale and zero point, and the axis that those follow."""

    raw: Value
    scale: Array
    zero: Array
    axis: int

    @property
    def whole(self) -> bool:
        """True of one scale and zero point for all elements."""
        return self.scale.size == 1 and self.zero.size == 1


def dequantized(graph: Graph) -> dict[Value, Quantized]:
    """What every DequantizeLinear of a graph makes real."""
    found = {}
    for node in graph.nodes:
        if node.op == "DequantizeLinear":
            x, scale, *rest = node.inputs
            assert x is not None
            assert scale is not None
            axis = int(attribute(node, "axis") or 0) % max(1, len(x.shape))
            found[node.results[0]] = Quantized(x, graph.constants[scale], _zero(graph, rest), axis)
    return found


def result_scale(graph: Graph, node: Node) -> Quantized:
    """The scale and zero point of a QuantizeLinear."""
    _, scale, *rest = node.inputs
    assert scale is not None
    return Quantized(node.results[0], graph.constants[scale], _zero(graph, rest), 0)


def _zero(graph: Graph, given: list[Value | None]) -> Array:
    return graph.constants[given[0]] if given and given[0] is not None else np.zeros(1, np.int32)


def real_array(one: Quantized, array: Array) -> Array:
    """A quantized constant as real numbers."""
    shape = [1] * array.ndim
    if one.scale.size != 1:
        shape[one.axis] = -1
    scale = one.scale.reshape(shape) if array.ndim else one.scale.reshape(())
    zero = one.zero.astype(np.int32).reshape(shape if one.zero.size != 1 else [1] * array.ndim)
    return ((array.astype(np.int32) - zero).astype(np.float32) * scale).astype(np.float32)


class Multiplier:
    """Decides which convolutions and products are computed in integers."""

    def __init__(self, graph: Graph, quantized: Mapping[Value, Quantized], wide: bool) -> None:
        """`wide` says that sums are as wide as they must be, or that it does not matter."""
        self.graph, self.quantized, self.wide = graph, quantized, wide
        self.ranges = ranges(graph)

    def operands(self, head: Node) -> tuple[Quantized, Quantized] | None:
        """The integers of a head's data and weights, None where it is computed in real numbers."""
        if head.op == "ConvTranspose" or (head.op == "Gemm" and attribute(head, "transA")):
            return None
        data, weights = (self.quantized.get(value) for value in head.operands[:2])
        if data is None or weights is None or not data.whole or data.raw.dtype not in (np.int8, np.uint8):
            return None
        array = self.graph.constants.get(weights.raw)
        if array is None or array.dtype != np.int8 or weights.zero.any():
            return None
        axis = 0 if head.op == "Conv" else output_axis(head)
        if weights.scale.size != 1 and weights.axis != axis % array.ndim:
            return None
        return (data, weights) if self.wide or exact(self.ranges[data.raw], array, axis) else None


def output_axis(head: Node) -> int:
    """The axis of a head's weights that becomes the channels or columns of the result."""
    if head.op == "Conv":
        return 0
    return 0 if head.op == "Gemm" and attribute(head, "transB") else -1


def exact(data: Range, weights: Array, axis: int) -> bool:
    """Whether sums of two products stay within 16 bits, whichever two weights of an output come together.

    They are of unsigned data; where none is beyond 127, as after a rectifier in signed bytes, all weights do.
    """
    low, high = data
    if low < 0:
        return False
    flat = np.sort(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.int32), axis=1)
    least, most = flat[:, :2].clip(max=0).sum(axis=1), flat[:, -2:].clip(min=0).sum(axis=1)
    return bool((high * least >= LEAST).all() and (high * most <= MOST).all())
