"""A generated Python function that calls a program of the host over numpy arrays with next to no overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from heddle.core.dtypes import dtype_named
from heddle.core.runtime.builtin import builtin
from heddle.core.runtime.host import HostProgram
from heddle.core.runtime.outputs import Outputs
from heddle.core.runtime.schedule import Schedule, known

Entry = Callable[..., Outputs]


def host_entry(
    schedule: Schedule, program: HostProgram, otherwise: Callable[..., Outputs], failed: Callable[[int], Exception]
) -> Entry | None:
    """A function of the inputs by position, or None when the schedule is not one step of the host alone, or when its
    code cannot be called by Python.

    Arrays that are not exactly what the code needs go to `otherwise`, which takes the same arguments. A fault of the
    code raises what `failed` makes of its number.
    """
    if len(schedule.steps) != 1:
        return None
    (step,) = schedule.steps
    names = [spec.name for spec in schedule.inputs]
    if not set(step.inputs) <= set(names) or sorted(schedule.results) != sorted(step.outputs):
        return None
    read = [names.index(name) for name in step.inputs]
    written = [len(names) + schedule.results.index(name) for name in step.outputs]
    call = builtin(program, (*schedule.inputs, *schedule.outputs), read, written)
    if call is None:
        return None
    scope: dict[str, Any] = {
        "call": call,
        "empty": np.empty,
        "lease": program.lease,
        "take": program.frames.pop,
        "give": program.frames.append,
        "enlist": program.enlist,
        "dismiss": program.dismiss,
        "result": Outputs.named(spec.name for spec in schedule.outputs),
        "otherwise": otherwise,
        "failed": failed,
    }
    for i, spec in enumerate(schedule.outputs):
        scope |= {f"d{i}": dtype_named(spec.dtype), f"s{i}": known(spec)}
    exec(_source(len(names), len(schedule.results), program.shared), scope)  # no text of the model is in it
    entry: Entry = scope["entry"]
    return entry


def _source(inputs: int, outputs: int, shared: bool) -> str:
    arguments = "".join(f"x{i}, " for i in range(inputs))
    results = "".join(f"y{i}, " for i in range(outputs))
    alone = ["try:", "    frame = take()", "except IndexError:", "    frame = lease()"]
    lines = [
        f"def entry({arguments}):",
        *(f"    y{i} = empty(s{i}, d{i})" for i in range(outputs)),
        *(f"    {line}" for line in (["frame = enlist()"] if shared else alone)),
        f"    status = call(frame.table, {arguments}{results})",
        f"    {'dismiss' if shared else 'give'}(frame)",
        "    if status:",
        "        if status < 0:",
        f"            return otherwise({arguments})",
        "        raise failed(status)",
        f"    return result(({results}))",
    ]
    return "\n".join(lines)
