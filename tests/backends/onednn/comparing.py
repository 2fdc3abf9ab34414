"""Models of a few nodes for the tests, and how their results are held against onnxruntime's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.core.errors import UnavailableError
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import heddle
from tests.oracle import session


def missing() -> str:
    """Why the library cannot be used here; nothing where it can."""
    from heddle.backends.onednn.library import library

    try:
        library()
    except UnavailableError as error:
        return str(error)
    return ""


needs_library = pytest.mark.skipif(bool(missing()), reason=missing())

Arrays = dict[str, np.ndarray[Any, Any]]


def model(
    nodes: Sequence[onnx.NodeProto], inputs: Arrays, constants: Arrays, results: Sequence[str] = ("y",)
) -> onnx.ModelProto:
    """A model of these nodes over inputs of these shapes."""
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in inputs.items()
    ]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph(nodes, "test", ports, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made)


def compare(made: onnx.ModelProto, inputs: Arrays, tolerance: float = 1e-4, **options: Any) -> None:
    """Demand that nothing is left to the host, and that the results are onnxruntime's."""
    theirs = session(made)
    wanted = dict(zip((output.name for output in theirs.get_outputs()), theirs.run(None, inputs), strict=True))
    for name, mine in results(made, inputs, options).items():
        right = wanted.pop(name)
        assert (mine.shape, mine.dtype) == (right.shape, right.dtype)
        np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance * max(1.0, float(np.abs(right).max())))
    assert not wanted


def compare_integers(made: onnx.ModelProto, inputs: Arrays, quanta: int = 0, **options: Any) -> None:
    """As `compare`, by onnx's own reference: onnxruntime saturates without VNNI, and lacks kernels for signed data."""
    wanted = dict(zip(("y",), ReferenceEvaluator(made).run(None, inputs), strict=True))
    for name, mine in results(made, inputs, options).items():
        right = wanted.pop(name)
        assert (mine.shape, mine.dtype) == (right.shape, right.dtype)
        assert np.abs(mine.astype(np.float64) - right.astype(np.float64)).max() <= quanta
    assert not wanted


def results(made: onnx.ModelProto, inputs: Arrays, options: dict[str, Any]) -> Arrays:
    """What the library computes, by name."""
    compiled = heddle.compile(made, backends=["onednn"], options={"onednn": options} if options else None)
    return {name: np.asarray(array) for name, array in compiled(*inputs.values()).items()}


def kinds(made: onnx.ModelProto, **options: Any) -> list[str]:
    """The primitives that a model becomes."""
    compiled = heddle.compile(made, backends=["onednn"], options={"onednn": options} if options else None)
    (step,) = compiled.schedules[0].steps
    return [primitive["kind"] for primitive in step.artifact.meta["program"]["primitives"]]


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), np.float32)
