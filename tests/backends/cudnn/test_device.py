"""The device on a driver that pretends: order, memory, faults of all kinds, graphs; nothing runs until waited for."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.cudnn.device import CudnnDevice
from heddle.backends.cudnn.driver import DeviceMemoryError, Driver
from heddle.backends.cudnn.graphs import split
from heddle.backends.cudnn.program import Operation, Plan, Tensor, from_bytes, to_bytes
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.artifact import Artifact, Signature
from heddle.core.runtime.device import host_buffer
from onnx import helper, numpy_helper

import heddle
from tests.backends.cudnn import simulated
from tests.backends.cudnn.numpy_library import run_plan

ILLEGAL_ADDRESS = 700
PAIRS = (
    ("cuMemAlloc_v2", "cuMemFree_v2"), ("cuMemAllocHost_v2", "cuMemFreeHost"), ("cuStreamCreate", "cuStreamDestroy_v2"),
    ("cuModuleLoadData", "cuModuleUnload"), ("cuGraphInstantiateWithFlags", "cuGraphExecDestroy"),
    ("cuStreamEndCapture", "cuGraphDestroy"), ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"),
)  # fmt: skip
"""The driver's functions that make something, and those that give it back."""


def chain(rows: int = 8, columns: int = 64) -> onnx.ModelProto:
    """A product, and a softmax of it: one call of a library and one kernel, over memory between them."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Softmax", ["p"], ["y"])]
    w = np.asarray(np.random.default_rng(0).standard_normal((columns, columns)), np.float32)
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (rows, columns)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "test", ports[:1], ports[1:], [numpy_helper.from_array(w, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def wanted(model: onnx.ModelProto, x: Any) -> Any:
    w = numpy_helper.to_array(model.graph.initializer[0])
    raised = np.exp(x @ w - (x @ w).max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def inputs(count: int, rows: int = 8, columns: int = 64) -> list[Any]:
    return [
        np.asarray(np.random.default_rng(seed).standard_normal((rows, columns)), np.float32) for seed in range(count)
    ]


def compiled(device: CudnnDevice, **how: Any) -> heddle.Executable:
    return heddle.compile(chain(), backends=[simulated.opened()], devices={"cudnn": device}, **how)


@pytest.mark.parametrize("graphs", [True, False])
def test_runs_are_replayed_as_graphs(graphs: bool) -> None:
    """The first run over some buffers is issued, the second recorded; all are right, and inputs may change between."""
    simulated.reset()
    device = simulated.device(graphs)
    with compiled(device) as executable:
        for x in inputs(5):
            np.testing.assert_allclose(np.asarray(executable(x)["y"]), wanted(chain(), x), atol=1e-5)
    device.close()
    assert simulated.count("cuGraphLaunch") == (4 if graphs else 0)
    assert simulated.count("cuStreamBeginCapture_v2") == (1 if graphs else 0)
    assert simulated.count("cuLaunchKernel") == (2 if graphs else 5)


def test_everything_is_given_back() -> None:
    simulated.reset()
    gc.collect()
    before = simulated.live()
    device = simulated.device()
    with compiled(device) as executable:
        for x in inputs(3):
            executable(x)
        assert simulated.live() > before
    del executable
    assert device.context.memory.used == 0
    device.close()
    gc.collect()
    assert simulated.live() <= before  # what other tests left may go meanwhile
    for made, gone in PAIRS:
        assert simulated.count(made) == simulated.count(gone) > 0


def test_memory_is_used_again() -> None:
    """A pool hands blocks out again without asking the driver; what is free goes back to it when memory is short."""
    simulated.reset(memory=1 << 20)
    device = simulated.device()
    first = device.allocate(500 << 10)
    device.free(first)
    assert device.allocate(500 << 10).handle == first.handle
    assert simulated.count("cuMemAlloc_v2") == 1
    device.free(first)
    device.allocate(900 << 10)
    assert simulated.count("cuMemFree_v2") == 1
    with pytest.raises(DeviceMemoryError, match="921600 bytes of memory are not to be had, 921600 are in use"):
        device.allocate(900 << 10)
    with pytest.raises(DeviceError, match="there is no memory 'moon', the only one is 'gpu'"):
        device.allocate(1, "moon")
    device.close()


def test_a_model_that_is_too_large_is_refused_as_a_whole() -> None:
    simulated.reset(memory=16 << 10)
    device = simulated.device()
    with pytest.raises(DeviceMemoryError, match="use a smaller batch"):
        compiled(device).prepare()
    assert device.context.memory.used == 0
    device.close()


def test_copies_and_work_wait_for_each_other() -> None:
    """Events order the two streams: without them the pretended driver would copy what is not computed yet."""
    simulated.reset()
    device = simulated.device()
    x = inputs(1)[0]
    buffers = [device.allocate(x.nbytes) for _ in range(3)]
    there = device.copy(host_buffer(x), buffers[0])
    x_before = x.copy()
    x[...] = 0  # the bytes are already in pinned memory
    moved = device.copy(buffers[0], buffers[1], (there,))
    back = np.empty_like(x)
    event = device.copy(buffers[1], host_buffer(back), (moved,))
    event.wait(1.0)
    event.wait()
    np.testing.assert_array_equal(back, x_before)
    with pytest.raises(DeviceError, match="a copy of 2048 bytes does not fit a buffer of 16"):
        device.copy(buffers[0], device.allocate(16))
    with pytest.raises(DeviceError, match="a buffer lies in 'host', the GPU's memory is expected"):
        device.free(host_buffer(x))
    device.close()


def test_pinned_memory_is_used_again() -> None:
    simulated.reset()
    device = simulated.device()
    x = inputs(1)[0]
    buffer = device.allocate(x.nbytes)
    for _ in range(6):
        device.copy(host_buffer(x), buffer).wait()
        device.copy(buffer, host_buffer(x)).wait()
    assert simulated.count("cuMemAllocHost_v2") <= 2
    device.close()


def test_pinned_memory_waits_for_its_copy() -> None:
    """Many copies may be under way; none takes pinned memory from another."""
    simulated.reset()
    device = simulated.device()
    given = inputs(6)
    buffers = [device.allocate(x.nbytes) for x in given]
    events = [device.copy(host_buffer(x), buffer) for x, buffer in zip(given, buffers, strict=True)]
    found = [np.empty_like(x) for x in given]
    back = [
        device.copy(buffer, host_buffer(x), (event,)) for buffer, x, event in zip(buffers, found, events, strict=True)
    ]
    for event, x, mine in zip(back, given, found, strict=True):
        event.wait()
        np.testing.assert_array_equal(mine, x)
    device.close()


def test_a_fault_is_forgotten_by_the_next_run() -> None:
    simulated.reset()
    device = simulated.device()
    ports = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (5, 4)),
        helper.make_tensor_value_info("i", onnx.TensorProto.INT64, (2,)),
    ]
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (2, 4))
    graph = helper.make_graph([helper.make_node("Gather", ["x", "i"], ["y"])], "test", ports, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = inputs(1, 5, 4)[0]
    with heddle.compile(model, backends=[simulated.opened()], devices={"cudnn": device}) as executable:
        for _ in range(3):
            with pytest.raises(DeviceError, match="an index is outside of a dimension of 5"):
                executable(x, np.array([1, 7]))
            np.testing.assert_array_equal(np.asarray(executable(x, np.array([1, -1]))["y"]), x[[1, 4]])
    device.close()


def test_recorded_runs_are_of_their_buffers() -> None:
    """Several calls at once each have their own buffers, and so their own recording."""
    simulated.reset()
    device = simulated.device()
    with compiled(device) as executable:
        executable.prepare()
        program = executable.schedules[0].steps[0].artifact
        loaded = device.load(program)
        given = inputs(3)
        sets = [[device.allocate(x.nbytes) for _ in range(2)] for x in given]
        for _ in range(3):
            for x, (source, target) in zip(given, sets, strict=True):
                event = device.submit(loaded, [source, target], [device.copy(host_buffer(x), source)])
                found = np.empty_like(x)
                device.copy(target, host_buffer(found), [event]).wait()
                np.testing.assert_allclose(found, wanted(chain(), x), atol=1e-5)
        loaded.close()
    device.close()


def test_threads_share_a_device() -> None:
    simulated.reset()
    device = simulated.device()
    with ThreadPoolExecutor(4) as pool, compiled(device) as executable:
        given = inputs(24)
        for x, found in zip(given, pool.map(lambda x: np.asarray(executable(x)["y"]).copy(), given), strict=True):
            np.testing.assert_allclose(found, wanted(chain(), x), atol=1e-5)
    device.close()


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_what_fails_in_the_background_is_a_device_error(seconds: float | None) -> None:
    """A kernel that fails is noticed when its event is waited for, and names the driver's reason."""
    simulated.reset()
    device = simulated.device()
    with compiled(device, timeout=seconds) as executable:
        executable(inputs(1)[0])
        simulated.fake()._library.fake_poison(ILLEGAL_ADDRESS)
        with pytest.raises(
            DeviceError, match=r"the work on the GPU failed with 700 \(CUDA_ERROR: something is wrong\)"
        ):
            executable(inputs(1)[0])
    simulated.reset()


