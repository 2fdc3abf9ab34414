"""The text form of graphs; `heddle.core.ir.parser` is its exact inverse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from heddle.core.ir.types import OptionalType, SequenceType, TensorType, print_word

if TYPE_CHECKING:
    from heddle.core.ir.graph import Graph, Node, Value

_PLAIN = re.compile(r"[A-Za-z0-9_./$-]+")


def print_name(value: Value) -> str:
    """`%conv1`, or `%"a name: with marks"`."""
    return f"%{value.name}" if _PLAIN.fullmatch(value.name) else f"%{json.dumps(value.name)}"


def print_graph(graph: Graph, indent: str = "") -> str:
    """The graph as text: a line for each constant (its array stays outside) and each node."""
    inner = indent + "  "
    name = f" {json.dumps(graph.name)}" if graph.name else ""
    lines = [
        f"graph{name} ({', '.join(_typed(value) for value in graph.inputs)})"
        f" -> ({', '.join(print_name(value) for value in graph.outputs)}) {{"
    ]
    lines += [f"{inner}const {_typed(value)}" for value in graph.constants]
    lines += [inner + print_node(node, inner) for node in graph.nodes]
    return "\n".join([*lines, indent + "}"])


def print_node(node: Node, indent: str = "") -> str:
    """One node as a line: results with types, operator, operands, attributes, where it came from."""
    results = ", ".join("_" if value is None else _typed(value) for value in node.outputs) or "()"
    operands = ", ".join("_" if value is None else print_name(value) for value in node.inputs)
    attrs = ", ".join(f"{print_word(name)}={print_attribute(attr, indent)}" for name, attr in node.attrs.items())
    text = f"{results} = {print_word(node.op)}({operands})"
    return text + (f" {{{attrs}}}" if attrs else "") + (f" {json.dumps(node.name)}" if node.name else "")


def print_attribute(attr: Any, indent: str = "") -> str:
    """An attribute's value as the parser reads it back."""
    if isinstance(attr, str):
        return json.dumps(attr)
    if isinstance(attr, tuple):
        return f"[{', '.join(print_attribute(item, indent) for item in attr)}]"
    if isinstance(attr, TensorType | SequenceType | OptionalType):
        return str(attr)
    if isinstance(attr, bool | int | float):
        return repr(attr)
    return print_graph(attr, indent)


def _typed(value: Value) -> str:
    return f"{print_name(value)}: {value.type}"
