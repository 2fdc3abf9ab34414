"""The record of measurements: written whole, read back, digested, and what prices are read with."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.core.errors import HeddleError
from heddle.core.ir import parse
from heddle.core.plugin import Cost, Link, get_backend
from heddle.core.plugin.backend import Backend, Region
from heddle.core.plugin.calibration import Correction, Record, parts_of, read_record, region_key, using, write_record
from heddle.core.plugin.figures import family

import heddle

MNIST = Path(__file__).parent.parent.parent / "models" / "mnist.onnx"
FULL = Record(
    {"b": Correction({"product": 2.0}, 0.5, 0.1)}, {"b": Link(1e-6, 1e9)}, {"b": {"1:ab": 0.25}}, {"b 1:cd": 0.5}, 1e-5
)


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    path = tmp_path / "new" / "calibration.json"
    monkeypatch.setenv("HEDDLE_CALIBRATION", str(path))
    return path


def test_the_record_is_read_back_and_digested(record):
    assert (read_record(), read_record().digest()) == (Record(), "")
    assert write_record(FULL) == record
    assert read_record() == FULL
    assert [path.name for path in record.parent.iterdir()] == ["calibration.json"]
    other = Record(FULL.corrections, FULL.links, FULL.regions, FULL.plans, 2e-5)
    assert len({FULL.digest(), other.digest(), Record(dispatch=1.0).digest()}) == 3
    with using(other):
        assert read_record() == other
    assert read_record() == FULL


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"corrections": {}}',
        FULL.text().replace("0.25", "-1"),
        FULL.text().replace("0.25", "NaN"),
        FULL.text().replace("1000000000.0", "0"),
        FULL.text().replace("latency", "delay"),
    ],
)
def test_a_damaged_record_is_named(record, text):
    record.parent.mkdir()
    record.write_text(text)
    with pytest.raises(HeddleError, match=r"the calibration is damaged: .*; run `heddle calibrate` again"):
        read_record()


NET = "graph (%{a}: float32[4,8]) -> (%{b}) {{\n const %{c}: float32[8,2]\n %{b}: float32[4,2] = MatMul(%{a}, %{c})\n}}"


def body(text: str):
    import numpy as np

    return parse(text, {name: np.zeros((8, 2), np.float32) for name in "cw"})


def test_a_region_is_known_by_what_it_computes_and_by_who_does():
    host = get_backend("host")
    one = body(NET.format(a="a", b="b", c="c"))
    same = body(NET.format(a="x", b="y", c="w"))
    other = body(NET.format(a="a", b="b", c="c").replace("[4,", "[5,"))
    assert region_key(host, one) == region_key(host, same)
    assert region_key(host, one).startswith("1:")
    strict = get_backend("host", {"strict_math": True})
    assert len({region_key(host, one), region_key(host, other), region_key(strict, one)}) == 3
    known = Record(regions={"host": {region_key(host, one): 0.125}})
    assert [known.measured(host, graph) for graph in (same, other)] == [0.125, None]


def test_the_parts_of_an_estimate():
    class Own(Backend):
        name = "own"

        def estimate(self, region):
            return Cost(7.0, 1.0)

    graph = body(NET.format(a="a", b="b", c="c"))
    assert parts_of(Own(), Region("r", "own", graph), Cost(7.0, 1.0)) == {"whole": 7.0}
    parts = parts_of(get_backend("host"), Region("r", "host", graph), Cost(1.0))
    assert parts.keys() == {"product", "border"}
    assert Correction({"product": 3.0}).seconds({"product": 2.0, "border": 0.5}) == 6.0


def test_prices_follow_the_record():
    before = heddle.plan(MNIST)
    assert before.calibration == ""
    write_record(Record({"host": Correction({}, 1.0)}))
    slow = heddle.plan(MNIST)
    assert slow.cost.seconds == pytest.approx(before.cost.seconds + 1.0 - 2e-6)
    assert slow.calibration == read_record().digest()
    (region,) = slow.regions
    key = region_key(get_backend("host"), region.body)
    measured = Record({"host": Correction({}, 1.0)}, regions={"host": {key: 0.25}})
    with using(measured):
        again = heddle.plan(MNIST)
    assert again.cost.seconds == 0.25
    assert f"with calibration {measured.digest()}" in str(again)
    assert str(again).endswith("predicted, 250 ms measured")
    whole = Record({"host": Correction({}, 1.0)}, plans={f"host {len(region.body.nodes)}:0": 1.0})
    with using(whole):
        assert heddle.plan(MNIST).cost.measured is None


def test_artifacts_keep_what_their_place_depends_on(tmp_path):
    write_record(Record({"host": Correction({}, 1e-6)}))
    for place, kept in (("order", None), ("cost", read_record().digest())):
        with heddle.compile(MNIST, place=place) as executable:
            executable.save(tmp_path / "mnist.heddle")
        with heddle.load(tmp_path / "mnist.heddle") as loaded:
            (step,) = loaded.schedules[0].steps
            assert step.artifact.meta.get("calibration") == kept


@pytest.mark.parametrize(
    ("op", "attributes", "expected"),
    [
        ("MaxPool", " {kernel_shape=[3,3]}", "window"),
        ("GlobalAveragePool", "", "function"),
        ("Softmax", "", "function"),
        ("ReduceSum", "", "function"),
        ("Relu", "", "elementwise"),
        ("Transpose", "", "movement"),
    ],
)
def test_operators_are_corrected_with_those_that_are_quick_or_slow_together(op, attributes, expected):
    body = parse(f"graph (%x: float32[1,4,9,9]) -> (%y) {{\n %y: float32[1,4,9,9] = {op}(%x){attributes}\n}}")
    assert family(body.nodes[0]) == expected
