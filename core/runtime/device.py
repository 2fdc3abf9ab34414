"""The one interface between the runtime and whatever executes: six methods, and the values that they exchange."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from heddle.core.errors import DeviceError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.storage import placed
from numpy.typing import NDArray

HOST_MEMORY = "host"
"""The name of ordinary memory of this process, dense and row-major; every device can copy from and to it."""

_NOTHING = placed(np.zeros(1, np.uint8))


@dataclass(frozen=True)
class MemorySpace:
    """A memory of a device: how much it holds and how its buffers must be aligned, in bytes."""

    name: str
    capacity: int
    alignment: int = 64


@dataclass(frozen=True)
class DeviceProperties:
    """What a device is: its memories (the first is the default), the layouts it understands, its clock.

    `clock_hz` is the modelled clock of a simulated device and None for a real one, whose time is wall time.
    """

    name: str
    memories: tuple[MemorySpace, ...]
    layouts: tuple[str, ...] = ("dense",)
    clock_hz: float | None = None

    @property
    def simulated(self) -> bool:
        return self.clock_hz is not None


@dataclass(frozen=True, eq=False)
class Buffer:
    """A piece of one device's memory. `handle` is the device's own; `array` is the flat uint8 view of host memory."""

    memory: str
    nbytes: int
    handle: Any = None
    array: NDArray[np.uint8] | None = None

    @cached_property
    def address(self) -> int:
        """Where host memory begins, for compiled code; of no bytes, an aligned place of its own. DeviceError else."""
        if self.array is None:
            raise DeviceError(f"a buffer lies in {self.memory!r}, host memory is expected")
        return int((self.array if self.array.size else _NOTHING).ctypes.data)


def host_buffer(array: NDArray[Any]) -> Buffer:
    """The buffer that views a dense array of this process without a copy."""
    flat = array.reshape(-1).view(np.uint8) if array.size else np.empty(0, np.uint8)
    return Buffer(HOST_MEMORY, array.nbytes, array=flat)


class Event(Protocol):
    """The completion of one operation on a device."""

    def wait(self, timeout: float | None = None) -> None:
        """Return when the operation is complete; raise DeviceError if it failed or `timeout` seconds passed."""


@dataclass(frozen=True)
class Transfer:
    """A copy of one input or output of a program between host memory and a device's, whatever its layout there.

    `port` counts the program's inputs, then its outputs. `start` is by `time.monotonic()`; `wall` are the seconds until
    the copy was complete, or queued if the device copies on its own.
    """

    port: int
    start: float
    wall: float
    nbytes: int


@contextmanager
def transferring(transfers: list[Transfer], port: int, nbytes: int) -> Iterator[None]:
    """Measure a copy, and add it to those that there were."""
    start = time.monotonic()
    yield
    transfers.append(Transfer(port, start, time.monotonic() - start, nbytes))


@dataclass(frozen=True)
class Finished:
    """The event of an operation that was complete, or had failed, when the call returned.

    `modelled_seconds` is the time that the simulated device would have taken; `counters` are its own, by name;
    `transfers` are the copies that its driver made.
    """

    error: Exception | None = None
    modelled_seconds: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    transfers: Sequence[Transfer] = ()

    def wait(self, timeout: float | None = None) -> None:
        if self.error is not None:
            raise self.error


class Program(Protocol):
    """An artifact that a device has loaded and can run any number of times."""

    @property
    def artifact(self) -> Artifact: ...

    def close(self) -> None:
        """Give back what the device holds for this program."""


class Device(ABC):
    """Something that runs artifacts. Safe to call from several threads; operations of one device run in order."""

    @abstractmethod
    def properties(self) -> DeviceProperties:
        """What this device is; the same at every call."""

    @abstractmethod
    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        """Memory of this device, not initialised; DeviceError when `memory` is unknown or full."""

    @abstractmethod
    def free(self, buffer: Buffer) -> None:
        """Give back what `allocate` gave."""

    @abstractmethod
    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        """Copy all bytes of `source` to the start of `target`; one of the two may be host memory."""

    @abstractmethod
    def load(self, artifact: Artifact) -> Program:
        """Make an artifact ready to run: check that it fits this device, place its code and its constants."""

    @abstractmethod
    def submit(self, program: Program, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        """Run a program over its inputs, then its outputs, in the order of the artifact's signature."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; the device is not used again."""
