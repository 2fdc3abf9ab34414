"""Control flow: graphs in attributes. What a body reads from outside is its last inputs, and the node's last operands.

A rule of types is given the bodies as graphs, a meaning is given them as `Body`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, SequenceType, TensorType, Type
from heddle.core.ir.types import UNKNOWN
from heddle.core.ops.registry import Operand, op
from heddle.core.ops.shapes import axis_of, joined
from numpy.typing import NDArray

Array = NDArray[Any]


class Body(Protocol):
    """A graph that can be called."""

    @property
    def types(self) -> tuple[Type, ...]:
        """The types of its outputs."""

    def __call__(self, *inputs: Any) -> tuple[Any, ...]: ...


def if_type(cond: Operand, *captures: Operand | None, then_branch: Graph, else_branch: Graph) -> tuple[Type, ...]:
    if len(then_branch.outputs) != len(else_branch.outputs):
        raise GraphError(
            f"If: the branches must have equally many outputs:"
            f" {len(then_branch.outputs)} and {len(else_branch.outputs)}"
        )
    pairs = zip(then_branch.outputs, else_branch.outputs, strict=True)
    return tuple(joined("If", yes.type, no.type) for yes, no in pairs)


@op("If", infer=if_type)
def if_(cond: Array, *captures: Any, then_branch: Body, else_branch: Body) -> tuple[Any, ...]:
    return (then_branch if bool(cond.reshape(-1)[0]) else else_branch)(*captures)


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


@op("Loop", infer=loop_type)
def loop(
    m: Array | None = None, cond: Array | None = None, *v_initial: Any, body: Body, captures: int = 0
) -> tuple[Any, ...]:
    """`captures` says how many of the last operands are read by the body and not carried."""
    count = len(v_initial) - captures
    states, outside = list(v_initial[:count]), v_initial[count:]
    scanned: list[list[Array]] = [[] for _ in body.types[1 + count :]]
    trips = None if m is None else int(m.reshape(-1)[0])
    going, turn = cond is None or bool(cond.reshape(-1)[0]), 0
    while going and (trips is None or turn < trips):
        flag, *results = body(np.asarray(turn, np.int64), np.asarray(True), *states, *outside)
        states, rows = results[:count], results[count:]
        for column, row in zip(scanned, rows, strict=True):
            column.append(row)
        going, turn = bool(flag.reshape(-1)[0]), turn + 1
    stacks = [_stack(rows, type, 0) for rows, type in zip(scanned, body.types[1 + count :], strict=True)]
    return (*states, *stacks)


def _stack(rows: list[Array], type: Type, axis: int) -> Array:
    """Rows stacked; of no rows, an empty tensor whose unknown dimensions are 0."""
    if rows:
        return np.stack(rows, axis)
    assert isinstance(type, TensorType)
    return np.stack([np.zeros([dim if isinstance(dim, int) else 0 for dim in type.dims or ()], type.dtype)], axis)[:0]


# -- Scan -------------------------------------------------------------------------------------------------------


def _axes(axes: tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    return tuple(axes) if axes else (0,) * count


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
    for operand, axis in zip(inputs[states:], _axes(scan_input_axes, num_scan_inputs), strict=False):
        if operand.dims is not None:
            length = operand.dims[axis_of("Scan", axis, len(operand.dims))]
    carried = [joined("Scan", v.type, out.type) for v, out in zip(inputs[:states], body.outputs, strict=False)]
    outs = body.outputs[states:]
    for value, axis in zip(outs, _axes(scan_output_axes, len(outs)), strict=True):
        type = stacked(seen_outside(value.type, inputs), axis)
        if type.dims is not None:
            at = axis_of("Scan", axis, len(type.dims))
            type = TensorType(type.dtype, (*type.dims[:at], length, *type.dims[at + 1 :]))
        carried.append(type)
    return tuple(carried)


@op("Scan", infer=scan_type)
def scan(
    *initial_state_and_scan_inputs: Any,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: tuple[int, ...] | None = None,
    scan_input_directions: tuple[int, ...] | None = None,
    scan_output_axes: tuple[int, ...] | None = None,
    scan_output_directions: tuple[int, ...] | None = None,
    captures: int = 0,
) -> tuple[Any, ...]:
    """`captures` says how many of the last operands are read by the body and neither carried nor scanned."""
    inputs = initial_state_and_scan_inputs
    count = len(inputs) - num_scan_inputs - captures
    states, outside = list(inputs[:count]), inputs[count + num_scan_inputs :]
    columns = []
    directions = _axes(scan_input_directions, num_scan_inputs)
    for array, axis, back in zip(
        inputs[count : count + num_scan_inputs], _axes(scan_input_axes, num_scan_inputs), directions, strict=True
    ):
        rows = np.moveaxis(array, axis, 0)
        columns.append(rows[::-1] if back else rows)
    types = body.types[count:]
    scanned: list[list[Array]] = [[] for _ in types]
    for step in range(columns[0].shape[0]):
        results = body(*states, *(np.array(column[step]) for column in columns), *outside)
        states = list(results[:count])
        for kept, row in zip(scanned, results[count:], strict=True):
            kept.append(row)
    out_axes, out_directions = _axes(scan_output_axes, len(types)), _axes(scan_output_directions, len(types))
    stacks = []
    for rows, type, axis, back in zip(scanned, types, out_axes, out_directions, strict=True):
        stacks.append(_stack(rows[::-1] if back else rows, type, axis))
    return (*states, *stacks)


# -- SequenceMap ------------------------------------------------------------------------------------------------


def sequence_map_type(
    input_sequence: Operand, *additional_inputs: Operand, body: Graph, captures: int
) -> tuple[Type, ...]:
    if len(body.inputs) != 1 + len(additional_inputs):
        raise GraphError(
            f"SequenceMap: the body has {len(body.inputs)} inputs, {1 + len(additional_inputs)} are needed"
        )
    return tuple(SequenceType(seen_outside(value.type, additional_inputs)) for value in body.outputs)


@op("SequenceMap", infer=sequence_map_type)
def sequence_map(input_sequence: Any, *additional_inputs: Any, body: Body, captures: int = 0) -> tuple[Any, ...]:
    """Sequences among the operands give the body one element each turn; tensors and captures are given whole."""
    own = len(additional_inputs) - captures
    results: list[list[Any]] = [[] for _ in body.types]
    for turn, element in enumerate(input_sequence):
        beside = [x[turn] if isinstance(x, list) and i < own else x for i, x in enumerate(additional_inputs)]
        for column, result in zip(results, body(element, *beside), strict=True):
            column.append(result)
    return tuple(results)
