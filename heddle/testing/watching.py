"""A device that passes everything on to another and counts what is not given back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Buffer, Device, DeviceProperties, Event, Program
from heddle.core.runtime.devices import open_device


class Watching(Device):
    """Another device, with a count of its programs that nobody closed or that are still alive after that."""

    def __init__(self, name: str, given: Device | Mapping[str, Any] | None) -> None:
        self.opened = not isinstance(given, Device)
        self.inner = given if isinstance(given, Device) else open_device(name, given)
        self.programs: list[weakref.ref[Any]] = []
        self.settled: int | None = None

    def _own(self) -> int:
        """How many things the device itself keeps hold of."""
        return sum(len(kept) for kept in vars(self.inner).values() if isinstance(kept, list | dict | set))

    def _alive(self) -> int:
        """How many of the programs that were loaded have not gone."""
        return sum(reference() is not None for reference in self.programs)

    def held(self) -> str:
        """What is held that should have been given back, in words; asked after each of several equal uses.

        What the device keeps after its first use (a cache) is its own; more after a second is a leak.
        """
        alive = self._alive()
        if alive:  # perhaps only in a cycle, which is no leak; to collect takes as long as many calls
            gc.collect()
            alive = self._alive()
        own = self._own()
        grown = 0 if self.settled is None else own - self.settled
        self.settled = own
        told = [f"{alive} programs are alive"] if alive else []
        return " and ".join([*told, *([f"it keeps {grown} more things after each use"] if grown > 0 else [])])

    def properties(self) -> DeviceProperties:
        return self.inner.properties()

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        return self.inner.allocate(nbytes, memory)

    def free(self, buffer: Buffer) -> None:
        self.inner.free(buffer)

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        return self.inner.copy(source, target, after)

    def load(self, artifact: Artifact) -> Program:
        program = self.inner.load(artifact)
        self.programs.append(weakref.ref(program))
        return program

    def submit(self, program: Program, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        return self.inner.submit(program, buffers, after)

    def close(self) -> None:
        """Close the device if it was opened here; one that was given stays open, for whoever gave it."""
        if self.opened:
            self.inner.close()
