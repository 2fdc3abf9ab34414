"""The operators of onnxruntime's domain mean what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from heddle.core.ir import Node, TensorType, Value
from heddle.core.ops import OPERATORS, evaluate_node
from onnx import helper

from tests.oracle import session

RANDOM = np.random.default_rng(7)
SCALES = [np.asarray(scale, np.float32) for scale in (0.02, 0.05, 0.1)]


def numbers(*shape: int, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def zero(value: int, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.asarray(value, dtype)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.normal(0, 2, shape).astype(np.float32)


def triple(which: int, *shape: int, dtype: Any = np.uint8) -> tuple[Any, ...]:
    """A quantized tensor, its scale and its zero point."""
    return numbers(*shape, dtype=dtype), SCALES[which], zero(which * 7 if dtype is np.int8 else 100 + which, dtype)


TO = (SCALES[2], zero(120))
IMAGE = (2, 3, 6, 5)
BIAS = np.arange(5, dtype=np.int32) * 100
CASES: tuple[tuple[str, Sequence[Any], dict[str, Any]], ...] = (
    ("QLinearAdd", (*triple(0, *IMAGE), *triple(1, 6, 5), *TO), {}),
    ("QLinearMul", (*triple(0, *IMAGE), *triple(1, 6, 5), *TO), {}),
    ("QLinearAdd", (*triple(0, 9, dtype=np.int8), *triple(1, 9, dtype=np.int8), SCALES[1], zero(-3, np.int8)), {}),
    ("QLinearSigmoid", (*triple(1, *IMAGE), np.asarray(1 / 256, np.float32), zero(0)), {}),
    ("QLinearLeakyRelu", (*triple(1, *IMAGE), *TO), {"alpha": 0.25}),
    ("QLinearSoftmax", (*triple(1, *IMAGE), np.asarray(1 / 256, np.float32), zero(0)), {"axis": 1, "opset": 13}),
    ("QLinearSoftmax", (*triple(1, *IMAGE), np.asarray(1 / 256, np.float32), zero(0)), {"axis": 2, "opset": 12}),
    ("QLinearWhere", (numbers(6, 5) > 99, *triple(0, *IMAGE), *triple(1, 6, 5), *TO), {}),
    ("QLinearConcat", (*TO, *triple(0, 2, 3), *triple(1, 2, 4)), {"axis": 1}),
    ("QLinearGlobalAveragePool", (*triple(1, *IMAGE), *TO), {}),
    ("QLinearGlobalAveragePool", (*triple(1, *IMAGE), *TO), {"channels_last": 1}),
    ("QLinearAveragePool", (*triple(1, *IMAGE), *TO), {"kernel_shape": [3, 2], "strides": [2, 1]}),
    ("QGemm", (*triple(0, 4, 6), *triple(1, 6, 5), BIAS, np.asarray(0.9, np.float32), zero(128)), {"alpha": 0.5}),
    ("QGemm", (*triple(0, 4, 6), *triple(1, 5, 6), BIAS), {"transB": 1}),
    ("FusedMatMul", (floats(2, 4, 3), floats(2, 5, 4)), {"transA": 1, "transB": 1, "alpha": 0.5}),
    ("FusedMatMul", (floats(4, 3), floats(3, 2)), {}),
    ("Gelu", (floats(3, 4),), {}),
    ("QuantizeLinear", (floats(3, 4), SCALES[1], zero(12)), {}),
    ("DequantizeLinear", triple(1, 3, 4), {}),
)


@pytest.mark.parametrize(("op", "operands", "attrs"), CASES)
def test_meaning(op, operands, attrs):
    actual, expected = ours(op, operands, attrs), theirs(op, operands, attrs)
    assert actual.dtype == expected.dtype
    if actual.dtype.kind in "iu":
        # onnxruntime folds scales together before it multiplies, which may move a half to the other side.
        gap = np.abs(actual.astype(np.int64) - expected.astype(np.int64))
        assert gap.max() <= 1
        assert np.count_nonzero(gap) <= max(1, gap.size // 20)
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_every_operator_is_tested():
    known = {name.removeprefix("com.microsoft.") for name in OPERATORS if name.startswith("com.microsoft.")}
    assert {op for op, _, _ in CASES} == known


def ours(op: str, operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
    inputs = tuple(Value(f"x{i}", TensorType(x.dtype, x.shape)) for i, x in enumerate(operands))
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in attrs.items()}
    node = Node(f"com.microsoft.{op}", inputs, (Value("y", TensorType(np.dtype("f4"), None)),), frozen)
    return evaluate_node(node, operands)[0]


def theirs(op: str, operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
    names = [f"x{i}" for i in range(len(operands))]
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, operands, strict=True)
    ]
    out = ours(op, operands, attrs)
    y = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(out.dtype), None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], domain="com.microsoft", **attrs)], "one", infos, [y])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    return session(model).run(None, dict(zip(names, operands, strict=True)))[0]
