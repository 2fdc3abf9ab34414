"""Pattern, Match, Refusal: what a backend or a rule takes, one place where it was found, one where it was not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, Value
from heddle.core.ir.graph import Array
from heddle.core.ir.printer import print_name
from heddle.core.pattern.attributes import attribute
from heddle.core.pattern.conditions import Condition, Failure
from heddle.core.pattern.subgraph import subgraph
from heddle.core.pattern.trace import REPEAT, trace


@dataclass(frozen=True, eq=False)
class Pattern:
    """A named shape of graph with the conditions under which it is taken.

    `body` is the traced function: operators, and `either`, `optional`, `repeat`, `any_of`. `constants` are the operands
    that must be constant, `absentable` those that may be absent, `several` those that stand for any number.
    `where` sees a match that fulfils everything else and returns why it is refused, or None.
    """

    name: str
    body: Graph
    conditions: tuple[Condition, ...] = ()
    constants: tuple[str, ...] = ()
    absentable: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    where: Callable[[Match], str | None] | None = None
    doc: str = ""

    @cached_property
    def repeated(self) -> Mapping[str, tuple[str, ...]]:
        """The names inside of each repetition, by the name of its result."""
        return {
            node.results[0].name: tuple(value.name for inner in node.attrs["body"].walk() for value in inner.values)
            for graph in self.body.walk()
            for node in graph.nodes
            if node.op == REPEAT
        }

    def __str__(self) -> str:
        lines = [f"%{name} is constant" for name in self.constants]
        lines += [f"%{name} may be absent" for name in self.absentable]
        lines += [f"%{name} is any number of operands" for name in self.several]
        lines += [str(condition) for condition in self.conditions]
        lines += [f"{self.where.__name__}()"] if self.where else []
        return "\n      ".join([f"{self.body}" + ("\nwhere " + lines[0] if lines else ""), *lines[1:]])


@dataclass(frozen=True, eq=False)
class Match:
    """One occurrence of a pattern.

    `nodes` are what it covers, in the order of the graph. `bindings` gives the value of each name of the pattern: of
    operands and of results; a name that the occurrence lacks is absent, inside a repetition it is `name[0]`,
    `name[1]`, ... counted from the input side; the operands of a `several` likewise. `labels` gives the node that
    binds each result's name. `choices` tells which alternative was taken, whether an option was there (1 or 0), how
    often a repetition was found.
    """

    pattern: Pattern
    graph: Graph = field(repr=False)
    nodes: tuple[Node, ...]
    bindings: Mapping[str, Value]
    labels: Mapping[str, Node] = field(repr=False)
    choices: Mapping[str, int] = field(repr=False)

    def __getitem__(self, name: str) -> Value:
        """The value bound to a name; KeyError where the occurrence lacks it."""
        return self.bindings[name]

    def value(self, name: str) -> Value | None:
        return self.bindings.get(name)

    def node(self, *names: str) -> Node | None:
        """The node of the first of these labels that the occurrence has."""
        return next((self.labels[name] for name in names if name in self.labels), None)

    def attr(self, name: str, attribute_name: str) -> Any:
        """An attribute of the node of a label, with its default spelled out; None where there is no such node."""
        node = self.node(name)
        return None if node is None else attribute(node, attribute_name)

    def array(self, name: str) -> Array | None:
        """The array of a constant, None where the value is absent or not constant."""
        value = self.bindings.get(name)
        return None if value is None else self.graph.constants.get(value)

    def times(self, name: str) -> int | None:
        return self.choices.get(name)

    def all(self, name: str) -> tuple[Value, ...]:
        """The values of a name inside a repetition, or of a `several`, in order."""
        values: list[Value] = []
        while f"{name}[{len(values)}]" in self.bindings:
            values.append(self.bindings[f"{name}[{len(values)}]"])
        return tuple(values)

    @cached_property
    def outputs(self) -> tuple[Value, ...]:
        """The values of the pattern's outputs."""
        return tuple(self.bindings[output.name] for output in self.pattern.body.outputs)

    @cached_property
    def body(self) -> Graph:
        """The matched nodes as a graph of their own: what this match computes."""
        return subgraph(self.graph, self.nodes, self.pattern.name, self.outputs)


@dataclass(frozen=True, eq=False)
class Refusal:
    """Why a pattern does not take a node: the conditions that fail, or the one place where the shapes part."""

    pattern: Pattern
    node: Node
    failures: tuple[Failure, ...]
    backend: str = ""

    @property
    def reason(self) -> str:
        return "; ".join(str(failure) for failure in self.failures)

    @property
    def fix(self) -> str:
        """What would make the pattern take the node, where that is known."""
        return "; ".join(failure.fix for failure in self.failures if failure.fix)

    def __str__(self) -> str:
        owner = f"{self.backend}.{self.pattern.name}" if self.backend else self.pattern.name
        return f"{owner} refused {describe(self.node)}: {self.reason}"


def describe(node: Node) -> str:
    """A node as messages name it: `%12 (Conv "layer1.0")`."""
    label = f" {json.dumps(node.name)}" if node.name else ""
    return f"{print_name(node.results[0]) if node.results else '_'} ({node.op}{label})"


def pattern(
    name: str, *, conditions: Sequence[Condition] = (), where: Callable[[Match], str | None] | None = None
) -> Callable[[Callable[..., Any]], Pattern]:
    """Trace the decorated function into a `Pattern`. Its parameters are free operands, what it returns are the outputs.

    >>> from heddle.core.pattern import ops, pattern
    >>> @pattern("dense")
    ... def dense(x, w, b):
    ...     return ops.Relu(ops.Add(ops.MatMul(x, w), b))
    >>> print(dense)
    graph "dense" (%x: any, %w: any, %b: any) -> (%relu) {
      %matmul: any = MatMul(%x, %w)
      %add: any = Add(%matmul, %b)
      %relu: any = Relu(%add)
    }
    """

    def define(function: Callable[..., Any]) -> Pattern:
        body, notes = trace(name, function)
        everything = (*notes.conditions, *conditions)
        known = notes.names
        for condition in everything:
            for read in condition.names:
                if read not in known:
                    raise GraphError(f"pattern {name!r}: {condition}: there is no {read!r}; it has {', '.join(known)}")
        return Pattern(
            name,
            body,
            everything,
            tuple(notes.constants),
            tuple(notes.absentable),
            tuple(notes.several),
            where,
            (function.__doc__ or "").strip(),
        )

    return define
