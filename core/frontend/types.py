"""ONNX's types and element types as the IR's, and back."""

from __future__ import annotations

from heddle.core.errors import ModelError
from heddle.core.ir import Dim, OptionalType, SequenceType, TensorType, Type, dtype_name, dtype_named
from heddle.core.ir.types import UNKNOWN, DType
from onnx import TensorProto, TypeProto, helper

_UNUSUAL = {"FLOAT": "float32", "DOUBLE": "float64"}

ENUM_ATTRIBUTES = ("dtype", "output_datatype", "output_dtype", "precision", "softmax_precision", "stash_type", "to")
"""The attributes whose integer is an element type; in the IR they hold its name."""


def element_type(number: int) -> DType:
    """The dtype of a `TensorProto.DataType`; ModelError when there is none."""
    try:
        name = TensorProto.DataType.Name(number)
        return dtype_named(_UNUSUAL.get(name, name.lower()))
    except (ValueError, KeyError):
        raise ModelError(f"element type {number}: ONNX has no such type, or Heddle does not know it") from None


def element_number(dtype: DType | str) -> int:
    """The inverse of `element_type`, for a dtype or its name."""
    name = dtype if isinstance(dtype, str) else dtype_name(dtype)
    for unusual, usual in _UNUSUAL.items():
        if name == usual:
            name = unusual
    return int(TensorProto.DataType.Value(name.upper()))


def type_of(proto: TypeProto, depth: int = 0) -> Type:
    """The IR's type of a TypeProto; ModelError when it is not complete or of a kind that Heddle does not know."""
    kind = proto.WhichOneof("value")
    if depth > 16:
        raise ModelError("a type is nested more than 16 levels deep")
    if kind == "sequence_type":
        return SequenceType(type_of(proto.sequence_type.elem_type, depth + 1))
    if kind == "optional_type":
        return OptionalType(type_of(proto.optional_type.elem_type, depth + 1))
    if kind != "tensor_type":
        raise ModelError(f"a type of kind {kind or 'nothing'}: tensors, sequences and optionals are known")
    dtype = element_type(proto.tensor_type.elem_type)
    if not proto.tensor_type.HasField("shape"):
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(_dim(dim) for dim in proto.tensor_type.shape.dim))


def _dim(dim: TypeProto.Tensor) -> Dim:
    kind = dim.WhichOneof("value")
    if kind == "dim_param":
        if not isinstance(dim.dim_param, str):
            raise ModelError(f"a dimension's name {dim.dim_param!r} is not UTF-8")
        return str(dim.dim_param) or UNKNOWN
    if kind != "dim_value" or dim.dim_value == -1:
        return UNKNOWN
    if dim.dim_value < 0:
        raise ModelError(f"a dimension is {dim.dim_value}: it cannot be negative")
    return int(dim.dim_value)


def type_proto(type: Type) -> TypeProto:
    """The inverse of `type_of`."""
    if isinstance(type, SequenceType):
        return helper.make_sequence_type_proto(type_proto(type.element))
    if isinstance(type, OptionalType):
        return helper.make_optional_type_proto(type_proto(type.element))
    dims = None if type.dims is None else [None if dim == UNKNOWN else dim for dim in type.dims]
    return helper.make_tensor_type_proto(element_number(type.dtype), dims)
