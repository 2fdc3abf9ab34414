"""Courses: parts that are compiled when they are reached, turns between them, and what a file makes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from heddle.core.errors import ArtifactError, InputError
from heddle.core.runtime import course as courses
from heddle.core.runtime.course import Course, Part, Turn, check_course
from heddle.core.runtime.executable import Executable
from heddle.core.runtime.manifest import decode, encode
from heddle.core.runtime.specs import OptionalSpec, SequenceSpec, TensorSpec, spec_json, spec_of

F32 = np.float32


@pytest.fixture
def doubling(make):
    """Makes an executable that doubles `x` as often as `n` says, compiled for each length; and what it compiled for."""

    def build():
        compiled = []

        def specialise(case):
            compiled.append((case.shapes, {name: value.tolist() for name, value in case.values.items()}))
            (size,), factor = case.shapes[0], case.values["k"].item()
            body = f"float *a = in[0], *b = out[0]; for (int i = 0; i < {size}; i++) b[i] = a[i] * {factor};"
            takes, gives = f"s:float32[{size}]", f"t:float32[{size}]"
            return make.schedule(takes, gives, [make.c(takes, gives, body)])

        part = Part("double", ("s", "k"), ("t",), ("k",), specialise=specialise)
        tensor = TensorSpec("s", "float32", ("?",))
        body = Course(
            (TensorSpec("i", "int64", ()), TensorSpec("on", "bool", ()), tensor, TensorSpec("k", "int64", ())),
            (TensorSpec("on", "bool", ()), tensor),
            (part,),
            ("on", "t"),
        )
        inputs = (TensorSpec("n", "int64", ()), TensorSpec("x", "float32", (4,)), TensorSpec("k", "int64", ()))
        loop = Turn("Loop", ("n", None, "x", "k"), ("y",), {"captures": 1}, {"body": body}, "loop")
        course = Course(inputs, (TensorSpec("y", "float32", (4,)),), (loop,), ("y",))
        return Executable("toy", inputs, course.outputs, [course]), compiled

    return build


X = np.arange(4, dtype=F32)


def test_a_course_of_one_part_takes_and_gives_in_any_order(make):
    compiled = []

    def specialise(case):
        compiled.append(case.shapes)
        body = "float *a = in[0], *b = in[1], *c = out[0]; for (int i = 0; i < 3; i++) c[i] = a[i] - b[i];"
        takes, gives = "p:float32[3] q:float32[3]", "r:float32[3]"
        return make.schedule(takes, gives, [make.c(takes, gives, body)])

    x, y, z = (TensorSpec(name, "float32", (3,)) for name in "xyz")
    course = Course((x, y), (y, z, z), (Part("less", ("y", "x"), ("z",), specialise=specialise),), ("y", "z", "z"))
    exe = Executable("toy", course.inputs, (y, z, TensorSpec("w", "float32", (3,))), [course])
    for factor in (1, 2):
        given = np.arange(3, dtype=F32) * F32(factor), np.ones(3, F32)
        for got, want in zip(exe(*given), (given[1], given[1] - given[0], given[1] - given[0]), strict=True):
            np.testing.assert_array_equal(got, want)
    assert compiled == [((3,), (3,))]


def test_a_part_is_compiled_once_for_each_case(doubling):
    exe, compiled = doubling()
    for n, k in ((3, 2), (0, 2), (2, 5), (1, 2)):
        assert np.array_equal(exe(np.array(n), X, np.array(k))["y"], X * F32(k) ** n)
    assert compiled == [(((4,), ()), {"k": 2}), (((4,), ()), {"k": 5})]


def test_what_was_not_used_for_longest_goes(doubling, monkeypatch, caplog):
    monkeypatch.setattr(courses, "LIMIT", 2)
    exe, compiled = doubling()
    for k in (2, 3, 2, 4, 2, 3):
        assert np.array_equal(exe(np.array(1), X, np.array(k))["y"], X * k)
    assert [values["k"] for _, values in compiled] == [2, 3, 4, 3]
    assert len(exe.schedules) == 2
    assert caplog.messages == [
        "part 'double' has been compiled for more than 2 cases, for each value of k; those that were not used for"
        " longest are given up, and compiled again when they come back"
    ]


def test_results_share_no_memory_with_what_was_given(doubling):
    exe, _ = doubling()
    y = exe(np.array(0), X, np.array(2))["y"]
    assert np.array_equal(y, X)
    assert not np.may_share_memory(y, X)


def test_a_call_that_cannot_be(doubling):
    exe, _ = doubling()
    with pytest.raises(InputError, match=r"^input 'n': int64\[\] is expected, int64\[2\] was given$"):
        exe(np.arange(2), X, np.array(2))


SPECS = (
    TensorSpec("a", "float32", (2, "N")),
    TensorSpec("b", "int64", None),
    SequenceSpec("c", TensorSpec("", "float32", None)),
    OptionalSpec("d", SequenceSpec("", TensorSpec("", "bool", ("?",)))),
)


def test_specs_as_json():
    texts = ["float32[2,N]", "int64[*]", "seq<float32[*]>", "optional<seq<bool[?]>>"]
    assert [str(spec) for spec in SPECS] == texts
    assert tuple(spec_of(json.loads(json.dumps(spec_json(spec)))) for spec in SPECS) == SPECS


def test_manifests_are_read_back_and_nonsense_is_told(doubling):
    exe, _ = doubling()
    exe(np.array(1), X, np.array(2))
    codes, arrays = {}, {}

    def code(data):
        codes[f"c{len(codes)}"] = memoryview(data)
        return f"c{len(codes) - 1}"

    def constant(array):
        arrays[f"a{len(arrays)}"] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return f"a{len(arrays) - 1}"

    manifest = json.loads(json.dumps(encode(exe.name, exe.inputs, exe.outputs, exe.programs, code, constant)))
    name, inputs, outputs, (course,) = decode(manifest, codes, arrays)
    again = Executable(name, inputs, outputs, [course])
    assert np.array_equal(again(np.array(3), X, np.array(2))["y"], X * 8)
    with pytest.raises(ArtifactError) as caught:
        again(np.array(1), X, np.array(7))
    assert str(caught.value) == (
        "part 'double' of the model is not compiled for s: [4], k = 7, and a loaded file has no compiler;"
        " run the model with such inputs before it is saved"
    )
    (loop,) = manifest["courses"][0]["steps"]
    loop["turn"] = "Eval"
    with pytest.raises(ArtifactError, match=r"^a turn 'Eval' is not known, the runtime has If, Loop, Scan"):
        decode(manifest, codes, arrays)


def test_courses_are_checked(doubling):
    exe, _ = doubling()
    (course,) = exe.programs
    (loop,) = course.steps
    for wrong, message in (
        (
            replace(course, steps=(replace(loop, inputs=("m",)),)),
            "turn Loop 'loop': value 'm' is read before it is bound",
        ),
        (replace(course, steps=(replace(loop, outputs=("x",)),)), "turn Loop 'loop': value 'x' is bound twice"),
        (replace(course, results=("z",)), "outputs: value 'z' is read before it is bound"),
        (replace(course, results=("y", "y")), "outputs: 1 are declared, 2 are computed"),
    ):
        with pytest.raises(ArtifactError) as caught:
            check_course(wrong)
        assert str(caught.value) == message
