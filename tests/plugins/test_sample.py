"""A third party's package: installed by pip beside Heddle, found by entry point, taking nodes of a real model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
MNIST = HERE.parent / "models" / "mnist.onnx"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which the package is installed, for PYTHONPATH."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "sample"
    shutil.copytree(HERE / "sample", source)  # building leaves files in the source
    install = [sys.executable, "-m", "pip"]
    if subprocess.run([*install, "--version"], capture_output=True, check=False).returncode:
        # An environment without pip of its own is served by that of the interpreter that made it.
        install = [getattr(sys, "_base_executable", sys.executable), "-m", "pip", "--python", sys.executable]
    options = ["--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps", "--target", str(target)]
    ran = subprocess.run([*install, "install", *options, str(source)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return target


def heddle(site, *arguments, **more):
    """Run the command line with the package installed."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, "-m", "heddle", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        **more,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_is_found_and_sound(site):
    said = json.loads(heddle(site, "plugins", "doctor", "--json"))
    (status,) = [backend for backend in said["backends"] if backend["name"] == "sample"]
    assert (status["origin"], status["patterns"], status["options"]) == (
        "heddle-sample 1.0", ["dense"], {"gain": "1.0"},
    )  # fmt: skip
    assert said["devices"]["sample"] == ""


def test_its_pattern_takes_nodes_of_mnist(site, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype(np.float32)
    np.savez(tmp_path / "x.npz", Input3=x)
    model = tmp_path / "mnist.heddle"
    said = json.loads(heddle(site, "compile", MNIST, "-o", model, "--backends", "sample,host", "--json"))
    taken = {region["backend"]: region["nodes"] for region in said["plan"]["regions"]}
    assert sorted(taken["sample"]) == ["Plus214", "Times212"]
    heddle(site, "run", model, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz")
    (expected,) = ort.InferenceSession(str(MNIST)).run(None, {"Input3": x})
    with np.load(tmp_path / "y.npz") as outputs:
        result = outputs["Plus214_Output_0"]
    assert np.abs(result - expected).max() <= 1e-4 * np.abs(expected).max()


def test_options_of_backend_and_device(site, tmp_path):
    def run(*more):
        arguments = ("run", MNIST, "--random", "--backends", "sample,host", "--outputs", tmp_path / "y.npz", *more)
        text = heddle(site, *arguments)
        with np.load(tmp_path / "y.npz") as outputs:
            return text, outputs["Plus214_Output_0"]

    _, once = run()
    text, twice = run("--set", "sample.gain=2", "--device", "sample.verbose=true")
    assert np.allclose(twice, 2 * once, rtol=1e-5)
    assert "2560 cycles" in text


def test_without_the_package_the_file_says_what_is_missing(site, tmp_path):
    model = tmp_path / "mnist.heddle"
    heddle(site, "compile", MNIST, "-o", model, "--backends", "sample,host")
    ran = subprocess.run(
        [sys.executable, "-m", "heddle", "run", str(model), "--random"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "device 'sample' is not installed" in ran.stderr
