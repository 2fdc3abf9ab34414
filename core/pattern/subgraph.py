"""Cuts some nodes out of a graph as a graph of their own."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.ir import Graph, Node, Value


def subgraph(graph: Graph, nodes: Sequence[Node], name: str = "", outputs: Sequence[Value] | None = None) -> Graph:
    """The graph of `nodes` (in the order of `graph`), with all names as they are.

    Its inputs are what they read from outside, in order of use. Its outputs are those given, or else what is read
    outside of them or put out by `graph`, in order of binding.
    """
    bound = {value for node in nodes for value in node.results}
    read = dict.fromkeys(value for node in nodes for value in node.operands)
    if outputs is None:
        inside = {id(node) for node in nodes}
        put_out = set(graph.outputs)
        outputs = [
            value
            for node in nodes
            for value in node.results
            if value in put_out or any(id(reader) not in inside for reader in graph.consumers.get(value, ()))
        ]
    return Graph(
        inputs=tuple(value for value in read if value not in bound and value not in graph.constants),
        nodes=tuple(nodes),
        outputs=tuple(outputs),
        constants={value: graph.constants[value] for value in read if value in graph.constants},
        name=name,
    )
