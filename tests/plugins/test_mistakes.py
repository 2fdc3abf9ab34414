"""The likeliest mistakes in a plugin: each is caught with a text that says what to do."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import replace

import numpy as np
import onnx.parser
import pytest
from heddle.core.errors import BackendError, DeviceError, HeddleError
from heddle.core.pattern import dtype, ops, pattern
from heddle.core.plugin import Plugins, PluginWarning
from heddle.core.runtime.artifact import Signature
from heddle.core.runtime.calling import CallingDevice

import heddle
from heddle.testing import Kit

MODEL = onnx.parser.parse_model(
    """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }
    """
)
X = np.float32([[1, -2, 3], [-4, 5, -6]])
ANSWERS = "it returns the reason of a refusal, or None where it takes the match"


def relu(where=None):
    @pattern("relu", conditions=[dtype("x").equals("float32")], where=where)
    def taken(x):
        return ops.Relu(x)

    return taken


class Mine(heddle.Backend):
    """Right, but for what a test changes."""

    name = "mine"
    merges = False
    patterns = (relu(),)

    def compile(self, region):
        return heddle.Artifact(self.name, self.name, region.signature, b"")


class MineDevice(CallingDevice):
    def call(self, made, inputs, outputs):
        np.maximum(inputs[0], 0, out=outputs[0])


def run(backend=None, device=None, backends=()):
    devices = {"mine": device or MineDevice()}
    with heddle.compile(MODEL, [backend or Mine(), *backends, "host"], devices=devices) as executable:
        return executable(X)[0]


def told(error=HeddleError, **given):
    with pytest.raises(error) as raised:
        run(**given)
    return str(raised.value)


def calling(work):
    """A device whose call is this function of the inputs and outputs."""
    return type("Calling", (CallingDevice,), {"call": lambda self, made, inputs, outputs: work(inputs, outputs)})()


def compiling(change):
    """A backend whose artifact is what a function makes of the right one."""
    return type("Changed", (Mine,), {"compile": lambda self, region: change(Mine.compile(self, region))})()


def signed(**changes):
    """A change of the output's port."""

    def change(artifact):
        (port,) = artifact.signature.outputs
        return replace(artifact, signature=Signature(artifact.signature.inputs, (replace(port, **changes),)))

    return change


def test_the_right_one_is_right():
    assert run().tolist() == np.maximum(X, 0).tolist()


def assign(value):
    def work(inputs, outputs):
        outputs[0][...] = value

    return work


def change_input(inputs, outputs):
    inputs[0][0] = 1


REGION = "region 'mine.0' of backend 'mine' on device 'mine': mine: "


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (
            assign(np.zeros((3, 2))),
            "ValueError: could not broadcast input array from shape (3,2) into shape (2,3); "
            "outputs have the shapes of the region's signature",
        ),
        (
            change_input,
            "ValueError: assignment destination is read-only; inputs and constants belong to the caller, change a copy",
        ),
        (
            assign(np.zeros((2, 3), np.int8)),
            "TypeError: %y is promised as float32[2, 3], and int8[2, 3] is written to it; convert it, y.astype(...)",
        ),
        (
            assign(np.zeros((2, 3), object)),
            "TypeError: %y is promised as float32[2, 3], and Python objects[2, 3] is written to it; "
            "convert it, y.astype(...)",
        ),
        (
            lambda inputs, outputs: np.maximum(inputs[0], 0).astype(np.float64),
            "TypeError: %y is promised as float32[2, 3], and its call returns float64[2, 3] for it",
        ),
        (
            lambda inputs, outputs: np.maximum(inputs[0], 0).astype(object),
            "TypeError: %y is promised as float32[2, 3], and its call returns Python objects[2, 3] for it",
        ),
        (
            lambda inputs, outputs: np.maximum(inputs[0], 0).T,
            "TypeError: %y is promised as float32[2, 3], and its call returns float32[3, 2] for it",
        ),
        (
            lambda inputs, outputs: [np.maximum(inputs[0], 0), inputs[0]],
            "TypeError: its call returns 2 results, 1 are promised: %y",
        ),
        (
            lambda inputs, outputs: [[0.0] * 3] * 2,
            "TypeError: its call returns 2 results, 1 are promised: %y",
        ),
        (
            lambda inputs, outputs: 0,
            "TypeError: %y is promised as float32[2, 3], and its call returns no array but int for it",
        ),
        (lambda inputs, outputs: outputs[1], "IndexError: list index out of range"),
    ],
    ids=[
        "another shape", "a changed input", "integers for floats", "objects for floats", "another type returned",
        "objects returned", "another shape returned", "too many", "lists", "a status", "an error of its own",
    ],
)  # fmt: skip
def test_what_a_call_does_wrong(work, message):
    assert told(DeviceError, device=calling(work)) == REGION + message
    assert score(Mine(), calling(work)).startswith("error: call 1 fails: region ")


