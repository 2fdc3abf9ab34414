"""Types every value as precisely as its operator's rule and the values of shape computations allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from heddle.core.errors import GraphError
from heddle.core.frontend.bodies import capture_count
from heddle.core.ir import Dim, Graph, Node, TensorType, Type, Value
from heddle.core.ir.graph import Array
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops import OPERATORS
from heddle.core.ops.dims import bound
from heddle.core.ops.inference import Inference, merged_type
from heddle.core.passes.sweep import with_values

_DEEP = 4
"""Loops nested deeper than this keep the types of their bodies: each level may look at its body three times."""


def infer_shapes(graph: Graph) -> Graph:
    """The graph with the types of all values inferred anew; what was known of them before is kept."""
    return _typed(graph, graph.inputs, Inference(), 0)


def bind_shapes(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> Graph:
    """The graph for inputs of these shapes, by name; GraphError when they do not fit."""
    inputs: list[Value] = []
    symbols: dict[str, Dim] = {}
    for value in graph.inputs:
        shape = shapes.get(value.name)
        if shape is None or not isinstance(value.type, TensorType):
            inputs.append(value)
            continue
        dims = value.type.dims if value.type.dims is not None else (UNKNOWN,) * len(shape)
        if len(dims) != len(shape) or any(isinstance(d, int) and d != n for d, n in zip(dims, shape, strict=True)):
            raise GraphError(f"{value}: shape {list(shape)} does not fit {value.type}")
        for dim, size in zip(dims, shape, strict=True):
            if isinstance(dim, str) and dim != UNKNOWN and symbols.setdefault(dim, size) != size:
                raise GraphError(f"{value}: {dim} is {size} here and {symbols[dim]} elsewhere")
        inputs.append(Value(value.name, TensorType(value.type.dtype, tuple(shape))))
    bound = _retyped(graph, lambda type: _bound(type, symbols))
    by_name = {value.name: value for value in inputs}
    chosen = [by_name[v.name] if v.name in shapes else v for v in bound.inputs]
    return _typed(bound, chosen, Inference(), 0)


def specialised(graph: Graph, types: Mapping[str, Type], values: Mapping[str, Array]) -> Graph:
    """The graph for inputs of these types, by name; those in `values` are constant and no inputs any more.

    What the graph says of other values holds but for symbols, which may stand for something else at each use.
    """
    bare = _retyped(graph, _nameless)
    inputs = [Value(value.name, types.get(value.name, value.type)) for value in bare.inputs]
    typed = _typed(bare, inputs, Inference(), 0)
    known = {value: values[value.name] for value in typed.inputs if value.name in values}
    left = tuple(value for value in typed.inputs if value not in known)
    return infer_shapes(typed.replace(inputs=left, constants={**typed.constants, **known}))


def _nameless(type: Type) -> Type:
    """A type whose symbols are unknown dimensions."""
    if not isinstance(type, TensorType):
        return replace(type, element=_nameless(type.element))
    if type.dims is None:
        return type
    return TensorType(type.dtype, tuple(UNKNOWN if isinstance(dim, str) else dim for dim in type.dims))


def _retyped(graph: Graph, change: Callable[[Type], Type]) -> Graph:
    """The graph with the type of every value changed, also in bodies."""
    values = {value: Value(value.name, change(value.type)) for value in graph.values}
    nodes = []
    for node in graph.nodes:
        bodies = {name: _retyped(body, change) for name, body in node.graphs.items()}
        nodes.append(replace(with_values(node, values), attrs={**node.attrs, **bodies}))
    return replace(
        graph,
        inputs=tuple(values[value] for value in graph.inputs),
        nodes=tuple(nodes),
        outputs=tuple(values[value] for value in graph.outputs),
        constants={values[value]: array for value, array in graph.constants.items()},
    )


def _bound(type: Type, symbols: Mapping[str, Dim]) -> Type:
    if not isinstance(type, TensorType):
        return replace(type, element=_bound(type.element, symbols))
    if type.dims is None:
        return type
    return TensorType(type.dtype, tuple(bound(dim, symbols) for dim in type.dims))


def _typed(graph: Graph, inputs: Sequence[Value], inference: Inference, depth: int) -> Graph:
    inference.known.update(graph.constants)
    values = {old: new for old, new in zip(graph.inputs, inputs, strict=True) if old != new}
    nodes: list[Node] = []
    for node in graph.nodes:
        typed = _typed_node(with_values(node, values), inference, depth)
        values.update((old, new) for old, new in zip(node.outputs, typed.outputs, strict=True) if old and old != new)  # type: ignore[misc]
        nodes.append(typed)
        inference.learn(typed)
    outputs = tuple(values.get(value, value) for value in graph.outputs)
    return replace(graph, inputs=tuple(inputs), nodes=tuple(nodes), outputs=outputs)


def _typed_node(node: Node, inference: Inference, depth: int) -> Node:
    if node.op not in OPERATORS:
        return node
    if node.graphs and depth < _DEEP:
        node = _typed_bodies(node, inference, depth)
    types = inference.types(node)
    outputs = tuple(
        None if value is None else Value(value.name, merged_type(type, value.type))
        for value, type in zip(node.outputs, types, strict=False)
    )
    return node if outputs == node.outputs else replace(node, outputs=outputs)


def _typed_bodies(node: Node, inference: Inference, depth: int) -> Node:
    bodies = {}
    for name, body in node.graphs.items():
        given = _given(node, body)
        inputs = [
            value if type is None else Value(value.name, merged_type(type, value.type))
            for value, type in zip(body.inputs, given, strict=True)
        ]
        bodies[name] = _typed(body, inputs, inference, depth + 1)
    return replace(node, attrs={**node.attrs, **bodies})


def _given(node: Node, body: Graph) -> list[Type | None]:
    """The types that a node certainly passes to its body; None where another turn may pass another."""
    captures = capture_count(node)
    outside = node.inputs[len(node.inputs) - captures :]
    return [None] * (len(body.inputs) - captures) + [None if value is None else value.type for value in outside]
