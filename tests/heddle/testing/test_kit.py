"""The kit finds each kind of fault, says what it is, and makes the case small."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.errors import HeddleError
from heddle.core.ir import parse
from heddle.core.pattern import among, attr
from heddle.core.plugin import Tolerance, get_backend

from heddle.testing import ImpossibleError, Kit, difference, draw_case
from heddle.testing.cases import Case
from heddle.testing.limits import demand_of

_spec = importlib.util.spec_from_file_location("faulty", Path(__file__).parent / "faulty.py")
faulty = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(faulty)


def _lone(found, expected):
    return f"1 of 1 elements differ; at [0] it has {found}, the reference {expected}"


def scores(fault="", cases=60, patterns=(faulty.conv, faulty.sub), compiler="", shrinking=2, **more):
    devices = {"faulty": faulty.FaultyDevice(fault)}
    report = Kit(cases, shrinking=shrinking, **more).test(faulty.Faulty(compiler, patterns), devices=devices, timeout=1)
    return {score.pattern: score for score in report.scores}


def test_a_right_backend_passes():
    assert all(score.ok for score in scores(cases=100).values())


@pytest.mark.parametrize(
    ("fault", "pattern", "kind"),
    [
        ("swapped", "sub", "result"),
        ("wrong pad", "conv", "result"),
        ("ignored dilation", "conv", "error"),
        ("no bias", "conv", "result"),
        ("raises", "conv", "error"),
        ("hang", "conv", "error"),
        ("leak", "sub", "leak"),
        ("stale", "conv", "state"),
        ("race", "sub", "threads"),
        ("no specials", "sub", "result"),
        ("random", "sub", "random"),
        ("writes inputs", "sub", "input"),
    ],
)
def test_a_faulty_device_is_caught(fault, pattern, kind):
    patterns = (faulty.conv,) if pattern == "conv" else (faulty.sub,)
    assert scores(fault, patterns=patterns)[pattern].finding.kind == kind


def test_threads_do_not_wait_for_one_that_failed():
    finding = scores("loads one at a time", patterns=(faulty.sub,), shrinking=0)["sub"].finding
    assert finding.kind == "threads"
    assert "another program is being loaded" in finding.what


@pytest.mark.parametrize(("fault", "kind"), [("refuses to compile", "claim"), ("unrepeatable", "random")])
def test_a_faulty_compiler_is_caught(fault, kind):
    assert scores(compiler=fault, patterns=(faulty.conv,))["conv"].finding.kind == kind


def test_what_is_taken_beyond_the_limits_must_be_right():
    """Another pattern takes what this one's conditions exclude, and the device ignores automatic paddings."""
    report = Kit(40, shrinking=2).test(
        faulty.Faulty(patterns=(faulty.conv, faulty.loose)),
        devices={"faulty": faulty.FaultyDevice()},
        only=["conv"],
        timeout=1,
    )
    (score,) = report.scores
    assert score.accepted == 40
    assert "taken though its pattern demands that conv.auto_pad is NOTSET: call 1" in score.verdict
    assert "auto_pad=" in score.case


def test_every_limit_is_broken():
    score = scores(cases=40, patterns=(faulty.conv,))["conv"]
    limits = ["x.dtype is float32", "x.rank is 4", "conv.auto_pad is NOTSET", "w is constant", "b is constant"]
    # Of element types each other one that the kit knows; of all else two, one for twenty of the cases asked for.
    assert [(one.limit, one.left, one.right) for one in score.beyond] == [
        (limit, 6 if limit.startswith("x.dtype") else 2, 0) for limit in limits
    ]
    assert score.outside == "14 left"


@pytest.mark.parametrize(
    ("condition", "outside"),
    [
        (attr("c", "group").between(2, 3), (1, 4)),
        (attr("c", "group").at_most(7), (8,)),
        (attr("c", "group").multiple_of(4), (3, 5)),
        (attr("c", "strides").each(among(1, 2)), (0, 3)),
        (attr("c", "alpha").equals(0.5), (1.0, 0.0, 1.5, -0.5)),
    ],
)
def test_the_neighbours_of_a_limit(condition, outside):
    found = demand_of(condition, condition.term, lambda quantity: None, outside=True).samples()
    assert set(outside) <= set(found)
    assert not any(condition.predicate.holds(value) for value in found)


