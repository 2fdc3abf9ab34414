"""The element types of tensors by name, shared by the graph and by the runtime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

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
    """The inverse of `dtype_named`; any string dtype is `string`; KeyError when there is no such type."""
    return "string" if dtype.kind in "USOT" else _NAMES[dtype]
