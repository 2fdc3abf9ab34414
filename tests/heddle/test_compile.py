"""From ONNX to a result: backends, shapes, options, faults, and files that are the same each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.errors import HeddleError, RefusedError

import heddle

MNIST = Path(__file__).parents[1] / "models" / "mnist.onnx"
TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
toy (float[N, 4] x) => (float[N, 4] y)
<float[4] bias = {1, -2, 3, -4}>
{
    sum = Add(x, bias)
    positive = Relu(sum)
    y = Mul(positive, positive)
}
"""
X = np.arange(8, dtype=np.float32).reshape(2, 4) - 4
BIAS = np.array([1, -2, 3, -4], np.float32)
Y = np.maximum(X + BIAS, 0) ** 2


@pytest.fixture
def toy():
    return onnx.parser.parse_model(TEXT)


def test_path_bytes_and_proto(toys, toy, tmp_path):
    onnx.save(toy, tmp_path / "toy.onnx")
    for model in (toy, toy.SerializeToString(), tmp_path / "toy.onnx", str(tmp_path / "toy.onnx")):
        exe = heddle.compile(model, [toys.Reference()], {"x": [2, 4]}, devices=toys.devices())
        assert np.array_equal(exe(x=X)["y"], Y)


def test_regions_of_two_backends(toys, toy):
    exe = heddle.compile(toy, [toys.Picky(), toys.Reference()], {"x": [2, 4]}, devices=toys.devices())
    assert [(region.backend, region.outputs) for region in exe.plan.regions] == [
        ("reference", ("sum",)),
        ("picky", ("positive",)),
        ("reference", ("y",)),
    ]
    assert np.array_equal(exe(X)["y"], Y)
    assert np.array_equal(exe.intermediates(X)["positive"], np.maximum(X + BIAS, 0))


def test_open_dimensions_are_compiled_for_at_the_first_call(toys, toy):
    told = []
    exe = heddle.compile(toy, [toys.Reference()], devices=toys.devices(), progress=lambda *args: told.append(args))
    assert str(exe.inputs[0]) == "float32[N,4]"
    assert exe.schedules == ()
    for x in (X, X[:1], X, X[:1]):
        assert np.array_equal(exe(x)["y"], np.maximum(x + BIAS, 0) ** 2)
    assert [schedule.shapes for schedule in exe.schedules] == [((2, 4),), ((1, 4),)]
    assert told.count(("compile", 1, 1)) == 2


def test_values_to_keep(toys, toy):
    exe = heddle.compile(toy, [toys.Reference()], {"x": [2, 4]}, keep=["sum", "y"], devices=toys.devices())
    y, total = exe(X)
    assert np.array_equal(total, X + BIAS)
    assert np.array_equal(y, Y)
    with pytest.raises(HeddleError, match="keep: there is no value 'product' in the model"):
        heddle.compile(toy, [toys.Reference()], keep=["product"])


def test_strict_fails_where_a_node_would_fall_back(toys, toy):
    chosen = [toys.Picky(), toys.Reference()]
    heddle.compile(toy, chosen, {"x": [2, 4]}, devices=toys.devices())
    with pytest.raises(RefusedError) as caught:
        heddle.compile(toy, chosen, {"x": [2, 4]}, strict=True)
    assert "2 of 3 nodes fall to reference" in str(caught.value)
    heddle.compile(toy, [toys.Reference()], {"x": [2, 4]}, strict=True, devices=toys.devices())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backends": []}, "backends: none is listed; name at least one, as 'host'"),
        ({"backends": ["host", "host"]}, "backends: 'host' is listed twice"),
        ({"options": {"vta": {"config": "x"}}}, "options: 'vta' is not among the backends host"),
        ({"on_fault": "retry"}, "compile: on_fault is 'retry', it is None or 'host'"),
        ({"place": "luck", "backends": "REFERENCE"}, "plan: there is no placement 'luck', it is 'order'"),
    ],
)
def test_arguments_that_make_no_sense(toys, toy, arguments, message):
    if arguments.get("backends") == "REFERENCE":
        arguments = {**arguments, "backends": [toys.Reference()], "shapes": {"x": [2, 4]}}
    with pytest.raises(HeddleError) as caught:
        heddle.compile(toy, **arguments)
    assert str(caught.value).startswith(message.removesuffix("'order'"))


