"""Whole models: what is offloaded, that it computes what onnxruntime does, and that cuDNN itself accepts its plans."""

from __future__ import annotations

import ctypes
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from heddle.backends.cudnn.backend import Cudnn
from heddle.backends.cudnn.calls import Call
from heddle.backends.cudnn.describe import described
from heddle.backends.cudnn.lower import translate
from heddle.backends.cudnn.patterns import ATTENTION
from heddle.backends.cudnn.program import Launch, Plan, Product, from_bytes
from heddle.core.plugin.figures import work_of
from onnx import helper
from typer.testing import CliRunner

import heddle
from benchmarks.models import build
from heddle.cli import app
from tests.backends.cudnn import simulated
from tests.backends.cudnn.test_operators import model, normal

MODELS = Path(__file__).parents[2] / "models"
CONTRACTIONS = ("Conv", "Gemm", "MatMul")


@pytest.mark.parametrize("name", ["resnet50", "bert_base"])
def test_whole_models_are_one_region(name: str) -> None:
    """Every node, and so every multiplication, goes to the GPU, in order mode."""
    plan = heddle.plan(build(name), backends=["cudnn", "host"], place="order")
    (region,) = plan.regions
    assert region.backend == "cudnn"
    assert sum(work_of(node).operations for node in region.body.nodes if node.op in CONTRACTIONS) > 5e9


def test_explain_says_so(tmp_path: Path) -> None:
    onnx.save(build("resnet50"), tmp_path / "model.onnx")
    found = CliRunner().invoke(app, ["explain", str(tmp_path / "model.onnx"), "--backends", "cudnn,host", "--json"])
    assert found.exit_code == 0, found.output
    backends = [node["backend"] for node in json.loads(found.output)["nodes"]]
    assert backends.count("cudnn") >= 0.95 * len(backends) > 100


def test_residual_networks_are_plans() -> None:
    """A convolution takes its bias, its residual and its rectifier along; images stay with their channels last."""
    made = translate(heddle.plan(build("resnet50"), backends=["cudnn"]).regions[0].body)
    plans = [work.what.what for work in made.works if isinstance(work.what, Call) and isinstance(work.what.what, Plan)]
    assert len(plans) == 53
    assert sum(len(plan.operations) == 4 for plan in plans) == 16  # convolution, bias, residual, rectifier
    assert len(made.works) == 59  # two layouts at the borders, two pools, a product, and the plans


@pytest.mark.parametrize("name", ["mnist.onnx", "rfb320.onnx"])
def test_models(name: str) -> None:
    made = onnx.load(MODELS / name)
    dims = [dim.dim_value or 1 for dim in made.graph.input[0].type.tensor_type.shape.dim]
    x = normal(*dims)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {made.graph.input[0].name: x})
    simulated.reset()
    compiled = heddle.compile(made, backends=[simulated.opened(), "host"], devices={"cudnn": simulated.device()})
    for _ in range(3):
        found = compiled(x)
    for output, array in zip(session.get_outputs(), wanted, strict=True):
        assert np.abs(np.asarray(found[output.name]) - array).max() <= 1e-4 * np.abs(array).max()


def test_both_forms_of_a_program_are_the_same_bytes() -> None:
    """Compiling twice, and reading and writing what was compiled, changes nothing; steps are of three kinds."""
    region = heddle.plan(onnx.load(MODELS / "mnist.onnx"), backends=["cudnn", "host"]).regions[0]
    one, two = (Cudnn(Cudnn.Options(device="h100")).compile(region) for _ in range(2))
    assert one.code == two.code
    assert {type(step.what) for step in from_bytes(one.code).steps} <= {Launch, Plan, Product}


def cudnn_without_a_gpu() -> tuple[Any, Any]:
    """NVIDIA's front end, and the properties of an A100 that is not there; skips where the library is not installed.

    The library wants a driver beside it: the fake one is enough for all that is done before kernels are chosen.
    """
    ctypes.CDLL(simulated.fake()._library._name, mode=ctypes.RTLD_GLOBAL)
    try:
        module = importlib.import_module("cudnn")
        module.backend_version()
    except Exception as error:
        pytest.skip(f'cuDNN is not installed ({error}); pip install "heddle[cudnn]"')
    return module, module.create_device_properties(json.dumps(A100))


A100 = {
    "deviceVer": 800, "multiProcessorCount": 108, "smCountOrigin": 0, "deviceName": "A100", "driverVer": 12090,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "smClockRateKHz": 1410000, "memClockRateKHz": 1593000, "memoryBusWidth": 5120, "l2CacheSize": 41943040,
    "warpSize": 32, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 166912,
    "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
    "pciDeviceId": 8370, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "isTccDriver": 0,
    "supportCoopLaunch": 1, "totalGlobalMem": 85899345920, "cudaDeviceId": 0, "deviceId": 0, "smVersion": 800,
}  # fmt: skip
"""What cuDNN 9 wants to know of a GPU in order to choose engines for it."""


def plans_of(model: Any, tf32: bool = False) -> list[Plan]:
    """The distinct plans of a model's region."""
    (region,) = heddle.plan(model, backends=["cudnn"]).regions
    attentions = [match for match in region.matches if match.pattern.name == ATTENTION]
    calls = [work.what.what for work in translate(region.body, attentions, tf32).works if isinstance(work.what, Call)]
    return list({str(what): what for what in calls if isinstance(what, Plan)}.values())


def turned(dtype: Any) -> Any:
    """A transposed convolution of two groups with a leaky rectifier."""
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c"], ["y"], alpha=0.1),
    ]
    return model(nodes, {"x": normal(2, 32, 9, 9, dtype=dtype)}, {"w": normal(32, 16, 4, 4, dtype=dtype)})


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2", "turned", "turned half"])
def test_the_library_accepts_the_plans(name: str) -> None:
    """cuDNN's front end validates each plan, its back end finalises it, and its heuristics know engines for it.

    Of attention not even the first is to be had without a GPU.
    """
    module, device = cudnn_without_a_gpu()
    plans = plans_of(turned(np.float16 if "half" in name else np.float32) if "turned" in name else build(name))
    assert plans
    for plan in plans[:: 1 + len(plans) // 8]:
        graph, arguments = described(module, plan, device_property=device)
        graph.build_operation_graph()
        graph.create_execution_plans([module.heur_mode.A, module.heur_mode.FALLBACK])
        assert graph.get_execution_plan_count() > 0, plan
        assert len(arguments) == sum(tensor.argument is not None for tensor in plan.tensors)
