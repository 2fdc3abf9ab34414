"""Expands operators that ONNX defines by others, unless somebody wants them whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.frontend.functions import expand
from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import operator
from heddle.core.passes.inline import inlined
from heddle.core.passes.sweep import Sweep, sweep


@dataclass(frozen=True)
class ExpandComposites:
    """Replaces composites by their function bodies, as long as there are any.

    Elementwise operators and reductions are never expanded: their meaning is one expression. `keep` names the
    operators that stay as they are.
    """

    keep: frozenset[str] = frozenset()
    __name__ = "expand_composites"

    def __call__(self, graph: Graph) -> Graph:
        while (expanded := sweep(graph, self._rule)) is not graph:
            graph = expanded
        return graph

    def _rule(self, node: Node, state: Sweep) -> Sequence[Value | None] | None:
        definition = operator(node.op)
        if node.op in self.keep or definition is None or definition.scalar or definition.reduction:
            return None
        body = expand(node)
        if body is None:
            return None
        outputs = iter(inlined(node, body, node.operands, state))
        return [None if value is None else next(outputs) for value in node.outputs]
