"""Tilings are chosen by records as by the search, and what is chosen is what runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from heddle.backends.vta import Vta, VtaOptions
from heddle.backends.vta.search import Shape, cycles, key_of, worthwhile
from heddle.core.errors import BackendError
from heddle.core.plugin import Region
from heddle.core.plugin.tuning import Tunable

import heddle
from heddle.tune import tune
from tests.backends.vta.regions import accelerated, random_inputs, run
from tests.backends.vta.test_operators import Net, conv

SHAPE = Shape((256, 128, 3, 3), (1, 128, 28, 28), (1, 256, 14, 14), (2, 2), (1, 1, 1, 1), (1, 1), 1)


@pytest.fixture
def region() -> Region:
    model = conv(Net(unsigned=True), [1, 32, 12, 12], (64, 32, 3, 3), pads=[1, 1, 1, 1])
    return accelerated(heddle.plan(model, backends=["vta", "host"]))[0]


def test_the_default_is_the_best_of_the_first(region: Region) -> None:
    config = Vta().config
    tilings = worthwhile(config, SHAPE)
    assert len(set(tilings)) == len(tilings) > 12
    assert cycles(config, SHAPE, tilings[0]) <= 1.005 * min(cycles(config, SHAPE, each) for each in tilings[:12])


def test_records_choose(region: Region, tmp_path: Path) -> None:
    backend = Vta()
    assert isinstance(backend, Tunable)
    (problem,) = backend.problems(region)
    default, *others = backend.candidates(problem)
    costs = [backend.measurement(problem, choice)() for choice in others]
    worst = others[int(np.argmax(costs))]
    assert max(costs) > backend.measurement(problem, default)()
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"backend": "vta", "problem": problem.key, "chosen": worst, "ratio": 0.5}) + "\n")
    tuned = Vta(VtaOptions(tuning=str(records)))
    inputs = random_inputs(region)
    (plain, slow), (expected, quick) = (
        run(tuned.compile(region), inputs, sim="cycle"),
        run(backend.compile(region), inputs, sim="cycle"),
    )
    np.testing.assert_array_equal(plain[0], expected[0])
    assert slow["cycles"] > quick["cycles"]


def test_tune_writes_records_that_compile(tmp_path: Path) -> None:
    model = conv(Net(unsigned=False), [1, 16, 6, 6], (16, 16, 1, 1))
    records = tmp_path / "records.jsonl"
    found = tune(model, records, ["vta", "host"])
    assert [chosen.problem.key for chosen in found.chosen if chosen.backend == "vta"]
    heddle.compile(model, backends=["vta", "host"], options={"vta": {"tuning": str(records)}}).close()


def test_the_key_is_the_shape_and_the_configuration() -> None:
    small = Vta(VtaOptions("small")).config
    changed = Shape(**{**asdict(SHAPE), "strides": (1, 1)})
    keys = {key_of(Vta().config, SHAPE), key_of(small, SHAPE), key_of(Vta().config, changed)}
    assert len(keys) == 3


def test_records_of_something_else_are_refused(region: Region, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"backend": "vta", "problem": "k", "chosen": {"row": 1}, "ratio": 1.0}) + "\n")
    with pytest.raises(BackendError, match="is no tiling"):
        Vta(VtaOptions(tuning=str(records))).compile(region)
