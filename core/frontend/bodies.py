"""The conventions between control flow and its bodies: what a body is given, and how captures are passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from heddle.core.errors import GraphError
from heddle.core.frontend.builder import Builder, Call
from heddle.core.frontend.signature import Binding, bound_type
from heddle.core.frontend.types import type_of
from heddle.core.ir import Graph, Node, SequenceType, TensorType, Type, tensor
from onnx import GraphProto


def body_types(call: Call, proto: GraphProto, binding: Binding) -> list[Type | None]:
    """The types of a body's own inputs, as far as its node tells them; None: as the body declares.

    `If` passes nothing, `Loop` (iteration, condition, *states), `Scan` (*states, *slices), `SequenceMap` elements.
    """
    operands = [None if value is None else value.type for value in call.inputs]
    if call.op == "If":
        return []
    if call.op == "Loop":
        states = [_state(type, proto, position, binding) for position, type in enumerate(operands[2:], 2)]
        return [tensor("int64"), tensor("bool"), *states]
    if call.op == "Scan":
        return _scan_types(call, operands)
    if call.op == "SequenceMap":
        return [type.element if isinstance(type, SequenceType) else type for type in operands]
    return [None] * len(proto.input)


def _state(type: Type | None, proto: GraphProto, position: int, binding: Binding) -> Type | None:
    """A state of a Loop may change its shape from turn to turn: only what the body declares of it is certain."""
    if not isinstance(type, TensorType) or position >= len(proto.input):
        return type
    info = proto.input[position].type
    if not info.HasField("tensor_type") or not info.tensor_type.HasField("shape"):
        return TensorType(type.dtype, None)
    declared = bound_type(type_of(info), binding)
    assert isinstance(declared, TensorType)
    return TensorType(type.dtype, declared.dims)


def _scan_types(call: Call, operands: list[Type | None]) -> list[Type | None]:
    count = call.attrs.get("num_scan_inputs")
    if not isinstance(count, int) or not 0 < count <= len(operands):
        raise GraphError(f"Scan: num_scan_inputs is {count}, there are {len(operands)} operands")
    states = len(operands) - count
    axes = call.attrs.get("scan_input_axes") or (0,) * count
    slices: list[Type | None] = []
    for type, axis in zip(operands[states:], axes, strict=True):
        if not isinstance(type, TensorType) or type.dims is None:
            slices.append(TensorType(type.dtype, None) if isinstance(type, TensorType) else None)
            continue
        rank = len(type.dims)
        if not -rank <= axis < rank:
            raise GraphError(f"Scan: axis {axis} is out of range for {type}")
        slices.append(TensorType(type.dtype, tuple(dim for i, dim in enumerate(type.dims) if i != axis % rank)))
    return [*operands[:states], *slices]


def with_captures(call: Call, bodies: Mapping[str, tuple[Graph, Builder]]) -> Call:
    """The call with its bodies; each takes all captures, which are the call's last operands."""
    captures = {value: None for _, builder in bodies.values() for value in builder.captures}
    attrs = dict(call.attrs)
    for name, (body, builder) in bodies.items():
        own = body.inputs[: len(body.inputs) - len(builder.captures)]
        attrs[name] = replace(body, inputs=(*own, *captures))
    if captures and call.op != "If":
        attrs["captures"] = len(captures)
    return Call(call.op, (*call.inputs, *captures), attrs, call.outputs)


def capture_count(node: Node) -> int:
    """How many of a node's last operands, and of its bodies' last inputs, are what the bodies read from outside."""
    return len(node.inputs) - 1 if node.op == "If" else int(node.attrs.get("captures", 0))
