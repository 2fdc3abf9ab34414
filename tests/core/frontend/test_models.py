"""Whole models import, optimize and evaluate to what onnxruntime computes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.core.frontend import import_model
from heddle.core.frontend.export import export_model
from heddle.core.interpret import evaluate
from heddle.core.passes import optimize

from benchmarks.models import build, example
from tests.oracle import session

HERE = Path(__file__).parents[2] / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SMALL = ("light_squeezenet", "light_shufflenet")
OTHERS = [
    pytest.param(path.stem, marks=pytest.mark.long) for path in sorted(LIGHT.glob("*.onnx")) if path.stem not in SMALL
]


def run(proto: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    return list(session(proto).run(None, feeds))


def feeds_of(proto: onnx.ModelProto) -> dict[str, Any]:
    constants = {tensor.name for tensor in proto.graph.initializer}
    rng = np.random.default_rng(0)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input}
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items() if name not in constants}


def agrees(proto: onnx.ModelProto, feeds: dict[str, Any], exported: bool = False) -> None:
    graph = optimize(import_model(proto))
    for got, want in zip(evaluate(graph, feeds), run(proto, feeds), strict=True):
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    if exported:
        assert evaluate(import_model(export_model(graph)), feeds)[0].tobytes() == evaluate(graph, feeds)[0].tobytes()


def to_the_logits(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without a softmax at the end: equal weights make logits of 1e9, of which it would show the last bits alone."""
    if proto.graph.node[-1].op_type == "Softmax":
        last = proto.graph.node.pop()
        del proto.graph.output[:]
        proto.graph.output.append(onnx.ValueInfoProto(name=last.input[0]))
    return proto


@pytest.mark.parametrize("name", ["mnist", "rfb320"])
def test_models_of_the_tree(name: str) -> None:
    proto = onnx.load(HERE / f"{name}.onnx")
    agrees(proto, feeds_of(proto), exported=True)


@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_light_models(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    proto = to_the_logits(onnx.load(LIGHT / f"{name}.onnx"))
    agrees(proto, feeds_of(proto))


LARGE = [pytest.param(name, marks=pytest.mark.long) for name in ("resnet50", "minilm", "bert_base")]


@pytest.mark.parametrize("name", ["mlp", "squeezenet", "mobilenetv2", "resnet18", "vit_tiny", *LARGE])
def test_benchmark_models(name: str) -> None:
    agrees(build(name), {"x": example(name)}, exported=name == "mlp")


def test_quantized_models_keep_their_quantization() -> None:
    proto = build("mlp_int8")
    before = [node.op_type for node in proto.graph.node]
    after = [node.op for node in optimize(import_model(proto)).nodes]
    for op in ("QuantizeLinear", "DequantizeLinear"):
        assert after.count(op) == before.count(op)
    agrees(proto, {"x": example("mlp")})
