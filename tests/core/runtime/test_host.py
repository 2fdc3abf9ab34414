"""The host's device: shared objects from bytes, their constants, their faults, and code for another machine."""

from __future__ import annotations

import ctypes
import gc
import math
import os

import numpy as np
import pytest
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime import abi, cpu, loader
from heddle.core.runtime.device import HOST_MEMORY, Buffer, host_buffer
from heddle.core.runtime.host import HostDevice

X = np.arange(4, dtype=np.float32)


def run(program, *arrays):
    HostDevice().submit(program, [host_buffer(array) for array in arrays]).wait()


def test_many_programs_at_once_are_not_confused(make):
    codes = [f"for (int i = 0; i < 4; i++) ((float *)out[0])[i] = ((float *)in[0])[i] + {k};" for k in range(5)]
    programs = [HostDevice().load(make.c("a", "b", code)) for code in codes]
    for k, program in enumerate(programs):
        y = np.empty(4, np.float32)
        run(program, X, y)
        assert np.array_equal(y, X + k)


def test_libraries_are_unloaded_and_leave_nothing_open(make):
    code = make.c("a", "b", "")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        HostDevice().load(code)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    with open("/proc/self/maps") as maps:
        assert sum("heddle:host backend" in line for line in maps) == 0


def test_the_portable_way_to_load(make, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    y = np.empty(4, np.float32)
    program = HostDevice().load(make.c("a", "b", "((float *)out[0])[0] = 5;"))
    run(program, X, y)
    assert y[0] == 5


def test_constants_come_by_sorted_name_aligned_and_with_slack(make):
    code = """
    int64_t *o = out[0];
    for (int i = 0; i < 3; i++) { o[i] = (intptr_t)k[i] % 64; o[3] += ((volatile uint8_t *)k[i])[0]; }
    for (int i = 0; i < 64; i++) o[4] += ((volatile uint8_t *)k[2])[5 + i] * 0;
    o[5] = ((uint8_t *)k[0])[0];
    """
    raw = np.zeros(100, np.uint8)
    constants = {"z": raw[1:6], "a": np.full((2, 3), 9, np.uint8)[:, ::2], "m": np.zeros(0, np.uint8)}
    y = np.zeros(6, np.int64)
    run(HostDevice().load(make.c("", "y:int64[6]", code, constants=constants)), y)
    assert y.tolist() == [0, 0, 0, y[3], 0, 9]


def test_workspace_is_aligned_and_its_own_for_each_thread(make):
    code = "((int64_t *)out[0])[0] = (intptr_t)w % 4096; for (int i = 0; i < 10000; i++) w[i] = 1;"
    y = np.ones(1, np.int64)
    program = HostDevice().load(make.c("", "y:int64[1]", code, workspace=10000))
    run(program, y)
    assert y[0] == 0
    assert program.lease() is not program.lease()


def test_services_are_the_functions_of_the_c_library(make):
    at = {name: i for i, name in enumerate(abi.SERVICES)}
    code = f"""
    double *y = out[0], *x = in[0];
    y[0] = ((double (*)(double))s[{at["erf"]}])(x[0]);
    y[1] = ((double (*)(double, double))s[{at["pow"]}])(x[0], 3);
    y[2] = ((float (*)(float))s[{at["tanhf"]}])(x[0]);
    """
    y = np.zeros(3)
    run(HostDevice().load(make.c("x:float64[1]", "y:float64[3]", code)), np.array([0.7]), y)
    assert y.tolist() == pytest.approx([math.erf(0.7), 0.7**3, math.tanh(0.7)], rel=1e-7)


def test_faults_by_number(make):
    meta = {"faults": ["index 7 is out of range"]}
    code = make.c("a", "b", "return (int)((float *)in[0])[0];", meta=meta, nodes=("g",))
    exe = make.executable(make.schedule("a", "b", [code]))
    exe(X)
    messages = {1: "index 7 is out of range", 9: "the code reports fault 9, which its artifact does not explain"}
    for fault, message in messages.items():
        for out in (None, np.empty(4, np.float32)):
            with pytest.raises(DeviceError) as caught:
                exe(np.full(4, fault, np.float32), out=out)
            assert str(caught.value) == f"region 'r0' of backend 'host backend' on device 'host': {message}"
            assert caught.value.__notes__ == ["the region computes the ONNX nodes g"]
    assert exe(X)


def test_code_for_another_machine(make, monkeypatch):
    code = make.c("a", "b", "", meta={"features": ["sse2", "avx9000"]})
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"sse2"}))
    with pytest.raises(ArtifactError) as caught:
        HostDevice().load(code)
    assert str(caught.value) == (
        "host backend: the code needs avx9000, which this processor lacks;"
        " compile it on this machine or for an older one"
    )
    with pytest.raises(ArtifactError, match="the code is for pdp11, this machine is"):
        HostDevice().load(make.c("a", "b", "", meta={"machine": "pdp11"}))


def test_tiles_that_the_kernel_does_not_grant(make, monkeypatch):
    monkeypatch.setattr(cpu, "missing", lambda features: [])
    monkeypatch.setattr(cpu, "permits_tiles", lambda: False)
    with pytest.raises(ArtifactError) as caught:
        HostDevice().load(make.c("a", "b", "", meta={"features": ["amx-tile"]}))
    assert str(caught.value) == (
        "host backend: the code needs matrix tiles, and the kernel does not let this process use them;"
        " compile it for avx512"
    )


def test_every_feature_that_llvm_sees_is_found():
    llvm = pytest.importorskip("llvmlite.binding")
    if cpu.features() is None:
        pytest.skip("this system does not list the processor's features")
    present = [name for name, here in llvm.get_host_cpu_features().items() if here]
    absent = [name for name, here in llvm.get_host_cpu_features().items() if not here]
    assert cpu.missing(present) == []
    assert "avx512f" in present or "avx512f" in cpu.missing(absent) or cpu.machine() != "x86_64"


@pytest.mark.parametrize(
    ("code", "message"), [(b"", "the artifact holds no code"), (b"MZ rubbish", "is not a shared object")]
)
def test_what_is_not_code(make, code, message):
    with pytest.raises(ArtifactError, match=message):
        HostDevice().load(make.artifact("host", "a", "b", code))


def test_a_library_without_the_entry(make):
    with pytest.raises(ArtifactError, match="exports no function heddle_run"):
        HostDevice().load(make.artifact("host", "a", "b", make.compile_c("int RUN_not(void) { return 0; }")))


def test_misuse_of_the_device(make):
    host = HostDevice()
    program = host.load(make.c("a", "b", ""))
    with pytest.raises(DeviceError, match="1 buffers were given to a program of 1 inputs and 1 outputs"):
        host.submit(program, [host.allocate(16)])
    with pytest.raises(DeviceError, match="a buffer lies in 'dram', host memory is expected"):
        host.submit(program, [host.allocate(16), Buffer("dram", 16)])
    with pytest.raises(DeviceError, match="there is no memory 'dram'"):
        host.allocate(16, "dram")
    with pytest.raises(DeviceError, match="a copy of 32 bytes does not fit a buffer of 16"):
        host.copy(host.allocate(32), host.allocate(16))
    with pytest.raises(DeviceError, match="cannot copy 'dram' to 'host'"):
        host.copy(Buffer("dram", 16), host.allocate(16))
    assert host.allocate(100, HOST_MEMORY).array.ctypes.data % 64 == 0


def test_a_symbol_of_a_library(make):
    library = loader.load_shared(make.compile_c(""), "x")
    assert isinstance(library, ctypes.CDLL)
    assert loader.symbol(library, abi.ENTRY)
