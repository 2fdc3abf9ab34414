"""What a device can do in a second, and from that what a graph costs on it: a roofline for backends without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import NamedTuple

from heddle.core.ir import Graph, Node, TensorType, Type, Value, dtype_name
from heddle.core.pattern import FREE
from heddle.core.runtime.device import HOST_MEMORY

_ANY_DTYPE = "*"


@dataclass(frozen=True)
class Link:
    """How fast bytes move between the host's memory and a device's: a time for each transfer, and bytes per second."""

    latency: float
    bandwidth: float

    def seconds(self, nbytes: float) -> float:
        return self.latency + nbytes / self.bandwidth


@dataclass(frozen=True)
class Figures:
    """The declared speeds of a device.

    `operations` are operations per second by element type (a multiply-add is two), `"*"` for all other types;
    `bandwidth` bytes per second of its memory; `launch` the seconds that starting one region takes. `memory` names
    where its data lies and `link` how it comes there; None when it works in the host's memory. `capacity` is the
    size of that memory in bytes, None when it does not matter. `layout` is how its ports are laid out.
    """

    operations: Mapping[str, float] = field(default_factory=lambda: {_ANY_DTYPE: 1e10})
    bandwidth: float = 1e10
    launch: float = 1e-5
    memory: str = HOST_MEMORY
    link: Link | None = None
    capacity: int | None = None
    layout: str = "dense"

    def speed(self, dtype: str) -> float:
        """Operations per second on one element type."""
        known = self.operations.get(dtype, self.operations.get(_ANY_DTYPE))
        return min(self.operations.values()) if known is None else known


class Work(NamedTuple):
    """What a node or graph has to do: arithmetic operations and bytes through memory."""

    operations: float
    bytes: float


def roofline(body: Graph, figures: Figures) -> tuple[float, float]:
    """Seconds of computing and of launching a graph: each node at the device's arithmetic or memory speed, the slower.

    Values that stay inside the graph are counted as kept near: only what crosses the border, and constants, go
    through memory.
    """
    return sum(by_family(body, figures).values()), figures.launch


def by_family(body: Graph, figures: Figures) -> dict[str, float]:
    """The roofline's seconds of computing, told apart by the family of the operators; families that are absent lack."""
    near = {value for node in body.nodes for value in node.results}.difference(body.outputs)
    seconds: dict[str, float] = {}
    for node in body.nodes:
        touched = sum(bytes_of(value) for value in (*node.operands, *node.results) if value not in near)
        taken = max(_operations(node) / figures.speed(element_type(node)), touched / figures.bandwidth)
        seconds[family(node)] = seconds.get(family(node), 0.0) + taken
    return seconds


def border(body: Graph, figures: Figures) -> float:
    """Seconds that the inputs and outputs of a graph take through the device's memory."""
    return sum(map(bytes_of, (*body.inputs, *body.outputs))) / figures.bandwidth


def family(node: Node) -> str:
    """Which operators are quick or slow together on a device, as far as a roofline goes.

    `function` is what takes many operations for an element, or goes over the elements again: exponentials,
    normalizations, reductions.
    """
    if node.op in _MOVES:
        return "movement"
    if node.op in _POOLS:
        return "window"
    if node.op not in _CONTRACTIONS:
        again = node.op.startswith(("Reduce", "Global")) or _WEIGHT.get(node.op, 1) >= _MANY
        return "function" if again else "elementwise"
    if "Conv" not in node.op:
        return "product"
    return "convolution" if node.attrs.get("group", 1) == 1 else "grouped"


def work_of(node: Node) -> Work:
    """The operations and bytes of one node; unknown dimensions count as 1."""
    moved = sum(bytes_of(value) for value in (*node.operands, *node.results))
    return Work(0.0, 0.0) if node.op in _RENAMES else Work(float(_operations(node)), float(moved))


def element_type(node: Node) -> str:
    """The element type that decides the speed of a node: that of its first tensor."""
    for value in (*node.operands, *node.results):
        if isinstance(value.type, TensorType):
            return dtype_name(value.type.dtype)
    return _ANY_DTYPE


def bytes_of(value: Value) -> int:
    """The bytes of a value, unknown dimensions counted as 1; 0 for what is no tensor."""
    return _count(value.type) * value.type.dtype.itemsize if isinstance(value.type, TensorType) else 0


def _operations(node: Node) -> int:
    if node.op in _MOVES:
        return 0
    out = sum(_count(value.type) for value in node.results)
    if node.op in _CONTRACTIONS and len(node.operands) > _CONTRACTIONS[node.op]:
        return 2 * out * _depth(node, _dims(node.operands[_CONTRACTIONS[node.op]].type))
    if node.op in ("LSTM", "GRU", "RNN") and len(node.operands) > 2:
        sizes = [_dims(value.type) for value in node.operands]
        steps = prod(sizes[0][:2]) if len(sizes[0]) > 1 else 1
        return 2 * steps * (prod(sizes[1]) + prod(sizes[2]))
    if node.op in _POOLS:
        return out * int(prod(node.attrs.get("kernel_shape", (1,))))
    into = sum(_count(value.type) for value in node.operands)
    return max(out, into) * _WEIGHT.get(node.op, 1)


def _depth(node: Node, weights: tuple[int, ...]) -> int:
    """How many products make one element of a contraction's result."""
    if not weights:
        return 1
    if node.op in ("Conv", "ConvInteger", "QLinearConv"):
        return prod(weights[1:])
    if node.op == "ConvTranspose":
        strides = prod(node.attrs.get("strides", (1,)))
        return prod(weights[:1] + weights[2:]) // max(1, int(strides))
    if node.op == "Gemm" and node.attrs.get("transB", 0):
        return weights[-1]
    return weights[-2] if len(weights) > 1 else weights[0]


_CONTRACTIONS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger"), 1)
    | dict.fromkeys(("QLinearConv", "QLinearMatMul"), 3)
)
"""The operators whose results are sums of products, and which of their operands holds the weights."""

_RENAMES = FREE - {"DequantizeLinear"}
"""Operators that neither compute nor move anything."""

_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})

_MOVES = frozenset(
    {
        *("Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "Gather", "GatherElements", "GatherND"),
        *_RENAMES,
        *("Pad", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Tile", "Transpose", "If", "Loop", "Scan"),
    }
)
"""Operators that move bytes and compute nothing."""

_WEIGHT: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("Erf", "Exp", "Gelu", "Log", "Mish", "Pow", "Sigmoid", "Softplus", "Tanh", "HardSwish"), 10),
        **dict.fromkeys(("Cos", "Sin", "Tan", "Acos", "Asin", "Atan", "Cosh", "Sinh", "Sqrt", "Div"), 10),
        **dict.fromkeys(("BatchNormalization", "DequantizeLinear", "QuantizeLinear", "Resize"), 4),
        **dict.fromkeys(("LogSoftmax", "Softmax"), 14),
        **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LRN"), 8),
    }
)
"""How many operations an element costs where it is not one."""

_MANY = 8
"""From so many operations on an element is more than arithmetic."""


@lru_cache(maxsize=1 << 12)
def _dims(type: Type) -> tuple[int, ...]:
    dims = type.dims if isinstance(type, TensorType) else None
    return () if dims is None else tuple(dim if isinstance(dim, int) else 1 for dim in dims)


@lru_cache(maxsize=1 << 12)
def _count(type: Type) -> int:
    return prod(_dims(type)) if isinstance(type, TensorType) else 0
