"""Measuring functions side by side: pinned to a core, in interleaved rounds, medians and ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts what this process used, which is what to compare on a machine that others use as well."""


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system lets it."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int, seconds: float, clock: str = "wall"
) -> dict[str, float]:
    """The median time of a call of each function, over rounds in which each has its turn of so many seconds.

    Each function is called twice before, which is not counted.
    """
    now = CLOCKS[clock]
    repeats = {}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        repeats[name] = max(1, round(seconds / max(time.perf_counter() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = now()
            for _ in range(repeats[name]):
                function()
            times[name].append((now() - start) / repeats[name])
    return {name: statistics.median(values) for name, values in times.items()}
