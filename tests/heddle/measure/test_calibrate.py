"""Calibrating: factors and links are found again, regions and plans are measured until the plan by cost is."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from heddle.core.plugin import Link, get_backend
from heddle.core.plugin.calibration import Correction, read_record, using
from heddle.core.runtime.device import Buffer, DeviceProperties, Finished, MemorySpace
from heddle.core.runtime.host import HostDevice
from typer.testing import CliRunner

import heddle
from heddle.cli import app
from heddle.measure.calibrating import Calibration, Effort
from heddle.measure.fitting import Mixed, Sample, dispatch_of, refit
from heddle.measure.links import SIZES, fitted_link, measured_link

MNIST = Path(__file__).parent.parent.parent / "models" / "mnist.onnx"


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    path = tmp_path / "calibration.json"
    monkeypatch.setenv("HEDDLE_CALIBRATION", str(path))
    return path


def test_factors_are_found_again():
    rng = random.Random(0)
    samples = []
    for number in range(40):
        parts = {"product": rng.uniform(1e-5, 1e-2), "movement": rng.uniform(0, 1e-3), "border": rng.uniform(0, 1e-3)}
        seconds = 3 * parts["product"] + 0.5 * parts["movement"] + 2 * parts["border"] + 1e-4
        samples.append(Sample("b", f"r{number}", 1, parts, seconds))
    found = refit(samples)["b"]
    assert found.scales == pytest.approx({"product": 3, "movement": 0.5, "border": 2}, rel=0.05)
    assert found.launch == pytest.approx(1e-4, rel=0.1)
    assert found.error < 0.01


def test_twice_and_half_as_long_are_equally_wrong():
    """Times that are off by a factor of two either way leave the estimate where it is."""
    samples = [Sample("b", "r", 1, {"product": p}, p * 2**sign) for p in (1.0, 3.0, 9.0) for sign in (-1, 1)]
    assert refit(samples)["b"].seconds({"product": 1.0}) == pytest.approx(1.0, rel=0.02)


def test_one_sample_gives_a_ratio():
    assert refit([Sample("b", "r", 1, {"product": 2.0}, 1.0)])["b"] == Correction({"product": pytest.approx(0.5)})


def test_factors_without_samples_follow_the_others():
    found = refit([Sample("b", "r", 1, {"product": p, "movement": 1e-12}, 4 * p) for p in (1.0, 2.0, 3.0)])["b"]
    assert found.scales["movement"] == pytest.approx(4.0, rel=0.05)


def test_what_a_region_takes_among_others_is_found_again():
    plans = [Mixed(alone + 2e-4 * count, alone, count) for alone, count in ((1e-3, 3), (5e-2, 40), (3e-1, 2))]
    assert dispatch_of(plans) == pytest.approx(2e-4)
    noisy = [*plans, Mixed(0.33, 0.30, 2)]  # a long plan of few regions says next to nothing
    assert dispatch_of(noisy) == pytest.approx(2e-4, rel=0.01)
    assert dispatch_of([Mixed(1.0, 1.5, 2)]) == dispatch_of([]) == 0.0


def test_a_link_is_found_again():
    found = fitted_link({size: 2e-5 + size / 5e9 for size in SIZES})
    assert (found.latency, found.bandwidth) == (pytest.approx(2e-5), pytest.approx(5e9))
    assert fitted_link({1: 2.0, 2: 1.0}).bandwidth == 2.0


class Far(HostDevice):
    """A memory of its own at 1 us and 1 GB/s by the clock below."""

    def __init__(self) -> None:
        self.now, self.held, self.clock_hz = 0.0, 0, None

    def properties(self) -> DeviceProperties:
        return DeviceProperties("far", (MemorySpace("far", 1 << 30),), clock_hz=self.clock_hz)

    def allocate(self, nbytes, memory=None):
        self.held += 1
        return Buffer("far", nbytes, handle=np.zeros(nbytes, np.uint8))

    def free(self, buffer):
        self.held -= 1

    def copy(self, source, target, after=()):
        self.now += 1e-6 + source.nbytes / 1e9
        return Finished()


def test_a_device_with_memory_of_its_own_is_measured():
    device = Far()
    link = measured_link(device, lambda: device.now)
    assert link == Link(pytest.approx(1e-6), pytest.approx(1e9))
    assert device.held == 0
    device.clock_hz = 1e9
    assert measured_link(device, lambda: device.now) is None
    assert measured_link(HostDevice(), lambda: 0.0) is None


def test_the_command_measures_and_explains(record, tmp_path):
    result = CliRunner().invoke(app, ["calibrate", str(MNIST), "--seconds", "0.001", "--pieces", "3", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["digest"] == read_record().digest()
    assert len(told["samples"]) == 4
    assert all(sample["measured"] > 0 for sample in told["samples"])
    shown = CliRunner().invoke(app, ["explain", str(MNIST)]).output
    assert f"with calibration {told['digest']}" in shown
    assert "predicted, " in shown
    assert "measured" in shown
    wrong = CliRunner().invoke(app, ["calibrate", str(MNIST), "--clock", "sun"])
    assert wrong.exit_code == 2
    assert "'sun': it is one of wall, cpu" in wrong.output


def test_the_plan_by_cost_ends_up_measured(toys):
    """Whatever was estimated before, the plan by cost is in the end one that was measured, the quickest of those."""
    backends = [toys.Picky(), get_backend("host")]
    calibration = Calibration(backends, toys.devices(), Effort(2, 0.001, "cpu", 3))
    calibration.measure("mnist", MNIST)
    assert calibration.settled == {"mnist": True}
    with using(calibration.record):
        chosen = heddle.plan(MNIST, backends, place="cost")
    assert chosen.cost.measured == min(calibration.plans.values())
    assert chosen.backends == ("host",)  # the reference interpreter is no match for it


def test_calibrations_do_not_outlive_a_copy(record, tmp_path):
    """The digest is the record's own: the same file elsewhere is the same calibration."""
    CliRunner().invoke(app, ["calibrate", str(MNIST), "--seconds", "0", "--pieces", "0"])
    digest = read_record().digest()
    shutil.copy(record, tmp_path / "other.json")
    result = CliRunner().invoke(
        app, ["explain", str(MNIST), "--json"], env={"HEDDLE_CALIBRATION": str(tmp_path / "other.json")}
    )
    assert json.loads(result.output)["plan"]["calibration"] == digest


