"""What an executable says that it needs of memory is what a process grows by; equal weights are held once."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.plugin import recall
from heddle.core.runtime import storage

import heddle

GROWTH = """
    import sys
    import numpy as np
    import heddle
    from heddle.core.runtime import executable

    def resident(what):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what))

    x = np.ones((1, 8, 512, 512), np.float32)
    before = resident("VmRSS")
    loaded = heddle.load(sys.argv[1], threads=int(sys.argv[2]))
    for _ in range(3):
        y = loaded(x)
    print(resident("VmHWM") - before, loaded.memory.peak)
"""


def model(weights: int = 3 << 20) -> onnx.ModelProto:
    """Two convolutions of a large image, and a product with much of weights."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[1,8,512,512] x) => (float[1,4] y) {
        a = Conv<pads=[1,1,1,1]>(x, w0)
        b = Conv<pads=[1,1,1,1]>(a, w1)
        c = MaxPool<kernel_shape=[16,16], strides=[16,16]>(b)
        d = Flatten(c)
        e = MatMul(d, w2)
        y = MatMul(e, w3)
    }
    """
    made = onnx.parser.parse_model(text)
    rng, width = np.random.default_rng(0), weights // 8192
    for name, shape in (("w0", (8, 8, 3, 3)), ("w1", (8, 8, 3, 3)), ("w2", (8192, width)), ("w3", (width, 4))):
        array = rng.standard_normal(shape, np.float32) / 16
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return made


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "model.heddle"
    heddle.compile(model()).save(path)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says so what a process holds")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_process_grows_by_what_is_reported(saved, threads):
    command = [sys.executable, "-c", textwrap.dedent(GROWTH), str(saved), str(threads)]
    grown, reported = map(int, subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.split())
    assert reported > 28 << 20
    assert abs(grown - reported) < 3 << 20


def test_parts_of_the_report(saved):
    alone, two = heddle.load(saved), heddle.load(saved, threads=2)
    alone(np.ones((1, 8, 512, 512), np.float32))
    use = alone.memory
    assert 12 << 20 < use.weights < 13 << 20
    assert use.arena >= 2 * 8 * 512 * 512 * 4
    assert (use.outputs, use.helpers) == (16, 0)
    assert use.peak == use.weights + use.code + use.arena + 16 == use.json()["peak"]
    assert two.memory.helpers > 0


def test_a_file_that_is_loaded_twice_is_in_memory_once(saved):
    first, second = heddle.load(saved), heddle.load(saved)
    one, other = (exe.schedules[0].steps[0].artifact.constants for exe in (first, second))
    assert all(one[name].ctypes.data == other[name].ctypes.data for name in one)


def test_a_file_that_was_written_anew_is_read_anew(saved, tmp_path):
    path = tmp_path / "model.heddle"
    path.write_bytes(saved.read_bytes())
    first = heddle.load(path)
    heddle.compile(model(weights=1 << 20)).save(path)
    assert heddle.load(path).memory.weights < first.memory.weights


def test_equal_weights_of_two_executables_are_held_once_and_given_back():
    first, second = (heddle.compile(model(weights=5 << 20), ["host"], keep=kept) for kept in ([], ["d"]))
    large = [
        {a.ctypes.data for a in exe.schedules[0].steps[0].artifact.constants.values() if a.nbytes > 1 << 20}
        for exe in (first, second)
    ]
    assert large[0] == large[1] != set()
    held = _held()
    assert any(array.nbytes > 1 << 20 for array in held)
    del first, second, held
    recall.settle()  # what is being written to the cache is held until it is there
    gc.collect()
    assert not any(array.nbytes > 18 << 20 for array in _held())


def test_constants_that_differ_in_one_byte_are_two():
    first = np.arange(1 << 16, dtype=np.float32)
    second = first.copy()
    second[12345] += 1
    same, one, other = storage.placed(first.copy()), storage.placed(first), storage.placed(second)
    assert same is one
    assert np.array_equal(one, first)
    assert np.array_equal(other, second)


def _held() -> list[np.ndarray]:
    return [a for references in storage._placed.values() for reference in references if (a := reference()) is not None]
