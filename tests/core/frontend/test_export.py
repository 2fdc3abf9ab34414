"""Plans as ONNX models for viewers: each region is a function, and the whole still computes the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from heddle.core.frontend import import_model
from heddle.core.frontend.export import export_regions
from heddle.core.interpret import evaluate
from heddle.core.pattern import subgraph
from typer.testing import CliRunner

import heddle
from heddle.cli import app
from tests.oracle import session

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[2,4] x) => (float[2,4] y, float[2,3] z)
<float[4] b = {1, -2, 3, -4}, float[4,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
{
    s = Add(x, b)
    r = Relu(s)
    y = Mul(r, b)
    t = Relu(y)
    z = MatMul(t, w)
}
"""


@pytest.mark.parametrize("backends", ["host", "onednn,host"])
def test_regions_as_functions(tmp_path, backends):
    path, made = tmp_path / "m.onnx", tmp_path / "regions.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    result = CliRunner().invoke(app, ["explain", str(path), "--backends", backends, "--onnx", str(made)])
    assert result.exit_code == 0, result.output
    exported = onnx.load(made)
    onnx.checker.check_model(exported)
    plan = heddle.plan(path, backends.split(","))
    assert [node.name for node in exported.graph.node] == [region.name for region in plan.regions]
    assert [node.domain for node in exported.graph.node] == [f"heddle.{region.backend}" for region in plan.regions]
    inside = [[node.op_type for node in function.node] for function in exported.functions]
    assert inside == [[node.op for node in region.body.nodes] for region in plan.regions]
    x = np.arange(8, dtype=np.float32).reshape(2, 4) - 4
    want = session(onnx.load(path)).run(None, {"x": x})
    for mine, other in zip(evaluate(import_model(exported), [x]), want, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_regions_of_two_backends():
    graph = import_model(onnx.parser.parse_model(TEXT))
    first, second = subgraph(graph, graph.nodes[:2], "one.0"), subgraph(graph, graph.nodes[2:], "two.1")
    exported = export_regions(graph, [("one", first), ("two", second)])
    assert [(node.op_type, list(node.input), list(node.output)) for node in exported.graph.node] == [
        ("one_0", ["x", "b"], ["r"]),
        ("two_1", ["r", "b", "w"], ["y", "z"]),
    ]
    assert [value.name for value in exported.graph.value_info] == ["r"]
