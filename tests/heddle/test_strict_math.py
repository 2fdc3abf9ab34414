"""`strict_math`: errors as small as onnxruntime's, denormals kept; and what is given up without it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from heddle.core.frontend import import_model
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, TensorType, Value, tensor

import heddle

STRICT = {"host": {"strict_math": True}}


@pytest.fixture(scope="module")
def convolutions() -> onnx.ModelProto:
    """Convolutions of a size for which minimal filtering pays."""
    rng, nodes, weights = np.random.default_rng(0), [], []
    for number in range(3):
        array = (rng.standard_normal((64, 64, 3, 3)) / 24).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(array, f"w{number}"))
        edges = [f"x{number}", f"w{number}"], [f"x{number + 1}"]
        nodes.append(onnx.helper.make_node("Conv", *edges, pads=[1] * 4))
    ports = [onnx.helper.make_tensor_value_info(f"x{n}", onnx.TensorProto.FLOAT, (1, 64, 28, 28)) for n in (0, 3)]
    graph = onnx.helper.make_graph(nodes, "convolutions", ports[:1], ports[1:], weights)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def exact(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The model in double precision."""
    graph = import_model(model)
    wide: dict[Value, Value] = {}

    def widened(value: Value) -> Value:
        return wide.setdefault(value, Value(value.name, tensor("float64", *value.shape)))

    nodes = tuple(
        Node(n.op, tuple(map(widened, n.inputs)), tuple(map(widened, n.outputs)), n.attrs, n.name) for n in graph.nodes
    )
    constants = {widened(value): array.astype(np.float64) for value, array in graph.constants.items()}
    doubled = Graph(tuple(map(widened, graph.inputs)), nodes, tuple(map(widened, graph.outputs)), constants)
    assert all(isinstance(value.type, TensorType) for value in doubled.values)
    return evaluate(doubled, [x.astype(np.float64)])[0]


def test_errors_are_those_of_a_peer_when_strict_and_small_otherwise(convolutions):
    ort = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(1).standard_normal((1, 64, 28, 28), np.float32)
    want = exact(convolutions, x)
    session = ort.InferenceSession(convolutions.SerializeToString(), providers=["CPUExecutionProvider"])

    def error(y: np.ndarray) -> float:
        return float(np.abs(y - want).max() / np.abs(want).max())

    strict = error(heddle.compile(convolutions, options=STRICT)(x)["x3"])
    default = error(heddle.compile(convolutions)(x)["x3"])
    assert 0 < strict <= 4 * error(session.run(None, {"x0": x})[0])
    assert strict < default <= 1e-4


def test_the_command_line_keeps_denormals_when_asked(tmp_path):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) { y = Add(x, x) }'
    model, inputs = tmp_path / "add.onnx", tmp_path / "x.npz"
    onnx.save(onnx.parser.parse_model(text), model)
    np.savez(inputs, x=np.full(4, 1e-40, np.float32))
    found = []
    for flags in ([], ["--strict-math"]):
        outputs = tmp_path / "y.npz"
        words = ["run", model, "--inputs", inputs, "--outputs", outputs, *flags]
        subprocess.run([sys.executable, "-m", "heddle", *map(str, words)], check=True, capture_output=True)
        found.append(np.load(outputs)["y"])
    assert (found[0] == 0).all()
    assert (found[1] == np.float32(1e-40) * 2).all()
