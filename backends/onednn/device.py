"""Runs oneDNN programs: primitives, weights in the library's layouts and scratch memory are made when one is loaded."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import c_int, c_int64, c_void_p
from typing import Any

from heddle.backends.onednn.library import SCRATCHPAD, Arg, Library, library
from heddle.backends.onednn.primitives import Made, make
from heddle.backends.onednn.program import ENTRY, from_bytes
from heddle.core.errors import ArtifactError, DeviceError
from heddle.core.runtime.artifact import Artifact
from heddle.core.runtime.device import HOST_MEMORY, Buffer, DeviceProperties, Event, Finished, MemorySpace
from heddle.core.runtime.host import HostDevice
from heddle.core.runtime.loader import load_shared, symbol
from heddle.core.runtime.storage import aligned, placed


class Step(ctypes.Structure):
    """One primitive for the native loop."""

    _fields_ = (("primitive", c_void_p), ("count", c_int64), ("arguments", c_void_p))


class Binding(ctypes.Structure):
    """A memory object that takes the address of one of the caller's buffers."""

    _fields_ = (("memory", c_void_p), ("buffer", c_int64))


class OnednnProgram:
    """A loaded region; frames are leased, so that several threads may run it at once."""

    def __init__(self, artifact: Artifact) -> None:
        try:
            self.program, code = from_bytes(artifact.code)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"onednn: the code is damaged: {error}; compile the model again") from None
        self._artifact = artifact
        self.lib = library()
        self.owned: list[tuple[str, c_void_p]] = []
        self._finish = weakref.finalize(self, _destroy, self.lib, self.owned)
        self.native = load_shared(code, "onednn")
        function: Any = symbol(self.native, ENTRY)
        self.function = function
        function.restype = c_int64
        function.argtypes = [c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int]
        names = ("dnnl_primitive_execute", "dnnl_memory_set_data_handle")
        threads = (ctypes.cast(f, c_void_p).value for f in (self.lib.set_threads, self.lib.get_threads))
        self.functions = (c_void_p * 4)(*(self.lib.address(name) for name in names), *threads)
        self.stores: list[Any] = []
        self.constants = {name: placed(array) for name, array in artifact.constants.items()}
        before = self.lib.get_threads()
        self.lib.set_threads(self.program.threads)
        try:
            self.made = [make(self, primitive) for primitive in self.program.primitives]
        finally:
            self.lib.set_threads(before)
        self.scratch = max((one.scratch for one in self.made), default=0)
        self.frames: list[Frame] = []

    @property
    def artifact(self) -> Artifact:
        return self._artifact

    def own(self, kind: str, handle: c_void_p) -> c_void_p:
        """Have a library's object destroyed with this program."""
        self.owned.append((kind, handle))
        return handle

    def call(self, addresses: Sequence[int]) -> None:
        """Run over the inputs' and outputs' addresses."""
        try:
            frame = self.frames.pop()
        except IndexError:
            frame = Frame(self)
        try:
            frame.buffers[:] = list(addresses)
            failed = self.function(*frame.arguments)
        finally:
            self.frames.append(frame)
        if failed:
            kind = self.program.primitives[failed - 1].kind
            raise DeviceError(f"onednn: primitive {failed} ({kind}) of the region failed")

    def close(self) -> None:
        self.frames.clear()
        self._finish()


class Frame:
    """What one running call needs for itself: memory objects, workspace, scratch memory and the tables of the loop."""

    def __init__(self, loaded: OnednnProgram) -> None:
        lib, program = loaded.lib, loaded.program
        self.owned: list[tuple[str, c_void_p]] = []
        self._finish = weakref.finalize(self, _destroy, lib, self.owned)
        self.workspace = aligned(loaded.artifact.workspace, 4096)
        self.scratch = aligned(max(1, loaded.scratch), 4096)
        signature = loaded.artifact.signature
        inputs = len(signature.inputs)
        self.buffers = (c_void_p * (inputs + len(signature.outputs)))()
        bindings: list[Binding] = []
        memories: list[c_void_p] = []
        for tensor in program.tensors:
            descriptor = lib.descriptor(tensor.dims, tensor.dtype, tensor.strides)
            address = 0
            if tensor.place.kind == "constant":
                address = loaded.constants[str(tensor.place.at)].ctypes.data
            elif tensor.place.kind == "workspace":
                address = self.workspace.ctypes.data + int(tensor.place.at)
            memory = self._memory(lib, descriptor, address)
            lib.call("dnnl_memory_desc_destroy", descriptor)
            if tensor.place.kind in ("input", "output"):
                number = int(tensor.place.at) + (inputs if tensor.place.kind == "output" else 0)
                bindings.append(Binding(memory, number))
            memories.append(memory)
        self.tables = [self._arguments(lib, one, memories) for one in loaded.made]
        steps = [
            Step(one.primitive, len(table), ctypes.addressof(table))
            for one, table in zip(loaded.made, self.tables, strict=True)
        ]
        self.bindings = (Binding * max(1, len(bindings)))(*bindings)
        self.steps = (Step * max(1, len(steps)))(*steps)
        stream = lib.make("dnnl_stream_create", lib.engine, 1)
        self.owned.append(("stream", stream))
        self.arguments = (
            ctypes.addressof(loaded.functions), ctypes.addressof(self.buffers), ctypes.addressof(self.bindings),
            len(bindings), ctypes.addressof(self.steps), len(steps), stream, program.threads,
        )  # fmt: skip

    def _memory(self, lib: Library, descriptor: c_void_p, address: int) -> c_void_p:
        memory = lib.make("dnnl_memory_create", descriptor, lib.engine, c_void_p(address))
        self.owned.append(("memory", memory))
        return memory

    def _arguments(self, lib: Library, one: Made, memories: list[c_void_p]) -> Any:
        pairs = [(number, memories[tensor]) for number, tensor in one.arguments]
        pairs += one.packed
        if one.scratch:
            pairs.append((SCRATCHPAD, self._memory(lib, one.scratchpad, self.scratch.ctypes.data)))
        return (Arg * len(pairs))(*(Arg(number, memory) for number, memory in pairs))


class OnednnDevice(HostDevice):
    """The processor, as oneDNN uses it; its memory is the process's own."""

    def properties(self) -> DeviceProperties:
        return DeviceProperties("onednn", (MemorySpace(HOST_MEMORY, super().properties().memories[0].capacity),))

    def load(self, artifact: Artifact) -> OnednnProgram:  # type: ignore[override]  # a program of its own kind
        return OnednnProgram(artifact)

    def submit(self, program: object, buffers: Sequence[Buffer], after: Sequence[Event] = ()) -> Event:
        if not isinstance(program, OnednnProgram):
            raise DeviceError(f"onednn: cannot run a {type(program).__name__}, which another device has loaded")
        for event in after:
            event.wait()
        addresses = []
        for buffer in buffers:
            if buffer.array is None:
                raise DeviceError(f"onednn: a buffer lies in {buffer.memory!r}, host memory is expected")
            addresses.append(buffer.array.__array_interface__["data"][0])
        try:
            program.call(addresses)
        except DeviceError as error:
            return Finished(error)
        return Finished()


def _destroy(lib: Library, owned: list[tuple[str, c_void_p]]) -> None:
    while owned:
        kind, handle = owned.pop()
        getattr(lib.handle, f"dnnl_{kind}_destroy")(handle)
