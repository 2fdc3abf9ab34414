"""How much faster several threads are than one, and whether they are ever slower.

    python -m benchmarks.threads [MODEL...] [--threads N] [--seconds S] [--precedence]

Each model is called with one thread and with N in turn, first with the machine as it is, then beside a process that
never rests and is pinned to the last core; shown are medians, and the median of the ratios of neighbouring calls.
`--precedence` puts this process and that one before the work of others on the machine while they are measured (Linux,
by root), so that the figures are those of a machine that is otherwise nearly idle.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from heddle.core.codegen import target as targets
from heddle.core.runtime.teams import processors

import heddle
from benchmarks.cpu import QUANTIZED
from benchmarks.models import NAMES, build, example
from heddle.measure.timing import default_core

_LEAST = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*NAMES, *QUANTIZED])
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--precedence", action="store_true")
    options = parser.parse_args()
    print(f"{platform.machine()}, {targets.host().cpu}, {processors()} cores; 1 and {options.threads} threads, ms")
    print(
        f"{'model':<16}{'1':>10}{options.threads:>10}{'ratio':>9}   beside:{'1':>10}{options.threads:>10}{'ratio':>9}"
    )
    for name in options.models:
        executable, x = heddle.compile(build(name)), example(name)
        cells = []
        for situation in (nullcontext, busy):
            with precedence() if options.precedence else nullcontext(), situation():
                cells.append(_line(measured(executable, x, options.threads, options.seconds)))
        print(f"{name:<16}{cells[0]}          {cells[1]}", flush=True)


def measured(executable: heddle.Executable, x: Any, threads: int, seconds: float) -> list[tuple[float, float]]:
    """The times of neighbouring calls with one thread and with several."""
    for count in (1, threads, 1, threads):
        executable(x, threads=count)
    pairs = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(pairs) < _LEAST:
        times = []
        for count in (1, threads):
            start = time.perf_counter()
            executable(x, threads=count)
            times.append(time.perf_counter() - start)
        pairs.append((times[0], times[1]))
    return pairs


@contextmanager
def busy() -> Iterator[None]:
    """Beside a process on the last core that never rests."""
    pinned = f"import os; os.sched_setaffinity(0, {{{default_core()}}})\nwhile True: pass"
    competitor = subprocess.Popen([sys.executable, "-c", pinned])
    try:
        time.sleep(0.2)
        yield
    finally:
        competitor.kill()
        competitor.wait()


@contextmanager
def precedence() -> Iterator[None]:
    """Before the work of all others; what is started within is as well."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _line(pairs: Sequence[tuple[float, float]]) -> str:
    one, several = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    ratio = statistics.median(alone / together for alone, together in pairs)
    return f"{one:10.3f}{several:10.3f}{ratio:9.2f}"


if __name__ == "__main__":
    main()
