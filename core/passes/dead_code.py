"""Removes what no output depends on."""

from __future__ import annotations

from dataclasses import replace

from heddle.core.ir import Graph, Node, Value
from heddle.core.passes.captures import without_unread_captures
from onnx import defs


def dead_code(graph: Graph) -> Graph:
    """Remove nodes whose results nobody reads, mark unused outputs as absent, drop constants that nothing reads."""
    used: set[Value] = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.outputs and not any(value in used for value in node.results):
            continue
        node = _trimmed(node, used)
        bodies = {name: dead_code(body) for name, body in node.graphs.items()}
        if any(bodies[name] is not body for name, body in node.graphs.items()):
            node = replace(node, attrs={**node.attrs, **bodies})
        if bodies:
            node = without_unread_captures(node)
        kept.append(node)
        used.update(node.operands)
    nodes = tuple(reversed(kept))
    same = len(nodes) == len(graph.nodes) and all(a is b for a, b in zip(nodes, graph.nodes, strict=True))
    if same and all(value in used for value in graph.constants):
        return graph
    return graph.replace(nodes=nodes)


def _trimmed(node: Node, used: set[Value]) -> Node:
    """The node without the outputs that nobody reads, where their number has no meaning of its own."""
    if all(value is not None and value in used for value in node.outputs):
        return node
    outputs = [value if value is not None and value in used else None for value in node.outputs]
    if not _counts_outputs(node.op):
        while outputs and outputs[-1] is None:
            outputs.pop()
    return node if tuple(outputs) == node.outputs else replace(node, outputs=tuple(outputs))


def _counts_outputs(op: str) -> bool:
    """True where the number of outputs is part of what the operator means (Split), or is not known not to be."""
    domain, _, name = op.rpartition(".")
    if not defs.has(name, domain):
        return True
    return defs.get_schema(name, domain=domain).outputs[-1].option == defs.OpSchema.FormalParameterOption.Variadic
