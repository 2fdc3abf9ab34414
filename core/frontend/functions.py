"""What ONNX defines by other operators: its function bodies, in the current form of each operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from heddle.core.frontend.export import node_proto
from heddle.core.frontend.importer import import_model
from heddle.core.frontend.types import type_proto
from heddle.core.ir import Graph, Node, Type, Value
from onnx import AttributeProto, FunctionProto, ModelProto, defs, helper

_DOMAIN = "heddle.function"


def expand(node: Node) -> Graph | None:
    """The body of the function that an operator is, for this node's operand types and attributes, or None.

    The graph's inputs are the operands that are present, its outputs the results that are used, in order.
    """
    if node.graphs:
        return None
    types = tuple(None if value is None else value.type for value in node.inputs)
    used = tuple(value is not None for value in node.outputs)
    key = tuple((name, repr(attr)) for name, attr in node.attrs.items())
    return _expanded(node.op, types, used, key, _Carried(node))


class _Carried:
    """A node that takes no part in the comparison of arguments: those beside it say all that matters of it."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Carried)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=1024)
def _expanded(
    op: str,
    types: tuple[Type | None, ...],
    used: tuple[bool, ...],
    attrs: tuple[tuple[str, str], ...],
    carried: _Carried,
) -> Graph | None:
    domain, _, name = op.rpartition(".")
    if not defs.has(name, domain):
        return None
    schema = defs.get_schema(name, domain=domain)
    # Names of its own for operands and results, as those of the node may be anything.
    inputs = tuple(None if t is None else Value(f"in{i}", t) for i, t in enumerate(types))
    outputs = tuple(
        None if value is None else Value(f"out{i}", value.type) for i, value in enumerate(carried.node.outputs)
    )
    plain = Node(op, inputs, outputs, carried.node.attrs)
    function = _function(schema, plain)
    if function is None:
        return None
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    return import_model(_model(plain, function, defaults))


def _function(schema: Any, node: Node) -> FunctionProto | None:
    """The body in its newest version; the schema's type does not declare what it can tell of functions."""
    proto = node_proto(node)
    types = [b"" if v is None else type_proto(v.type).SerializeToString() for v in node.inputs]
    if schema.has_context_dependent_function:
        versions = schema.context_dependent_function_opset_versions
        body = schema.get_context_dependent_function_with_opset_version(max(versions), proto.SerializeToString(), types)
        return _parsed(body) if body else None
    if not schema.has_function:
        return None
    version = max(schema.function_opset_versions)
    return _parsed(schema.get_function_with_opset_version(version))


def _parsed(data: bytes) -> FunctionProto:
    function = FunctionProto()
    function.ParseFromString(data)
    return function


def _model(node: Node, function: FunctionProto, defaults: Mapping[str, AttributeProto]) -> ModelProto:
    """A model of one call of the function, under a name of its own: its body may use the operator's older forms."""
    function.domain = _DOMAIN
    call = node_proto(node)
    call.domain, call.overload = _DOMAIN, function.overload
    call.op_type = function.name
    given = {attribute.name for attribute in call.attribute}
    call.attribute.extend(a for name, a in defaults.items() if name not in given)
    graph = helper.make_graph(
        [call],
        node.op,
        [helper.make_value_info(v.name, type_proto(v.type)) for v in node.operands],
        [helper.make_value_info(v.name, type_proto(v.type)) for v in node.results],
    )
    imports = [*function.opset_import, helper.make_opsetid(_DOMAIN, 1)]
    if not any(entry.domain in ("", "ai.onnx") for entry in imports):
        imports.append(helper.make_opsetid("", defs.onnx_opset_version()))
    return helper.make_model(graph, functions=[function], opset_imports=imports)
