"""Value, Node, Graph: immutable, in static single assignment, in topological order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from heddle.core.ir.printer import print_graph, print_name
from heddle.core.ir.types import DType, TensorType, Type
from numpy.typing import NDArray

Array = NDArray[Any]
Attribute = Any
"""An attribute's value: int, float, str, Type, Graph, or a tuple of these; never an array (those are constants)."""


@dataclass(frozen=True, slots=True)
class Value:
    """A name bound once in its graph, with its type."""

    name: str
    type: Type

    def __hash__(self) -> int:
        return hash(self.name)  # the text keeps its own; a type would be hashed anew each time

    @property
    def tensor(self) -> TensorType:
        """The type of a value that is known to be a tensor."""
        assert isinstance(self.type, TensorType), f"%{self.name}: a tensor was expected, it is {self.type}"
        return self.type

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions of a tensor whose shape is known."""
        shape = self.tensor.shape
        assert shape is not None, f"%{self.name}: a known shape was expected, it is {self.type}"
        return shape

    def __str__(self) -> str:
        return print_name(self)


@dataclass(frozen=True, eq=True)
class Node:
    """One application of an operator. An absent optional operand or unused output is None.

    `name` is where the node came from (the ONNX node's name), for people; it binds nothing.
    """

    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(sorted(self.attrs.items()))))

    def __hash__(self) -> int:
        return hash((self.op, self.outputs))

    @property
    def output(self) -> Value:
        """The output of a node that has exactly one."""
        (value,) = (value for value in self.outputs if value is not None)
        return value

    @cached_property
    def operands(self) -> tuple[Value, ...]:
        """The inputs that are present."""
        return tuple(value for value in self.inputs if value is not None)

    @cached_property
    def results(self) -> tuple[Value, ...]:
        """The outputs that are used."""
        return tuple(value for value in self.outputs if value is not None)

    @cached_property
    def graphs(self) -> Mapping[str, Graph]:
        """The attributes that are graphs (bodies of control flow)."""
        return {name: attr for name, attr in self.attrs.items() if isinstance(attr, Graph)}


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs, nodes in topological order, outputs, and the arrays of the values that are constant.

    An output may be an input or a constant. Graphs in attributes capture nothing silently: what a body reads from
    outside is among its inputs and among the operands of the node that holds it.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    constants: Mapping[Value, Array] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return (
            (self.name, self.inputs, self.nodes, self.outputs) == (other.name, other.inputs, other.nodes, other.outputs)
            and self.constants.keys() == other.constants.keys()
            and all(same_array(array, other.constants[value]) for value, array in self.constants.items())
        )

    def __hash__(self) -> int:
        return hash((self.name, self.inputs, self.outputs, len(self.nodes)))

    def __str__(self) -> str:
        return print_graph(self)

    @cached_property
    def producers(self) -> Mapping[Value, Node]:
        """The node that binds each value; inputs and constants have none."""
        return {value: node for node in self.nodes for value in node.results}

    @cached_property
    def consumers(self) -> Mapping[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order, each once; a value that nobody reads is absent."""
        readers: dict[Value, dict[int, Node]] = {}
        for node in self.nodes:
            for value in node.operands:
                readers.setdefault(value, {})[id(node)] = node
        return {value: tuple(nodes.values()) for value, nodes in readers.items()}

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Every value that this graph binds: inputs, constants, results."""
        return (*self.inputs, *self.constants, *(value for node in self.nodes for value in node.results))

    def replace(self, **changes: Any) -> Graph:
        """A copy with some fields changed, without the constants that nothing reads any more."""
        graph = replace(self, **changes)
        used = {value for node in graph.nodes for value in node.operands} | set(graph.outputs)
        if all(value in used for value in graph.constants):
            return graph
        return replace(graph, constants={value: a for value, a in graph.constants.items() if value in used})

    def walk(self) -> Iterator[Graph]:
        """This graph and every graph inside its nodes' attributes, outermost first."""
        yield self
        for node in self.nodes:
            for body in node.graphs.values():
                yield from body.walk()


def same_array(left: Array, right: Array) -> bool:
    """True when two arrays have one dtype, one shape and the same bits (a NaN equals itself)."""
    if left is right:
        return True
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "OT":
        return bool((left == right).all())
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()
