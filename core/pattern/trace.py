"""Tracing: a Python function over pattern values becomes a graph of operators, alternatives, options, repetitions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Node, Type, Value
from heddle.core.ops import OPERATORS, operator
from heddle.core.pattern.conditions import Condition, attr, value
from heddle.core.pattern.predicates import Predicate, equals

EITHER, OPTIONAL, REPEAT, ANY_OF = "either", "optional", "repeat", "any_of"
"""What a pattern's graph has beside operators; lower case, as no operator is."""


@dataclass(frozen=True)
class AnyType:
    """The type of a pattern's values, before conditions."""

    def __str__(self) -> str:
        return "any"


# A pattern's graph never leaves this package, and nothing in it looks into these types.
ANY = cast(Type, AnyType())


@dataclass
class Notes:
    """What is said of names anywhere in a pattern, whatever body it is said in."""

    names: dict[str, Value] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    absentable: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)

    def bind(self, name: str) -> Value:
        if name in self.names:
            raise GraphError(f"pattern: the name {name!r} is given twice; each part needs its own")
        self.names[name] = Value(name, ANY)
        return self.names[name]

    def unused(self, stem: str) -> str:
        name, number = stem, 1
        while name in self.names:
            number += 1
            name = f"{stem}{number}"
        return name

    def fresh(self, stem: str) -> Value:
        return self.bind(self.unused(stem))


class Trace:
    """One body while it is traced: the whole function, or what is inside an option or a repetition."""

    def __init__(self, outer: Trace | None = None) -> None:
        self.outer = outer
        self.notes: Notes = Notes() if outer is None else outer.notes
        self.inputs: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.results: set[Value] = set()

    def leaf(self, name: str) -> Value:
        """A free operand of this body; the same each time it is named."""
        if name not in self.inputs:
            self.inputs[name] = self.notes.bind(name)
        return self.inputs[name]

    def read(self, read: Value) -> Value:
        """The value, captured from the outer bodies when it is not of this one."""
        if read not in self.results and read.name not in self.inputs:
            if self.outer is None:
                raise GraphError(f"pattern: {read} belongs to another pattern, or to the inside of an option")
            self.inputs[read.name] = self.outer.read(read)
        return read

    def add(self, op: str, inputs: tuple[Value | None, ...], outputs: tuple[Value, ...], attrs: dict[str, Any]) -> None:
        for read in inputs:
            if read is not None:
                self.read(read)
        self.nodes.append(Node(op, inputs, outputs, attrs))
        self.results.update(outputs)

    def graph(self, outputs: tuple[Value, ...], name: str = "") -> Graph:
        for output in outputs:
            self.read(output)
        return Graph(tuple(self.inputs.values()), tuple(self.nodes), outputs, name=name)


_current: ContextVar[Trace] = ContextVar("pattern trace")


def _trace() -> Trace:
    try:
        return _current.get()
    except LookupError:
        raise GraphError("a pattern's parts can only be made inside a function that @pattern traces") from None


@contextmanager
def _tracing(trace: Trace) -> Iterator[Trace]:
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def trace(name: str, function: Callable[..., Any]) -> tuple[Graph, Notes]:
    """The graph of a function whose parameters are free operands, and what was noted on the way."""
    with _tracing(Trace()) as body:
        results = function(*(body.leaf(parameter) for parameter in inspect.signature(function).parameters))
        outputs = results if isinstance(results, tuple) else (results,)
        return body.graph(tuple(_value(output) for output in outputs), name), body.notes


def _inner(function: Callable[..., Any], stem: str) -> Graph:
    """The graph of an option's or repetition's inside; its first input is what flows into it."""
    outer = _trace()
    with _tracing(Trace(outer)) as body:
        hole = outer.notes.fresh(stem)
        body.inputs[hole.name] = hole
        return body.graph((_value(function(hole)),))


def _value(given: Any) -> Value:
    if isinstance(given, Value):
        return given
    if isinstance(given, bool | int | float):
        return const(given)
    raise GraphError(f"pattern: a value or a number was expected, found {given!r}")


# -- operators -----------------------------------------------------------------------------------------------------


class Operators:
    """Every operator as a function of pattern values: `ops.Conv(x, w, strides=each(among(1, 2)))`.

    An operand is a value, a number (a constant of that value) or None (must be absent). An attribute is a value or a
    predicate; those not given may be anything. `label` names the result; `outputs` asks for a tuple of that many.
    """

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if op.startswith("__"):
            raise AttributeError(op)
        if op not in OPERATORS:
            raise GraphError(f"pattern: there is no operator {op!r}{_did_you_mean(op, OPERATORS)}")

        def apply(*operands: Any, label: str | None = None, outputs: int | None = None, **attributes: Any) -> Any:
            return _apply(op, op.lower(), (), operands, label, outputs, attributes)

        apply.__name__ = op
        return apply


ops = Operators()


