"""Mutants of the RTL: mechanical one-token changes from a fixed seed, to see whether the tests notice them.

`python -m heddle.simulators.vta.mutate --count 200` puts all of them into one model of a configuration,
where an input says which is in force, runs random programs and the programs at and over the edges on each, and prints
the survivors: the changes that nothing noticed. A random program notices a change of memory, of a counter, or an error;
counters are those of the design as it is, which a test compares with a file of expected ones.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from heddle.core.errors import HeddleError
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import Config, load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.verilator import Model, build
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.lockstep import WATCHDOG, timing
from heddle.simulators.vta.randomize import random_case
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, rtl_spec

OPERATORS = (
    ("&&", "||"), ("||", "&&"), ("==", "!="), ("!=", "=="), (" + ", " - "), (" - ", " + "), (" < ", " <= "),
    (" >= ", " > "), (" <= ", " < "), (" > ", " >= "), ("1'b1", "1'b0"), ("1'b0", "1'b1"), (" ? ", " ? ~"),
    ("'0", "'1"), ("<<", ">>"), (" & ", " | "), (">>>", ">>"), ("!", ""), (" * ", " + "),
)  # fmt: skip
MOST = 100_000
"""Cycles that no program of the campaign needs."""
NUMBER = re.compile(r"(?<![\w'.\[:])(\d+)(?![\w'])")
ASSIGNMENT = re.compile(
    r"^(\s*(?:\w+: |end |else |[\w']+\(?\w*\)?: )?(?:assign |wire |automatic )?[^=?]*?(?: <= | = ))(.*)(;)\s*$"
)
CONDITION = re.compile(r"^(\s*(?:end )?(?:else )?if \()(.*?)(\)(?: begin| .*;)?)\s*$")


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the line counted from 1, and the expression before and after."""

    file: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before}  ->  {self.after}"


def split(line: str) -> tuple[str, str, str] | None:
    """A line around the one expression in it that may be changed, or None: statements of one line, and conditions."""
    code = line.split("//")[0].rstrip()
    if re.match(
        r"^\s*(//|module|endmodule|import|parameter|localparam|input|output|logic|typedef|`|\.|for|int )", code
    ):
        return None
    for pattern in (CONDITION, ASSIGNMENT):
        found = pattern.match(code)
        if found and all(found[2].count(a) == found[2].count(b) for a, b in ("()", "{}", "[]")):
            return found[1], found[2], found[3]
    return None


def candidates(sources: Sequence[Path]) -> Iterator[Mutant]:
    """Every change that the rules allow, in the order of the files."""
    for path in sources:
        checked = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("`"):
                checked = line.startswith("`ifndef SYNTHESIS")
            parts = split(line)
            if checked or parts is None or "assert" in line:
                continue
            code = parts[1]
            for old, new in OPERATORS:
                for at in (m.start() for m in re.finditer(re.escape(old), code)):
                    if (old, code[at : at + 2]) != ("!", "!=") and (old, code[at : at + 3]) != ("<<", "<<<"):
                        yield Mutant(path.name, number, code, code[:at] + new + code[at + len(old) :])
            for match in NUMBER.finditer(code):
                yield Mutant(
                    path.name, number, code, f"{code[: match.start()]}{int(match[1]) + 1}{code[match.end() :]}"
                )


def sample(sources: Sequence[Path], count: int, seed: int) -> Sequence[Mutant]:
    """`count` different changes, drawn from a seed."""
    found = list(dict.fromkeys(candidates(sources)))
    return random.Random(seed).sample(found, min(count, len(found)))


def mutated(path: Path, mutant: Mutant) -> str:
    """The source with one mutant in it."""
    lines = path.read_text().splitlines()
    parts = split(lines[mutant.line - 1])
    assert parts is not None
    lines[mutant.line - 1] = f"{parts[0]}{mutant.after}{parts[2]}"
    return "\n".join(lines) + "\n"


