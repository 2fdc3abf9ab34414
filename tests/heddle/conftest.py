"""A backend that takes everything and computes it with the reference, for tests of what lies around backends."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from heddle.core.dtypes import dtype_named
from heddle.core.errors import DeviceError
from heddle.core.interpret import evaluate
from heddle.core.ir import dtype_name, parse
from heddle.core.pattern import ops, pattern
from heddle.core.plugin import Backend, Region
from heddle.core.runtime.artifact import Artifact, Port, Signature
from heddle.core.runtime.device import Buffer, Event, Finished
from heddle.core.runtime.host import HostDevice


class ReferenceDevice(HostDevice):
    """Evaluates graphs in their text form, in host memory."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def load(self, artifact: Artifact) -> object:
        graph = parse(artifact.code.decode(), artifact.constants)
        return SimpleNamespace(artifact=artifact, graph=graph, close=lambda: None)

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        if self.broken:
            return Finished(DeviceError("the device is broken"))
        signature = program.artifact.signature
        ports = (*signature.inputs, *signature.outputs)
        arrays = [
            buffer.array[: buffer.nbytes].view(dtype_named(port.dtype)).reshape(port.shape)
            for buffer, port in zip(buffers, ports, strict=True)
        ]
        results = evaluate(program.graph, arrays[: len(signature.inputs)])
        for array, result in zip(arrays[len(signature.inputs) :], results, strict=True):
            array[...] = result
        return Finished()


class Reference(Backend):
    """Takes everything; its artifacts are graphs as text."""

    name = "reference"
    takes_all = True

    def compile(self, region: Region) -> Artifact:
        body = region.body

        def port(value: object) -> Port:
            return Port(value.name, dtype_name(value.dtype), value.shape)

        return Artifact(
            self.name,
            self.name,
            Signature(tuple(map(port, body.inputs)), tuple(map(port, body.outputs))),
            str(body).encode(),
            {value.name: array for value, array in body.constants.items()},
        )


@pattern("relu")
def relu(x):
    return ops.Relu(x)


class Picky(Reference):
    """Takes Relu alone."""

    name = "picky"
    takes_all = False
    patterns = (relu,)


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    """The backends and devices of this file."""

    def devices(**broken: bool) -> dict[str, ReferenceDevice]:
        return {name: ReferenceDevice(broken.get(name, False)) for name in ("reference", "picky")}

    return SimpleNamespace(Reference=Reference, Picky=Picky, devices=devices)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