def _apply(
    op: str,
    stem: str,
    names: tuple[str, ...],
    operands: tuple[Any, ...],
    label: str | None,
    outputs: int | None,
    attributes: dict[str, Any],
) -> Any:
    trace = _trace()
    for attribute in attributes:
        _check_attribute(op, attribute)
    inputs = tuple(None if operand is None else _value(operand) for operand in operands)
    first = trace.notes.fresh(stem) if label is None else trace.notes.bind(label)
    results = (first, *(trace.notes.fresh(f"{first.name}_{i}") for i in range(1, outputs or 1)))
    trace.add(op, inputs, results, {"of": names} if names else {})
    for attribute, wanted in attributes.items():
        predicate = wanted if isinstance(wanted, Predicate) else equals(wanted)
        trace.notes.conditions.append(Condition(attr(first.name, attribute), predicate))
    return results if outputs is not None else first


def _check_attribute(op: str, attribute: str) -> None:
    definition = operator(op)
    if definition is not None and attribute not in definition.attributes:
        known = _did_you_mean(attribute, definition.attributes)
        raise GraphError(f"pattern: {op} has no attribute {attribute!r}{known}")


def _did_you_mean(name: str, known: Any) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


# -- operands ------------------------------------------------------------------------------------------------------


def const(name: str | bool | int | float, equal_to: Any = None) -> Value:
    """A constant operand: `const("w")` of any value, `const("six", 6.0)` of this one, `const(6.0)` without a name."""
    trace = _trace()
    if not isinstance(name, str):
        name, equal_to = trace.notes.unused("c"), name
    operand = trace.leaf(name)
    if name not in trace.notes.constants:
        trace.notes.constants.append(name)
    if equal_to is not None:
        trace.notes.conditions.append(value(name).equals(equal_to))
    return operand


def maybe(operand: str | Value) -> Value:
    """An operand that may be absent: `ops.Conv(x, w, maybe("b"))`; also one that another node computes."""
    trace = _trace()
    found = trace.leaf(operand) if isinstance(operand, str) else operand
    if found.name not in trace.notes.absentable:
        trace.notes.absentable.append(found.name)
    return found


def maybe_const(name: str) -> Value:
    """An operand that is constant where it is present."""
    const(name)
    return maybe(name)


def several(name: str) -> Value:
    """All the remaining operands of a variadic operator: `ops.Concat(several("xs"))`."""
    operand = _trace().leaf(name)
    _trace().notes.several.append(name)
    return operand


# -- combinations --------------------------------------------------------------------------------------------------


def either(*alternatives: Any, label: str | None = None) -> Value:
    """One of these, the first that fits."""
    trace = _trace()
    result = trace.notes.fresh("either") if label is None else trace.notes.bind(label)
    trace.add(EITHER, tuple(_value(alternative) for alternative in alternatives), (result,), {})
    return result


def optional(body: Callable[[Any], Any], label: str | None = None) -> Callable[[Any], Value]:
    """`optional(ops.Relu)(x)`: the body over x where it is there, else x itself."""

    def apply(x: Any) -> Value:
        return _nest(OPTIONAL, body, x, label, {})

    return apply


def repeat(
    body: Callable[[Any], Any], least: int = 1, most: int | None = None, label: str | None = None
) -> Callable[[Any], Value]:
    """`repeat(unary)(x)`: the body over the body over ... x, from `least` to `most` times, as often as it fits."""

    def apply(x: Any) -> Value:
        result = _nest(REPEAT, body, x, label, {"least": least} if most is None else {"least": least, "most": most})
        inside: Graph = _trace().nodes[-1].attrs["body"]
        if any(node.op == REPEAT for graph in inside.walk() for node in graph.nodes):
            raise GraphError(f"pattern: {result} repeats a repetition; one of the two says it all")
        return result

    return apply


def _nest(op: str, body: Callable[[Any], Any], x: Any, label: str | None, attrs: dict[str, Any]) -> Value:
    trace = _trace()
    source = _value(x)
    inside = _inner(body, "h")
    result = trace.notes.fresh(op) if label is None else trace.notes.bind(label)
    captured = [operand for operand in inside.inputs[1:] if operand.name in trace.inputs or operand in trace.results]
    trace.add(op, (source, *captured), (result,), {"body": inside, **attrs})
    return result


def any_of(*names: str) -> Callable[..., Any]:
    """A wildcard: any of these operators; `"unary"` and `"binary"` are all elementwise ones of one or two operands."""
    for name in names:
        if name not in OPERATORS and name not in ("unary", "binary"):
            raise GraphError(f"pattern: there is no operator {name!r}{_did_you_mean(name, OPERATORS)}")

    def apply(*operands: Any, label: str | None = None, outputs: int | None = None, **attributes: Any) -> Any:
        return _apply(ANY_OF, "any", names, operands, label, outputs, attributes)

    return apply


def unary(x: Any, label: str | None = None) -> Value:
    """Any elementwise operator of one operand."""
    result: Value = any_of("unary")(x, label=label)
    return result


def binary(x: Any, y: Any, label: str | None = None) -> Value:
    """Any elementwise operator of two operands."""
    result: Value = any_of("binary")(x, y, label=label)
    return result
