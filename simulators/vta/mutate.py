"""Runs mutants of the RTL to see whether programs notice them.

`python -m heddle.simulators.vta.mutate --record FILE` puts all mutants of a sample into one model of a configuration,
where an input says which is in force, runs what is directed at edges and random programs on each, and writes down what
noticed it. Such a program notices a change of memory, of a counter, or an error; counters are those of the design as it
is, which a test compares with a file of expected ones. What one configuration lets survive, the next tries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from heddle.core.errors import HeddleError
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.verilator import Model, build
from heddle.simulators.vta.edges import MOST, directed, run_shape, shapes
from heddle.simulators.vta.lockstep import WATCHDOG, timing
from heddle.simulators.vta.mutants import Mutant, sample, schema
from heddle.simulators.vta.randomize import random_case
from heddle.simulators.vta.rtl import Rtl, rtl_spec
from heddle.simulators.vta.verdicts import Verdict, read_verdicts, write_verdicts

Observed = tuple[bytes, Mapping[str, int]]
"""What a program leaves in memory, and the counters."""


def observe(config: Config, model: Model, seed: int, number: int | None = None) -> Observed:
    """What a random program does; `number` chooses a mutant of a schema."""
    case = random_case(config, seed)
    memory = case.memory.copy()
    rtl = Rtl(config, model, memory, timing(seed))
    if number is not None:
        rtl.simulation.io.mutant = number
    try:
        counters = rtl.run(case.program, case.code, case.bases, WATCHDOG, MOST)
    finally:
        rtl.close()
    return memory.tobytes(), counters


def observations(config: Config, model: Model, programs: int, number: int) -> Iterator[tuple[str, Observed]]:
    """What the shapes and random programs do with a mutant in force, one after the other."""
    for name, text in shapes(config).items():
        memory, counters = run_shape(config, model, text, number)
        yield name, (memory.tobytes(), counters)
    for seed in range(programs):
        yield f"program {seed}", observe(config, model, seed, number)


def notice(config: Config, model: Model, number: int, expected: Mapping[str, Observed]) -> str:
    """How a mutant was noticed, or nothing; `expected` is what the unchanged design does."""
    try:
        if wrong := directed(config, model, number):
            return wrong
        for name, (memory, counters) in observations(config, model, len(expected) - len(shapes(config)), number):
            if memory != expected[name][0]:
                return f"{name}: memory"
            if counters != expected[name][1]:
                return f"{name}: counters"
    except HeddleError as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return ""


def noticed(config: Config, mutants: Sequence[Mutant], programs: int) -> list[str]:
    """How a configuration notices each mutant, or nothing; progress goes to standard error."""
    with tempfile.TemporaryDirectory(prefix="heddle-") as folder:
        model = build(rtl_spec(config, schema(rtl_sources(), mutants, Path(folder))))
    expected, found = dict(observations(config, model, programs, 0)), []
    for number, mutant in enumerate(mutants, 1):
        found.append(notice(config, model, number, expected))
        print(f"{config.name} {number} {found[-1] or 'SURVIVED'} | {mutant}", file=sys.stderr, flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="mutation campaign over the accelerator's RTL")
    parser.add_argument("--count", type=int, default=240, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=1, help="what the sample is drawn from")
    parser.add_argument("--programs", type=int, default=60, help="random programs on each mutant")
    parser.add_argument("--configs", nargs="+", default=["tiny", "wide"], help="what one lets survive, the next tries")
    parser.add_argument(
        "--record", type=Path, help="a file (.json) for what was found; if it is there, goes on with it"
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    verdicts = [Verdict(mutant) for mutant in sample(rtl_sources(), options.count, options.seed)]
    if options.record and options.record.exists():
        before = read_verdicts(options.record)
        if [verdict.mutant for verdict in before] != [verdict.mutant for verdict in verdicts]:
            parser.error(f"{options.record} is of another sample of mutants, or of another RTL: remove it")
        verdicts = before
    for name in options.configs:
        left = [at for at, verdict in enumerate(verdicts) if not verdict.noticed]
        found = noticed(load_config(name), [verdicts[at].mutant for at in left], options.programs)
        for at, how in zip(left, found, strict=True):
            verdicts[at] = replace(verdicts[at], noticed=f"{name}: {how}" if how else "")
        survive = sum(not verdict.noticed for verdict in verdicts)
        print(f"{name}: {survive} of {len(verdicts)} mutants survive, {time.perf_counter() - start:.0f} s")
        if options.record:
            write_verdicts(options.record, verdicts)
    for verdict in verdicts:
        if not verdict.noticed:
            print(verdict.mutant)
    return 0


if __name__ == "__main__":
    sys.exit(main())
