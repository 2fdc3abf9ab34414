"""What the runtime itself does between the parts that machine code computes: control flow, sequences, optionals.

Arrays are carried, cut and stacked here, never computed. The same functions are the operators' reference meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from heddle.core.errors import InputError
from numpy.typing import NDArray

Array = NDArray[Any]


class Body(Protocol):
    """A graph in an attribute, made callable."""

    @property
    def blanks(self) -> tuple[Any, ...]:
        """For each output an array of its type, its unknown dimensions 0; None where it is no tensor."""

    def __call__(self, *inputs: Any) -> Sequence[Any]: ...


# -- control flow ---------------------------------------------------------------------------------------------------


def if_(cond: Array, *captures: Any, then_branch: Body, else_branch: Body) -> tuple[Any, ...]:
    return tuple((then_branch if _truth("If: the condition", cond) else else_branch)(*captures))


def loop(
    m: Array | None = None, cond: Array | None = None, *v_initial: Any, body: Body, captures: int = 0
) -> tuple[Any, ...]:
    """`captures` says how many of the last operands are read by the body and not carried."""
    count = len(v_initial) - captures
    states, outside = list(v_initial[:count]), v_initial[count:]
    blanks = body.blanks[1 + count :]
    scanned: list[list[Array]] = [[] for _ in blanks]
    trips = None if m is None else int(_single("Loop: the trip count", m))
    going, turn, on = cond is None or _truth("Loop: the condition", cond), 0, np.asarray(True)
    while going and (trips is None or turn < trips):
        flag, *results = body(np.array(turn, np.int64), on, *states, *outside)
        states, rows = results[:count], results[count:]
        for column, row in zip(scanned, rows, strict=True):
            column.append(row)
        going, turn = _truth("Loop: the condition", flag), turn + 1
    return (*states, *(_stack("Loop", rows, blank, 0) for rows, blank in zip(scanned, blanks, strict=True)))


def scan(
    *initial_state_and_scan_inputs: Any,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    captures: int = 0,
) -> tuple[Any, ...]:
    """`captures` says how many of the last operands are read by the body and neither carried nor scanned."""
    inputs = initial_state_and_scan_inputs
    count = len(inputs) - num_scan_inputs - captures
    states, outside = list(inputs[:count]), inputs[count + num_scan_inputs :]
    columns = []
    directions = per_value(scan_input_directions, num_scan_inputs)
    for array, axis, back in zip(
        inputs[count : count + num_scan_inputs], per_value(scan_input_axes, num_scan_inputs), directions, strict=True
    ):
        rows = np.moveaxis(array, axis, 0)
        columns.append(rows[::-1] if back else rows)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) != 1:
        raise InputError(f"Scan: what is scanned has {' and '.join(map(str, lengths))} elements, as many are expected")
    blanks = body.blanks[count:]
    scanned: list[list[Array]] = [[] for _ in blanks]
    for step in range(lengths[0]):
        results = body(*states, *(np.array(column[step]) for column in columns), *outside)
        states = list(results[:count])
        for kept, row in zip(scanned, results[count:], strict=True):
            kept.append(row)
    out_axes = per_value(scan_output_axes, len(blanks))
    out_directions = per_value(scan_output_directions, len(blanks))
    stacks = []
    for rows_, blank, axis, back in zip(scanned, blanks, out_axes, out_directions, strict=True):
        stacks.append(_stack("Scan", rows_[::-1] if back else rows_, blank, axis))
    return (*states, *stacks)


def sequence_map(input_sequence: Any, *additional_inputs: Any, body: Body, captures: int = 0) -> tuple[Any, ...]:
    """Sequences among the operands give the body one element each turn; tensors and captures are given whole."""
    own = len(additional_inputs) - captures
    results: list[list[Any]] = [[] for _ in body.blanks]
    for other in additional_inputs[:own]:
        if isinstance(other, list) and len(other) != len(input_sequence):
            raise InputError(f"SequenceMap: sequences of {len(input_sequence)} and {len(other)} elements go together")
    for turn, element in enumerate(input_sequence):
        beside = [x[turn] if isinstance(x, list) and i < own else x for i, x in enumerate(additional_inputs)]
        for column, result in zip(results, body(element, *beside), strict=True):
            column.append(result)
    return tuple(results)


def per_value(numbers: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """One number for each of `count` values: 0 unless told."""
    return tuple(numbers) if numbers else (0,) * count


def _stack(name: str, rows: Sequence[Array], blank: Array, axis: int) -> Array:
    """Rows stacked; of no rows, an empty tensor whose unknown dimensions are 0."""
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        texts = " and ".join(map(str, map(list, sorted(shapes))))
        raise InputError(f"{name}: rows of the shapes {texts} cannot be stacked, they must all have one")
    return np.stack(rows, axis) if rows else np.stack([blank], axis).take(range(0), axis)


def _single(what: str, array: Array) -> Any:
    if array.size != 1:
        raise InputError(f"{what} is one number, {array.size} are given")
    return array.item()


def _truth(what: str, array: Array) -> bool:
    return bool(_single(what, array))


# -- sequences ------------------------------------------------------------------------------------------------------


def sequence_construct(*inputs: Array) -> list[Array]:
    return list(inputs)


def sequence_empty() -> list[Array]:
    return []


def sequence_at(input_sequence: list[Array], position: Array) -> Array:
    return input_sequence[_place("SequenceAt", position, len(input_sequence), len(input_sequence) - 1)]


def sequence_insert(input_sequence: list[Array], tensor: Array, position: Array | None = None) -> list[Array]:
    count = len(input_sequence)
    at = count if position is None else _place("SequenceInsert", position, count, count)
    return [*input_sequence[:at], tensor, *input_sequence[at:]]


def sequence_erase(input_sequence: list[Array], position: Array | None = None) -> list[Array]:
    count = len(input_sequence)
    last = np.asarray(-1) if position is None else position
    at = _place("SequenceErase", last, count, count - 1)
    return [*input_sequence[:at], *input_sequence[at + 1 :]]


def sequence_length(input_sequence: list[Array]) -> Array:
    return np.asarray(len(input_sequence), np.int64)


def _place(name: str, position: Array, count: int, last: int) -> int:
    """A position in a sequence, counted from the front; InputError beyond its ends."""
    at = int(_single(f"{name}: the position", position))
    if not -count <= at <= last:
        raise InputError(f"{name}: there is no position {at} in a sequence of {count}")
    return at + count if at < 0 else at


# -- optionals ------------------------------------------------------------------------------------------------------


def optional(input: Any = None) -> Any:
    return input


def optional_get_element(input: Any) -> Any:
    if input is None:
        raise InputError("OptionalGetElement: the optional is empty, an element was expected")
    return input


def optional_has_element(input: Any = None) -> Array:
    return np.asarray(input is not None)


def identity(input: Any) -> Any:
    """A sequence or an optional under another name."""
    return input


# -- tensors of which a part is used -----------------------------------------------------------------------------------


def trim(full: Array, count: Array, *, axis: int = 0) -> Array:
    """The first `count` elements along an axis."""
    return np.ascontiguousarray(full[(slice(None),) * (axis % full.ndim) + (slice(int(count)),)])


TURNS: Mapping[str, Callable[..., Any]] = {
    "If": if_,
    "Loop": loop,
    "Scan": scan,
    "SequenceMap": sequence_map,
    "SequenceConstruct": sequence_construct,
    "SequenceEmpty": sequence_empty,
    "SequenceAt": sequence_at,
    "SequenceInsert": sequence_insert,
    "SequenceErase": sequence_erase,
    "SequenceLength": sequence_length,
    "Optional": optional,
    "OptionalGetElement": optional_get_element,
    "OptionalHasElement": optional_has_element,
    "Identity": identity,
    "heddle.Trim": trim,
}
"""What the runtime does by the name of the operator."""
