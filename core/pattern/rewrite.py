"""Rewriting: a rule is a pattern and what to put in its place; applied to a graph, it is a pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Names, Node, Value, dtype_name, tensor
from heddle.core.ir.graph import Array
from heddle.core.ops import infer_node, operator
from heddle.core.pattern.find import find, owned_nodes
from heddle.core.pattern.index import Index
from heddle.core.pattern.pattern import Match, Pattern

ROUNDS = 1_000
"""A rule that still finds something after so many rounds over a graph is taken to run in circles."""


@dataclass(eq=False)
class Builder:
    """Makes the nodes of a replacement: `build.Mul(x, y)` is a node of the operator, its types inferred."""

    names: Names
    known: Mapping[Value, Array]
    stem: str = "new"
    nodes: list[Node] = field(default_factory=list)
    constants: dict[Value, Array] = field(default_factory=dict)

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if operator(op) is None:
            raise AttributeError(f"Builder: there is no operator {op!r}")

        def make(*inputs: Value | None, **attrs: Any) -> Value | tuple[Value, ...]:
            return self.node(op, inputs, attrs)

        return make

    def node(self, op: str, inputs: tuple[Value | None, ...], attrs: Mapping[str, Any]) -> Value | tuple[Value, ...]:
        """A node with fresh results: one value, or a tuple where the operator gives several."""
        draft = Node(op, inputs, (None,), attrs)
        results = tuple(
            self.names.fresh(self.stem, type) for type in infer_node(draft, {**self.known, **self.constants})
        )
        self.nodes.append(Node(op, inputs, results, attrs))
        return results[0] if len(results) == 1 else results

    def constant(self, array: Array) -> Value:
        """A constant of this array."""
        value = self.names.fresh(f"{self.stem}.constant", tensor(dtype_name(array.dtype), *array.shape))
        self.constants[value] = array
        return value


@dataclass(frozen=True, eq=False)
class Rule:
    """A pattern of one output, and the function that builds what takes its place, or returns None to leave it."""

    pattern: Pattern
    build: Callable[[Builder, Match], Value | None]

    @property
    def __name__(self) -> str:
        return self.pattern.name

    def __call__(self, graph: Graph) -> Graph:
        """The graph with the rule applied until nothing changes; GraphError when it never settles."""
        for _ in range(ROUNDS):
            rewritten = self._once(graph)
            if rewritten is graph:
                return graph
            graph = rewritten
        raise GraphError(
            f"rule {self.pattern.name}: it still finds something after {ROUNDS} rounds; it runs in circles"
        )

    def _once(self, graph: Graph) -> Graph:
        index, names = Index(graph), Names(graph)
        dropped: set[int] = set()
        placed: dict[int, list[Node]] = {}
        constants = dict(graph.constants)
        instead: dict[Value, Value] = {}
        for match in find(index, [self.pattern]).matches:
            builder = Builder(names, graph.constants, match.outputs[0].name)
            value = self.build(builder, match)
            if value is None:
                continue
            owned = owned_nodes(index, match)
            dropped.update(id(node) for node in owned)
            placed[id(match.nodes[-1])] = self._bound(builder, match, value, index, instead)
            constants |= builder.constants
        if not placed:
            return graph
        nodes: list[Node] = []
        for node in graph.nodes:
            if id(node) not in dropped:
                nodes.append(node)
            nodes += placed.get(id(node), ())
        return graph.replace(nodes=tuple(_reading(node, instead) for node in nodes), constants=constants)

    def _bound(
        self, builder: Builder, match: Match, value: Value, index: Index, instead: dict[Value, Value]
    ) -> list[Node]:
        """The new nodes, so that the last of them binds the match's output; or none, and a value to read instead."""
        (old,) = match.outputs
        if value.type != old.type:
            raise GraphError(f"rule {self.pattern.name}: {old} is {old.type}, its replacement is {value.type}")
        if not any(value in node.results for node in builder.nodes):
            if old in index.outputs:
                return [*builder.nodes, Node("Identity", (value,), (old,))]
            instead[old] = value
            return builder.nodes
        return [
            replace(
                node,
                inputs=tuple(old if read == value else read for read in node.inputs),
                outputs=tuple(old if result == value else result for result in node.outputs),
            )
            for node in builder.nodes
        ]


def rule(pattern: Pattern) -> Callable[[Callable[[Builder, Match], Value | None]], Rule]:
    """Make a rule of the decorated function, which builds what takes the place of a match.

    >>> from heddle.core.pattern import ops, pattern, rule
    >>> @pattern("double_relu")
    ... def double_relu(x):
    ...     return ops.Relu(ops.Relu(x))
    >>> @rule(double_relu)
    ... def once(build, match):
    ...     return build.Relu(match["x"])
    >>> once.__name__
    'double_relu'
    """

    def define(build: Callable[[Builder, Match], Value | None]) -> Rule:
        if len(pattern.body.outputs) != 1:
            raise GraphError(
                f"rule {pattern.name}: its pattern gives {len(pattern.body.outputs)} values, one is expected"
            )
        return Rule(pattern, build)

    return define


def _reading(node: Node, instead: Mapping[Value, Value]) -> Node:
    if not any(value in instead for value in node.operands):
        return node
    return replace(node, inputs=tuple(None if value is None else _last(value, instead) for value in node.inputs))


def _last(value: Value, instead: Mapping[Value, Value]) -> Value:
    while value in instead:
        value = instead[value]
    return value