def schema(sources: Sequence[Path], mutants: Sequence[Mutant], folder: Path) -> Sequence[Path]:
    """Sources that hold all mutants: the input `mutant` of the top says which is in force, counted from 1."""
    written = []
    for path in sources:
        lines = path.read_text().splitlines()
        chosen: dict[int, str] = {}
        for number, mutant in enumerate(mutants, 1):
            if mutant.file == path.name:
                otherwise = chosen.get(mutant.line, mutant.before)
                chosen[mutant.line] = f"(vta.mutant == {number}) ? ({mutant.after}) : ({otherwise})"
        for line, expression in chosen.items():
            parts = split(lines[line - 1])
            assert parts is not None
            lines[line - 1] = f"{parts[0]}{expression}{parts[2]}"
        if path.name == "vta.sv":
            at = next(i for i, line in enumerate(lines) if line.strip() == "input logic rst,")
            lines.insert(at, "  input int mutant,")
        written.append(folder / path.name)
        written[-1].write_text("\n".join(lines) + "\n")
    return written


def observe(config: Config, model: Model, seed: int, number: int | None = None) -> tuple[bytes, Mapping[str, int]]:
    """What a random program leaves in memory, and the counters; `number` chooses a mutant of a schema."""
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


def notice(
    config: Config, model: Model, number: int, expected: Sequence[tuple[bytes, Mapping[str, int]]]
) -> str | None:
    """How a mutant was noticed, or None; `expected` is what the unchanged design does with the first seeds."""
    try:
        for seed, (memory, counters) in enumerate(expected):
            found, counted = observe(config, model, seed, number)
            if found != memory:
                return f"program {seed}: memory"
            if counted != counters:
                return f"program {seed}: counters"
        return directed(config, model, number) if config.name == "tiny" else None
    except HeddleError as error:
        return f"{type(error).__name__}: {str(error)[:80]}"


READY = "LOAD mem=uop\nLOAD mem=inp\nLOAD mem=wgt\nLOAD mem=prm push_next\nSYNC unit=compute pop_prev\n"
WRONG = (
    ("LOAD mem=inp x=3", "illegal", 1),
    *((f"{text}\nFINISH", "illegal", 0) for text in (
        "LOAD x=0", "LOAD y=0", "LOAD z=0", "LOAD pop_prev", "LOAD push_prev", "SYNC unit=load push_prev",
        "SYNC unit=0", "SYNC unit=store push_next", "SYNC unit=store pop_next", "STRIDE push_next",
        "STRIDE pop_prev", "PAD pop_next",
        "PAD push_prev", "LOOP pop_prev", "LOOP push_next", "WALK push_prev", "WALK pop_next", "QUANT pop_prev",
        "QUANT push_next", "RESIDUAL pop_next", "RESIDUAL push_prev", "GEMM count=0", "GEMM n0=0",
        "GEMM n1=0", "GEMM n2=0", "GEMM warm=1", "ALU op=7", "ALU count=0", "ALU n0=0", "ALU n1=0", "ALU n2=0",
        "STORE x=0",
        "STORE y=0", "STORE z=0", "STORE pop_next", "STORE push_next", "STORE raw residual")),
    ("FINISH push_next", "illegal", 0),
    ("FINISH pop_prev", "illegal", 0),
    ("SYNC unit=load\nLOAD mem=inp sram=255 x=2\nFINISH", "bounds", 1),
    ("LOAD mem=wgt sram=127 x=2\nFINISH", "bounds", 0),
    ("LOAD mem=prm sram=15 x=2\nFINISH", "bounds", 0),
    ("LOAD mem=uop sram=511 x=2\nFINISH", "bounds", 0),
    (READY + "LOOP src2=128\nGEMM n2=3 overwrite\nFINISH", "bounds", 6),
    (READY + "LOOP dst2=128\nGEMM n2=3 overwrite\nFINISH", "bounds", 6),
    (READY + "LOOP wgt2=64\nGEMM n2=3 overwrite\nFINISH", "bounds", 6),
    (READY + "GEMM begin=511 count=2 overwrite\nFINISH", "bounds", 5),
    (READY + "LOOP src2=128\nALU n2=3\nFINISH", "bounds", 6),
    (READY + "LOOP dst2=128\nALU n2=3 op=mov use_imm\nFINISH", "bounds", 6),
    (READY + "WALK acc_x=128\nSTORE base=1 x=3\nFINISH", "bounds", 6),
    (READY + "STORE base=1 prm=15 prm_x x=2\nFINISH", "bounds", 5),
    ("SYNC unit=load push_next\n" * 256 + "FINISH", "token", 255),
    (READY + "SYNC unit=compute push_prev\n" * 256 + "FINISH", "token", 260),
    (READY + "SYNC unit=compute push_next\n" * 256 + "FINISH", "token", 260),
    ("SYNC unit=store push_prev\n" * 256 + "FINISH", "token", 255),
    ("LOAD mem=inp base=2\nFINISH", "read", -1),
    (READY + "STORE base=2\nFINISH", "write", 5),
)  # fmt: skip
"""Wrong programs for the smallest configuration with what the hardware must say: the kind and the instruction."""
RIGHT = (
    "LOAD mem=uop x=512 push_next\nALU count=512 op=mov use_imm pop_prev\nFINISH",
    "LOAD mem=inp sram=254 x=2\nLOAD mem=wgt sram=126 x=2\nLOAD mem=prm sram=14 x=2\nLOAD mem=uop sram=510 x=2\nFINISH",
    READY + "LOOP src2=255 dst2=255 wgt2=127\nGEMM n2=2 overwrite begin=0\nFINISH",
    READY + "LOOP src2=255 dst2=255\nALU n2=2 op=mov\nFINISH",
    "LOAD mem=prm\nSTORE base=1 acc=255\nFINISH",
    "LOAD mem=prm sram=14 x=2\nSTORE base=1 prm=14 prm_x x=2\nFINISH",
    "SYNC unit=load push_next\n" * 255 + "FINISH",
)
"""Programs at the edge of what is allowed."""


