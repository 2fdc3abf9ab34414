"""The smallest backend: it takes every node, and its device answers with zeros in no time.

What remains of a run is Heddle's own overhead:

    HEDDLE_PLUGINS=examples/null_backend.py heddle run MODEL.onnx --random --backends null --repeat 100
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from heddle.core.ir import Value, dtype_name
from heddle.core.runtime.device import Buffer, Device, DeviceProperties, Event, Finished, MemorySpace, Program

import heddle


class Null(heddle.Backend):
    name = "null"
    takes_all = True

    def compile(self, region: heddle.Region) -> heddle.Artifact:
        def port(value: Value) -> heddle.Port:
            return heddle.Port(value.name, dtype_name(value.dtype), value.shape)

        signature = heddle.Signature(tuple(map(port, region.body.inputs)), tuple(map(port, region.body.outputs)))
        return heddle.Artifact(self.name, "null", signature, b"")


class NullDevice(Device):
    name = "null"

    def properties(self) -> DeviceProperties:
        return DeviceProperties(self.name, (MemorySpace("nowhere", 2**63),))

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        return Buffer("nowhere", nbytes)

    def free(self, buffer: Buffer) -> None:
        pass

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        return Finished()

    def load(self, artifact: heddle.Artifact) -> Program:
        return SimpleNamespace(artifact=artifact, close=lambda: None)

    def submit(self, program: Program, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        for buffer in buffers[len(program.artifact.signature.inputs) :]:
            if buffer.array is not None:
                buffer.array[:] = 0
        return Finished()

    def close(self) -> None:
        pass
