"""Cuts a graph in time: what code is made for at once, and what must wait for a value or a shape that is only computed.

A segment can be compiled when the types of its inputs, and the values of some of them, are known. Between segments the
runtime takes its turns: control flow, sequences, optionals.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, TensorType, Value
from heddle.core.ops.by_value import FROM_TYPES, by_value
from heddle.core.ops.inference import LIMIT, SHAPE_OPS
from heddle.core.pattern import subgraph
from heddle.core.runtime.turns import TURNS

ALONE = frozenset(("ConcatFromSequence", "SplitToSequence"))
"""Operators between tensors and sequences: code is made for them when the sequence's length is known."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A part that is compiled as a whole; `values` are the inputs whose values it is compiled for."""

    body: Graph
    values: frozenset[Value]


Stage = Segment | Node
"""A segment, or a node that the runtime carries out."""


def cut(graph: Graph) -> tuple[Stage, ...]:
    """The stages of a graph in an order in which they can run, each as large as it can be."""
    work = _Cut(graph)
    while work.waiting:
        before = len(work.waiting)
        work.segment()
        work.turns()
        if len(work.waiting) == before:
            raise GraphError(f"{work.waiting[0].op} {work.waiting[0].name!r}: what it reads is never computed")
    return tuple(work.stages)


def is_whole(stages: tuple[Stage, ...]) -> bool:
    """Whether a graph of these stages is compiled at once, for nothing but the types of its inputs."""
    if len(stages) != 1:
        return not stages
    (stage,) = stages
    return isinstance(stage, Segment) and not stage.values and stage.body.nodes[0].op not in ALONE


class _Cut:
    """The cutting of one graph: what waits, and what the runtime has by the time of the next stage."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.waiting = list(graph.nodes)
        self.stages: list[Stage] = []
        self.ready: set[Value] = {*graph.inputs, *graph.constants}

    def segment(self) -> None:
        """Add the largest segment that can be compiled from what is ready."""
        inside: list[Node] = []
        bound: dict[Value, Node] = {}
        values: set[Value] = set()
        for node in self.waiting:
            if _is_turn(node) or node.op in ALONE:
                continue
            if any(value not in self.ready and value not in bound for value in node.operands):
                continue
            wanted = self._roots(node, bound)
            if wanted is not None:
                values |= wanted
                inside.append(node)
                bound.update((value, node) for value in node.results)
        self._add(inside, values)

    def turns(self) -> None:
        """Add what the runtime can do with what is ready, and what can be compiled only by itself."""
        for node in self.waiting:
            if any(value not in self.ready for value in node.operands):
                continue
            if _is_turn(node):
                self.stages.append(node)
                self._done([node])
            elif node.op in ALONE:
                self._add([node], self._roots(node, {}) or set())

    def _add(self, nodes: list[Node], values: Container[Value]) -> None:
        if not nodes:
            return
        body = subgraph(self.graph, nodes, f"part{sum(isinstance(stage, Segment) for stage in self.stages)}")
        self.stages.append(Segment(body, frozenset(value for value in body.inputs if value in values)))
        self._done(nodes)

    def _done(self, nodes: list[Node]) -> None:
        gone = {id(node) for node in nodes}
        self.waiting = [node for node in self.waiting if id(node) not in gone]
        self.ready.update(value for node in nodes for value in node.results)

    def _roots(self, node: Node, bound: dict[Value, Node]) -> set[Value] | None:
        """The ready values that give all operands which a node needs by value; None if some are not to be had yet."""
        roots: set[Value] = set()
        for position in by_value(node):
            value = node.inputs[position] if position < len(node.inputs) else None
            found = set() if value is None else self._root(value, bound)
            if found is None:
                return None
            roots |= found
        return roots

    def _root(self, value: Value, bound: dict[Value, Node]) -> set[Value] | None:
        roots: set[Value] = set()
        stack, seen = [value], {value}
        while stack:
            item = stack.pop()
            if item in self.graph.constants:
                continue
            if item in self.ready:
                roots.add(item)
                continue
            node = bound[item]
            if node.op in FROM_TYPES:
                continue
            if node.op not in SHAPE_OPS or not all(map(_may_be_small, node.operands)):
                return None
            stack += [operand for operand in node.operands if operand not in seen]
            seen.update(node.operands)
        return roots


def _is_turn(node: Node) -> bool:
    """Whether the runtime carries a node out; an Identity only of what is no tensor."""
    return node.op in TURNS and (node.op != "Identity" or not isinstance(node.operands[0].type, TensorType))


def _may_be_small(value: Value) -> bool:
    """Whether a value may be part of a computation with shapes: few numbers, as far as its type tells."""
    if not isinstance(value.type, TensorType):
        return False
    size = value.type.size
    return size <= LIMIT if size is not None else value.type.dims is None or len(value.type.dims) <= 1
