"""Measuring functions side by side: pinned to a core, in interleaved rounds, medians and ratios."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heddle.core.errors import HeddleError

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts what this process used, which is what to compare on a machine that others use as well."""


CONFIDENCE = 0.99


@dataclass(frozen=True)
class Ratio:
    """How long something takes, as a part of what another takes: the median of paired rounds, and the bounds between
    which it lies with CONFIDENCE."""

    median: float
    low: float
    high: float

    @property
    def gains(self) -> bool:
        """Whether it is established that less time is taken."""
        return self.high < 1.0


SAME = Ratio(1.0, 1.0, 1.0)


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


def paired(
    left: Callable[[], object], right: Callable[[], object], rounds: int, seconds: float, clock: str = "cpu"
) -> Ratio:
    """The time of `left` as a part of that of `right`, over rounds in which both have a turn of so many seconds.

    Who comes first alternates, so that what a machine does meanwhile meets both alike.
    """
    now, times = CLOCKS[clock], ([], [])  # type: tuple[Callable[[], float], tuple[list[float], list[float]]]
    right()
    start = now()
    right()
    repeats = max(1, round(seconds / max(now() - start, 1e-7)))
    left()
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            function, start = (left, right)[side], now()
            for _ in range(repeats):
                function()
            times[side].append(now() - start)
    return ratio_of([ours / theirs for ours, theirs in zip(*times, strict=True)])


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """The median of the ratios of rounds. Its bounds are those of the sign test, which asks nothing of how the rounds
    are spread; with few rounds they are infinitely far.

    >>> ratio_of([0.9] * 15)
    Ratio(median=0.9, low=0.9, high=0.9)
    >>> ratio_of([0.8, 0.9]).high
    inf
    """
    values, n = sorted(ratios), len(ratios)
    tail, outside = 0.0, 0  # how many at either end may be left out
    while (tail := tail + math.comb(n, outside) / 2**n) <= (1 - CONFIDENCE) / 2:
        outside += 1
    low, high = (values[outside - 1], values[n - outside]) if outside else (-math.inf, math.inf)
    return Ratio(statistics.median(values), low, high)
