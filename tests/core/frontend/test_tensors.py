"""Tensors of every element type, in raw and in typed fields, and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from heddle.core.dtypes import dtype_named
from heddle.core.frontend.tensors import array_of, tensor_proto
from heddle.core.ir.graph import same_array
from onnx import TensorProto, helper, numpy_helper

NAMES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NAMES += ("bool", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2")
NAMES += ("float8e5m2fnuz", "float8e8m0", "float4e2m1", "int4", "uint4", "int2", "uint2")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0, 2)])
def test_what_is_written_reads_back_here_and_in_onnx(name: str, shape: tuple[int, ...]) -> None:
    dtype = dtype_named(name)
    array = np.random.default_rng(0).integers(0 if name != "float8e8m0" else 1, 2, shape).astype(dtype)
    proto = tensor_proto(array, "w")
    assert same_array(array_of(proto), array)
    theirs = np.asarray(numpy_helper.to_array(proto))
    assert theirs.astype(np.complex128).tolist() == array.astype(np.complex128).tolist()


TYPED = {
    "float32": (TensorProto.FLOAT, [1.5, -2.0], [1.5, -2.0]),
    "float64": (TensorProto.DOUBLE, [1.5, -2.0], [1.5, -2.0]),
    "float16": (TensorProto.FLOAT16, [1.5, -2.0], [1.5, -2.0]),
    "bfloat16": (TensorProto.BFLOAT16, [1.5, -2.0], [1.5, -2.0]),
    "float8e4m3fn": (TensorProto.FLOAT8E4M3FN, [1.5, -2.0], [1.5, -2.0]),
    "int8": (TensorProto.INT8, [-3, 4], [-3, 4]),
    "uint16": (TensorProto.UINT16, [3, 60000], [3, 60000]),
    "int64": (TensorProto.INT64, [-(1 << 60), 4], [-(1 << 60), 4]),
    "uint64": (TensorProto.UINT64, [1 << 63, 4], [1 << 63, 4]),
    "bool": (TensorProto.BOOL, [True, False], [1, 0]),
    "complex64": (TensorProto.COMPLEX64, [1 + 2j, 3 - 1j], [1 + 2j, 3 - 1j]),
    "int4": (TensorProto.INT4, [-3, 7, 1], [-3, 7, 1]),
    "uint4": (TensorProto.UINT4, [15, 7, 1], [15, 7, 1]),
}


@pytest.mark.parametrize(("name", "case"), TYPED.items(), ids=TYPED)
def test_numbers_in_typed_fields(name: str, case: tuple[int, list[complex], list[complex]]) -> None:
    kind, given, expected = case
    array = array_of(helper.make_tensor("w", kind, [len(given)], given))
    assert array.dtype == dtype_named(name)
    assert array.astype(np.complex128).tolist() == expected


def test_strings() -> None:
    array = array_of(TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=["grüße".encode(), b"\xff"]))
    assert array.tolist() == ["grüße", "\udcff"]
    assert list(tensor_proto(array).string_data) == ["grüße".encode(), b"\xff"]


def test_raw_data_is_not_copied() -> None:
    proto = numpy_helper.from_array(np.arange(4, dtype=np.float32))
    assert not array_of(proto).flags.owndata
    assert array_of(proto).dtype != ml_dtypes.bfloat16
