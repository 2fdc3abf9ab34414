"""The runtime's half, which knows no compiler: a memory of its own, and a multiplier that counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Buffer, Device, DeviceProperties, Event, Finished, MemorySpace, Program


@dataclass(frozen=True)
class Layer:
    """A loaded artifact."""

    artifact: Artifact

    def close(self) -> None:
        """Nothing is held."""


class Coprocessor(Device):
    """`verbose` is an option of the device, chosen when a file is loaded."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose

    def properties(self) -> DeviceProperties:
        return DeviceProperties("sample", (MemorySpace("coprocessor", 1 << 30),), clock_hz=1e9)

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        return Buffer("coprocessor", nbytes, handle=np.zeros(nbytes, np.uint8))

    def free(self, buffer: Buffer) -> None:
        """The memory goes with its last reference."""

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        _memory(target)[: source.nbytes] = _memory(source)
        return Finished()

    def load(self, artifact: Artifact) -> Layer:
        return Layer(artifact)

    def submit(self, program: Program, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        artifact = program.artifact
        x, y = (
            _memory(buffer).view(np.float32).reshape(port.shape)
            for buffer, port in zip(buffers, (*artifact.signature.inputs, *artifact.signature.outputs), strict=True)
        )
        w, b = artifact.constants["w"], artifact.constants["b"]
        y[...] = (x @ w + b) * json.loads(artifact.code)["gain"]
        cycles = x.shape[0] * w.size
        if self.verbose:
            print(f"{artifact.nodes}: {cycles} cycles")
        return Finished(modelled_seconds=cycles / 1e9, counters={"cycles": cycles})

    def close(self) -> None:
        """Nothing is held."""


def _memory(buffer: Buffer) -> np.ndarray:
    return buffer.handle if buffer.array is None else buffer.array
