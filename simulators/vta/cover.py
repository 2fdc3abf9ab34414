"""Line and toggle coverage of the RTL by random programs and by the programs at and over the edges.

`python -m heddle.simulators.vta.cover` prints the shares and what was never reached.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from heddle.core.errors import DeviceError
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.description import BASES
from heddle.simulators.verilator import Model
from heddle.simulators.verilator.coverage import Coverage, read_coverage
from heddle.simulators.vta.lockstep import WATCHDOG, timing
from heddle.simulators.vta.mutate import RIGHT, WRONG
from heddle.simulators.vta.randomize import random_case
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, build_rtl

ORIGINS = (0, 0xA5A5_0000, 0x5A5A_0000)
"""Where memory starts, in turn, so that all bits of addresses are seen to change."""


def run_all(config: Config, model: Model, programs: int, first: int) -> Coverage:
    """What the programs exercise."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for seed in range(first, first + programs):
            case = random_case(config, seed)
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
        for value in (0xFFFFFFF0, 0):
            for address in (REGISTERS["CODE"], REGISTERS["COUNT"], *(REGISTERS["BASE0"] + 4 * n for n in range(BASES))):
                registers.write(address, value)
        for address in REGISTERS.values():
            registers.read(address)
        files.append(Path(folder, "directed.dat"))
        rtl.simulation.coverage(files[-1])
        rtl.close()
        return read_coverage(files)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="coverage of the accelerator's RTL")
    parser.add_argument("--programs", type=int, default=100)
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
