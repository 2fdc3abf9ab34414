"""The demonstration does what the README promises, and its model says what onnxruntime says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from heddle.demo.digit import digit
from tests.oracle import session


@pytest.fixture(scope="module")
def said():
    ran = subprocess.run(
        [sys.executable, "-m", "heddle", "demo", "--json"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_across_the_accelerator_and_the_cpu(said):
    assert said["digit"] == 7
    assert said["agrees_with_cpu"]
    assert {region["backend"] for region in said["plan"]["regions"]} == {"vta", "host"}
    modelled = [step["modelled"] for step in said["profile"]["steps"] if step["device"] == "vta"]
    assert modelled
    assert all(seconds > 0 for seconds in modelled)


def test_the_scores_are_those_of_onnxruntime(said):
    model = (files("heddle.demo") / "mnist_int8.onnx").read_bytes()
    (expected,) = session(model).run(None, {"Input3": digit()})
    assert np.abs(np.array(said["scores"]) - expected).max() <= 1e-4 * np.abs(expected).max()
