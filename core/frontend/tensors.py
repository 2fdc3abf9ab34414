"""TensorProto and SparseTensorProto as arrays, and arrays as TensorProto."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from heddle.core.errors import ModelError
from heddle.core.frontend.external import external_bytes
from heddle.core.frontend.types import element_number, element_type
from heddle.core.ir.types import DType, dtype_name
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto

Array = NDArray[Any]

SPARSE_LIMIT = 1 << 30
"""The most bytes that a sparse tensor may take when it is made dense."""

_PACKED = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}
"""The element types that share bytes, and their bits; the first element is in the lowest bits."""

_FIELDS = {
    "float32": "float_data",
    "complex64": "float_data",
    "float64": "double_data",
    "complex128": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}


def array_of(proto: TensorProto, folder: Path | None = None) -> Array:
    """The array of a tensor, a read-only view of its bytes where that is possible; ModelError when it is unsound.

    `folder` is where the model lies, for tensors that are stored in files beside it.
    """
    dtype, shape = element_type(proto.data_type), tuple(proto.dims)
    if any(dim < 0 for dim in shape):
        raise ModelError(f"tensor {proto.name!r}: dimensions {list(shape)} are negative")
    if proto.HasField("segment"):
        raise ModelError(f"tensor {proto.name!r}: it is stored in segments, which ONNX has withdrawn")
    size = math.prod(shape)
    if dtype.kind == "O":
        return _strings(proto, shape, size)
    if proto.data_location == TensorProto.EXTERNAL:
        return _from_bytes(proto, external_bytes(proto, folder), dtype, size).reshape(shape)
    if proto.HasField("raw_data"):
        return _from_bytes(proto, np.frombuffer(proto.raw_data, np.uint8), dtype, size).reshape(shape)
    return _from_numbers(proto, dtype, size).reshape(shape)


def dense_of(proto: SparseTensorProto, folder: Path | None = None) -> Array:
    """The dense array of a sparse tensor."""
    name, shape = proto.values.name, tuple(proto.dims)
    values, indices = array_of(proto.values, folder), array_of(proto.indices, folder)
    if any(dim < 0 for dim in shape) or math.prod(shape) * values.dtype.itemsize > SPARSE_LIMIT:
        raise ModelError(f"sparse tensor {name!r}: {list(shape)} has no dense form of at most {SPARSE_LIMIT} bytes")
    if values.ndim != 1 or indices.dtype != np.int64:
        raise ModelError(f"sparse tensor {name!r}: a vector of values and int64 indices are expected")
    if indices.shape == (values.size, len(shape)):
        if (indices < 0).any() or (indices >= np.array(shape, np.int64)).any():
            raise ModelError(f"sparse tensor {name!r}: an index lies outside of {list(shape)}")
        flat = np.ravel_multi_index(tuple(indices.T), shape) if shape else np.zeros(values.size, np.int64)
    elif indices.shape == (values.size,):
        flat = indices
    else:
        raise ModelError(f"sparse tensor {name!r}: {values.size} values have indices of shape {list(indices.shape)}")
    if (flat < 0).any() or (flat >= math.prod(shape)).any():
        raise ModelError(f"sparse tensor {name!r}: an index lies outside of {list(shape)}")
    dense = np.zeros(math.prod(shape), values.dtype)
    if values.dtype.kind == "O":
        dense[...] = ""
    dense[flat] = values
    return dense.reshape(shape)


def tensor_proto(array: Array, name: str = "") -> TensorProto:
    """The inverse of `array_of`."""
    proto = TensorProto(name=name, dims=array.shape)
    if array.dtype.kind in "USOT":
        proto.data_type = TensorProto.STRING
        proto.string_data.extend(str(text).encode("utf-8", "surrogateescape") for text in array.ravel())
        return proto
    proto.data_type = element_number(array.dtype)
    bits = _PACKED.get(dtype_name(array.dtype))
    flat = np.ascontiguousarray(array).reshape(-1)
    if bits is not None:
        per = 8 // bits
        codes = flat.view(np.uint8) & ((1 << bits) - 1)
        codes = np.pad(codes, (0, -len(codes) % per)).reshape(-1, per)
        proto.raw_data = (codes << np.arange(0, 8, bits, dtype=np.uint8)).sum(1).astype(np.uint8).tobytes()
    else:
        proto.raw_data = (
            flat.astype(flat.dtype.newbyteorder("<")).tobytes() if flat.dtype.kind != "V" else flat.tobytes()
        )
    return proto


def _strings(proto: TensorProto, shape: tuple[int, ...], size: int) -> Array:
    if proto.data_location == TensorProto.EXTERNAL or proto.HasField("raw_data"):
        raise ModelError(f"tensor {proto.name!r}: strings are stored in string_data only")
    if len(proto.string_data) != size:
        raise _miscounted(proto, f"{len(proto.string_data)} strings", f"{size}")
    array = np.empty(size, object)
    array[...] = [text.decode("utf-8", "surrogateescape") for text in proto.string_data]
    return array.reshape(shape)


def _from_bytes(proto: TensorProto, data: NDArray[np.uint8], dtype: DType, size: int) -> Array:
    bits = _PACKED.get(dtype_name(dtype))
    expected = size * dtype.itemsize if bits is None else -(-size * bits // 8)
    if len(data) != expected:
        raise _miscounted(proto, f"{len(data)} bytes", f"{expected}")
    if bits is not None:
        return _unpacked(data, bits, dtype, size)
    return data.view(dtype)


def _unpacked(data: NDArray[np.uint8], bits: int, dtype: DType, size: int) -> Array:
    codes = (data[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8((1 << bits) - 1)
    codes = codes.reshape(-1)[:size]
    if dtype == np.dtype(ml_dtypes.float4_e2m1fn):
        return codes.view(dtype)
    signed = dtype_name(dtype).startswith("int")
    if signed:
        codes = ((codes.astype(np.int8) ^ (1 << (bits - 1))) - (1 << (bits - 1))).astype(np.int8)
    return codes.astype(dtype)


def _from_numbers(proto: TensorProto, dtype: DType, size: int) -> Array:
    name = dtype_name(dtype)
    numbers = getattr(proto, _FIELDS.get(name, "int32_data"))
    bits = _PACKED.get(name)
    per = 2 if dtype.kind == "c" else 1
    expected = size * per if bits is None else -(-size * bits // 8)
    if len(numbers) != expected:
        raise _miscounted(proto, f"{len(numbers)} numbers", f"{expected}")
    if dtype.kind == "c":
        return np.array(numbers, np.float32 if name == "complex64" else np.float64).view(dtype)
    if bits is not None:
        return _unpacked(np.array(numbers, np.int64).astype(np.uint8), bits, dtype, size)
    if dtype.kind in "biu" or name in ("float32", "float64"):
        return np.array(numbers, np.dtype(type(numbers[0])) if size else dtype).astype(dtype)
    codes = np.array(numbers, np.int64)
    return codes.astype(np.uint16 if dtype.itemsize == 2 else np.uint8).view(dtype)


def _miscounted(proto: TensorProto, found: str, expected: str) -> ModelError:
    name = dtype_name(element_type(proto.data_type))
    return ModelError(f"tensor {proto.name!r}: {found} of data, {name}{list(proto.dims)} takes {expected}")
