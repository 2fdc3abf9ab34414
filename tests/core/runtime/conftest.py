"""Devices and programs for the tests of the runtime: C for the host, Python expressions for a device with memory."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from heddle.core.codegen.build import Unit, object_of
from heddle.core.codegen.calling import calling
from heddle.core.codegen.target import host
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError
from heddle.core.runtime.artifact import Artifact, Port, Signature
from heddle.core.runtime.device import Buffer, Device, DeviceProperties, Event, Finished, MemorySpace
from heddle.core.runtime.executable import Executable
from heddle.core.runtime.schedule import Schedule, Step, TensorSpec

HEAD = """
#include <stdint.h>
#define RUN int32_t heddle_run(void *const *in, void *const *out, void *const *k, uint8_t *w, void *const *s)
"""


@functools.cache
def compile_c(body: str) -> bytes:
    """A shared object of the host's interface from the body of its function, or from a whole file with RUN in it.

    With its function comes the one that Python calls, as the code generator makes it.
    """
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler to make the host's programs of these tests")
    text = body if "RUN" in body else f"RUN {{ {body} return 0; }}"
    with tempfile.TemporaryDirectory() as folder:
        source, call, target = (Path(folder, name) for name in ("code.c", "call.o", "code.so"))
        source.write_text(HEAD + text)
        call.write_bytes(object_of(Unit(calling(host())), host()))
        sources = [source, call] if "RUN {" in text else [source]
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-nostdlib", "-o", target, *sources], check=True)
        return target.read_bytes()


def port(text: str) -> Port:
    """`a:float32[2,3]@memory/layout` as a port; the type is float32[4] where it is not said."""
    text, _, layout = text.partition("/")
    text, _, memory = text.partition("@")
    name, _, type = text.partition(":")
    dtype, _, dims = (type or "float32[4]").rstrip("]").partition("[")
    shape = tuple(int(dim) for dim in dims.split(",") if dim)
    return Port(name, dtype, shape, layout or "dense", memory or "host")


def artifact(device: str, takes: str, gives: str, code: bytes, **more: object) -> Artifact:
    signature = Signature(tuple(map(port, takes.split())), tuple(map(port, gives.split())))
    return Artifact(f"{device} backend", device, signature, code, **more)


def c(takes: str, gives: str, body: str, **more: object) -> Artifact:
    """A program of the host, in C."""
    return artifact("host", takes, gives, compile_c(body), **more)


def toy(takes: str, gives: str, expression: str, delay: float = 0.0, device: str = "toy", **more: object) -> Artifact:
    """A program of a toy device: a Python expression over `i`, its inputs; `fail` fails; `delay` is its run time."""
    return artifact(device, takes, gives, json.dumps({"run": expression, "delay": delay}).encode(), **more)


def step(artifact: Artifact, name: str = "r", fallback: Artifact | None = None) -> Step:
    """A step that binds values of the names of its artifact's ports."""
    inputs = tuple(port.name for port in artifact.signature.inputs)
    outputs = tuple(port.name for port in artifact.signature.outputs)
    return Step(name, artifact, inputs, outputs, fallback)


def spec(text: str) -> TensorSpec:
    """A port's text as a declared input or output; dimensions may be symbols."""
    name, _, type = text.partition(":")
    dtype, _, dims = (type or "float32[4]").rstrip("]").partition("[")
    return TensorSpec(name, dtype, tuple(int(d) if d.isdigit() else d for d in dims.split(",") if d))


def schedule(takes: str, gives: str, steps: Sequence[Artifact | Step], **more: object) -> Schedule:
    """A schedule whose outputs are the values of their names."""
    outputs = tuple(map(spec, gives.split()))
    made = [
        each if isinstance(each, Step) else Step(f"r{i}", each, step(each).inputs, step(each).outputs)
        for i, each in enumerate(steps)
    ]
    more.setdefault("results", tuple(each.name for each in outputs))
    return Schedule(tuple(map(spec, takes.split())), outputs, steps=tuple(made), **more)


def executable(plan: Schedule, **more: object) -> Executable:
    return Executable("toy", plan.inputs, plan.outputs, [plan], **more)


class ToyDevice(Device):
    """Runs Python expressions over buffers in a memory of its own, `dram`, and remembers what it did."""

    def __init__(self, name: str = "toy", capacity: int = 1 << 20) -> None:
        self.name, self.capacity, self.used, self.peak = name, capacity, 0, 0
        self.log: list[str] = []
        self.spans: list[tuple[float, float]] = []
        self.closed = False
        self.faulty = False
        self.hang = threading.Event()
        self.release = threading.Event()

    def properties(self) -> DeviceProperties:
        return DeviceProperties(self.name, (MemorySpace("dram", self.capacity),), ("dense", "blocked"), 1e6)

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        if self.used + nbytes > self.capacity:
            raise DeviceError(f"{self.name}: {nbytes} bytes do not fit the {self.capacity - self.used} that are free")
        self.used += nbytes
        self.peak = max(self.peak, self.used)
        return Buffer("dram", nbytes, handle=np.full(nbytes, 0xEE, np.uint8))

    def free(self, buffer: Buffer) -> None:
        self.used -= buffer.nbytes

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        self.log.append(f"{source.memory}->{target.memory}")
        _bytes(target)[: source.nbytes] = _bytes(source)
        return Finished()

    def load(self, artifact: Artifact) -> object:
        return SimpleNamespace(artifact=artifact, close=lambda: self.log.append("unload"))

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        start = time.monotonic()
        code, signature = json.loads(program.artifact.code), program.artifact.signature
        ports = (*signature.inputs, *signature.outputs)
        arrays = [
            _bytes(buffer)[: buffer.nbytes].view(dtype_named(port.dtype)).reshape(port.shape)
            for buffer, port in zip(buffers, ports, strict=True)
        ]
        time.sleep(code["delay"])
        if self.hang.is_set():
            self.release.wait(30)
        if self.faulty or code["run"] == "fail":
            return Finished(DeviceError("parity error in bank 3"))
        scope = {"i": arrays[: len(signature.inputs)], "k": dict(program.artifact.constants), "np": np}
        results = eval(code["run"], scope)
        for array, result in zip(arrays[len(signature.inputs) :], np.atleast_2d(results), strict=True):
            array[...] = np.reshape(result, array.shape)
        self.spans.append((start, time.monotonic()))
        return Finished(modelled_seconds=1e-3, counters={"cycles": 1000})

    def close(self) -> None:
        self.closed = True


def _bytes(buffer: Buffer) -> np.ndarray:
    return buffer.handle if buffer.array is None else buffer.array


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The makers of this file, for tests that build schedules."""
    return SimpleNamespace(
        artifact=artifact, c=c, compile_c=compile_c, toy=toy, step=step, spec=spec, schedule=schedule,
        executable=executable, Toy=ToyDevice,
    )  # fmt: skip


@pytest.fixture
def device() -> ToyDevice:
    return ToyDevice()


@pytest.fixture(scope="session")
def add(make: SimpleNamespace) -> Callable[..., Executable]:
    """Makes an executable that adds two arrays of 16 floats in one program of the host."""

    def build(**more: object) -> Executable:
        code = "float *a = in[0], *b = in[1], *c = out[0]; for (int i = 0; i < 16; i++) c[i] = a[i] + b[i];"
        program = c("a:float32[16] b:float32[16]", "c:float32[16]", code)
        return executable(schedule("a:float32[16] b:float32[16]", "c:float32[16]", [program]), **more)

    return build
