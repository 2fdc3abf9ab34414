"""Between which numbers the elements of each value lie, as far as the operators that made it tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf

import numpy as np
from heddle.core.ir import Graph, Node, TensorType, Value

Range = tuple[float, float]
EVERYTHING: Range = (-inf, inf)
TIE = 0.51
"""A little more than what rounding to the next integer adds: a quotient is off by less than a hundredth."""


def ranges(graph: Graph) -> dict[Value, Range]:
    """The least and the greatest number that an element of each value may be; NaN is left aside."""
    found = {value: _of_array(array) for value, array in graph.constants.items()}
    found |= {value: _of_type(value) for value in graph.inputs}
    for node in graph.nodes:
        rule = RULES.get(node.op)
        made = EVERYTHING if rule is None else rule(node, graph, [found[operand] for operand in node.operands])
        for result in node.results:
            low, high = _of_type(result)
            found[result] = (max(low, made[0]), min(high, made[1]))
    return found


def _of_array(array: np.ndarray) -> Range:
    if array.dtype.kind not in "iuf" or not array.size or not np.isfinite(array).all():
        return EVERYTHING
    return float(array.min()), float(array.max())


def _of_type(value: Value) -> Range:
    if not isinstance(value.type, TensorType) or value.dtype not in (np.int8, np.uint8):
        return EVERYTHING
    limits = np.iinfo(value.dtype)
    return float(limits.min), float(limits.max)


Rule = Callable[[Node, Graph, Sequence[Range]], Range]


def _rectified(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    low, high = given[0]
    return max(0.0, low), max(0.0, high)


def _share(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    return 0.0, 1.0


def _clipped(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    low, high = given[0]
    least, most = (*node.inputs[1:3], None, None)[:2]
    bottom = -inf if least is None or least not in graph.constants else float(graph.constants[least].reshape(()))
    top = inf if most is None or most not in graph.constants else float(graph.constants[most].reshape(()))
    return min(max(low, bottom), top), min(max(high, bottom), top)


def _same(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    return given[0]


def _with_padding(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    low, high = given[0]
    return min(0.0, low), max(0.0, high)


def _any(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    return min(low for low, _ in given), max(high for _, high in given)


def _sum(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    return sum(low for low, _ in given), sum(high for _, high in given)


def _quantized(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    step = _step(node, graph)
    if step is None:
        return EVERYTHING
    (low, high), (scale, zero) = given[0], step
    return (
        low if low == -inf else ceil(low / scale - TIE) + zero,
        high if high == inf else floor(high / scale + TIE) + zero,
    )


def _dequantized(node: Node, graph: Graph, given: Sequence[Range]) -> Range:
    step = _step(node, graph)
    if step is None:
        return EVERYTHING
    (low, high), (scale, zero) = given[0], step
    return (low - zero) * scale, (high - zero) * scale


def _step(node: Node, graph: Graph) -> tuple[float, float] | None:
    """The scale and zero point of a quantization, None where they are not one positive number each."""
    arrays = [graph.constants.get(value) if value is not None else None for value in node.inputs[1:]]
    scale, zero = (*arrays, None, None)[:2]
    if scale is None or scale.size != 1 or not float(scale.reshape(())) > 0 or (zero is not None and zero.size != 1):
        return None
    return float(scale.reshape(())), 0.0 if zero is None else float(zero.reshape(()))


RULES: Mapping[str, Rule] = {
    "Relu": _rectified,
    "Clip": _clipped,
    "Add": _sum,
    "Concat": _any,
    "AveragePool": _with_padding,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _dequantized,
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), _share),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool", "GlobalAveragePool", "Transpose"), _same),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _same),
}
