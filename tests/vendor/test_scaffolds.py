"""Each depth's scaffold: at most 150 lines, installable, and it passes its own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from heddle.core.errors import HeddleError
from typer.testing import CliRunner

from heddle.cli import app
from heddle.scaffolds import DEPTHS, write_scaffold

MODELS = Path(__file__).parent.parent / "models"


def run(*arguments, plugin: Path | None = None, site: Path | None = None, cwd: Path | None = None):
    environment = {**os.environ, "COLUMNS": "200"}
    if plugin is not None:
        environment["HEDDLE_PLUGINS"] = str(plugin)
    if site is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), environment.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd
    )


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cases", [50, pytest.param(200, marks=pytest.mark.long)])
def test_it_installs_and_passes_its_tests(depth, cases, tmp_path):
    paths = write_scaffold("fresh", depth, tmp_path / "fresh")
    assert sum(len(path.read_text().splitlines()) for path in paths) <= 150
    install = [sys.executable, "-m", "pip"]
    if subprocess.run([*install, "--version"], capture_output=True).returncode:
        install = [getattr(sys, "_base_executable", sys.executable), "-m", "pip", "--python", sys.executable]
    options = ["--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps"]
    target = tmp_path / "site"
    ran = subprocess.run(
        [*install, "install", *options, "--target", target, tmp_path / "fresh"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    test = tmp_path / "tests" / "test_fresh.py"
    test.parent.mkdir()
    text = paths[2].read_text()
    assert 'conformance("fresh")' in text
    test.write_text(text.replace('("fresh")', f'("fresh", cases={cases})'))
    ran = run("pytest", "-q", "-p", "no:cacheprovider", test, site=target, cwd=test.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("depth", DEPTHS)
def test_it_takes_the_convolutions_of_a_detector(depth, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    plugin = write_scaffold("fresh", depth, tmp_path / "fresh")[0]
    x = np.random.default_rng(0).standard_normal((1, 3, 240, 320)).astype(np.float32)
    model = MODELS / "rfb320.onnx"
    session = ort.InferenceSession(str(model))
    np.savez(tmp_path / "x.npz", **{session.get_inputs()[0].name: x})
    ran = run(
        "heddle", "run", model, "--inputs", tmp_path / "x.npz", "--backends", "fresh,host", "--outputs",
        tmp_path / "y.npz", plugin=plugin,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = run("heddle", "explain", model, "--backends", "fresh,host", "--json", plugin=plugin)
    assert {node["backend"] for node in json.loads(told.stdout)["nodes"] if node["op"] == "Conv"} == {"fresh"}
    with np.load(tmp_path / "y.npz") as outputs:
        results = session.run(None, {session.get_inputs()[0].name: x})
        for output, expected in zip(session.get_outputs(), results, strict=True):
            assert np.abs(outputs[output.name] - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("Mine", "library", "new-backend: the name is 'Mine', lower-case letters, digits and _ are expected"),
        ("class", "library", "new-backend: the name is 'class', lower-case letters, digits and _ are expected"),
        ("mine", "deep", "new-backend: the depth is 'deep', it is one of library, intrinsic, codegen"),
    ],
)
def test_what_is_refused(name, depth, message, tmp_path):
    with pytest.raises(HeddleError) as raised:
        write_scaffold(name, depth, tmp_path / "it")
    assert str(raised.value) == message


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(HeddleError, match="it is there already; remove it or give another --output"):
        write_scaffold("mine", "library", tmp_path)


def test_the_command_says_what_to_do_next(tmp_path):
    result = CliRunner().invoke(app, ["new-backend", "mine", "--depth", "codegen", "-o", str(tmp_path / "mine")])
    assert result.exit_code == 0
    assert "heddle plugins test mine" in result.output
