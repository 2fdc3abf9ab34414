"""The types of values: tensors with known, symbolic or unknown dimensions, sequences and optionals of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Dim = int | str
"""A dimension: a size, the name of a symbol, or `"?"` where nothing is known (two unknowns are not equal)."""

UNKNOWN: Dim = "?"

DType = np.dtype[Any]

_DTYPES: dict[str, DType] = {
    name: np.dtype(name)
    for name in (
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
    )
} | {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "float8e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "float8e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "float8e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "float4e2m1": np.dtype(ml_dtypes.float4_e2m1fn),
    "int4": np.dtype(ml_dtypes.int4),
    "uint4": np.dtype(ml_dtypes.uint4),
    "int2": np.dtype(ml_dtypes.int2),
    "uint2": np.dtype(ml_dtypes.uint2),
    "string": np.dtype(object),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def dtype_named(name: str) -> DType:
    """The numpy dtype of a name such as `float32`; KeyError when there is none."""
    return _DTYPES[name]


def dtype_name(dtype: DType) -> str:
    """The inverse of `dtype_named`; any string dtype is `string`; KeyError when the IR has no such type."""
    return "string" if dtype.kind in "USOT" else _NAMES[dtype]


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor's element type and dimensions; `dims` is None when even the rank is unknown."""

    dtype: DType
    dims: tuple[Dim, ...] | None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The dimensions when all of them are known, else None."""
        if self.dims is None or any(isinstance(dim, str) for dim in self.dims):
            return None
        return tuple(int(dim) for dim in self.dims)

    @property
    def size(self) -> int | None:
        """The number of elements when the shape is known, else None."""
        shape = self.shape
        return None if shape is None else int(np.prod(shape, dtype=np.int64))

    @property
    def nbytes(self) -> int | None:
        """The bytes of a dense array of this type when the shape is known, else None."""
        size = self.size
        return None if size is None else size * self.dtype.itemsize

    def __str__(self) -> str:
        dims = "*" if self.dims is None else ",".join(str(dim) for dim in self.dims)
        return f"{dtype_name(self.dtype)}[{dims}]"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A list of values of one type."""

    element: Type

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value that may be absent when the graph runs."""

    element: Type

    def __str__(self) -> str:
        return f"optional<{self.element}>"


Type = TensorType | SequenceType | OptionalType


def tensor(dtype: str | DType, *dims: Dim) -> TensorType:
    """The tensor type of a dtype (or its name) and dimensions: `tensor("float32", "N", 3)`."""
    return TensorType(dtype_named(dtype) if isinstance(dtype, str) else dtype, dims)
