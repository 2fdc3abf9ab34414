"""Control flow: graphs in attributes. What a body reads from outside is its last inputs, and the node's last operands.

A rule of types is given the bodies as graphs; what the operators mean is what the runtime does, in its `turns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heddle.core.errors import GraphError
from heddle.core.ir import Graph, SequenceType, TensorType, Type
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.shapes import axis_of, joined
from heddle.core.runtime import turns


def if_type(cond: Operand, *captures: Operand | None, then_branch: Graph, else_branch: Graph) -> tuple[Type, ...]:
    if len(then_branch.outputs) != len(else_branch.outputs):
        raise GraphError(
            f"If: the branches must have equally many outputs:"
            f" {len(then_branch.outputs)} and {len(else_branch.outputs)}"
        )
    pairs = zip(then_branch.outputs, else_branch.outputs, strict=True)
    return tuple(joined("If", yes.type, no.type) for yes, no in pairs)


op("If", infer=if_type)(turns.if_)


# -- Loop -------------------------------------------------------------------------------------------------------


def loop_type(
    m: Operand | None, cond: Operand | None, *v_initial: Operand, body: Graph, captures: int
) -> tuple[Type, ...]:
    states = len(v_initial) - captures
    if len(body.outputs) < 1 + states or len(body.inputs) != 2 + len(v_initial):
        raise GraphError(
            f"Loop: the body has {len(body.inputs)} inputs and {len(body.outputs)} outputs;"
            f" {2 + len(v_initial)} and at least {1 + states} are needed"
        )
    results = [value.type for value in body.outputs[1:]]
    carried = [joined("Loop", v.type, after) for v, after in zip(v_initial[:states], results, strict=False)]
    return (*carried, *(stacked(seen_outside(type, v_initial), 0) for type in results[states:]))


def seen_outside(type: Type, operands: Sequence[Operand | None]) -> Type:
    """The type of a body's value without the symbols that only the body knows: they may differ each turn."""
    if not isinstance(type, TensorType) or type.dims is None:
        return type
    tensors = [operand.type for operand in operands if operand is not None and isinstance(operand.type, TensorType)]
    known = {dim for tensor in tensors for dim in tensor.dims or ()}
    return TensorType(type.dtype, tuple(dim if isinstance(dim, int) or dim in known else UNKNOWN for dim in type.dims))


def stacked(type: Type, axis: int) -> TensorType:
    """The type of many values of one type, stacked along a new axis."""
    if not isinstance(type, TensorType):
        raise GraphError(f"only tensors can be stacked, found {type}")
    if type.dims is None:
        return type
    at = axis_of("Scan", axis, len(type.dims) + 1)
    return TensorType(type.dtype, (*type.dims[:at], UNKNOWN, *type.dims[at:]))


op("Loop", infer=loop_type)(turns.loop)


# -- Scan -------------------------------------------------------------------------------------------------------


def scan_type(
    *initial_state_and_scan_inputs: Operand,
    body: Graph,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] | None,
    scan_output_axes: tuple[int, ...] | None,
    captures: int,
    **_: Any,
) -> tuple[Type, ...]:
    inputs = initial_state_and_scan_inputs
    states = len(inputs) - num_scan_inputs - captures
    if states < 0 or len(body.inputs) != len(inputs) or len(body.outputs) < states:
        raise GraphError(
            f"Scan: the body has {len(body.inputs)} inputs and {len(body.outputs)} outputs;"
            f" {len(inputs)} and at least {states} are needed"
        )
    length = UNKNOWN
    for operand, axis in zip(inputs[states:], turns.per_value(scan_input_axes, num_scan_inputs), strict=False):
        if operand.dims is not None:
            length = operand.dims[axis_of("Scan", axis, len(operand.dims))]
    carried = [joined("Scan", v.type, out.type) for v, out in zip(inputs[:states], body.outputs, strict=False)]
    outs = body.outputs[states:]
    for value, axis in zip(outs, turns.per_value(scan_output_axes, len(outs)), strict=True):
        type = stacked(seen_outside(value.type, inputs), axis)
        if type.dims is not None:
            at = axis_of("Scan", axis, len(type.dims))
            type = TensorType(type.dtype, (*type.dims[:at], length, *type.dims[at + 1 :]))
        carried.append(type)
    return tuple(carried)


op("Scan", infer=scan_type)(turns.scan)


# -- SequenceMap ------------------------------------------------------------------------------------------------


def sequence_map_type(
    input_sequence: Operand, *additional_inputs: Operand, body: Graph, captures: int
) -> tuple[Type, ...]:
    if len(body.inputs) != 1 + len(additional_inputs):
        raise GraphError(
            f"SequenceMap: the body has {len(body.inputs)} inputs, {1 + len(additional_inputs)} are needed"
        )
    return tuple(SequenceType(seen_outside(value.type, additional_inputs)) for value in body.outputs)


op("SequenceMap", infer=sequence_map_type)(turns.sequence_map)
