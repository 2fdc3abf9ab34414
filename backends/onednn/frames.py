"""What one running call of a program needs for itself, and how the native loop finds it: tables of 64-bit words."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Sequence
from ctypes import c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np
from heddle.backends.onednn.library import SCRATCHPAD, Arg, Library
from heddle.backends.onednn.primitives import Form, Made
from heddle.backends.onednn.program import Place
from heddle.core.runtime.host import Frame
from heddle.core.runtime.storage import aligned

if TYPE_CHECKING:
    from heddle.backends.onednn.device import OnednnProgram

FRAME = (
    *("execute", "bind", "set_threads", "get_threads", "inputs", "inputs bound", "outputs", "outputs bound"),
    *("steps", "steps made", "stream", "threads"),
)
"""Functions of the library and of OpenMP, then tables with their lengths, the library's stream, and the threads."""

BINDING = ("memory", "buffer")
"""A memory object that takes the address of the caller's buffer of this number."""

STEP = ("primitive", "count", "arguments")
"""A primitive with its arguments and how many they are."""


class OnednnFrame(Frame):
    """Memory objects, workspace, scratch memory and the loop's tables, for one call at a time of a form."""

    __slots__ = ("__weakref__", "_finish", "form", "kept", "owned", "steps", "stream")

    def __init__(self, loaded: OnednnProgram, form: Form) -> None:
        super().__init__(loaded.artifact)
        self.form = form
        lib, program = loaded.lib, loaded.program
        self.owned: list[tuple[str, c_void_p]] = []
        self._finish = weakref.finalize(self, lib.destroy, self.owned)
        scratch = aligned(max(1, form.scratch), 4096)
        bindings: dict[str, list[tuple[int | None, int]]] = {"input": [], "output": []}
        memories: list[c_void_p] = []
        for tensor in program.tensors:
            descriptor = lib.descriptor(tensor.dims, tensor.dtype, tensor.strides)
            memories.append(self._memory(lib, descriptor, self._address(loaded, tensor.place)))
            lib.call("dnnl_memory_desc_destroy", descriptor)
            if tensor.place.kind in bindings:
                bindings[tensor.place.kind].append((memories[-1].value, int(tensor.place.at)))
        arguments = [self._arguments(lib, one, memories, scratch) for one in form.made]
        self.steps = [
            (one.primitive.value, len(table), ctypes.addressof(table))
            for one, table in zip(form.made, arguments, strict=True)
        ]
        self.stream = lib.make("dnnl_stream_create", lib.engine, 1)
        self.owned.append(("stream", self.stream))
        inputs, outputs, steps = _words(bindings["input"]), _words(bindings["output"]), _words(self.steps)
        words: dict[str, int | None] = {
            **loaded.functions,
            "inputs": inputs.ctypes.data,
            "inputs bound": len(bindings["input"]),
            "outputs": outputs.ctypes.data,
            "outputs bound": len(bindings["output"]),
            "steps": steps.ctypes.data,
            "steps made": len(self.steps),
            "stream": self.stream.value,
            "threads": form.threads,
        }
        frame = _words([[words[name] for name in FRAME]])
        self.kept = (scratch, arguments, inputs, outputs, steps, frame)
        self.table[0] = frame.ctypes.data  # the workspace, as the loop knows it

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


def _words(rows: Iterable[Iterable[int | None]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Rows of words, one after the other; it has an address even when there are none."""
    return np.array([word or 0 for row in rows for word in row] or [0], np.uint64)