TURNS = """<ir_version: 9, opset_import: ["" : 19]>
m (int64 n, float[8,8] x) => (float[8,8] y) <bool yes = {1}> {
    before = Relu(x)
    y = Loop(n, yes, before)<body = turn (int64 i, bool go, float[8,8] s) => (bool on, float[8,8] t) {
        p = MatMul(s, x)
        t = Tanh(p)
        on = Identity(go)
    }>
}"""


def test_a_model_that_is_compiled_part_by_part_is_measured_by_its_parts(record, tmp_path):
    """After it, every region of every part has a measured price, those of the loop's body too."""
    path, inputs = tmp_path / "turns.onnx", tmp_path / "x.npz"
    onnx.save(onnx.parser.parse_model(TURNS), path)
    np.savez(inputs, n=np.array(2), x=np.ones((8, 8), np.float32))
    asked = ["calibrate", str(path), "--seconds", "0", "--pieces", "2", "--example", str(inputs), "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    parts = {sample["region"].rpartition(": ")[0] for sample in json.loads(result.output)["samples"]}
    assert parts == {"turns: part0", "turns: y.body.part0"}
    outlined = heddle.explain(path, ["host"], place="cost")
    for stage in outlined.stages:
        if stage.known is not None:
            assert [cost.measured is not None for cost in stage.known.plan.cost.regions] == [True]
    assert sum(stage.known is not None for stage in outlined.stages) == 2
    twice = CliRunner().invoke(app, ["calibrate", str(path), str(path), "--example", str(inputs)])
    assert str(twice.exception) == "calibrate: --example gives the inputs of one model, 2 are named"
