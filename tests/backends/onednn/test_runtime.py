"""How regions run: threads as asked for, several callers at once, damaged programs, and a library that is missing."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.backends.onednn.device import OnednnDevice, OnednnProgram
from heddle.core.errors import ArtifactError, BackendError, DeviceError
from heddle.core.runtime.artifact import Artifact
from onnx import helper

import heddle
from tests.backends.graphs import Arrays, model, normal
from tests.backends.onednn.comparing import needs_library

pytestmark = needs_library


def layers(size: int = 24, channels: int = 16, depth: int = 3) -> tuple[onnx.ModelProto, Arrays]:
    """Convolutions that are worth several threads."""
    names = ["x", *(f"v{number}" for number in range(depth - 1)), "y"]
    nodes = [
        helper.make_node("Conv", [into, f"w{number}"], [out], pads=[1, 1, 1, 1])
        for number, (into, out) in enumerate(itertools.pairwise(names))
    ]
    held = {f"w{number}": normal(channels, channels, 3, 3, seed=number) / 12 for number in range(depth)}
    inputs = {"x": normal(1, channels, size, size)}
    return model(nodes, inputs, held), inputs


COUNTS = """
import os, sys
import numpy as np
import heddle
from heddle.backends.onednn.library import library

counts, answers = [], []
x = np.load(sys.argv[2])
before = library().get_threads()
for threads in (1, 3, 1):
    compiled = heddle.compile(sys.argv[1], backends=["onednn"], options={"onednn": {"threads": threads}})
    answers.append(np.asarray(compiled(x)["y"]))
    counts.append(len(os.listdir("/proc/self/task")))
