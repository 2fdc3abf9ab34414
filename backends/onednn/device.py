"""Runs oneDNN programs: primitives, weights in the library's layouts and scratch memory are made when one is loaded."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Sequence
from ctypes import c_int, c_int64, c_void_p
from typing import Any

from heddle.backends.onednn.library import SCRATCHPAD, Arg, Library, library
from heddle.backends.onednn.primitives import Made, make
from heddle.backends.onednn.program import Place, from_json
from heddle.core.errors import ArtifactError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import HOST_MEMORY, DeviceProperties, MemorySpace
from heddle.core.runtime.host import Frame, HostDevice, HostProgram
from heddle.core.runtime.storage import aligned


class Step(ctypes.Structure):
    """One primitive for the native loop."""

    _fields_ = (("primitive", c_void_p), ("count", c_int64), ("arguments", c_void_p))


class Binding(ctypes.Structure):
    """A memory object that takes the address of one of the caller's buffers."""

    _fields_ = (("memory", c_void_p), ("buffer", c_int64))


class Table(ctypes.Structure):
    """What the native loop is given of a frame."""

    _fields_ = (
        ("functions", c_void_p), ("inputs", c_void_p), ("input_count", c_int64), ("outputs", c_void_p),
        ("output_count", c_int64), ("steps", c_void_p), ("step_count", c_int64), ("stream", c_void_p),
        ("threads", c_int),
    )  # fmt: skip


class OnednnProgram(HostProgram):
    """A loaded region, which is called as the host's code is; its frames hold what the library needs for one run."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        try:
            self.program = from_json(artifact.meta["program"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"onednn: the program is damaged: {error!r}; compile the model again") from None
        self.lib = library()
        self.owned: list[tuple[str, c_void_p]] = []
        self._finish = weakref.finalize(self, _destroy, self.lib, self.owned)
        names = ("dnnl_primitive_execute", "dnnl_memory_set_data_handle")
        threads = (ctypes.cast(f, c_void_p).value for f in (self.lib.set_threads, self.lib.get_threads))
        self.functions = (c_void_p * 4)(*(self.lib.address(name) for name in names), *threads)
        self.stores: list[Any] = []
        self.arrays = dict(zip(sorted(artifact.constants), self._placed, strict=True))
        before = self.lib.get_threads()
        self.lib.set_threads(self.program.threads)
        try:
            self.made = [make(self, primitive) for primitive in self.program.primitives]
        finally:
            self.lib.set_threads(before)
        self.scratch = max((one.scratch for one in self.made), default=0)

    def own(self, kind: str, handle: c_void_p) -> c_void_p:
        """Have a library's object destroyed with this program."""
        self.owned.append((kind, handle))
        return handle

    def lease(self) -> Frame:
        try:
            return self.frames.pop()
        except IndexError:
            return OnednnFrame(self)

    def close(self) -> None:
        super().close()
        self._finish()


class OnednnFrame(Frame):
    """What one running call needs for itself: memory objects, workspace, scratch memory and the tables of the loop."""

    __slots__ = ("__weakref__", "_finish", "kept", "owned", "steps", "stream")

    def __init__(self, loaded: OnednnProgram) -> None:
        super().__init__(loaded.artifact)
        lib, program = loaded.lib, loaded.program
        self.owned: list[tuple[str, c_void_p]] = []
        self._finish = weakref.finalize(self, _destroy, lib, self.owned)
        scratch = aligned(max(1, loaded.scratch), 4096)
        bindings: dict[str, list[Binding]] = {"input": [], "output": []}
        memories: list[c_void_p] = []
        for tensor in program.tensors:
            descriptor = lib.descriptor(tensor.dims, tensor.dtype, tensor.strides)
            memories.append(self._memory(lib, descriptor, self._address(loaded, tensor.place)))
            lib.call("dnnl_memory_desc_destroy", descriptor)
            if tensor.place.kind in bindings:
                bindings[tensor.place.kind].append(Binding(memories[-1], int(tensor.place.at)))
        tables = [self._arguments(lib, one, memories, scratch) for one in loaded.made]
        self.steps = _table(
            Step,
            [
                Step(one.primitive, len(table), ctypes.addressof(table))
                for one, table in zip(loaded.made, tables, strict=True)
            ],
        )
        self.stream = lib.make("dnnl_stream_create", lib.engine, 1)
        self.owned.append(("stream", self.stream))
        inputs, outputs = (_table(Binding, some) for some in bindings.values())
        table = Table(
            ctypes.addressof(loaded.functions), ctypes.addressof(inputs), len(bindings["input"]),
            ctypes.addressof(outputs), len(bindings["output"]), ctypes.addressof(self.steps), len(tables),
            self.stream, program.threads,
        )  # fmt: skip
        self.kept = (scratch, tables, inputs, outputs, table)
        self.workspace = c_void_p(ctypes.addressof(table))

    def _address(self, loaded: OnednnProgram, place: Place) -> int:
        """Where a tensor lies; the caller's buffers are bound at each call."""
        match place.kind:
            case "constant":
                return int(loaded.arrays[str(place.at)].ctypes.data)
            case "workspace":
                return int(self.scratch.ctypes.data) + int(place.at)
            case _:
                return 0

    def _memory(self, lib: Library, descriptor: c_void_p, address: int) -> c_void_p:
        memory = lib.make("dnnl_memory_create", descriptor, lib.engine, c_void_p(address))
        self.owned.append(("memory", memory))
        return memory

    def _arguments(self, lib: Library, one: Made, memories: Sequence[c_void_p], scratch: Any) -> Any:
        pairs = [(number, memories[tensor]) for number, tensor in one.arguments]
        pairs += one.packed
        if one.scratch:
            pairs.append((SCRATCHPAD, self._memory(lib, one.scratchpad, scratch.ctypes.data)))
        return (Arg * len(pairs))(*(Arg(number, memory) for number, memory in pairs))


class OnednnDevice(HostDevice):
    """The processor, as oneDNN uses it; its memory is the process's own. UnavailableError without the library."""

    def __init__(self) -> None:
        super().__init__()
        library()

    def properties(self) -> DeviceProperties:
        return DeviceProperties("onednn", (MemorySpace(HOST_MEMORY, super().properties().memories[0].capacity),))

    def load(self, artifact: Artifact) -> OnednnProgram:
        return OnednnProgram(artifact)


def _table(kind: Any, rows: Iterable[Any]) -> Any:
    """Rows as an array of C, which has an address even when there are none."""
    listed = list(rows)
    return (kind * max(1, len(listed)))(*listed)


def _destroy(lib: Library, owned: list[tuple[str, c_void_p]]) -> None:
    while owned:
        kind, handle = owned.pop()
        getattr(lib.handle, f"dnnl_{kind}_destroy")(handle)