def test_mnist(toys, rng):
    ort = pytest.importorskip("onnxruntime")
    exe = heddle.compile(MNIST, [toys.Picky(), toys.Reference()], devices=toys.devices())
    x = rng.standard_normal((1, 1, 28, 28)).astype(np.float32)
    (expected,) = ort.InferenceSession(str(MNIST)).run(None, {"Input3": x})
    assert np.abs(exe(x)["Plus214_Output_0"] - expected).max() <= 1e-4 * np.abs(expected).max()
    assert {region.backend for region in exe.plan.regions} == {"picky", "reference"}


def test_every_name_of_the_front_door():
    for name in heddle.__all__:
        assert getattr(heddle, name) is not None
    assert set(heddle.__all__) <= set(dir(heddle))
    with pytest.raises(AttributeError, match="module 'heddle' has no attribute 'cast'"):
        heddle.cast  # noqa: B018 # the access is the test


def test_import_is_light():
    heavy = ("onnx", "llvmlite", "numpy", "typer", "scipy")
    program = f"import heddle, sys; print([n for n in {heavy} if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_same_bytes_whatever_the_hash_seed_and_folder(tmp_path):
    program = """
import sys, heddle
sys.path.insert(0, sys.argv[1])
import conftest
exe = heddle.compile(sys.argv[2], [conftest.Picky(), conftest.Reference()])
exe.save("out.heddle")
"""
    files = []
    for seed in ("0", "1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "model.onnx").write_bytes(MNIST.read_bytes())
        subprocess.run(
            [sys.executable, "-c", program, Path(__file__).parent, "model.onnx"],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
        files.append((folder / "out.heddle").read_bytes())
    assert files[0] == files[1] == files[2]


def test_shipped_backends_give_the_same_bytes_compiled_and_recalled(tmp_path):
    """Two seeds and folders with empty caches, then a third that finds the first one's cache."""
    model = tmp_path / "int8.onnx"
    subprocess.run([sys.executable, "-m", "heddle", "quantize", MNIST, "--random", "2", "-o", model], check=True)
    program = """
import heddle
from heddle.core.plugin import recall
recall.WORTH = 0.0
heddle.compile("model.onnx", ["vta", "host"]).save("out.heddle")
"""
    files = []
    for seed, cache in (("0", "first"), ("1", "second"), ("2", "first")):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "model.onnx").write_bytes(model.read_bytes())
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": seed, "HEDDLE_CACHE_DIR": str(tmp_path / cache)},
            check=True,
        )
        files.append((folder / "out.heddle").read_bytes())
    assert files[0] == files[1] == files[2]


def test_plugins_watch_what_happens(tmp_path):
    (tmp_path / "watcher.py").write_text(
        "from heddle.core.plugin import hookimpl\n"
        "@hookimpl\ndef heddle_plan_done(plan): print('plan', len(plan.regions))\n"
        "@hookimpl\ndef heddle_region_compiled(region, seconds): print('region', region.backend, seconds > 0)\n"
        "@hookimpl\ndef heddle_run_done(executable, seconds): print('run', executable.name, seconds > 0)\n"
    )
    program = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import conftest, heddle
exe = heddle.compile(sys.argv[2], [conftest.Reference()], devices={"reference": conftest.ReferenceDevice()})
exe(np.zeros((1, 1, 28, 28), np.float32))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, Path(__file__).parent, MNIST],
        env={**os.environ, "HEDDLE_PLUGINS": str(tmp_path / "watcher.py")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["plan 1", "region reference True", "run CNTKGraph True"]
