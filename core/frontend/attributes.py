"""Attributes of ONNX nodes as the IR's: numbers, strings, types and tuples of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heddle.core.errors import ModelError
from heddle.core.frontend.tensors import array_of, dense_of
from heddle.core.frontend.types import ENUM_ATTRIBUTES, element_type, type_of
from heddle.core.ir import dtype_name
from onnx import AttributeProto, NodeProto


def bound_attributes(node: NodeProto, bindings: Mapping[str, AttributeProto] | None) -> list[AttributeProto]:
    """The attributes of a node; those that refer to an attribute of the function around it take the call's.

    A reference to an attribute that the call does not give is an absent attribute. `bindings` is None outside of
    functions, where nothing can be referred to.
    """
    found: list[AttributeProto] = []
    for attribute in node.attribute:
        if any(attribute.name == other.name for other in found):
            raise ModelError(f"node {node.name!r} ({node.op_type}): attribute {attribute.name!r} is given twice")
        if not attribute.ref_attr_name:
            found.append(attribute)
            continue
        if bindings is None:
            raise ModelError(
                f"node {node.name!r} ({node.op_type}): attribute {attribute.name!r} refers to"
                f" {attribute.ref_attr_name!r} of a function, but the node is in none"
            )
        source = bindings.get(attribute.ref_attr_name)
        if source is not None:
            copy = AttributeProto()
            copy.CopyFrom(source)
            copy.name = attribute.name
            found.append(copy)
    return found


def attribute_value(attribute: AttributeProto, folder: Path | None) -> Any:
    """The value of an attribute that is no graph; tensors become arrays, element types their names (0: None)."""
    kind = attribute.type
    if kind == AttributeProto.INT:
        return _integer(attribute.name, attribute.i)
    if kind == AttributeProto.FLOAT:
        return _float(attribute.f)
    if kind == AttributeProto.STRING:
        return _text(attribute.s)
    if kind == AttributeProto.INTS:
        return tuple(int(number) for number in attribute.ints)
    if kind == AttributeProto.FLOATS:
        return tuple(_float(number) for number in attribute.floats)
    if kind == AttributeProto.STRINGS:
        return tuple(_text(text) for text in attribute.strings)
    if kind == AttributeProto.TENSOR:
        return array_of(attribute.t, folder)
    if kind == AttributeProto.SPARSE_TENSOR:
        return dense_of(attribute.sparse_tensor, folder)
    if kind == AttributeProto.TYPE_PROTO:
        return type_of(attribute.tp)
    raise ModelError(f"attribute {attribute.name!r}: a value of kind {kind} has no form in Heddle")


def _integer(name: str, number: int) -> int | str | None:
    if name not in ENUM_ATTRIBUTES:
        return int(number)
    return dtype_name(element_type(number)) if number else None


def _float(number: float) -> float:
    """The exact value; every NaN is one object, so that equal attributes compare equal."""
    return math.nan if math.isnan(number) else float(number)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
