"""Whole models: what is offloaded, that it computes what onnxruntime does, and that cuDNN itself accepts its plans."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.lower import translate
from heddle.backends.cudnn.program import Launch, Plan, Product, from_bytes
from heddle.core.plugin.figures import work_of
from typer.testing import CliRunner

import heddle
from benchmarks.models import NAMES, build, example
from heddle.cli import app
from tests.backends.cudnn import simulated
from tests.backends.cudnn.acceptance import ABSENT
from tests.backends.cudnn.test_operators import normal
from tests.oracle import session

MODELS = Path(__file__).parents[2] / "models"
CONTRACTIONS = ("Conv", "Gemm", "MatMul")


def test_a_transformer_is_one_region() -> None:
    """Every node, and so every multiplication, goes to the GPU, in order mode."""
    plan = heddle.plan(build("bert_base"), backends=["cudnn", "host"], place="order")
    (region,) = plan.regions
    assert region.backend == "cudnn"
    assert sum(work_of(node).operations for node in region.body.nodes if node.op in CONTRACTIONS) > 2e10


@pytest.fixture(scope="module")
def residual() -> onnx.ModelProto:
    return build("resnet50")


def test_explain_says_so(tmp_path: Path, residual: onnx.ModelProto) -> None:
    """Every node of a residual network is placed on the GPU, and so in one region."""
    onnx.save(residual, tmp_path / "model.onnx")
    found = CliRunner().invoke(app, ["explain", str(tmp_path / "model.onnx"), "--backends", "cudnn,host", "--json"])
    assert found.exit_code == 0, found.output
    backends = [node["backend"] for node in json.loads(found.output)["nodes"]]
    assert set(backends) == {"cudnn"}
    assert len(backends) > 100


def test_residual_networks_are_plans(residual: onnx.ModelProto) -> None:
    """A convolution takes its bias, its residual and its rectifier along; images stay with their channels last."""
    (region,) = heddle.plan(residual, backends=["cudnn"]).regions
    made = translate(region.body)
    plans = [work.what.what for work in made.works if isinstance(work.what, Call) and isinstance(work.what.what, Plan)]
    assert len(plans) == 53
    assert sum(len(plan.operations) == 4 for plan in plans) == 16  # convolution, bias, residual, rectifier
    assert len(made.works) == 59  # two layouts at the borders, two pools, a product, and the plans


def compare(made: onnx.ModelProto, x: Any, tolerance: float) -> None:
    """Demand onnxruntime's results of a model that is issued, recorded and replayed on the pretended GPU."""
    theirs = session(made)
    wanted = theirs.run(None, {made.graph.input[0].name: x})
    simulated.reset()
    with heddle.compile(made, backends=[simulated.opened(), "host"], devices={"cudnn": simulated.device()}) as compiled:
        for _ in range(3):
            found = compiled(x)
        for output, array in zip(theirs.get_outputs(), wanted, strict=True):
            assert np.abs(np.asarray(found[output.name]) - array).max() <= tolerance * np.abs(array).max()


@pytest.mark.parametrize("name", ["mnist.onnx", "rfb320.onnx"])
def test_models(name: str) -> None:
    made = onnx.load(MODELS / name)
    dims = [dim.dim_value or 1 for dim in made.graph.input[0].type.tensor_type.shape.dim]
    compare(made, normal(*dims), 1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_model(name: str) -> None:
    compare(build(name), example(name), 2e-6)


def test_both_forms_of_a_program_are_the_same_bytes() -> None:
    """Compiling twice, and reading and writing what was compiled, changes nothing; steps are of three kinds."""
    region = heddle.plan(onnx.load(MODELS / "mnist.onnx"), backends=["cudnn", "host"]).regions[0]
    one, two = (Cudnn(Cudnn.Options(device="h100")).compile(region) for _ in range(2))
    assert one.code == two.code
    assert {type(step.what) for step in from_bytes(one.code).steps} <= {Launch, Plan, Product}


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "turned", "turned half"])
def test_the_library_accepts_the_plans(name: str) -> None:
    """In a process of its own, since cuDNN wants the fake driver under the real one's name."""
    if importlib.util.find_spec("cudnn") is None:
        pytest.skip('cuDNN is not installed; pip install "heddle[cudnn]"')
    command = [sys.executable, "-m", "tests.backends.cudnn.acceptance", str(simulated.built("libcuda.so.1")), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    if done.returncode == ABSENT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
