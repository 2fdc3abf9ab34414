"""Puts the nodes of a graph in the place of one node of another."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.frontend.builder import Call
from heddle.core.ir import Graph, Node, Value
from heddle.core.passes.sweep import Sweep


def inlined(node: Node, body: Graph, operands: Sequence[Value | None], state: Sweep) -> list[Value | None]:
    """Add the nodes of a body that stands for a node, over these operands; gives the body's outputs."""
    values: dict[Value, Value | None] = dict(zip(body.inputs, operands, strict=True))
    for value, array in body.constants.items():
        values[value] = state.constant(array, f"{node.results[0].name}.{value.name}")
    for inner in body.nodes:
        inputs = tuple(None if value is None else values[value] for value in inner.inputs)
        call = Call(inner.op, inputs, inner.attrs, len(inner.outputs))
        stems = [None if value is None else f"{node.results[0].name}.{value.name}" for value in inner.outputs]
        results = state.add(call, stems, node.name)
        values.update((old, new) for old, new in zip(inner.outputs, results, strict=True) if old and new)
    return [values[value] for value in body.outputs]
