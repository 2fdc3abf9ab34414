"""Choices by measurement: what is recorded, replayed, resumed, refused; and that compiling takes what was chosen."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.backends.llvm.choices import Choices, from_json, to_json
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv, depthwise, gemm, winograd
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.tail import Place
from heddle.core.errors import BackendError
from heddle.core.plugin.tuning import read_choices, read_records

import heddle
from heddle import settling
from heddle.measure.timing import SAME, Ratio
from heddle.settling import settle
from heddle.tune import Chosen, Tuning, tune

MNIST = Path(__file__).parents[2] / "models" / "mnist.onnx"
PLUGIN = Path(__file__).with_name("tunable.py")


def image(channels: int, halo: int = 1) -> Image:
    return Image(channels, 8, 8, 16, (halo,) * 4)


PROBLEMS = [
    gemm.Gemm(4, 32, 16, (16, 1), Place((32,), 1)),
    conv.Conv(image(32), image(32), Window((3, 3), pads=(1, 1))),
    depthwise.Depthwise(image(32), image(32), Window((3, 3), pads=(1, 1))),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: type(problem).__name__)
def test_schedules_survive_json(problem):
    choices = Choices(targets.avx512())
    candidates = choices.candidates(problem)
    assert candidates[0] == choices.default(problem)
    assert len(set(candidates)) == len(candidates) > 3
    for schedule in candidates:
        assert from_json(json.loads(json.dumps(to_json(schedule)))) == schedule


def test_a_strict_compiler_neither_filters_nor_takes_the_records_of_one_that_does():
    free, strict = Choices(targets.avx512()), Choices(targets.avx512(), strict=True)
    assert any(isinstance(schedule, winograd.Schedule) for schedule in free.candidates(PROBLEMS[1]))
    assert not any(isinstance(schedule, winograd.Schedule) for schedule in strict.candidates(PROBLEMS[1]))
    assert free.key(PROBLEMS[1]) != strict.key(PROBLEMS[1])
    assert free.key(PROBLEMS[0]) != Choices(targets.avx2()).key(PROBLEMS[0])


def test_records_choose_and_wrong_ones_are_refused():
    plain = Choices(targets.avx512())
    key, other = plain.key(PROBLEMS[0]), plain.candidates(PROBLEMS[0])[2]
    assert Choices(targets.avx512(), known={key: to_json(other)})(PROBLEMS[0]) == other
    with pytest.raises(BackendError, match=r"the tuning records choose .* which this version does not offer"):
        Choices(targets.avx512(), known={key: {**to_json(other), "rows": 77}})(PROBLEMS[0])
    with pytest.raises(BackendError, match="which is no schedule: it names no kernel"):
        Choices(targets.avx512(), known={key: {"kernel": "magic"}})(PROBLEMS[0])


def test_records_are_read_but_for_a_torn_last_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"backend":"a","problem":"p","chosen":{"x":1},"ratio":1}\n{"backend":"b","prob')
    assert read_choices(path, "a") == {"p": {"x": 1}}
    assert read_choices(path, "b") == {}
    path.write_text("[]\n")
    with pytest.raises(BackendError, match="line 1 is no record; `heddle tune` writes such files"):
        read_records(path)
    with pytest.raises(BackendError, match="cannot be read"):
        read_records(tmp_path / "nothing")


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A plugin whose only choice has known costs; gives the path of records and the log of what it measured."""
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("HEDDLE_PLUGINS", str(PLUGIN))
    monkeypatch.setenv("TUNABLE_LOG", str(log))
    return tmp_path / "records.jsonl", log


def test_any_backend_can_be_tuned_and_a_second_run_measures_nothing(toy):
    records, log = toy
    first = tune(MNIST, records, ["tunable"])
    (chosen,) = first.chosen
    assert (chosen.choice, chosen.ratio) == ({"tile": 4}, Ratio(0.25, 0.25, 0.25))
    assert first.measured > 3
    assert read_choices(records, "tunable") == {"only": {"tile": 4}}
    # What ends its process or is refused is left out, and spoils nothing else.
    ratios = {record["choice"]["tile"]: record["ratio"] for record in read_records(records) if "choice" in record}
    assert ratios == {2: 0.5, 3: None, 4: 0.25, 5: None, 6: 2.0}
    before = log.read_text()
    again = tune(MNIST, records, ["tunable"])
    assert (again.measured, again.chosen, log.read_text()) == (0, first.chosen, before)


def gain(median: float) -> Ratio:
    return Ratio(median, median - 0.02, median + 0.02)


