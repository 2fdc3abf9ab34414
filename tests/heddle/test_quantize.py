"""Quantization: what the model becomes, what the report says, what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.errors import HeddleError, InputError
from onnx import ModelProto, TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from heddle.cli import app
from heddle.quantize import quantize

MNIST = Path(__file__).parents[1] / "models" / "mnist.onnx"


def samples(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"Input3": rng.uniform(0, 255, (1, 1, 28, 28)).astype(np.float32)} for _ in range(count)]


def zero_points(model: ModelProto) -> dict[str, np.ndarray]:
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0]: constants[node.input[2]] for node in nodes}


def test_an_old_model_is_quantized_and_measured() -> None:
    result = quantize(MNIST, samples(3))
    assert {each.version for each in result.model.opset_import if not each.domain} == {13}
    assert {str(point.dtype) for point in zero_points(result.model).values()} == {"uint8"}
    operators = [error.op for error in result.tensors if error.node]
    assert operators == ["Relu", "MaxPool", "Relu", "MaxPool", "Reshape", "Gemm"]
    assert result.outputs["Plus214_Output_0"].sqnr > 25
    assert all(error.sqnr > 25 for error in result.tensors)


def test_symmetric_activations_have_no_zero_points() -> None:
    points = zero_points(quantize(MNIST, samples(2), symmetric=True, calibration="percentile").model)
    assert all(point.dtype == np.int8 and not point.any() for point in points.values())


def test_kept_nodes_stay_in_float() -> None:
    model = quantize(MNIST, samples(2), keep=["Conv*28"]).model
    constants = {each.name for each in model.graph.initializer}
    weights = {node.name: node.input[1] in constants for node in model.graph.node if node.op_type == "Conv"}
    assert weights == {"Convolution28": True, "Convolution110": False}


def joined(again: str) -> ModelProto:
    """Convolutions `b` and `c` joined to `j`, and that joined again with `again` to `k`."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "a"), helper.make_node("Conv", ["a", "w"], ["b"], "b"),
        helper.make_node("Conv", ["x", "w"], ["c"], "c"), helper.make_node("Concat", ["b", "c"], ["j"], "j", axis=1),
        helper.make_node("Concat", ["j", again], ["k"], "k", axis=1), helper.make_node("Conv", ["k", "v"], ["y"], "y"),
    ]  # fmt: skip
    rng = np.random.default_rng(1)
    arrays = {"w": rng.standard_normal((4, 4, 1, 1)), "v": rng.standard_normal((3, 16 if again == "j" else 12, 1, 1))}
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("again", "expected"),
    [("j", {"b": "j", "c": "j", "j": "j", "k": "k"}), ("b", {"b": "b", "c": "k", "j": "k", "k": "k"})],
    ids=["both only joined", "one read elsewhere"],
)
def test_what_is_only_joined_has_the_scale_of_the_result(again: str, expected: dict[str, str]) -> None:
    rng = np.random.default_rng(2)
    result = quantize(joined(again), [{"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(2)])
    nodes = result.model.graph.node
    scales = {node.input[0]: node.input[1] for node in nodes if node.op_type == "QuantizeLinear"}
    assert {name: scales[name] for name in "bcjk"} == {name: f"{scale}_scale" for name, scale in expected.items()}
    written = {node.output[0]: list(node.input[1:]) for node in nodes if node.op_type == "QuantizeLinear"}
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in written:
            assert list(node.input[1:]) == written[node.input[0]]
    assert result.outputs["y"].sqnr > 25


def test_the_layer_that_hurts_is_named() -> None:
    """One channel a thousand times the others: a tensor's single scale leaves nothing of those."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["wide"], "spread"),
        helper.make_node("Conv", ["wide", "v"], ["y"], "narrow"),
    ]
    w, v = rng.standard_normal((8, 4, 1, 1)), rng.standard_normal((4, 8, 1, 1))
    w[0] *= 1000
    v[:, 0] = 0
    constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in (("w", w), ("v", v))]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, 8]) for n in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    result = quantize(model, [{"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(2)])
    assert result.hurting()[0].node == "narrow"
    assert result.outputs["y"].sqnr < 10
    assert quantize(model, [{"x": np.ones((1, 4, 8, 8), np.float32)}], keep=["*"]).outputs["y"].sqnr == np.inf


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^keep: there is no node 'nope' after folding; some are "):
        quantize(MNIST, samples(1), keep=["nope"])
    with pytest.raises(InputError, match=r"^data: samples have x, the model takes Input3$"):
        quantize(MNIST, [{"x": np.zeros(1, np.float32)}])
    with pytest.raises(InputError, match="no sample is given"):
        quantize(MNIST, [])
    with pytest.raises(HeddleError, match=r"^calibration: 'guess', expected one of minmax, percentile, entropy$"):
        quantize(MNIST, samples(1), calibration="guess")  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HeddleError, match=r"pip install 'heddle\[quantize\]'$"):
        quantize(MNIST, samples(1))


def test_the_command_reads_samples_and_reports(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", Input3=np.concatenate([sample["Input3"] for sample in samples(3)]))
    output = tmp_path / "q.onnx"
    done = CliRunner().invoke(app, ["quantize", str(MNIST), "--data", str(tmp_path / "data.npz"), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "on 3 samples" in done.output
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(output).graph.node)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "one.npy", samples(1)[0]["Input3"])
    folder = ["quantize", str(MNIST), "--data", str(tmp_path / "folder"), "-o", str(output), "--per-tensor"]
    assert "on 1 samples" in CliRunner().invoke(app, folder).output
