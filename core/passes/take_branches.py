"""Takes the branch of an If whose condition is known."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.ir import Graph, Node, Value
from heddle.core.passes.inline import inlined
from heddle.core.passes.sweep import Sweep, sweep


def take_branches(graph: Graph) -> Graph:
    """Put the nodes of the branch that is taken in the place of each If whose condition is constant."""
    while (taken := sweep(graph, _rule)) is not graph:
        graph = taken
    return graph


def _rule(node: Node, state: Sweep) -> Sequence[Value | None] | None:
    condition = None if node.op != "If" else state.known.get(node.operands[0])
    if condition is None or condition.size != 1:
        return None
    body = node.graphs["then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"]
    results = inlined(node, body, node.inputs[1:], state)
    return [None if old is None else new for old, new in zip(node.outputs, results, strict=True)]