@pytest.mark.parametrize(
    ("costs", "left"),
    [
        ([0.9], [0.5, 0.6, 0.7]),
        ([0.99, 0.9], [0.5, None, None]),
        ([1.1, 1.2], [None, None, None]),
    ],
)
def test_what_is_no_established_gain_for_the_whole_model_goes_back(toy, costs, left):
    records, _ = toy
    (found,) = tune(MNIST, records, ["tunable"]).chosen
    problems = [replace(found.problem, key=f"p{i}") for i in range(3)]
    chosen = tuple(Chosen("tunable", p, {"tile": 4}, gain(r)) for p, r in zip(problems, (0.5, 0.6, 0.7), strict=True))
    measured = iter(costs)
    settled, worth = settle(Tuning(chosen, 3, 0), records, lambda: gain(next(measured)))
    assert [c.ratio for c in settled.chosen] == [gain(r) if r else SAME for r in left]
    assert [c.choice["tile"] for c in settled.chosen] == [4 if r else 1 for r in left]
    assert worth == (gain(costs[-1]) if any(left) else SAME)
    recorded = read_choices(records, "tunable")
    assert [recorded.get(p.key) for p in problems] == [None if r else {"tile": 1} for r in left]
    # Another time nothing is measured: neither for the same choices nor for what is left of them.
    for again in (chosen, settled.chosen):
        assert settle(Tuning(again, 0, 0), records, lambda: pytest.fail("it is measured again")) == (
            replace(settled, measured=0),
            worth,
        )


def test_heavy_problems_are_the_last_to_go_back(toy):
    records, _ = toy
    (found,) = tune(MNIST, records, ["tunable"]).chosen
    heavy, light = (replace(found.problem, key=key, weight=w) for key, w in (("heavy", 9.0), ("light", 1.0)))
    chosen = (Chosen("tunable", light, {"tile": 4}, gain(0.5)), Chosen("tunable", heavy, {"tile": 4}, gain(0.8)))
    measured = iter([gain(1.0), gain(0.9)])
    settled, _ = settle(Tuning(chosen, 2, 0), records, lambda: next(measured))
    assert [c.choice for c in settled.chosen] == [{"tile": 1}, {"tile": 4}]


def test_whole_models_are_raced_in_pairs_of_executables(tmp_path, monkeypatch):
    for name, value in (("PAIRS", 8), ("ROUNDS", 1), ("SECONDS", 0.0)):
        monkeypatch.setattr(settling, name, value)
    made = []
    monkeypatch.setattr(
        settling, "compile", lambda *args, options: made.append("tuning" in options["host"]) or compiled(*args, options)
    )
    records = tmp_path / "records.jsonl"
    records.touch()
    found = settling.race(MNIST, records, ["host"], None, {"host": {"strict_math": True, "tuning": "other.jsonl"}})
    assert made == [False, True, True, False] * 4
    assert 0 < found.low <= found.median <= found.high < math.inf


def compiled(model, backends, shapes, options):
    assert options["host"]["strict_math"]
    return heddle.compile(model, backends, shapes, options=options)


def test_a_run_is_resumed_without_measuring_twice(toy):
    records, log = toy
    stopped = tune(MNIST, records, ["tunable"], seconds=0)
    assert (stopped.chosen, stopped.open) == ((), 1)
    records.write_text(
        '{"backend":"tunable","problem":"only","what":"","choice":{"tile":6},"ratio":0.125}\n{"backend":"tun'
    )
    tune(MNIST, records, ["tunable"])
    assert read_choices(records, "tunable") == {"only": {"tile": 4}}
    assert log.read_text().split().count("6") == 1  # in the last comparison, which believes no single measurement


def test_the_host_compiles_as_the_records_say(tmp_path):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[4,48] x) => (float[4,32] y) <float[48,32] w> '
    model = onnx.parser.parse_model(text + "{ y = MatMul(x, w) }")
    rng = np.random.default_rng(0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((48, 32), np.float32), "w"))
    records = tmp_path / "records.jsonl"
    (chosen,) = tune(model, records).chosen
    with records.open("a") as file:  # whatever was measured: choose something else than the default
        first, *others = Choices(targets.host()).candidates(chosen.problem.payload)
        other = next(each for each in others if each.vectors == (2 if first.vectors == 1 else 1))
        line = {"backend": "host", "problem": chosen.problem.key, "chosen": to_json(other), "ratio": 0.5}
        file.write(json.dumps(line) + "\n")
    plain = heddle.compile(model)
    tuned = heddle.compile(model, options={"host": {"tuning": str(records)}})
    x = rng.standard_normal((4, 48), np.float32)
    np.testing.assert_allclose(plain(x)["y"], tuned(x)["y"], rtol=0, atol=1e-4)
    artifacts = [each.schedules[0].steps[0].artifact for each in (plain, tuned)]
    assert "tuning" not in artifacts[0].meta
    assert len(artifacts[1].meta["tuning"]) == 64
    assert artifacts[0].code != artifacts[1].code


def test_the_command_tells_what_it_chose(tmp_path, cli):
    records = tmp_path / "r.jsonl"
    told = json.loads(cli("tune", MNIST, "-o", records, "--seconds", "0", "--json"))
    assert told["measured"] == 0
    assert told["open"] >= 2
    assert told["model_ratio"] == 1.0
    assert told["model_ratio_bounds"] == [1.0, 1.0]