@pytest.mark.parametrize(
    "work",
    [
        lambda inputs, outputs: np.maximum(inputs[0], 0),
        lambda inputs, outputs: (np.asfortranarray(np.maximum(inputs[0], 0)),),
        lambda inputs, outputs: [np.broadcast_to(np.maximum(inputs[0], 0), inputs[0].shape)],
        assign(np.maximum(X, 0).astype(np.float64)),
        assign([[1, 0, 3], [0, 5, 0]]),
    ],
    ids=["an array", "by columns", "read-only", "wider floats in place", "a list in place"],
)
def test_results_in_many_ways(work):
    assert run(device=calling(work)).tolist() == np.maximum(X, 0).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda artifact: None, "is NoneType, an Artifact is expected; `compile` returns "
         "Artifact(self.name, device, region.signature, code)"),
        (signed(dtype="int8"), ": outputs: %y is float32, the artifact has int8; give it region.signature"),
        (
            signed(shape=(3, 2)),
            ": outputs: %y is float32[2,3], the artifact has shape [3, 2]; give it region.signature",
        ),
        (
            lambda artifact: replace(artifact, code={"strides": (1, 1)}),
            ": its code must be bytes and its workspace 0 or more; "
            "write what the device needs as bytes, for instance by json.dumps(...).encode()",
        ),
        (
            lambda artifact: replace(artifact, meta={"weights": X}),
            ": its meta cannot be written as JSON: Object of type ndarray is not JSON serializable; "
            "arrays belong into its constants, all else into its code",
        ),
    ],
    ids=["no artifact", "another dtype", "another shape", "code that is no bytes", "arrays in meta"],
)  # fmt: skip
def test_what_compile_does_wrong(change, message):
    found = told(BackendError, backend=compiling(change)).removeprefix("backend 'mine': the artifact of region mine.0")
    assert found.strip() == message.strip()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda match: match["z"].shape, "failed with KeyError: 'z'"),
        (lambda match: True, "returned True"),
    ],
    ids=["raises", "says yes"],
)
def test_a_predicate_that_does_not_answer(where, message):
    backend = type("Asking", (Mine,), {"patterns": (relu(where),)})()
    place = "backend 'mine': pattern 'relu': asked about %y (Relu), its `where`"
    assert told(BackendError, backend=backend) == f"{place} {message}; {ANSWERS}"


def test_two_patterns_of_one_name():
    backend = type("Twice", (Mine,), {"patterns": (relu(), relu())})()
    assert told(BackendError, backend=backend) == (
        "backend 'mine': two of its patterns are named 'relu'; rename one of them"
    )


def test_two_backends_of_one_name():
    assert "mine" in told(backends=[Mine()])


def loaded(tmp_path, text):
    """What is said of a plugin with this text, by the list and by whoever asks for it."""
    path = tmp_path / "heddle_mine.py"
    path.write_text(textwrap.dedent(text))
    found = Plugins(str(path))
    with pytest.raises(BackendError) as raised:
        found.get("mine")
    return str(raised.value).replace(f" (HEDDLE_PLUGINS={path})", "")


CLASS = """
    import heddle

    class Mine(heddle.Backend):
        name = "mine"
        {}
"""


def test_a_device_that_returns_no_event():
    class Silent(MineDevice):
        def submit(self, program, buffers, after=()):
            super().submit(program, buffers, after)

    assert told(DeviceError, device=Silent()) == (
        REGION.removesuffix("mine: ") + "its submit returns no event; one whose work is done returns Finished()"
    )


def test_a_method_is_missing():
    backend = type("Unfinished", (heddle.Backend,), {"name": "mine", "patterns": (relu(),)})()
    assert told(BackendError, backend=backend) == (
        "backend 'mine': compiling region mine.0 failed with TypeError: "
        "Unfinished has no `compile(self, region)`, which returns an Artifact"
    )


def test_a_level_that_is_not_supported(tmp_path):
    assert loaded(tmp_path, CLASS.format("api = 99")) == (
        "backend 'mine' is broken: backend 'mine' is made for API level 99, this Heddle has level 1; upgrade Heddle"
    )


def test_a_hook_is_misspelt(tmp_path):
    text = (
        CLASS.format("def compile(self, region): ...")
        + """
    from heddle.core.plugin import hookimpl

    @hookimpl
    def heddle_plan_maid(plan):
        pass
"""
    )
    with pytest.warns(PluginWarning, match="unknown hook 'heddle_plan_maid'.*; the hooks are heddle_"):
        assert loaded(tmp_path, text).startswith("there is no backend 'mine'")


def score(backend, device=None, cases=2):
    (found,) = Kit(cases, shrinking=0).test(backend, devices={"mine": device or MineDevice()}).scores
    return found.verdict


def test_compiling_is_not_deterministic():
    numbers = itertools.count()
    backend = compiling(lambda artifact: replace(artifact, code=str(next(numbers)).encode()))
    assert score(backend) == (
        "random: compiling twice gives different artifacts; keep times, addresses and the order of sets out of them"
    )


def test_an_input_is_changed_behind_numpy():
    def work(inputs, outputs):
        np.maximum(inputs[0], 0, out=outputs[0])
        inputs[0].flags.writeable = True
        inputs[0][...] = 7

    assert score(Mine(), calling(work), 30) == (
        "input: a call changes its inputs, which belong to the caller; change a copy"
    )


def test_views_and_results_of_outputs_are_plain_arrays():
    """What is computed from an output is of whatever type numpy says; what is part of it is held to its type."""

    def work(inputs, outputs):
        signs = outputs[0] > 0
        signs[...] = np.ones(signs.shape)
        outputs[0][0] = np.ones(3, np.int64)

    assert told(DeviceError, device=calling(work)).endswith(
        "TypeError: %y is promised as float32[2, 3], and int64[3] is written to it; convert it, y.astype(...)"
    )
