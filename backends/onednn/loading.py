"""A program that is being loaded: what of the library's it owns, and its constants as primitives want them."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_void_p
from typing import Any

from heddle.backends.onednn.library import DST, SRC, Arg, Library
from heddle.backends.onednn.program import Program
from heddle.core.runtime.storage import aligned
from numpy.typing import NDArray


class Loading:
    """`owned` has the library's objects with their kinds, for `Library.destroy` when the program is closed."""

    def __init__(self, lib: Library, program: Program, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.lib, self.program, self.arrays = lib, program, arrays
        self.owned: list[tuple[str, c_void_p]] = []
        self._packed: dict[int, list[tuple[c_void_p, c_void_p]]] = {}
        self._stores: list[NDArray[Any]] = []

    def own(self, kind: str, handle: c_void_p) -> c_void_p:
        """Have a library's object destroyed with the program."""
        self.owned.append((kind, handle))
        return handle

    def packed(self, tensor: int, wanted: c_void_p) -> c_void_p:
        """A memory object with a constant laid out as a description that the program owns says; one for all equal."""
        made = self._packed.setdefault(tensor, [])
        for description, memory in made:
            if self.lib.handle.dnnl_memory_desc_equal(description, wanted):
                return memory
        made.append((wanted, self._pack(tensor, wanted)))
        return made[-1][1]

    def _pack(self, tensor: int, wanted: c_void_p) -> c_void_p:
        lib, one = self.lib, self.program.tensors[tensor]
        given = lib.descriptor(one.dims, one.dtype, one.strides)
        array = self.arrays[str(one.place.at)]
        source = lib.make("dnnl_memory_create", given, lib.engine, c_void_p(array.ctypes.data))
        store = aligned(lib.size(wanted), 4096)
        self._stores.append(store)
        target = self.own("memory", lib.make("dnnl_memory_create", wanted, lib.engine, c_void_p(store.ctypes.data)))
        reorder = lib.make("dnnl_reorder_primitive_desc_create", given, lib.engine, wanted, lib.engine, None)
        primitive = lib.make("dnnl_primitive_create", reorder)
        stream = lib.make("dnnl_stream_create", lib.engine, 1)
        arguments = (Arg * 2)(Arg(SRC, source), Arg(DST, target))
        lib.call("dnnl_primitive_execute", primitive, stream, 2, arguments)
        temporary = {
            "stream": stream, "primitive": primitive, "primitive_desc": reorder, "memory": source, "memory_desc": given,
        }  # fmt: skip
        lib.destroy([*reversed(temporary.items())])
        return target
