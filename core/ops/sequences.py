"""Sequences of tensors and values that may be absent."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.core.errors import GraphError
from heddle.core.ir import OptionalType, SequenceType, TensorType, Type, dtype_named, tensor
from heddle.core.ir.types import UNKNOWN, Dim
from heddle.core.ops.registry import DTypeName, Operand, op, same_type
from heddle.core.ops.shapes import axis_of, ints, joined
from heddle.core.runtime import turns
from numpy.typing import NDArray

Array = NDArray[Any]


def element_of(name: str, operand: Operand) -> Type:
    """The type of a sequence's elements."""
    if not isinstance(operand.type, SequenceType):
        raise GraphError(f"{name}: a sequence was expected, found {operand.type}")
    return operand.type.element


def construct_type(*inputs: Operand) -> Type:
    element = inputs[0].type
    for operand in inputs[1:]:
        element = joined("SequenceConstruct", element, operand.type)
    return SequenceType(element)


op("SequenceConstruct", infer=construct_type)(turns.sequence_construct)


def empty_type(*, dtype: str | None) -> Type:
    return SequenceType(TensorType(dtype_named(dtype or "float32"), None))


@op("SequenceEmpty", infer=empty_type)
def sequence_empty(*, dtype: DTypeName | None = None) -> list[Array]:
    return turns.sequence_empty()


def at_type(input_sequence: Operand, position: Operand) -> Type:
    return element_of("SequenceAt", input_sequence)


op("SequenceAt", infer=at_type)(turns.sequence_at)


def insert_type(input_sequence: Operand, tensor: Operand, position: Operand | None) -> Type:
    return SequenceType(joined("SequenceInsert", element_of("SequenceInsert", input_sequence), tensor.type))


op("SequenceInsert", infer=insert_type)(turns.sequence_insert)


op("SequenceErase", infer=same_type)(turns.sequence_erase)


def length_type(input_sequence: Operand) -> Type:
    element_of("SequenceLength", input_sequence)
    return tensor("int64")


op("SequenceLength", infer=length_type)(turns.sequence_length)


def split_to_sequence_type(input: Operand, split: Operand | None, *, axis: int, keepdims: int) -> Type:
    if input.dims is None:
        return SequenceType(input.type)
    at = axis_of("SplitToSequence", axis, len(input.dims))
    if split is None and not keepdims:
        return SequenceType(TensorType(input.dtype, (*input.dims[:at], *input.dims[at + 1 :])))
    part: Dim = 1 if split is None else UNKNOWN
    return SequenceType(TensorType(input.dtype, (*input.dims[:at], part, *input.dims[at + 1 :])))


@op("SplitToSequence", infer=split_to_sequence_type)
def split_to_sequence(input: Array, split: Array | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Array]:
    size = input.shape[axis]
    if split is not None and split.ndim == 1:
        edges = list(np.cumsum(ints(split))[:-1])
    else:
        edges = list(range(0, size, 1 if split is None else int(split.reshape(-1)[0])))[1:]
    parts = [part.copy() for part in np.split(input, edges, axis=axis)] if size else []
    return parts if keepdims or split is not None else [np.squeeze(part, axis=axis) for part in parts]


def concat_from_sequence_type(input_sequence: Operand, *, axis: int, new_axis: int) -> Type:
    element = element_of("ConcatFromSequence", input_sequence)
    if not isinstance(element, TensorType) or element.dims is None:
        return element
    rank = len(element.dims) + (1 if new_axis else 0)
    at = axis_of("ConcatFromSequence", axis, rank)
    dims = list(element.dims)
    dims[at : at + (0 if new_axis else 1)] = [UNKNOWN]
    return TensorType(element.dtype, tuple(dims))


@op("ConcatFromSequence", infer=concat_from_sequence_type)
def concat_from_sequence(input_sequence: list[Array], *, axis: int, new_axis: int = 0) -> Array:
    return np.stack(input_sequence, axis) if new_axis else np.concatenate(input_sequence, axis)


# -- optionals --------------------------------------------------------------------------------------------------


def optional_type(input: Operand | None, *, type: Type | None) -> Type:
    found = type if input is None else input.type
    if found is None:
        raise GraphError("Optional: an input or a type is needed, neither is given")
    return found if isinstance(found, OptionalType) else OptionalType(found)


@op("Optional", infer=optional_type)
def optional(input: Any = None, *, type: Type | None = None) -> Any:
    return turns.optional(input)


def get_element_type(input: Operand) -> Type:
    return input.type.element if isinstance(input.type, OptionalType) else input.type


op("OptionalGetElement", infer=get_element_type)(turns.optional_get_element)


def has_element_type(input: Operand | None) -> Type:
    return tensor("bool")


op("OptionalHasElement", infer=has_element_type)(turns.optional_has_element)
