"""Verification names the first region and node that differ, and writes the smallest part."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
from typer.testing import CliRunner

import heddle
from heddle.cli import app

_spec = importlib.util.spec_from_file_location("faulty", Path(__file__).parent / "testing" / "faulty.py")
faulty = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faulty)
MNIST = Path(__file__).parent.parent / "models" / "mnist.onnx"


def model():
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    agraph (float[1,2,6,6] x, float[1,4,4,4] z) => (float[1,4,4,4] y)
    <float[4,2,3,3] w1 = {{{}}}, float[4,4,1,1] w2 = {{{}}}>
    {{
      a = Conv(x, w1)
      r = Relu(a)
      b = Conv(r, w2)
      y = Sub(b, z)
    }}
    """.format(", ".join(map(str, np.linspace(-1, 1, 72))), ", ".join(map(str, np.linspace(0, 1, 16))))
    made = onnx.parser.parse_model(text)
    for node in made.graph.node:
        node.name = f"node_{node.output[0]}"
    return made


def test_what_is_right_is_found_right():
    found = heddle.verify(model(), [faulty.Faulty(), "host"], devices={"faulty": faulty.FaultyDevice()})
    assert found.ok
    assert [verdict.backend for verdict in found.regions] == ["faulty", "host", "faulty", "faulty"]


def test_the_first_region_that_differs(tmp_path):
    device = faulty.FaultyDevice("swapped")
    found = heddle.verify(model(), [faulty.Faulty(), "host"], devices={"faulty": device}, folder=tmp_path)
    assert [verdict.ok for verdict in found.regions] == [True, True, True, False]
    assert found.first.node == "node_y"
    assert found.first.difference.startswith("output y: 64 of 64 elements differ; at [0, ")
    part = onnx.load(found.first.model)
    assert [node.op_type for node in part.graph.node] == ["Sub"]
    with np.load(Path(found.first.model).with_suffix(".npz")) as inputs:
        assert sorted(inputs) == sorted(value.name for value in part.graph.input)


def test_a_failing_device_is_a_difference():
    device = faulty.FaultyDevice("raises")
    shapes = model()
    for value in (*shapes.graph.input, *shapes.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    found = heddle.verify(shapes, [faulty.Faulty(), "host"], devices={"faulty": device})
    assert "the batch is too large" in found.first.difference


LOOP = """
<ir_version: 9, opset_import: ["" : 19]>
m (int64 n, float[2] x) => (float[] y) <bool yes = {1}> {
  empty = SequenceEmpty()
  s = Loop(n, yes, empty)<body = turn (int64 i, bool before, seq(float[]) have) => (bool on, seq(float[]) more) {
    f = Cast<to = 1>(i)
    row = Sub(x, f)
    more = SequenceInsert(have, row)
    on = Identity(before)
  }>
  y = ConcatFromSequence<axis=0>(s)
}"""


def test_the_fault_is_found_inside_a_loop(tmp_path):
    given = {"n": np.array(2), "x": np.ones(2, np.float32)}
    for fault, first in (("", None), ("swapped", "s.body.part0.faulty.1")):
        devices = {"faulty": faulty.FaultyDevice(fault)}
        made = onnx.parser.parse_model(LOOP)
        found = heddle.verify(made, [faulty.Faulty(), "host"], given, devices=devices, folder=tmp_path)
        assert [verdict.region for verdict in found.regions] == [
            "s.body.part0.host.0", "s.body.part0.faulty.1", "part0.host.0",
        ]  # fmt: skip
        assert getattr(found.first, "region", None) == first
    assert [node.op_type for node in onnx.load(found.first.model).graph.node] == ["Sub"]


def test_the_command():
    result = CliRunner().invoke(app, ["verify", str(MNIST), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["ok"]
