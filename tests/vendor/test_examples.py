"""The worked example of each depth runs a real model, and passes the conformance kit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*arguments, **environment):
    ran = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    ("depth", "model", "said"),
    [
        ("library", "mnist", "blas"),
        ("intrinsic", "rfb320", "34 and 18 nests of loops call the library"),
        ("codegen", "mnist", "cycles in 3 programs"),
    ],
)
def test_it_runs_a_model(depth, model, said):
    shown = run(EXAMPLES / f"depth_{depth}.py", ROOT / "tests" / "models" / f"{model}.onnx")
    assert said in shown
    assert "away from the host by" in shown


@pytest.mark.parametrize(("depth", "name"), [("library", "blas"), ("codegen", "vector")])
def test_it_passes_the_kit(depth, name, tmp_path):
    plugin = EXAMPLES / f"depth_{depth}.py"
    arguments = ("-m", "heddle", "plugins", "test", name, "--cases", "30", "--save", tmp_path)
    assert "ok" in run(*arguments, HEDDLE_PLUGINS=str(plugin))


@pytest.mark.parametrize("depth", ["library", "intrinsic", "codegen"])
def test_its_page_points_at_it(depth):
    assert f"`examples/depth_{depth}.py`" in (ROOT / "docs" / "vendor" / f"{depth}.md").read_text()