assert library().get_threads() == before
assert np.abs(answers[0] - answers[1]).max() <= 1e-5 * np.abs(answers[0]).max()
assert (answers[0] == answers[2]).all()
print(*counts)
"""


def test_the_number_of_threads_is_obeyed(tmp_path: Path) -> None:
    """Counted in a process of its own: one thread starts none, three start two, and the caller's setting stays."""
    made, inputs = layers()
    onnx.save(made, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", inputs["x"])
    command = [sys.executable, "-c", COUNTS, str(tmp_path / "model.onnx"), str(tmp_path / "x.npy")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    one, three, again = map(int, ran.stdout.split())
    assert (three - one, again - three) == (2, 0)


THREADS = """
import os, sys
import numpy as np
import heddle
from heddle.backends.onednn.library import library

x = np.load(sys.argv[2])
tasks, answers = [], []

def call(executable, **how):
    answers.append(np.asarray(executable(x, **how)["y"]))
    tasks.append(len(os.listdir("/proc/self/task")))

compiled = heddle.compile(sys.argv[1], backends=["onednn", "host"])
call(compiled)
compiled.save("model.heddle")
call(heddle.compile(sys.argv[1], backends=["onednn", "host"], threads=2))
call(heddle.load("model.heddle", threads=3))
call(heddle.load("model.heddle", devices={"onednn": {"threads": 4}}))
call(compiled, threads=5)
call(compiled)
assert (answers[0] == answers[-1]).all()
assert all(np.abs(one - answers[0]).max() <= 1e-5 * np.abs(answers[0]).max() for one in answers)
assert library().get_threads() == int(os.environ["OMP_NUM_THREADS"])
print(*tasks)
"""


def test_threads_are_those_of_compiling_loading_and_calling(tmp_path: Path) -> None:
    """Counted in a process of its own; OpenMP keeps threads that it has started."""
    made, inputs = layers()
    onnx.save(made, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", inputs["x"])
    command = [sys.executable, "-c", THREADS, "model.onnx", "x.npy"]
    environment = {**os.environ, "OMP_NUM_THREADS": "7"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    one, *more = map(int, ran.stdout.split())
    assert [count - one for count in more] == [1, 2, 3, 4, 4]


def test_threads_are_positive() -> None:
    inputs = {"x": normal(3)}
    made = model([helper.make_node("Relu", ["x"], ["y"])], inputs, {})
    with pytest.raises(BackendError, match="onednn: threads is 0, 1 or more is expected"):
        heddle.compile(made, backends=["onednn"], options={"onednn": {"threads": 0}})


def test_several_executables_in_several_threads(tmp_path: Path) -> None:
    """Each of three executables, with other numbers of threads, is called by four callers with data of their own."""
    cases = [layers(9, 8, depth) for depth in (1, 2, 3)]
    executables = [
        heddle.compile(made, backends=["onednn"], options={"onednn": {"threads": 1 + number}})
        for number, (made, _) in enumerate(cases)
    ]
    executables[0].save(tmp_path / "first.heddle")
    executables.append(heddle.load(tmp_path / "first.heddle"))
    data = [normal(1, 8, 9, 9, seed=seed) for seed in range(4)]
    wanted = [[np.asarray(one(x)["y"]).copy() for x in data] for one in executables]

    def call(turn: int) -> bool:
        which, x = turn % len(executables), turn // len(executables) % len(data)
        found = np.asarray(executables[which](data[x])["y"])
        return bool(np.abs(found - wanted[which][x]).max() <= 1e-5 * np.abs(wanted[which][x]).max())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(200)))


def test_a_region_alone_is_called_without_a_queue() -> None:
    """No thread of the runtime's own is started."""
    made, inputs = layers(5, 8, 1)
    compiled = heddle.compile(made, backends=["onednn"])
    compiled(inputs["x"])
    before = len(os.listdir("/proc/self/task"))
    for _ in range(3):
        compiled(inputs["x"])
    assert len(os.listdir("/proc/self/task")) == before


def test_a_damaged_program_is_refused(tmp_path: Path) -> None:
    made, _ = layers(5, 8, 1)
    (step,) = heddle.compile(made, backends=["onednn"]).schedules[0].steps
    for meta in ({}, {"program": {"tensors": []}}, {"program": 3}):
        with pytest.raises(ArtifactError, match=r"onednn: the program is damaged.*; compile the model again"):
            OnednnDevice().load(replace(step.artifact, meta=meta))


EXECUTES_NOTHING = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 2)
"""In the place of the library's function that executes a primitive: "invalid arguments"."""


class Failing(OnednnDevice):
    """Its primitives fail."""

    def load(self, artifact: Artifact) -> OnednnProgram:
        program = super().load(artifact)
        program.functions["execute"] = ctypes.cast(EXECUTES_NOTHING, ctypes.c_void_p).value or 0
        return program


def test_a_failing_primitive_is_named() -> None:
    made, inputs = layers(5, 8, 1)
    with pytest.raises(DeviceError, match=r"backend 'onednn' on device 'onednn': primitive 1 \(reorder\) failed"):
        heddle.compile(made, backends=["onednn"], devices={"onednn": Failing()})(inputs["x"])


def test_the_host_makes_good_what_fails() -> None:
    made, inputs = layers(5, 8, 1)
    wanted = np.asarray(heddle.compile(made, backends=["host"])(inputs["x"])["y"])
    compiled = heddle.compile(made, backends=["onednn"], devices={"onednn": Failing()}, on_fault="host")
    np.testing.assert_allclose(np.asarray(compiled(inputs["x"])["y"]), wanted, atol=1e-5)
    assert [fault.fault for fault in compiled.faults] == ["primitive 1 (reorder) failed"]


HIDING = """
import ctypes

class Hidden(ctypes.CDLL):
    def __init__(self, name, *rest, **more):
        if "{name}" in str(name):
            raise OSError("{name}: cannot open shared object file")
        super().__init__(name, *rest, **more)

ctypes.CDLL = Hidden
"""


@pytest.mark.parametrize("name", ["libdnnl", "libgomp"])
def test_a_missing_library_is_listed_with_its_remedy(name: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING.format(name=name))
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "heddle", "plugins", "list", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    said = json.loads(ran.stdout)
    (error,) = (backend["error"] for backend in said["backends"] if backend["name"] == "onednn")
    for told in (error, said["unavailable"]["onednn"]):
        assert told == (
            f"onednn: the library cannot be loaded: {name}: cannot open shared object file; "
            'pip install "heddle[onednn]"; its libgomp.so.1 is in the system package libgomp1'
        )
