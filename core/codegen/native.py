"""Kernels as callable machine code, and what the core that they run on can do at most."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from heddle.core.codegen.build import Unit, shared_object, units_of
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, I8, I32, PTR, constant
from numpy.typing import NDArray

Array = NDArray[Any]
POINTERS = 8
LOOP = 4096
CHAINS = 24


def aligned(array: Array) -> Array:
    """A copy that begins at a page, with room to read beyond its end."""
    array = np.ascontiguousarray(array)
    memory = np.zeros(array.nbytes + 3 * 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def repeated(functions: Sequence[Function], target: Target, sets: Sequence[Sequence[Array]]) -> Callable[[int], None]:
    """Calls a kernel so many times from machine code, with one set of arrays after the other.

    With as many sets as outgrow the caches, weights are cold as they are in a network.
    """
    name, unit = units_of(functions, target)
    f = Function("repeat", [("sets", "ptr"), ("count", "i64"), ("n", "i64")])
    with f.loop(0, f["n"]) as i:
        at = f.gep(f["sets"], f.times(f.binary("urem", i, f["count"]), POINTERS), PTR)
        f.call(name, None, [f.load(PTR, f.gep(at, j, PTR)) for j in range(len(functions[-1].parameters))])
    code = shared_object([unit, Unit(module([f], target.triple))], ["repeat"], target)
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        Path(file.name).write_bytes(code)
        library = ctypes.CDLL(file.name)
    pointers = (ctypes.c_void_p * (POINTERS * len(sets)))()
    for number, arrays in enumerate(sets):
        for position, array in enumerate(arrays):
            pointers[number * POINTERS + position] = array.ctypes.data
    call = library.repeat
    call.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    kept = (library, pointers, sets)
    return lambda n, _kept=kept: call(pointers, len(sets), n)  # type: ignore[misc]


def peak(target: Target, bytes_: bool = False) -> tuple[Callable[[int], None], float]:
    """A function that does nothing but multiply and add, and the operations of one call: of floats, or of bytes."""
    f = Function("kernel", [("a", "ptr"), ("b", "ptr")])
    lanes = target.lanes(4)
    type, factor = (I32.of(lanes), I8.of(4 * lanes)) if bytes_ else (F32.of(lanes), F32.of(lanes))
    chains = [f.variable(constant(0, type)) for _ in range(CHAINS if target.vector_registers == 32 else 12)]
    a = f.load(factor, f["a"])
    with f.loop(0, LOOP):
        for chain in chains:
            total = f.get(chain)
            if bytes_:
                f.set(chain, f.call("llvm.x86.avx512.vpdpbusd.512", type, (total, a, a)))
            else:
                f.set(chain, f.fma(a, a, total) if target.fused else f.add(total, f.mul(a, a)))
    total = f.get(chains[0])
    for chain in chains[1:]:
        total = f.add(total, f.get(chain))
    f.store(total, f["b"])
    work = LOOP * len(chains) * lanes * 2 * (4 if bytes_ else 1)
    return repeated([f], target, [[aligned(np.ones(64, np.float32)), aligned(np.ones(64, np.float32))]]), work
