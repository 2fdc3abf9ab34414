"""A GPU of NVIDIA's as a device: memory, transfers and programs, in order and in the background."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.backends.cudnn.context import Context, address_of
from heddle.backends.cudnn.driver import Driver, system_driver
from heddle.backends.cudnn.libraries import NvidiaLibraries
from heddle.backends.cudnn.loaded import ALIGNMENT, Library, LoadedProgram
from heddle.backends.cudnn.program import DEVICE_MEMORY
from heddle.core.errors import DeviceError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import Buffer, Device, DeviceProperties, Event, MemorySpace


class CudnnDevice(Device):
    """One GPU. Work is begun on its streams and goes on in the background; events tell when it is complete.

    `ordinal` chooses the GPU, `graphs=False` has every step launched by itself instead of replayed as a CUDA graph.
    `driver` and `library` are for tests.
    """

    def __init__(
        self,
        ordinal: int | str = 0,
        graphs: bool | str = True,
        driver: Driver | None = None,
        library: Library | None = None,
    ) -> None:
        self.context = Context(system_driver() if driver is None else driver, int(ordinal))
        self._graphs = graphs if isinstance(graphs, bool) else graphs.lower() in ("1", "true", "yes", "on")
        self._library = library

    @property
    def library(self) -> Library:
        """NVIDIA's libraries, loaded when the first program is."""
        with self.context.lock:
            if self._library is None:
                self._library = NvidiaLibraries(self.context)
            return self._library

    def properties(self) -> DeviceProperties:
        return DeviceProperties("cudnn", (MemorySpace(DEVICE_MEMORY, self.context.facts.memory, ALIGNMENT),))

    def allocate(self, nbytes: int, memory: str | None = None) -> Buffer:
        if memory not in (None, DEVICE_MEMORY):
            raise DeviceError(f"cudnn: there is no memory {memory!r}, the only one is {DEVICE_MEMORY!r}")
        self.context.enter()
        return Buffer(DEVICE_MEMORY, nbytes, handle=self.context.memory.take(nbytes))

    def free(self, buffer: Buffer) -> None:
        self.context.memory.give(address_of(buffer))

    def copy(self, source: Buffer, target: Buffer, after: Sequence[Event] = ()) -> Event:
        if source.nbytes > target.nbytes:
            raise DeviceError(f"cudnn: a copy of {source.nbytes} bytes does not fit a buffer of {target.nbytes}")
        context = self.context
        with context.lock:
            context.enter()
            context.after(context.copies, after)
            if source.array is not None:
                return context.upload(source.array, address_of(target))
            if target.array is not None:
                return context.download(address_of(source), target.array[: source.nbytes])
            return context.move(address_of(source), address_of(target), source.nbytes)

    def load(self, artifact: Artifact) -> LoadedProgram:
        with self.context.lock:
            return LoadedProgram(self.context, self.library, artifact, self._graphs)

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        if not isinstance(program, LoadedProgram):
            raise DeviceError(f"cudnn: cannot run a {type(program).__name__}, which another device has loaded")
        count = len(program.artifact.signature.inputs)
        addresses = tuple(address_of(buffer) for buffer in buffers)
        with self.context.lock:
            self.context.enter()
            self.context.after(self.context.compute, after)
            return program.run(addresses[:count], addresses[count:])

    def close(self) -> None:
        with self.context.lock:
            if self._library is not None:
                self._library.close()
            self.context.close()
