"""Levels of the contract: plugins of every level that is still supported work as they are, others are told why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from heddle.core.errors import BackendError
from heddle.core.plugin import API_LEVEL, OLDEST_API_LEVEL, Backend, discovery
from heddle.core.plugin.discovery import Plugins
from typer.testing import CliRunner

import heddle
from heddle.cli import app
from heddle.scaffolds import DEPTHS, write_scaffold

KEPT = {level: Path(__file__).parent / f"level{level}.py" for level in range(OLDEST_API_LEVEL, API_LEVEL + 1)}

WEIGHTS = ", ".join(str(number - 9) for number in range(20))
MODEL = f"""
<ir_version: 10, opset_import: ["" : 21]>
net (float[3,2,2] x) => (float[3,5] y)
<float[4,5] w = {{{WEIGHTS}}}, float[5] b = {{1, -1, 2, -2, 0.5}}>
{{ f = Flatten <axis = 1> (x)  g = Gemm <alpha = 0.5> (f, w, b)  y = Relu (g) }}
"""


@pytest.mark.parametrize("level", KEPT)
def test_a_plugin_of_each_level_is_kept_and_works(level, monkeypatch):
    monkeypatch.setenv("HEDDLE_PLUGINS", str(KEPT[level]))
    name = f"level{level}"
    model = onnx.parser.parse_model(MODEL)
    x = np.random.default_rng(0).standard_normal((3, 2, 2)).astype(np.float32)
    with heddle.compile(model, [name, "host"], options={name: {"scale": "2"}}, strict=True) as executable:
        assert [region.backend for region in executable.plan.regions] == [name, name]
        w = np.arange(-9, 11, dtype=np.float32).reshape(4, 5)
        expected = np.maximum(x.reshape(3, 4) @ w + np.float32([1, -1, 2, -2, 0.5]), 0)
        np.testing.assert_allclose(executable(x)[0], expected, rtol=1e-5, atol=1e-5)
    listed = CliRunner().invoke(app, ["plugins", "list", "--json"])
    (status,) = [status for status in json.loads(listed.stdout)["backends"] if status["name"] == name]
    assert (status["api"], status["ok"]) == (level, True)
    tested = CliRunner().invoke(app, ["plugins", "test", name, "--cases", "20", "--json"])
    assert tested.exit_code == 0, tested.output
    assert [score["accepted"] for score in json.loads(tested.stdout)["scores"]] == [20, 20]


def test_levels_are_negotiated(monkeypatch):
    monkeypatch.setattr(discovery, "API_LEVEL", 3)
    assert Plugins(str(KEPT[1])).backend_class("level1").api == 1
    monkeypatch.setattr(discovery, "OLDEST_API_LEVEL", 2)
    with pytest.raises(BackendError) as raised:
        Plugins(str(KEPT[1])).backend_class("level1")
    assert str(raised.value).endswith(
        "backend 'level1' is made for API level 1, this Heddle supports 2 to 3; upgrade the plugin"
    )


def test_a_class_that_says_no_level_is_of_the_first():
    assert Backend.api == 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_scaffolds_say_their_level(depth, tmp_path):
    text = write_scaffold("fresh", depth, tmp_path / "fresh")[0].read_text()
    assert f"    api = {API_LEVEL}\n" in text
