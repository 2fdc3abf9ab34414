"""An open GPU: its context, its two streams, its memory, and events that tell when work is done."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from heddle.backends.cudnn.driver import (
    ABSENT,
    MAJOR,
    MINOR,
    NO_TIMING,
    NON_BLOCKING,
    NOT_READY,
    PROCESSORS,
    Driver,
)
from heddle.backends.cudnn.pool import Pool
from heddle.core.errors import DeviceError, UnavailableError
from heddle.core.runtime.device import Event
from numpy.typing import NDArray

SHORTEST_LOOK, LONGEST_LOOK = 2e-6, 1e-3
"""Seconds between two looks at an event that is waited for with a timeout."""


@dataclass(frozen=True)
class Facts:
    """What the driver says of a GPU."""

    name: str
    capability: int
    processors: int
    memory: int


class Context:
    """A GPU that this process uses. `compute` and `copies` are its streams; each keeps the order of its own work.

    Whoever begins work, or waits for a stream, holds `lock`: nobody else may do either while a graph is recorded.
    """

    def __init__(self, driver: Driver, ordinal: int = 0) -> None:
        self.driver, self.ordinal = driver, ordinal
        self.lock = threading.RLock()
        count = driver.number("cuDeviceGetCount")
        if not 0 <= ordinal < count:
            raise UnavailableError(f"cudnn: there is no GPU number {ordinal}, the driver shows {count}; {ABSENT}")
        self._gpu = driver.number("cuDeviceGet", ordinal)
        self.facts = self._facts()
        self.handle = driver.make("cuDevicePrimaryCtxRetain", self._gpu)
        self.enter()
        self.compute = driver.make("cuStreamCreate", NON_BLOCKING)
        self.copies = driver.make("cuStreamCreate", NON_BLOCKING)
        self.memory = Pool(lambda n: driver.number("cuMemAlloc_v2", n), lambda at: driver.status("cuMemFree_v2", at))
        self.pinned = Pool(lambda n: driver.make("cuMemAllocHost_v2", n), lambda at: driver.status("cuMemFreeHost", at))
        self._transit: deque[tuple[GpuEvent, int]] = deque()

    def _facts(self) -> Facts:
        name = ctypes.create_string_buffer(256)
        self.driver.call("cuDeviceGetName", name, len(name), self._gpu)
        major, minor, processors = (
            self.driver.number("cuDeviceGetAttribute", number, self._gpu) for number in (MAJOR, MINOR, PROCESSORS)
        )
        memory = self.driver.number("cuDeviceTotalMem_v2", self._gpu)
        return Facts(name.value.decode(errors="replace"), 10 * major + minor, processors, memory)

    def enter(self) -> None:
        """Let the calling thread's calls of the driver be for this GPU."""
        self.driver.call("cuCtxSetCurrent", self.handle)

    # -- events and order ------------------------------------------------------------------------------------------

    def record(self, stream: int, finish: Callable[[], None] | None = None) -> GpuEvent:
        """An event that is complete when all work of a stream until now is; `finish` runs when it is waited for."""
        event = self.driver.make("cuEventCreate", NO_TIMING)
        self.driver.call("cuEventRecord", event, stream)
        return GpuEvent(self, event, finish)

    def after(self, stream: int, events: Sequence[Event]) -> None:
        """Let the work of a stream from now on come after these events; those of other devices are waited for here."""
        for event in events:
            if isinstance(event, GpuEvent) and event.context is self:
                self.driver.call("cuStreamWaitEvent", stream, event.handle, 0)
            else:
                event.wait()

    # -- transfers -------------------------------------------------------------------------------------------------

    def upload(self, array: NDArray[np.uint8], target: int) -> GpuEvent:
        """Copy bytes of this process to the GPU, by way of pinned memory; the array may change at once."""
        self._reclaim()
        staging = self.pinned.take(array.nbytes)
        ctypes.memmove(staging, array.ctypes.data, array.nbytes)
        self.driver.call("cuMemcpyHtoDAsync_v2", target, staging, array.nbytes, self.copies)
        event = self.record(self.copies)
        self._transit.append((event, staging))
        return event

    def download(self, source: int, array: NDArray[np.uint8]) -> GpuEvent:
        """Copy bytes of the GPU to this process; the array is filled when the event is waited for."""
        staging = self.pinned.take(array.nbytes)
        self.driver.call("cuMemcpyDtoHAsync_v2", staging, source, array.nbytes, self.copies)

        def finish() -> None:
            ctypes.memmove(array.ctypes.data, staging, array.nbytes)
            self.pinned.give(staging)

        return self.record(self.copies, finish)

    def move(self, source: int, target: int, nbytes: int) -> GpuEvent:
        """Copy bytes within the GPU."""
        self.driver.call("cuMemcpyDtoDAsync_v2", target, source, nbytes, self.copies)
        return self.record(self.copies)

    def _reclaim(self) -> None:
        """Use pinned memory again from which copies are complete."""
        while self._transit and self._transit[0][0].ready():
            self.pinned.give(self._transit.popleft()[1])

    def close(self) -> None:
        """Give everything back; what fails because the GPU is lost is lost anyway."""
        driver = self.driver
        driver.status("cuCtxSetCurrent", self.handle)
        for stream in (self.copies, self.compute):
            driver.status("cuStreamSynchronize", stream)
            driver.status("cuStreamDestroy_v2", stream)
        self._transit.clear()
        self.memory.close()
        self.pinned.close()
        driver.status("cuDevicePrimaryCtxRelease_v2", self._gpu)


class GpuEvent:
    """The completion of work on a stream."""

    def __init__(self, context: Context, handle: int, finish: Callable[[], None] | None) -> None:
        self.context, self.handle = context, handle
        self._finish = finish
        self._error: DeviceError | None = None
        self._lock = threading.Lock()

    def ready(self) -> bool:
        """Whether the work is complete, or has failed."""
        return self.context.driver.status("cuEventQuery", self.handle) != NOT_READY

    def wait(self, timeout: float | None = None) -> None:
        """Return when the work is complete; DeviceError if it failed or the time is over."""
        self.context.enter()
        driver = self.context.driver
        status = driver.status("cuEventSynchronize", self.handle) if timeout is None else self._watch(timeout)
        with self._lock:
            if status and self._error is None:
                self._error = driver.failure("the work on the GPU", status)
            finish, self._finish = self._finish, None
            if finish is not None and self._error is None:
                try:
                    finish()
                except DeviceError as error:
                    self._error = error
        if self._error is not None:
            raise self._error

    def _watch(self, timeout: float) -> int:
        deadline, pause = time.monotonic() + timeout, SHORTEST_LOOK
        while True:
            status = self.context.driver.status("cuEventQuery", self.handle)
            if status != NOT_READY:
                return status
            if time.monotonic() > deadline:
                raise DeviceError(f"cudnn: the work on the GPU was not complete after {timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)

    def __del__(self) -> None:
        self.context.driver.status("cuEventDestroy_v2", self.handle)


def address_of(buffer: Any) -> int:
    """Where a buffer of the GPU's memory begins; DeviceError for one of another memory."""
    if not isinstance(buffer.handle, int):
        raise DeviceError(f"cudnn: a buffer lies in {buffer.memory!r}, the GPU's memory is expected")
    return buffer.handle
