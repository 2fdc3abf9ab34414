"""A generated Python function that calls a program of the host over numpy arrays with next to no overhead."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.runtime.host import HostProgram
from heddle.core.runtime.outputs import Outputs
from heddle.core.runtime.schedule import Schedule, known

Entry = Callable[..., Outputs]

# Fields of numpy's array object in words of 8 bytes, a part of its stable C interface (numpy/ndarraytypes.h).
_DATA, _FLAGS = 2, 8
_DENSE = 0x0101  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED


@cache
def words() -> ctypes.Array[ctypes.c_uint64] | None:
    """All of this process's memory as words, to read fields of arrays; None where objects do not lie as expected."""
    if sys.implementation.name != "cpython" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or hasattr(sys, "gettotalrefcount"):
        return None  # the header of objects is longer
    memory = (ctypes.c_uint64 * 2**59).from_address(0)
    dense = np.arange(8, dtype=np.float32)
    unaligned = dense.view(np.uint8)[1:5].view(np.float32)
    for array, is_dense in ((dense, True), (dense[::2], False), (dense[1:], True), (unaligned, False)):
        word = id(array) >> 3
        if memory[word + _DATA] != array.ctypes.data or (memory[word + _FLAGS] & _DENSE == _DENSE) != is_dense:
            return None
    return memory


def host_entry(
    schedule: Schedule, program: HostProgram, otherwise: Callable[..., Outputs], failed: Callable[[int], Exception]
) -> Entry | None:
    """A function of the inputs by position, or None when the schedule is not one step of the host alone.

    Arrays that are not exactly what the code needs go to `otherwise`, which takes the same arguments. A fault of the
    code raises what `failed` makes of its number.
    """
    memory = words()
    if memory is None or len(schedule.steps) != 1:
        return None
    (step,) = schedule.steps
    names = [spec.name for spec in schedule.inputs]
    if not names or not set(step.inputs) <= set(names) or sorted(schedule.results) != sorted(step.outputs):
        return None
    scope: dict[str, Any] = {
        "memory": memory,
        "array": np.ndarray,
        "empty": np.empty,
        "run": program.function,
        "constants": program.constants,
        "services": program.services,
        "lease": program.lease,
        "take": program.frames.pop,
        "give": program.frames.append,
        "enlist": program.enlist,
        "dismiss": program.dismiss,
        "result": Outputs.named(spec.name for spec in schedule.outputs),
        "otherwise": otherwise,
        "failed": failed,
    }
    for i, spec in enumerate(schedule.inputs):
        scope |= {f"d{i}": dtype_named(spec.dtype), f"s{i}": known(spec)}
    for i, spec in enumerate(schedule.outputs):
        scope |= {f"D{i}": dtype_named(spec.dtype), f"S{i}": known(spec)}
    source = _source(names, step.inputs, schedule.results, step.outputs, program.shared)
    exec(source, scope)  # no text of the model is in it
    entry: Entry = scope["entry"]
    return entry


def _source(
    names: Sequence[str], read: Sequence[str], results: Sequence[str], bound: Sequence[str], shared: bool
) -> str:
    inputs, outputs = range(len(names)), range(len(results))
    arguments = ", ".join(f"x{i}" for i in inputs)
    types = " and ".join(f"x{i}.__class__ is array and x{i}.dtype is d{i} and x{i}.shape == s{i}" for i in inputs)
    words = "; ".join(f"w{i} = id(x{i}) >> 3" for i in inputs)
    flags = " & ".join(f"memory[w{i} + {_FLAGS}]" for i in inputs)
    alone = ["try:", "    frame = take()", "except IndexError:", "    frame = lease()"]
    lines = [
        f"def entry({arguments}):",
        f"    if not ({types}):",
        f"        return otherwise({arguments})",
        f"    {words}",
        f"    if {flags} & {_DENSE} != {_DENSE}:",
        f"        return otherwise({arguments})",
        *(f"    y{i} = empty(S{i}, D{i})" for i in outputs),
        *(f"    {line}" for line in (["frame = enlist()"] if shared else alone)),
        "    pointers = frame.inputs",
        *(f"    pointers[{at}] = memory[w{names.index(name)} + {_DATA}]" for at, name in enumerate(read)),
        "    pointers = frame.outputs",
        *(f"    pointers[{at}] = memory[(id(y{results.index(name)}) >> 3) + {_DATA}]" for at, name in enumerate(bound)),
        f"    status = run(frame.inputs, frame.outputs, constants, frame.workspace, services{', frame.team' * shared})",
        f"    {'dismiss' if shared else 'give'}(frame)",
        "    if status:",
        "        raise failed(status)",
        f"    return result(({', '.join(f'y{i}' for i in outputs)},))",
    ]
    return "\n".join(lines)
