"""The reference: what a graph computes, node by node, by the operators' own meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, TensorType, Type, Value
from heddle.core.ops import evaluate_node


def evaluate(
    graph: Graph,
    inputs: Sequence[Any] | Mapping[str, Any],
    watch: Callable[[Value, Any], None] | None = None,
) -> tuple[Any, ...]:
    """The values of a graph's outputs for inputs given by position or by name.

    `watch` is called with each value that a node binds, as it is bound.
    """
    if isinstance(inputs, Mapping):
        inputs = [inputs[value.name] for value in graph.inputs]
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"the graph takes {len(graph.inputs)} inputs, {len(inputs)} are given")
    bound: dict[Value, Any] = {**graph.constants, **dict(zip(graph.inputs, inputs, strict=True))}
    for node in graph.nodes:
        operands = [None if value is None else bound[value] for value in node.inputs]
        try:
            results = evaluate_node(node, operands, Body)
        except Exception as error:
            error.add_note(f"while evaluating {node.op} {node.name!r}, which binds {', '.join(map(str, node.results))}")
            raise
        for value, result in zip(node.outputs, results, strict=False):
            if value is not None:
                bound[value] = result
                if watch is not None:
                    watch(value, result)
    return tuple(bound[value] for value in graph.outputs)


@dataclass(frozen=True)
class Body:
    """A graph inside an attribute, as the operator that holds it calls it."""

    graph: Graph

    @property
    def blanks(self) -> tuple[Any, ...]:
        return tuple(_blank(value.type) for value in self.graph.outputs)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return evaluate(self.graph, inputs)


def _blank(type: Type) -> Any:
    """An array of a type, its unknown dimensions 0; None for what is no tensor."""
    if not isinstance(type, TensorType):
        return None
    return np.zeros([dim if isinstance(dim, int) else 0 for dim in type.dims or ()], type.dtype)
