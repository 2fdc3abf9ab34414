"""Models of a few nodes for the tests, and how their results are held against onnxruntime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.onednn.layouts import BLOCK, blocked
from heddle.backends.onednn.program import Program, from_json
from heddle.core.errors import UnavailableError
from onnx.reference import ReferenceEvaluator

import heddle
from tests.backends.graphs import Arrays
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


def program(made: onnx.ModelProto, **options: Any) -> Program:
    """What a model of one region becomes."""
    compiled = heddle.compile(made, backends=["onednn"], options={"onednn": options} if options else None)
    (step,) = compiled.schedules[0].steps
    return from_json(step.artifact.meta["program"])


def kinds(made: onnx.ModelProto, **options: Any) -> list[str]:
    """The primitives that a model becomes."""
    return [primitive.kind for primitive in program(made, **options).primitives]


def blocks_are_whole(made: onnx.ModelProto) -> bool:
    """Whether all channels fill their blocks: the library writes whole ones, beyond the memory of others."""
    return all(one.dims[1] % BLOCK == 0 for one in program(made).tensors if blocked(one.dims, one.strides))
