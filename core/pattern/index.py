"""What matching needs to know of a graph, computed once: nodes by operator, positions, who reads what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heddle.core.ir import Graph, Node, Value

FREE = frozenset({"DequantizeLinear", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that cost next to nothing, so that a region may compute again what another one computes too."""


@dataclass(frozen=True, eq=False)
class Index:
    """A graph, indexed for matching."""

    graph: Graph

    @cached_property
    def position(self) -> dict[int, int]:
        """The place of each node, by its id."""
        return {id(node): place for place, node in enumerate(self.graph.nodes)}

    @cached_property
    def by_op(self) -> dict[str, list[Node]]:
        """The nodes of each operator, in order."""
        nodes: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            nodes.setdefault(node.op, []).append(node)
        return nodes

    @cached_property
    def sources(self) -> dict[int, tuple[Node, ...]]:
        """The nodes whose results each node reads, by its id."""
        producers = self.graph.producers
        return {
            id(node): tuple({id(made): made for v in node.operands if (made := producers.get(v)) is not None}.values())
            for node in self.graph.nodes
        }

    @cached_property
    def attempts(self) -> dict[Any, Any]:
        """What `find` has found out of patterns and nodes, so that it need not seek it twice."""
        return {}

    @cached_property
    def outputs(self) -> frozenset[Value]:
        return frozenset(self.graph.outputs)

    def ordered(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        """Nodes in the order of the graph."""
        return tuple(sorted(nodes, key=lambda node: self.position[id(node)]))

    def readers_outside(self, value: Value, inside: set[int]) -> list[Node]:
        """The nodes that read a value and are not among those with the ids `inside`."""
        return [reader for reader in self.graph.consumers.get(value, ()) if id(reader) not in inside]

    def free_cone(self, nodes: Iterable[Node]) -> set[int]:
        """The ids of those of `nodes` (in order) that are free and read, of these nodes, only free ones."""
        inside = {id(node) for node in nodes}
        free: set[int] = set()
        for node in nodes:
            if node.op in FREE and all(id(m) not in inside or id(m) in free for m in self.sources[id(node)]):
                free.add(id(node))
        return free