def test_too_few_cases_are_a_failure():
    score = scores(cases=5, patterns=(faulty.never,))["never"]
    assert not score.ok
    assert score.verdict.startswith("only 0 of 5 cases were accepted; most often: ")


def test_the_failing_case_is_small_and_saved(tmp_path):
    score = scores("ignored dilation", patterns=(faulty.conv,), shrinking=15, folder=tmp_path)["conv"]
    model = onnx.load(score.model)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert node.op_type == "Conv"
    elements = [np.prod([d.dim_value for d in i.type.tensor_type.shape.dim]) for i in model.graph.input]
    assert sum(elements) <= 64


def test_without_time_for_shrinking_the_case_is_as_it_was_drawn():
    score = scores("swapped", patterns=(faulty.sub,), shrinking=0)["sub"]
    assert score.case == str(Kit().case(faulty.sub, score.drawn))


def test_cases_are_the_same_from_the_same_seed():
    def texts():
        for seed in range(30):
            try:
                yield str(draw_case(faulty.conv, random.Random(seed).choice, seed))
            except ImpossibleError as error:
                yield str(error)

    assert list(texts()) == list(texts())


def test_cases_are_various():
    seen = {"strides": set(), "dilations": set(), "group": set(), "pads": set()}
    fills, empties = set(), 0
    for seed in range(400):
        try:
            case = draw_case(faulty.conv, random.Random(seed).choice, seed)
        except ImpossibleError:
            continue
        for name, values in seen.items():
            values.add(case.graph.nodes[0].attrs.get(name))
        fills.add(case.fill)
        empties += 0 in case.graph.outputs[0].shape
    assert all(len(values) >= 3 for values in seen.values() if values is not seen["dilations"])
    assert len(seen["dilations"]) >= 2
    assert fills == {"normal", "zeros", "ones", "limits", "special", "denormal"}
    assert empties


@pytest.mark.parametrize("pattern", ["conv", "gemm", "matmul", "add", "max_pool", "leaky_relu"])
def test_cases_of_quantized_patterns_are_found(pattern):
    (chosen,) = [p for p in get_backend("vta").patterns if p.name == pattern]
    found = 0
    for seed in range(250):
        try:
            draw_case(chosen, random.Random(seed).choice, seed)
            found += 1
        except ImpossibleError:
            pass
    assert found >= 3


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "told"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), Tolerance(), ""),
        (np.int8([1]), np.int8([2]), Tolerance(), _lone("1", "2")),
        (np.int8([1]), np.int8([2]), Tolerance(integers=1), ""),
        (np.float32([1]), np.float64([1]), Tolerance(), "it is float32[1], the reference has float64[1]"),
        (np.float32([[1]]), np.float32([1]), Tolerance(), "it is float32[1,1], the reference has float32[1]"),
        (np.float32([np.nan]), np.float32([np.nan]), Tolerance(), ""),
        (np.float32([np.nan]), np.float32([1]), Tolerance(), _lone("nan", "1.0")),
        (np.float32([np.inf]), np.float32([-np.inf]), Tolerance(), _lone("inf", "-inf")),
        (np.float32([5]), np.float32([np.nan]), Tolerance(specials=False), ""),
        (np.float32([100, 0.005]), np.float32([100, 0]), Tolerance(), ""),
    ],
)  # fmt: skip
def test_comparing(found, expected, tolerance, told):
    assert difference(found, expected, tolerance) == told


@pytest.mark.parametrize(("dtype", "fill"), [("float32", "special"), ("float16", "special"), ("float16", "limits")])
def test_a_device_with_specials_of_its_own_sees_none(dtype, fill):
    graph = parse(f'graph "g" (%x: {dtype}[64]) -> (%y) {{\n  %y: {dtype}[64] = Relu(%x)\n}}')
    case = Case(faulty.sub, graph, fill)
    (extreme,), (ordinary,) = case.inputs(), replace(case, specials=False).inputs()
    assert not (np.abs(extreme.astype(float)) < 1e4 / 2).all()
    assert (np.abs(ordinary.astype(float)) < 10).all()


def test_unknown_patterns_are_named():
    with pytest.raises(HeddleError) as raised:
        Kit().test(faulty.Faulty(), only=["convolution"])
    assert str(raised.value) == "backend 'faulty': it has no pattern 'convolution' (it has conv, sub)"
    with pytest.raises(HeddleError, match="it has no patterns, the kit makes cases from patterns"):
        Kit().test("host")