@pytest.mark.parametrize(
    "name", ["cuMemcpyHtoDAsync_v2", "cuLaunchKernel", "cuEventRecord", "cuStreamWaitEvent", "cuStreamEndCapture"]
)
def test_what_the_driver_refuses_is_a_device_error(name: str) -> None:
    """Every call is looked at; afterwards the device works again."""
    simulated.reset()
    device = simulated.device()
    x = inputs(1)[0]
    with compiled(device) as executable:
        executable(x)
        simulated.fake()._library.fake_fail(name.encode(), 0, 999)
        with pytest.raises(DeviceError, match=f"{name} failed with 999"):
            executable(x)
        simulated.reset()
        for _ in range(3):
            np.testing.assert_allclose(np.asarray(executable(x)["y"]), wanted(chain(), x), atol=1e-5)
    device.close()


def test_a_fault_is_survived_on_the_host() -> None:
    simulated.reset()
    device = simulated.device()
    executable = heddle.compile(
        chain(), backends=[simulated.opened(), "host"], devices={"cudnn": device}, on_fault="host"
    )
    with executable:
        simulated.fake()._library.fake_fail(b"cuLaunchKernel", 0, 999)
        x = inputs(1)[0]
        np.testing.assert_allclose(np.asarray(executable(x)["y"]), wanted(chain(), x), atol=1e-5)
        assert executable.faults


