"""Corrections are refitted from samples, written, read back, and used for prices."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.core.errors import HeddleError
from heddle.core.plugin import Cost
from heddle.core.plugin.calibration import Correction, Sample, corrections, digest, refit, write_record
from typer.testing import CliRunner

import heddle
from heddle.cli import app

MNIST = Path(__file__).parent.parent.parent / "models" / "mnist.onnx"


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    path = tmp_path / "calibration.json"
    monkeypatch.setenv("HEDDLE_CALIBRATION", str(path))
    return path


def test_a_line_is_found_again():
    samples = [Sample("b", f"r{n}", p, 3 * p + 1e-4) for n, p in enumerate((1e-5, 1e-3, 1e-2, 0.5))]
    found = refit(samples)["b"]
    assert (found.scale, found.launch) == (pytest.approx(3), pytest.approx(1e-4))


def test_one_sample_gives_a_ratio():
    assert refit([Sample("b", "r", 2.0, 1.0)]) == {"b": Correction(0.5, 0.0)}


def test_the_record_is_read_back_and_digested(record):
    assert (dict(corrections()), digest()) == ({}, "")
    write_record({"b": Correction(2.0, 0.5)})
    assert corrections()["b"].applied(Cost(3.0, 9.0)) == Cost(6.0, 0.5)
    first = digest()
    write_record({"b": Correction(2.5, 0.5)})
    assert digest() != first


def test_a_damaged_record_is_named(record):
    record.write_text("{")
    with pytest.raises(HeddleError, match="the calibration is damaged"):
        corrections()


def test_prices_follow_the_record(record):
    before = heddle.plan(MNIST).cost.seconds
    write_record({"host": Correction(1000.0, 1.0)})
    assert heddle.plan(MNIST).cost.seconds > before + 1.0


def test_the_command_writes_it(record):
    result = CliRunner().invoke(app, ["calibrate", str(MNIST), "--repeat", "2", "--json"])
    assert result.exit_code == 0, result.output
    assert record.exists()
    assert corrections()["host"].scale > 0
