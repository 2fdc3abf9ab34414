"""Models beside their peers: what is counted, what is reported, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from heddle.core.errors import HeddleError
from heddle.core.ir import parse

from heddle.measure import report
from heddle.measure.compare import Comparison, Work, compare, difference, geometric_mean, work_of
from heddle.measure.peers import PEERS, chosen_peers
from heddle.measure.timing import pin

MNIST = Path(__file__).parents[2] / "models" / "mnist.onnx"
FAST = Comparison("a<b", Work(2_000_000, 0), {"heddle": 0.001, "p": 0.002, "q": 0.0005}, 0.5, {"p": 1e-6, "q": 0.0})
BYTES = Comparison("bytes", Work(0, 1), {"heddle": 0.001, "p": 0.009, "q": 0.009}, None, {"p": 0.0, "q": 0.0})


@pytest.mark.parametrize(
    ("signature", "body", "expected"),
    [
        ("%a: float32[2,3,4], %b: float32[4,5]", "%y: float32[2,3,5] = MatMul(%a, %b)", Work(2 * 3 * 5 * 4, 0)),
        ("%a: float32[4,3], %b: float32[4,5]", "%y: float32[3,5] = Gemm(%a, %b) {transA=1}", Work(60, 0)),
        (
            "%a: float32[1,8,5,5], %b: float32[6,4,3,3]",
            "%y: float32[1,6,3,3] = Conv(%a, %b) {group=2}",
            Work(6 * 9 * 4 * 9, 0),
        ),
        (
            "%a: int8[2,3], %b: int8[3,2], %s: float32[]",
            "%c: float32[2,3] = DequantizeLinear(%a, %s)\n  %d: float32[3,2] = DequantizeLinear(%b, %s)\n"
            "  %y: float32[2,2] = MatMul(%c, %d)",
            Work(0, 12),
        ),
        ("%a: float32[9], %b: float32[9]", "%y: float32[9] = Add(%a, %b)", Work(0, 0)),
    ],
)
def test_multiplications_are_counted(signature, body, expected):
    assert work_of(parse(f"graph ({signature}) -> (%y) {{\n  {body}\n}}")) == expected


def test_the_difference_is_relative_to_the_greatest_magnitude():
    a, b = np.float32([1, 2, -8.5]), np.float32([1, 2.25, -8])
    assert difference([a], [b]) == 0.5 / 8
    assert difference([a, a], [a, a]) == 0
    assert difference([np.uint8([0])], [np.uint8([255])]) == 1


def test_rows_ratios_and_means():
    assert report.columns(("p",)) == ("model", "MMAC", "heddle ms", "of peak", "p ms", "ratio", "difference")
    assert report.row(FAST) == ("a<b", "2.0", "1.000", "50%", "2.000", "2.00", "1.0e-06", "0.500", "0.50", "0.0e+00")
    assert report.means([FAST, BYTES]) == {"p": 2.0, "q": 0.5}
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)
    table = report.markdown([FAST, BYTES]).splitlines()
    assert len(table) == 4
    assert {line.count("|") for line in table} == {11}


def test_the_plot_draws_a_bar_for_each_ratio():
    drawn = ElementTree.fromstring(report.svg([FAST, BYTES]))
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.get("width")) for bar in drawn.iter(f"{space}rect")][3:]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.2)
    assert widths[2] == pytest.approx(4.5 * widths[0], abs=0.2)
    assert "a<b" in [text.text for text in drawn.iter(f"{space}text")]


def test_unknown_peers_and_cores_are_refused():
    assert set(chosen_peers()) <= set(PEERS)
    with pytest.raises(HeddleError, match="bench: there is no peer 'tensors'; known are onnxruntime, openvino"):
        chosen_peers(["tensors"])
    with pytest.raises(HeddleError, match="core 4097: this process may use "):
        pin(4097)


def test_a_model_is_compared_with_a_peer():
    pytest.importorskip("onnxruntime")
    model = onnx.load(MNIST)
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(dims, np.float32)
    made = compare("mnist", model, {model.graph.input[0].name: x}, ["onnxruntime"], rounds=2, seconds=0.001)
    assert made.differences["onnxruntime"] < 1e-4
    assert made.peak_share > 0
    told = json.loads(json.dumps(made.json()))
    assert told["ratios"]["onnxruntime"] == made.seconds["onnxruntime"] / made.seconds["heddle"]


def test_the_command_writes_table_plot_and_json(tmp_path, cli):
    plot, table = tmp_path / "p.svg", tmp_path / "t.md"
    said = cli("bench", MNIST, "--against", "", "--rounds", 1, "--json", "--plot", plot, "--markdown", table)
    told = json.loads(said)
    assert told["threads"] == 1
    assert told["models"][0]["model"] == "mnist"
    assert told["models"][0]["median_seconds"]["heddle"] > 0
    assert plot.read_text().startswith("<svg")
    assert table.read_text().startswith("| model |")
