"""Line and toggle coverage of the RTL by random programs, by the programs at and over the edges, and by wild ones.

`python -m heddle.simulators.vta.cover` prints the shares and what was never reached.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.description import BASES
from heddle.hw.vta.isa import Instruction, layout
from heddle.simulators.verilator import Model
from heddle.simulators.verilator.coverage import Coverage, read_coverage
from heddle.simulators.vta.edges import RIGHT, WRONG
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.lockstep import WATCHDOG, timing
from heddle.simulators.vta.randomize import random_case
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, build_rtl

ORIGINS = (0, 0xA5A5_0000, 0x5A5A_0000)
"""Where memory starts, in turn, so that all bits of addresses are seen to change."""

PROGRAMS = 12
"""Random programs of a run, if nobody says otherwise; `heddle sim cover` runs as many."""

WILD = 24
"""Wild programs per run."""
SHORT = ("x", "y", "z", "n0", "n1", "n2", "count", "warm")
"""Fields that say how long an instruction runs."""
SETTERS = ("STRIDE", "PAD", "LOOP", "WALK", "QUANT", "RESIDUAL")


def wild_program(config: Config, rng: random.Random) -> list[Instruction]:
    """Settings and work with arbitrary fields: within the form of an instruction, with no regard to what lies where."""
    program = []
    for name in (*SETTERS, rng.choice(("LOAD", "GEMM", "ALU", "STORE"))):
        values: dict[str, int] = {}
        for field, _, width in layout(config, name):
            most = (1 << width) - 1
            value = rng.choice((0, most, rng.getrandbits(width), most // 3, most - most // 3))
            values[field.name] = value - (value >> width - 1 << width) if field.signed else value
        setter = name in SETTERS
        if not setter:
            longest = rng.choice([field for field in SHORT if field in values and field != "warm"])
            values |= {
                field: (min(values[field], 900) or 1) if field == longest else rng.randint(1, 2)
                for field in SHORT
                if field in values
            }
        if name == "PAD":
            grown = rng.choice(list(values))  # one side at a time, or the box takes days
            values = {
                field: value if field in (grown, "value") else rng.randint(0, 1) for field, value in values.items()
            }
        if name == "GEMM":
            values["warm"] = rng.randint(0, 3) if values["depthwise"] else 0
        if name == "ALU":
            values["op"] %= 7
        if name == "STORE" and values["raw"]:
            values["residual"] = 0
        program.append(Instruction(name, values))
    return [*program, Instruction("FINISH")]


def run_wild(config: Config, model: Model, rng: random.Random, folder: Path) -> list[Path]:
    """Run wild programs; nearly all end with an error of bounds or of memory, which the hardware must report."""
    files = []
    for number in range(WILD):
        memory = np.full(16384, (0, 0xFF, 0x5A)[number % 3], np.uint8)
        origin = ORIGINS[number % len(ORIGINS)]
        rtl = Rtl(config, model, memory, Memory(latency=9), origin)
        bases = [rng.getrandbits(32) // config.beat_bytes * config.beat_bytes - origin for _ in range(BASES)]
        with contextlib.suppress(FaultError):
            rtl.run(wild_program(config, rng), 8192, bases, WATCHDOG)
        files.append(Path(folder, f"wild{number}.dat"))
        rtl.simulation.coverage(files[-1])
        rtl.close()
    return files


def run_all(
    config: Config,
    model: Model,
    programs: int,
    first: int = 0,
    jobs: int = 4,
    begins: Callable[[int], object] = lambda seed: None,
) -> Coverage:
    """What random programs of `jobs` jobs, directed and wild ones exercise; `begins` hears of each random seed."""
    with tempfile.TemporaryDirectory(prefix="heddle-") as folder:
        files = []
        for seed in range(first, first + programs):
            begins(seed)
            case = random_case(config, seed, jobs)
            rtl = Rtl(config, model, case.memory.copy(), timing(seed), ORIGINS[seed % len(ORIGINS)])
            rtl.run(case.program, case.code, case.bases, WATCHDOG)
            files.append(Path(folder, f"{seed}.dat"))
            rtl.simulation.coverage(files[-1])
            rtl.close()
        rtl = Rtl(config, model, np.zeros(16384, np.uint8), Memory(latency=9))
        for text in (*(text for text, _, _ in WRONG), *RIGHT):
            try:
                rtl.run(assemble(text), 8192, [0, 4096, 16384], WATCHDOG)
            except DeviceError:
                continue  # most of these programs are wrong on purpose
        registers = rtl.simulation.buses["s_axil"]
        for value in (0xFFFFFFFF, 0):
            for address in (REGISTERS["CODE"], REGISTERS["COUNT"], *(REGISTERS["BASE0"] + 4 * n for n in range(BASES))):
                registers.write(address, value)
        for address in REGISTERS.values():
            registers.read(address)
        files.append(Path(folder, "directed.dat"))
        rtl.simulation.coverage(files[-1])
        rtl.close()
        return read_coverage([*files, *run_wild(config, model, random.Random(first), Path(folder))])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="coverage of the accelerator's RTL")
    parser.add_argument("--programs", type=int, default=PROGRAMS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--config", default="tiny")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    found = run_all(config, build_rtl(config, "cover"), options.programs, options.first)
    for kind in ("line", "toggle"):
        share = found.share(kind)
        print(f"{kind}: {share.hit} of {share.total}, {share.percent:.1f}%")
    for point in found.missed("line"):
        print(f"never: {point.file}:{point.line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
