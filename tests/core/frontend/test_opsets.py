"""Older forms of operators mean the same after import: compared with onnxruntime on models of old opsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from heddle.core.frontend import import_model
from heddle.core.frontend.export import export_model
from heddle.core.interpret import evaluate
from onnx import ModelProto, TensorProto, helper

F = TensorProto.FLOAT
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4, 4)).astype(np.float32)
V = RNG.standard_normal((3, 4, 5)).astype(np.float32)
B = [RNG.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4)]
I64 = {"starts": [1], "ends": [3]}


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


def floats(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.float32)


CASES: list[tuple[str, int, list[Any], dict[str, Any], int]] = [
    *((op, opset, [V], {"axis": axis}, 1)
      for op in ("Softmax", "LogSoftmax", "Hardmax") for opset in (7, 12) for axis in (0, 1, 2)),
    *(("Softmax", opset, [V], {}, 1) for opset in (7, 11, 12, 13, 21)),
    *((f"Reduce{kind}", opset, [V], {"axes": [0, 2], "keepdims": keep}, 1)
      for kind in ("Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "Prod")
      for opset, keep in ((7, 1), (12, 0))),
    ("ReduceMean", 17, [V], {"axes": [-1]}, 1),
    ("ReduceMax", 7, [V], {}, 1),
    ("Squeeze", 7, [V[None]], {"axes": [0]}, 1),
    ("Squeeze", 7, [V[None]], {}, 1),
    ("Unsqueeze", 11, [V], {"axes": [0, 2]}, 1),
    ("Split", 7, [V], {"axis": 1}, 2),
    ("Split", 11, [V], {"axis": 1, "split": [1, 3]}, 2),
    ("Split", 13, [V, ints(1, 3)], {"axis": 1}, 2),
    ("Split", 13, [V], {"axis": 1}, 2),
    ("Slice", 7, [V], {"starts": [1, 0], "ends": [3, 2], "axes": [1, 2]}, 1),
    ("Slice", 9, [V], {"starts": [1], "ends": [-1]}, 1),
    ("Clip", 7, [V], {"min": -0.5, "max": 0.5}, 1),
    ("Clip", 10, [V], {"min": 0.0}, 1),
    ("Pad", 7, [V], {"pads": [0, 1, 2, 0, 0, 1], "value": 0.5}, 1),
    ("Pad", 10, [V], {"pads": [0, 1, 2, 0, 0, 1], "mode": "reflect"}, 1),
    ("TopK", 7, [V], {"k": 2, "axis": -1}, 2),
    ("TopK", 10, [V, ints(2)], {"axis": 1}, 2),
    ("Dropout", 7, [V], {"ratio": 0.3}, 1),
    ("Dropout", 10, [V], {}, 1),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "nearest"}, 1),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, 1),
    ("Upsample", 9, [X, floats(1, 1, 2, 3)], {"mode": "nearest"}, 1),
    ("Resize", 10, [X, floats(1, 1, 1.5, 2)], {"mode": "nearest"}, 1),
    ("Resize", 10, [X, floats(1, 1, 0.5, 2)], {"mode": "linear"}, 1),
    ("Resize", 11, [X, floats(), floats(1, 1, 2, 2)], {"mode": "linear"}, 1),
    ("Resize", 11, [X, floats(), floats(), ints(2, 3, 6, 5)],
     {"mode": "nearest", "coordinate_transformation_mode": "align_corners"}, 1),
    ("BatchNormalization", 7, [X, *B], {"epsilon": 1e-3}, 1),
    ("BatchNormalization", 9, [X, *B], {}, 1),
    ("Scatter", 9, [V, np.array([[[1]]], np.int64), np.ones((1, 1, 1), np.float32)], {"axis": 1}, 1),
    ("ConstantOfShape", 9, [ints(2, 3)], {}, 1),
    ("Cast", 7, [V], {"to": TensorProto.INT32}, 1),
    ("AveragePool", 7, [X], {"kernel_shape": [2, 2], "count_include_pad": 1, "pads": [1, 1, 0, 0]}, 1),
    ("MaxPool", 7, [X], {"kernel_shape": [2, 2], "strides": [2, 2]}, 1),
    ("GridSample", 16, [X, RNG.uniform(-1, 1, (2, 3, 3, 2)).astype(np.float32)], {"mode": "bilinear"}, 1),
    ("PRelu", 7, [X, np.full((3, 1, 1), 0.25, np.float32)], {}, 1),
    ("Gemm", 7, [V[0], V[0].T.copy(), np.ones((4, 4), np.float32)], {"alpha": 0.5}, 1),
    ("DepthToSpace", 7, [RNG.standard_normal((1, 8, 2, 2)).astype(np.float32)], {"blocksize": 2}, 1),
    ("ArgMax", 7, [V], {"axis": 1}, 1),
    ("Flatten", 7, [X], {"axis": 2}, 1),
]  # fmt: skip


def model(op: str, opset: int, arrays: list[Any], attrs: dict[str, Any], outputs: int) -> ModelProto:
    names = [f"in{i}" for i in range(len(arrays))]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
    ]
    results = [f"out{i}" for i in range(outputs)]
    infos = [helper.make_empty_tensor_value_info(name) for name in results]
    constants = [helper.make_tensor(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a.tobytes(), raw=True)
                 for n, a in list(zip(names, arrays, strict=True))[1:]]  # fmt: skip
    graph = helper.make_graph([helper.make_node(op, names, results, **attrs)], op, inputs[:1], infos, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def reference(proto: ModelProto, array: Any) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return list(ort.InferenceSession(proto.SerializeToString(), options).run(None, {"in0": array}))


@pytest.mark.parametrize("case", CASES, ids=[f"{op}-{opset}-{i}" for i, (op, opset, *_) in enumerate(CASES)])
def test_an_old_form_means_what_it_meant(case: tuple[str, int, list[Any], dict[str, Any], int]) -> None:
    proto = model(*case)
    want = reference(proto, case[2][0])
    graph = import_model(proto)
    again = import_model(export_model(graph))
    for candidate in (graph, again):
        for got, expected in zip(evaluate(candidate, [case[2][0]]), want, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_flattening_softmax_of_unknown_rank(op: str) -> None:
    proto = model(op, 11, [V], {"axis": 1}, 1)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    np.testing.assert_allclose(evaluate(import_model(proto), [V])[0], reference(proto, V)[0], rtol=1e-5, atol=1e-6)
