"""Kernels as callable machine code, and what the core that they run on can do at most."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from heddle.core.codegen.build import Unit, shared_object, units_of
from heddle.core.codegen.kernels.arithmetic import Arithmetic
from heddle.core.codegen.llvm import Function, module
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import PTR
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


def peak(arithmetic: Arithmetic, target: Target) -> tuple[Callable[[int], None], float]:
    """A function that does nothing but multiply and add, and the operations of one call.

    Each sum is a factor of its own next step, so that no step can be left out.
    """
    f = Function("kernel", [("a", "ptr"), ("b", "ptr")])
    total = arithmetic.accumulator
    factor, first = f.load(arithmetic.b_step, f["a"]), f.load(total, f["a"])
    chains = [f.variable(first) for _ in range(CHAINS if target.vector_registers == 32 else 12)]
    with f.loop(0, LOOP):
        for chain in chains:
            other = f.get(chain)
            if arithmetic.a_step.bits < total.bits:
                other = f.convert("trunc", other, arithmetic.a_step)
            f.set(chain, arithmetic.step(f, f.get(chain), other, factor))
    result = f.get(chains[0])
    for chain in chains[1:]:
        result = f.add(result, f.get(chain))
    f.store(result, f["b"])
    work = LOOP * len(chains) * total.lanes * 2 * arithmetic.depth
    return repeated([f], target, [[aligned(np.ones(64, np.float32)), aligned(np.ones(64, np.float32))]]), work
