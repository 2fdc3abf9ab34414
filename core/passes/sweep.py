"""One walk over a graph in order, in which a rule may replace the results of each node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from heddle.core.frontend.bodies import capture_count
from heddle.core.frontend.builder import Builder, Call
from heddle.core.ir import Graph, Names, Node, Value
from heddle.core.ir.graph import Array
from heddle.core.ops.inference import Inference

Rule = Callable[[Node, "Sweep"], "Sequence[Value | None] | None"]
"""Given a node whose operands are already replaced: what stands for each of its outputs, or None to keep the node.

None among the values stands for an output that nobody reads.
"""


class Sweep:
    """The graph being made, as rules see it: what makes a value, what is known of it, and how to add nodes."""

    def __init__(self, graph: Graph, names: Names, inference: Inference) -> None:
        self.source = graph
        self.builder = Builder(names, inference)
        self.builder.constants.update(graph.constants)
        inference.known.update(graph.constants)
        self.makers: dict[Value, Node] = {}
        self.uses = Counter(value for node in graph.nodes for value in node.operands)
        self.uses.update(graph.outputs)
        self._stood: dict[Value, Value] = {}

    @property
    def known(self) -> Mapping[Value, Array]:
        """The arrays of the values that are constant."""
        return self.builder.inference.known

    def maker(self, value: Value | None, op: str) -> Node | None:
        """The node that makes a value, when it is of this operator."""
        node = None if value is None else self.makers.get(value)
        return node if node is not None and node.op == op else None

    def read_once(self, value: Value) -> bool:
        """True when one operand of one node reads the value, and no output is it."""
        return self.uses[value] == 1

    def constant(self, array: Any, stem: str) -> Value:
        """A new constant."""
        return self.builder.constant(array, stem)

    def become_constant(self, value: Value, array: Array) -> Value:
        """A constant under the name of a value whose node goes."""
        return self.builder.constant(array, value.name, exact=True)

    def apply(self, op: str, *inputs: Value | None, stem: str, label: str = "", **attrs: Any) -> Value:
        """A new node of one result, typed by its operator's rule."""
        value = self.builder.apply(op, *inputs, stem=stem, label=label, **attrs)
        self.makers[value] = self.builder.nodes[-1]
        return value

    def add(self, call: Call, stems: Sequence[str | None], label: str = "") -> tuple[Value | None, ...]:
        """A new node, typed by its operator's rule; its results get fresh names made from `stems`."""
        results = self.builder.emit(call, stems, label)
        self.makers.update((value, self.builder.nodes[-1]) for value in results if value is not None)
        return results

    def keep(self, node: Node) -> None:
        """Add a node as it is."""
        self.builder.nodes.append(node)
        self.makers.update((value, node) for value in node.results)
        self.builder.inference.learn(node)

    def current(self, value: Value | None) -> Value | None:
        """What stands for a value of the source graph."""
        return None if value is None else self._stood.get(value, value)

    def replaced(self, node: Node, results: Sequence[Value | None]) -> None:
        """Let these values stand for the node's outputs."""
        for old, new in zip(node.outputs, results, strict=True):
            if old is not None and new is not None and old != new:
                self._stood[old] = new
                self.uses[new] += self.uses[old]


def sweep(graph: Graph, rule: Rule) -> Graph:
    """The graph after one walk with a rule, the graphs inside it first; outputs keep their names and types' ranks."""
    return _sweep(graph, rule, Names(graph), Inference(), outermost=True)


def _sweep(graph: Graph, rule: Rule, names: Names, inference: Inference, outermost: bool) -> Graph:
    state = Sweep(graph, names, inference)
    changed = False
    for node in graph.nodes:
        fresh = _renewed(node, state, rule, names, inference)
        results = rule(fresh, state)
        if results is None:
            state.keep(fresh)
            changed |= fresh is not node
        else:
            state.replaced(fresh, results)
            changed = True
    if not changed:
        return graph
    outputs = [state.current(value) or value for value in graph.outputs]
    swept = replace(graph, nodes=tuple(state.builder.nodes), outputs=tuple(outputs), constants=state.builder.constants)
    return (_named_as(swept, graph.outputs) if outermost else swept).replace()


def _renewed(node: Node, state: Sweep, rule: Rule, names: Names, inference: Inference) -> Node:
    """The node with its operands replaced and its bodies swept; the node itself where nothing changes."""
    inputs = tuple(state.current(value) for value in node.inputs)
    attrs: dict[str, Any] = {}
    captures = capture_count(node) if node.graphs else 0
    for name, body in node.graphs.items():
        for inside, outside in zip(body.inputs[::-1][:captures], inputs[::-1][:captures], strict=True):
            if outside is not None and outside in inference.known:
                inference.known[inside] = inference.known[outside]
        inner = _sweep(body, rule, names, inference, outermost=False)
        if inner is not body:
            attrs[name] = inner
    if not attrs and inputs == node.inputs:
        return node
    return replace(node, inputs=inputs, attrs={**node.attrs, **attrs})


def _named_as(graph: Graph, outputs: Sequence[Value]) -> Graph:
    """The graph with its outputs under their old names: what makes them is renamed, else an Identity is added."""
    if [value.name for value in graph.outputs] == [value.name for value in outputs]:
        return graph
    bound = {value for node in graph.nodes for value in node.results}
    names = {value.name for value in graph.values}
    renamed: dict[Value, Value] = {}
    added: list[Node] = []
    results: list[Value] = []
    for value, old in zip(graph.outputs, outputs, strict=True):
        wanted = Value(old.name, value.type)
        if value.name == old.name:
            results.append(value)
        elif value in bound and value not in renamed and value not in outputs and old.name not in names:
            renamed[value] = wanted
            results.append(wanted)
        else:
            added.append(Node("Identity", (value,), (wanted,)))
            results.append(wanted)
    nodes = [with_values(node, renamed) for node in (*graph.nodes, *added)]
    return replace(graph, nodes=tuple(nodes), outputs=tuple(renamed.get(value, value) for value in results))


def with_values(node: Node, values: Mapping[Value, Value]) -> Node:
    """The node with some of its operands and results exchanged for others."""
    if not any(value in values for value in (*node.inputs, *node.outputs) if value is not None):
        return node
    inputs = tuple(None if value is None else values.get(value, value) for value in node.inputs)
    outputs = tuple(None if value is None else values.get(value, value) for value in node.outputs)
    return replace(node, inputs=inputs, outputs=outputs)
