"""Holds nodes against ONNX's own schemas: how many operands and results, which attributes of which kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from heddle.core.errors import GraphError
from heddle.core.frontend.model import domain_of
from onnx import AttributeProto, NodeProto, defs


@dataclass(frozen=True)
class Signature:
    """What a schema allows; an attribute's kind is the number of its `AttributeProto.AttributeType`."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    kinds: dict[str, int]
    required: tuple[str, ...]


@cache
def signature(domain: str, op: str, version: int) -> Signature | None:
    """What the operator of an opset's version allows, None where ONNX has no schema for it."""
    try:
        schema = defs.get_schema(op, version, domain)
    except defs.SchemaError:
        return None
    attributes = schema.attributes
    return Signature(
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        {name: int(attribute.type) for name, attribute in attributes.items()},  # type: ignore[call-overload]  # no stubs
        tuple(name for name, attribute in attributes.items() if attribute.required),
    )


def check_node(node: NodeProto, attributes: Sequence[AttributeProto], version: int) -> None:
    """GraphError when a node has operands, results or attributes that its operator's schema forbids."""
    expected = signature(domain_of(node.domain), node.op_type, version)
    if expected is None:
        return
    _check_count(node.op_type, "operands", len(node.input), expected.inputs)
    _check_count(node.op_type, "results", len(node.output), expected.outputs)
    for attribute in attributes:
        kind = expected.kinds.get(attribute.name)
        if kind is None:
            raise GraphError(f"{node.op_type}: opset {version} has no attribute {attribute.name!r} of it")
        if attribute.type != kind:
            names = AttributeProto.AttributeType
            found = names.Name(attribute.type) if attribute.type in names.values() else attribute.type
            raise GraphError(f"{node.op_type}: attribute {attribute.name!r} is {found}, {names.Name(kind)} is expected")
    given = {attribute.name for attribute in attributes}
    missing = [name for name in expected.required if name not in given]
    if missing:
        raise GraphError(f"{node.op_type}: attribute {missing[0]!r} is missing")


def _check_count(op: str, what: str, found: int, allowed: tuple[int, int]) -> None:
    least, most = allowed
    if not least <= found <= most:
        wanted = f"{least}" if least == most else f"at least {least}" if most > 1 << 20 else f"{least} to {most}"
        raise GraphError(f"{op}: {found} {what} are given, {wanted} are expected")
