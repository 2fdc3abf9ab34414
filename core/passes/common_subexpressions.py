"""Computes once what is computed several times."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from heddle.core.dtypes import dtype_name
from heddle.core.ir import Graph, Node, Value
from heddle.core.ir.printer import print_attribute
from heddle.core.passes.fold_constants import RANDOM
from heddle.core.passes.sweep import Sweep, sweep


@dataclass(frozen=True)
class CommonSubexpressions:
    """Keeps the first of equal nodes, and of equal constants of at most `constant` bytes."""

    constant: int = 1 << 12
    __name__ = "common_subexpressions"

    def __call__(self, graph: Graph) -> Graph:
        seen: dict[tuple[Sweep, Hashable], Node] = {}

        def rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
            if node.op in RANDOM or node.graphs:
                return None
            attrs = tuple((name, print_attribute(attr)) for name, attr in node.attrs.items())
            absent = tuple(value is None for value in node.outputs)
            first = seen.setdefault((state, (node.op, node.inputs, attrs, absent)), node)
            return None if first is node else first.outputs

        return sweep(self._same_constants(graph), rule)

    def _same_constants(self, graph: Graph) -> Graph:
        first: dict[Hashable, Value] = {}
        same: dict[Value, Value] = {}
        for value, array in graph.constants.items():
            if array.nbytes <= self.constant and array.dtype.kind != "O":
                key = (dtype_name(array.dtype), array.shape, array.tobytes())
                kept = first.setdefault(key, value)
                if kept is not value and value not in graph.outputs:
                    same[value] = kept
        if not same:
            return graph
        nodes = tuple(
            replace(node, inputs=tuple(None if value is None else same.get(value, value) for value in node.inputs))
            if any(value in same for value in node.operands)
            else node
            for node in graph.nodes
        )
        return graph.replace(nodes=nodes)
