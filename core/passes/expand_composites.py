"""Expands operators that ONNX defines by others, unless somebody wants them whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.frontend.builder import Call
from heddle.core.frontend.functions import expand
from heddle.core.ir import Graph, Node, Value
from heddle.core.ops import operator
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
        return None if body is None else self._inlined(node, body, state)

    def _inlined(self, node: Node, body: Graph, state: Sweep) -> list[Value | None]:
        values: dict[Value, Value] = dict(zip(body.inputs, node.operands, strict=True))
        for value, array in body.constants.items():
            values[value] = state.constant(array, f"{node.results[0].name}.{value.name}")
        for inner in body.nodes:
            inputs = tuple(None if value is None else values[value] for value in inner.inputs)
            call = Call(inner.op, inputs, inner.attrs, len(inner.outputs))
            stems = [None if value is None else f"{node.results[0].name}.{value.name}" for value in inner.outputs]
            results = state.add(call, stems, node.name)
            values.update((old, new) for old, new in zip(inner.outputs, results, strict=True) if old and new)
        outputs = iter(body.outputs)
        return [None if value is None else values[next(outputs)] for value in node.outputs]
