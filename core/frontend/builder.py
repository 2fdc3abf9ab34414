"""A graph under construction: each node is typed by its operator's rule as it is added."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Names, Node, TensorType, Value
from heddle.core.ops.inference import Inference
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Call:
    """An operator's application before it has a place in a graph; attributes may still hold arrays."""

    op: str
    inputs: tuple[Value | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1

    def input(self, index: int) -> Value | None:
        """The operand at a position, None when it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def without(self, *names: str) -> dict[str, Any]:
        """The attributes but these."""
        return {name: value for name, value in self.attrs.items() if name not in names}


class Builder:
    """Collects the nodes and constants of one graph. Names and knowledge are shared with the graphs around it."""

    def __init__(self, names: Names, inference: Inference) -> None:
        self.names, self.inference = names, inference
        self.nodes: list[Node] = []
        self.constants: dict[Value, Array] = {}
        self.captures: dict[Value, None] = {}

    def constant(self, array: Any, name: str, exact: bool = False) -> Value:
        """Bind a constant, by this very name when `exact`, else by a fresh one made from it."""
        array = np.asanyarray(array)
        value = self._bind(name, TensorType(array.dtype, array.shape), exact)
        self.constants[value] = array
        self.inference.known[value] = array
        return value

    def capture(self, outer: Value) -> Value:
        """The value of a graph around this one, as an input of this one; it keeps its name."""
        self.captures.setdefault(outer)
        return outer

    def emit(
        self, call: Call, names: Sequence[str | None], label: str = "", exact: Collection[str] = ()
    ) -> tuple[Value | None, ...]:
        """Add a node; its results get these names (None: unused), those in `exact` as they are, the others made fresh.

        GraphError when the operator's rule refuses the node.
        """
        probe = Node(call.op, call.inputs, (None,) * len(names), call.attrs)
        types = self.inference.types(probe)
        if len(types) < len(names):
            raise GraphError(f"{call.op}: it has {len(types)} outputs, {len(names)} are named")
        outputs = tuple(
            None if name is None else self._bind(name, type, name in exact)
            for name, type in zip(names, types, strict=False)
        )
        node = Node(call.op, call.inputs, outputs, call.attrs, label)
        self.nodes.append(node)
        self.inference.learn(node)
        return outputs

    def apply(self, op: str, *inputs: Value | None, stem: str, label: str = "", **attrs: Any) -> Value:
        """Add a node of one result, with a fresh name."""
        (value,) = self.emit(Call(op, inputs, attrs), [stem], label)
        assert value is not None
        return value

    def graph(self, inputs: Sequence[Value], outputs: Sequence[Value], name: str) -> Graph:
        """The finished graph; captures follow the inputs."""
        return Graph((*inputs, *self.captures), tuple(self.nodes), tuple(outputs), self.constants, name).replace()

    def _bind(self, name: str, type: Any, exact: bool) -> Value:
        return Value(name, type) if exact else self.names.fresh(name, type)
