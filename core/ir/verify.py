"""The rules of form that every graph obeys; a failure carries the printed graph in its notes."""

from __future__ import annotations

from heddle.core.errors import GraphError
from heddle.core.ir.graph import Graph, Node, Value
from heddle.core.ir.types import TensorType


def verify(graph: Graph) -> Graph:
    """Return the graph when each name is bound once, before its use, with well-formed types; else raise GraphError."""
    try:
        for inner in graph.walk():
            _verify_one(inner)
        constants = [value.name for inner in graph.walk() for value in inner.constants]
        if len(set(constants)) != len(constants):
            twice = next(name for name in constants if constants.count(name) > 1)
            raise GraphError(f"%{twice}: a constant's name must be unique in the graph and in the graphs inside it")
    except GraphError as error:
        error.add_note(f"in the graph:\n{graph}")
        raise
    return graph


def _verify_one(graph: Graph) -> None:
    bound: dict[str, Value] = {}

    def bind(value: Value, where: Node | str) -> None:
        if value.name in bound:
            raise GraphError(f"{value} is bound twice; the second time by {_name(where)}")
        bound[value.name] = value

    def use(value: Value, where: Node | str) -> None:
        known = bound.get(value.name)
        if known is None:
            raise GraphError(f"{_name(where)}: {value} is used before it is bound")
        if known.type != value.type:
            raise GraphError(f"{_name(where)}: {value} is used as {value.type}, it is bound as {known.type}")

    for value in graph.inputs:
        bind(value, "the inputs")
    for value, array in graph.constants.items():
        bind(value, "the constants")
        if not isinstance(value.type, TensorType) or value.type.shape != array.shape:
            raise GraphError(f"constant {value}: its type is {value.type}, its array has shape {list(array.shape)}")
        if value.type.dtype != array.dtype and value.type.dtype.kind != "O":
            raise GraphError(f"constant {value}: its type is {value.type}, its array holds {array.dtype}")
    for node in graph.nodes:
        for value in node.operands:
            use(value, node)
        for value in node.results:
            bind(value, node)
        for name, body in node.graphs.items():
            _verify_body(node, name, body)
    for value in graph.outputs:
        use(value, "the outputs")


def _verify_body(node: Node, name: str, body: Graph) -> None:
    """A body's captures are operands of its node, so it cannot have more inputs than control flow gives it."""
    if node.op == "If" and len(body.inputs) != len(node.inputs) - 1:
        raise GraphError(
            f"{_name(node)}: {name} has {len(body.inputs)} inputs, the node passes {len(node.inputs) - 1} captures"
        )


def _name(node: Node | str) -> str:
    """A node for messages; another place is named already."""
    if isinstance(node, str):
        return node
    label = f' "{node.name}"' if node.name else ""
    return f"{node.results[0] if node.results else '_'} ({node.op}{label})"