def test_code_for_a_later_gpu_is_refused() -> None:
    simulated.reset(capability=80)
    device = simulated.device()
    backend = simulated.opened(device="h100")
    with (
        pytest.raises(ArtifactError, match=r"for compute capability 9\.0, Pretence has 8\.0; compile with .*=sm_80"),
        heddle.compile(chain(), backends=[backend], devices={"cudnn": device}) as executable,
    ):
        executable.prepare()
    device.close()


def test_damaged_code_is_refused() -> None:
    simulated.reset()
    device = simulated.device()
    with compiled(device) as executable:
        good = executable.schedules[0].steps[0].artifact.code
    for code in (b"", good[:40], b"X" + good[1:], good.replace(b'"product"', b'"prodigy"')):
        with pytest.raises(ArtifactError, match="the code is damaged"):
            device.load(Artifact("cudnn", "cudnn", Signature((), ()), code))
    assert to_bytes(from_bytes(good)) == good
    device.close()


def test_no_driver_names_the_remedy() -> None:
    with pytest.raises(DeviceError, match=r"cannot be loaded .*; install NVIDIA's driver .* compiling needs neither"):
        Driver("libcuda-is-not-here.so.1")
    with pytest.raises(DeviceError, match="there is no GPU number 3, the driver shows 1"):
        CudnnDevice(ordinal=3, driver=simulated.reset())


def test_files_are_loaded_without_a_compiler(tmp_path: Any) -> None:
    """A saved executable gives the same bits."""
    simulated.reset()
    device = simulated.device()
    x = inputs(1)[0]
    with compiled(device) as executable:
        expected = np.asarray(executable(x)["y"]).copy()
        executable.save(tmp_path / "model.heddle")
    with heddle.load(tmp_path / "model.heddle", {"cudnn": device}) as loaded:
        np.testing.assert_array_equal(np.asarray(loaded(x)["y"]), expected)
    device.close()


def test_a_plan_that_no_engine_takes_is_split() -> None:
    """The parts, one after the other over the tensor between them, give what the whole gives."""
    image = (1, 4, 5, 5)
    strides = (100, 1, 20, 4)
    tensors = (
        Tensor(image, strides, "float32", 0), Tensor((4, 4, 1, 1), (4, 1, 4, 4), "float32", 1),
        Tensor(image, strides, "float32"), Tensor((1, 4, 1, 1), (4, 1, 4, 4), "float32", 2),
        Tensor(image, strides, "float32"), Tensor(image, strides, "float32", 3),
    )  # fmt: skip
    window = {"padding": [0, 0], "strides": [1, 1], "dilations": [1, 1]}
    operations = (
        Operation("convolution", (0, 1), 2, window), Operation("add", (2, 3), 4), Operation("relu", (4,), 5),
    )  # fmt: skip
    plan = Plan(tensors, operations)
    arrays = [
        np.asarray(np.random.default_rng(n).standard_normal(size), np.float32) for n, size in enumerate((100, 16, 4))
    ]
    whole, parts, between = (np.zeros(100, np.float32) for _ in range(3))
    run_plan(plan, [*(a.ctypes.data for a in arrays), whole.ctypes.data])
    first, rest, tensor = split(plan)
    addresses = [*(a.ctypes.data for a in arrays), parts.ctypes.data, between.ctypes.data]
    assert (len(first.operations), len(rest.operations), tensor.argument) == (1, 2, 4)
    run_plan(first, addresses)
    run_plan(rest, addresses)
    np.testing.assert_array_equal(parts, whole)