def directed(config: Config, model: Model, number: int | None) -> str | None:
    """How the programs at and over the edges were noticed, or None if the hardware says of each what it should."""
    memory = np.zeros(16384, np.uint8)
    rtl = Rtl(config, model, memory, Memory(latency=9))
    if number is not None:
        rtl.simulation.io.mutant = number
    try:
        for text, kind, index in WRONG:
            try:
                rtl.run(assemble(text), 8192, [0, 4096, 16384], WATCHDOG, MOST)
                return f"{text.splitlines()[-2:][0]}: not noticed"
            except FaultError as fault:
                if fault.kind != kind or index not in (-1, fault.index):
                    return f"{text.splitlines()[-2:][0]}: {fault.kind} of {fault.index}"
        for text in RIGHT:
            counts = rtl.run(assemble(text), 8192, [0, 4096, 16384], WATCHDOG, MOST)
            slots = sum(i["count"] * i["n0"] * i["n1"] * i["n2"] for i in assemble(text) if i.name in ("GEMM", "ALU"))
            if not slots <= counts["compute_gemm"] + counts["compute_alu"] <= 2 * slots:
                return f"right program: {slots} micro-ops, counted {counts['compute_gemm'] + counts['compute_alu']}"
        if unknown := unknown_opcode(rtl):
            return unknown
    finally:
        rtl.close()
    return None


def unknown_opcode(rtl: Rtl) -> str | None:
    """How an instruction of zeros was taken for something, or None."""
    registers = rtl.simulation.buses["s_axil"]
    for name, value in (("CODE", 0), ("COUNT", 1), ("CONTROL", 1)):
        registers.write(REGISTERS[name], value)
    rtl.simulation.run(max_cycles=MOST, until="irq")
    status = registers.read(REGISTERS["STATUS"])
    return None if status == 0x102 else f"unknown opcode: status {status:#x}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="mutation campaign over the accelerator's RTL")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", type=int, default=120)
    parser.add_argument("--configs", nargs="+", default=["tiny", "wide"], help="what one lets survive, the next tries")
    options = parser.parse_args(arguments)
    start, survivors = time.perf_counter(), list(sample(rtl_sources(), options.count, options.seed))
    total = len(survivors)
    for name in options.configs:
        survivors = survive(load_config(name), survivors, options.programs)
        print(f"{name}: {len(survivors)} of {total} mutants survive, {time.perf_counter() - start:.0f} s")
    for mutant in survivors:
        print(mutant)
    return 0


def survive(config: Config, mutants: Sequence[Mutant], programs: int) -> list[Mutant]:
    """The mutants that a configuration's programs do not notice; progress goes to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        model = build(rtl_spec(config, schema(rtl_sources(), mutants, Path(folder))))
    expected, survivors = [observe(config, model, seed, 0) for seed in range(programs)], []
    for number, mutant in enumerate(mutants, 1):
        how = notice(config, model, number, expected)
        survivors += [] if how else [mutant]
        print(f"{config.name} {number} {how or 'SURVIVED'} | {mutant}", file=sys.stderr, flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
