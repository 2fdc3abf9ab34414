"""Measuring functions side by side: pinned to a core, in interleaved rounds, medians and ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

from heddle.core.errors import HeddleError

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts what this process used, which is what to compare on a machine that others use as well."""


def default_core() -> int | None:
    """The last core that this process may use: the first one serves the system's interrupts most often."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def pin(core: int | None) -> int | None:
    """Keep this process, with the threads that it starts from now on, on one core; the core, None where none is set.

    HeddleError for a core that this process may not use.
    """
    if core is None or not hasattr(os, "sched_setaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if core not in allowed:
        raise HeddleError(f"core {core}: this process may use {', '.join(map(str, sorted(allowed)))}")
    os.sched_setaffinity(0, {core})
    return core


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int, seconds: float, clock: str = "wall"
) -> dict[str, float]:
    """The median time of a call of each function, over rounds in which each has its turn of so many seconds.

    All seconds are by the clock. Each function is called twice before, which is not counted.
    """
    now = CLOCKS[clock]
    repeats = {}
    for name, function in functions.items():
        function()
        start = now()
        function()
        repeats[name] = max(1, round(seconds / max(now() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = now()
            for _ in range(repeats[name]):
                function()
            times[name].append((now() - start) / repeats[name])
    return {name: statistics.median(values) for name, values in times.items()}
