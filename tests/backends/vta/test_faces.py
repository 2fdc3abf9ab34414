"""The face detector on the accelerator finds the faces that it finds in float."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import heddle
from heddle.quantize import quantize
from tests.backends.vta.regions import macs_on_device

ROOT = Path(__file__).parents[3]


def test_faces_are_found_on_the_accelerator() -> None:
    pytest.importorskip("onnxruntime")
    example = runpy.run_path(str(ROOT / "examples" / "faces.py"))
    model = ROOT / "tests" / "models" / "rfb320.onnx"
    samples = [{"input": example["prepared"](example["picture"](seed))} for seed in (1, 2, 3)]
    coded = quantize(model, samples, keep=example["FLOAT_TAIL"]).model
    assert macs_on_device(heddle.plan(coded, backends=["vta", "host"])) >= 0.95
    x = example["prepared"](example["picture"](0))
    plain = example["faces"](heddle.compile(model)(x))
    ours = example["faces"](heddle.compile(coded, backends=["vta", "host"])(x))
    assert len(plain) == len(ours) == 3
    assert all(max(example["overlap"](box, other) for _, other in plain) > 0.8 for _, box in ours)
