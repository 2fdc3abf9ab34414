"""Runs random programs on the functional model and the RTL and compares memory byte for byte.

`python -m heddle.simulators.vta.lockstep --programs 10000` is the long campaign; it prints a line per configuration
and the first differences, and fails if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from heddle.hw.vta.assembly import print_instruction
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.simulators.verilator import Model
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.functional import Executed, Functional
from heddle.simulators.vta.randomize import Case, random_case
from heddle.simulators.vta.rtl import Memory, Rtl, build_rtl
from numpy.typing import NDArray

WATCHDOG = 5_000
UNITS = ("fetch", "load", "compute", "store")


@dataclass(frozen=True)
class Difference:
    """Where the two models part: the first byte, the STORE that writes it, and the cycle at which the RTL wrote it."""

    config: str
    seed: int
    address: int
    instruction: str
    cycle: int
    detail: str

    def __str__(self) -> str:
        place = f"byte {self.address:#x} of {self.instruction}, cycle {self.cycle}"
        return f"{self.config} seed {self.seed}: {place}: {self.detail}"


def timing(seed: int) -> Memory:
    """A memory for a random run: latency, jitter and back-pressure from the seed, every third without any."""
    if seed % 3 == 0:
        return Memory(latency=1 + seed % 120)
    return Memory(latency=1 + seed % 60, jitter_seed=seed, backpressure=(seed % 5) * 0.15, outstanding=1 + seed % 24)


def compare(config: Config, model: Model, seed: int, jobs: int = 4) -> Difference | None:
    """Run one random program on both models; None if memory agrees and the counters of each unit sum to the cycles."""
    case = random_case(config, seed, jobs)
    expected, wrote = reference_run(config, case)
    memory = case.memory.copy()
    rtl = Rtl(config, model, memory, timing(seed))
    try:
        counters = rtl.run(case.program, case.code, case.bases, WATCHDOG)
    except FaultError as fault:
        notes = "; ".join(getattr(fault, "__notes__", ()))
        return Difference(config.name, seed, 0, "no STORE", 0, f"{fault} ({notes})")
    finally:
        rtl.close()
    for unit in UNITS:
        spent = sum(value for name, value in counters.items() if name.startswith(f"{unit}_"))
        if spent != counters["cycles"]:
            return Difference(
                config.name, seed, 0, "no STORE", 0, f"{unit} counts {spent} of {counters['cycles']} cycles"
            )
    different = np.flatnonzero(memory[: case.code] != expected[: case.code])
    if not different.size:
        return None
    return _located(config, model, seed, case, wrote, int(different[0]), memory, expected)


def reference_run(config: Config, case: Case) -> tuple[NDArray[np.uint8], Sequence[Executed]]:
    """Memory after a case on the functional model, and what its instructions did."""
    memory = case.memory.copy()
    done: list[Executed] = []
    Functional(config, memory, trace=done.append).run(case.program, case.bases)
    return memory, done


def _located(
    config: Config,
    model: Model,
    seed: int,
    case: Case,
    wrote: Sequence[Executed],
    address: int,
    memory: NDArray[np.uint8],
    expected: NDArray[np.uint8],
) -> Difference:
    """The STORE that writes a byte, and the cycle at which the RTL changes it: from a second run, cycle by cycle."""
    owners = [e.step.index for e in wrote if e.wrote and e.wrote[0] <= address < e.wrote[1]]
    text = f"instruction {owners[0]}: {print_instruction(case.program[owners[0]])}" if owners else "no STORE"
    cycle, before = -1, case.memory[address]
    if memory[address] != before:
        again = case.memory.copy()
        rtl = Rtl(config, model, again, timing(seed))
        try:
            rtl.prepare(case.program, case.code, case.bases)
            cycle = rtl.simulation.run(max_cycles=1 << 24, until=lambda _: bool(again[address] != before)).cycles
        finally:
            rtl.close()
    detail = f"RTL {memory[address]}, functional {expected[address]}"
    return Difference(config.name, seed, address, text, cycle, detail)


def campaign(names: Sequence[str], programs: int, first: int = 0, jobs: int = 4) -> Iterator[Difference]:
    """Compare `programs` random programs, shared evenly among configurations; progress goes to standard error."""
    for name in names:
        config = load_config(name)
        model, start = build_rtl(config), time.perf_counter()
        count = -(-programs // len(names))
        for seed in range(first, first + count):
            if difference := compare(config, model, seed, jobs):
                yield difference
        print(f"{name}: {count} programs in {time.perf_counter() - start:.0f} s", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="functional model against RTL on random programs")
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=4, help="jobs in a program")
    parser.add_argument("--configs", nargs="+", default=config_names())
    options = parser.parse_args(arguments)
    found = list(campaign(options.configs, options.programs, options.first, options.jobs))
    for difference in found[:20]:
        print(difference)
    print(f"{options.programs} programs, {len(options.configs)} configurations, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
