"""What bodies read from outside: constants move in, and what no body reads is not passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from heddle.core.frontend.bodies import capture_count
from heddle.core.ir import Graph, Names, Node, Value
from heddle.core.ir.graph import Array


def sink_constants(graph: Graph) -> Graph:
    """Give each body the constants that it reads as its own, so that they are constant inside too."""
    if not any(node.graphs for node in graph.nodes):
        return graph
    return _sunk(graph, Names(graph))


def _sunk(graph: Graph, names: Names) -> Graph:
    nodes = []
    for node in graph.nodes:
        if node.graphs:
            node = _pruned(node, graph.constants, names)
            bodies = {name: _sunk(body, names) for name, body in node.graphs.items()}
            node = replace(node, attrs={**node.attrs, **bodies})
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def without_unread_captures(node: Node) -> Node:
    """The node without the captures that none of its bodies reads."""
    return _pruned(node, {}, Names())


def _pruned(node: Node, constants: Mapping[Value, Array], names: Names) -> Node:
    """The node without captures that are constants, which its bodies get, or that no body reads."""
    count = capture_count(node)
    start = len(node.inputs) - count
    first = {name: len(body.inputs) - count for name, body in node.graphs.items()}
    read = {name: _read(body) for name, body in node.graphs.items()}
    gone = set()
    for position in range(count):
        wanted = any(body.inputs[first[name] + position] in read[name] for name, body in node.graphs.items())
        if not wanted or node.inputs[start + position] in constants:
            gone.add(position)
    if not gone:
        return node
    attrs = dict(node.attrs)
    for name, body in node.graphs.items():
        attrs[name] = _given(body, first[name], {p: node.inputs[start + p] for p in gone}, constants, names)
    if attrs.pop("captures", 0) and count > len(gone):
        attrs["captures"] = count - len(gone)
    inputs = tuple(value for at, value in enumerate(node.inputs) if at - start not in gone)
    return replace(node, inputs=inputs, attrs=attrs)


def _read(body: Graph) -> set[Value]:
    return {value for node in body.nodes for value in node.operands} | set(body.outputs)


def _given(
    body: Graph,
    first: int,
    gone: Mapping[int, Value | None],
    constants: Mapping[Value, Array],
    names: Names,
) -> Graph:
    """The body without the inputs that go; those that are constant outside become constants of its own."""
    own = dict(body.constants)
    values: dict[Value, Value] = {}
    for position, outside in gone.items():
        inside = body.inputs[first + position]
        if outside is not None and outside in constants:
            values[inside] = names.fresh(inside.name, outside.type)
            own[values[inside]] = constants[outside]
    nodes = tuple(
        replace(node, inputs=tuple(None if value is None else values.get(value, value) for value in node.inputs))
        for node in body.nodes
    )
    inputs = tuple(value for at, value in enumerate(body.inputs) if at - first not in gone)
    outputs = tuple(values.get(value, value) for value in body.outputs)
    return body.replace(inputs=inputs, nodes=nodes, outputs=outputs, constants=own)
