"""`precision`: products of bfloat16 where they are asked for, by the API and on the command line, and told of."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import heddle
from heddle.cli import app

RUNNER = CliRunner()
REMARK = "host: products with constants are of bfloat16, summed as floats"


@pytest.fixture
def model(tmp_path):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[3,40] x) => (float[3,20] y) { y = MatMul(x, w) }'
    made = onnx.parser.parse_model(text)
    weights = np.random.default_rng(0).standard_normal((40, 20)).astype(np.float32)
    made.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(made, tmp_path / "model.onnx")
    return tmp_path / "model.onnx", weights


def test_the_command_line_rounds_when_asked(model, tmp_path):
    path, weights = model
    x = np.random.default_rng(1).standard_normal((3, 40)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    words = ["run", path, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz", "--precision", "bf16"]
    result = RUNNER.invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    half = ml_dtypes.bfloat16
    wanted = x.astype(half).astype(np.float64) @ weights.astype(half).astype(np.float64)
    np.testing.assert_allclose(np.load(tmp_path / "y.npz")["y"], wanted, rtol=1e-5, atol=1e-5)
    exact = heddle.compile(path)(x)["y"]
    assert 1e-4 < np.abs(exact - wanted).max() < 0.2


def test_what_is_compiled_says_so(model, tmp_path):
    path, _ = model
    words = ["compile", path, "-o", tmp_path / "model.heddle", "--precision", "bf16"]
    assert RUNNER.invoke(app, list(map(str, words))).exit_code == 0
    (step,) = heddle.load(tmp_path / "model.heddle").schedules[0].steps
    assert step.artifact.meta["precision"] == "bf16"


def test_an_explanation_tells(model):
    path, _ = model
    told = heddle.explain(path, options={"host": {"precision": "bf16"}})
    assert told.to_json()["remarks"] == [REMARK]
    assert REMARK in str(told).splitlines()
    assert heddle.explain(path).to_json()["remarks"] == []


def test_other_precisions_are_refused(model):
    path, _ = model
    with pytest.raises(heddle.HeddleError, match="precision"):
        heddle.compile(path, options={"host": {"precision": "fp8"}})
