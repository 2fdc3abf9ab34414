"""Whole models on the host, against onnxruntime: trained ones, those of the onnx package, those of the benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import heddle
from heddle.inputs import random_inputs
from tests.oracle import session

ROOT = Path(__file__).parents[2]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
TRAINED = ROOT / "tests" / "models"
FILES = {path.stem: path for folder in (TRAINED, LIGHT) for path in sorted(folder.glob("*.onnx"))}
LONG = ("light_vgg19", "light_inception_v2")
"""Larger siblings of others, run with -m long."""
BUILT = ("mobilenetv2", "resnet18", "minilm", "vit_tiny")


def expect(model, inputs):
    """What onnxruntime computes."""
    return session(model).run(None, inputs)


def agree(model, executable):
    """Run a model both ways: floats within 1e-4 of the largest magnitude, integers equal."""
    inputs = random_inputs(executable.inputs)
    results, expected = executable(**inputs), expect(model, inputs)
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            assert np.isfinite(wanted).all()
            assert np.abs(result - wanted).max() <= 1e-4 * np.abs(wanted).max()
        else:
            assert np.array_equal(result, wanted)
    return results


def test_there_are_eleven_files():
    assert len(FILES) == 11


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in FILES])
def test_file(name):
    executable = heddle.compile(FILES[name])
    agree(FILES[name], executable)
    assert [region.backend for region in executable.plan.regions] == ["host"]


@pytest.mark.parametrize("name", BUILT)
def test_built(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    from benchmarks.models import build

    model = build(name)
    agree(model, heddle.compile(model))


def test_a_saved_model_gives_the_same_bits(tmp_path):
    executable = heddle.compile(FILES["rfb320"])
    executable.save(tmp_path / "rfb.heddle")
    loaded = heddle.load(tmp_path / "rfb.heddle")
    for left, right in zip(agree(FILES["rfb320"], executable), agree(FILES["rfb320"], loaded), strict=True):
        assert np.array_equal(left, right)


def test_the_whole_model_is_one_native_call():
    executable = heddle.compile(FILES["mnist"])
    assert len(executable.plan.regions) == 1
    executable(**random_inputs(executable.inputs))
    assert executable._entry.__name__ == "entry"


def test_denormals_are_as_before_after_a_call():
    executable = heddle.compile(FILES["mnist"])
    executable(**random_inputs(executable.inputs))
    assert np.float32(1e-40) * np.float32(1.0) > 0
