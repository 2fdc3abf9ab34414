"""Programs at and over the edges of what is allowed, and shapes and bus accesses that random programs do not reach.

`directed` says of a model of the RTL whether it does what it should on all of them; a campaign over mutants tells by
it, and by random programs, which mutants are noticed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import Config
from heddle.hw.vta.generate import version_word
from heddle.hw.vta.isa import encode_uop
from heddle.simulators.verilator import Axi4, Dram, Model, Simulation
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.lockstep import WATCHDOG
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl
from numpy.typing import NDArray

MOST = 100_000
"""Cycles that no program of a campaign needs."""
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
    "LOAD mem=uop x=512 push_next\nGEMM count=512 overwrite pop_prev\nFINISH",
    "PAD x_before=15 y_before=15\nLOAD mem=inp\nFINISH",
    "LOAD mem=inp sram=254 x=2\nLOAD mem=wgt sram=126 x=2\nLOAD mem=prm sram=14 x=2\nLOAD mem=uop sram=510 x=2\nFINISH",
    READY + "LOOP src2=255 dst2=255 wgt2=127\nGEMM n2=2 overwrite begin=0\nFINISH",
    READY + "LOOP src2=255 dst2=255\nALU n2=2 op=mov\nFINISH",
    "LOAD mem=prm\nSTORE base=1 acc=255\nFINISH",
    "LOAD mem=prm sram=14 x=2\nSTORE base=1 prm=14 prm_x x=2\nFINISH",
    "SYNC unit=load push_next\n" * 255 + "FINISH",
)
"""Programs at the edge of what is allowed. Some work for long within one unit, and must be seen to get on."""
PATIENCE = 100
"""Cycles after which they would be given up if nothing moved."""


HOLE, WRITTEN = 0x0C0, 0x12345678
"""An address of no register, and a number to write to one."""
TABLE, RESULT, END = 16384, 32768, 65536
"""Where shapes find their micro-ops, where their STOREs write, and near which multiple of 4 KiB their code lies."""


def directed(config: Config, model: Model, number: int | None = None) -> str | None:
    """What the hardware does wrong with all that is in this module, or None; `number` chooses a mutant of a schema."""
    return protocol(config, model, number) or shaped(config, model, number) or faulty(config, model, number)


def protocol(config: Config, model: Model, number: int | None = None) -> str | None:
    """What is wrong with the registers after a reset, or with how they answer a master that takes its time."""
    memory = np.zeros(4096, np.uint8)
    simulation = model.open(Dram(len(memory), contents=memory), {"m_axi": Axi4()})
    fixed = {REGISTERS["ID"]: 0x48454456, REGISTERS["VERSION"]: version_word(config)}
    try:
        if number is not None:
            simulation.io.mutant = number
            simulation.reset()
        for address in (*REGISTERS.values(), HOLE):
            if wrong := _slow_read(simulation, address, fixed.get(address, 0)):
                return wrong
        return _slow_write(simulation, REGISTERS["CODE"]) or _slow_read(simulation, REGISTERS["CODE"], WRITTEN)
    finally:
        simulation.close()


def _slow_read(simulation: Simulation, address: int, expected: int) -> str | None:
    """What is wrong with a read whose answer is not taken at once, while another read waits."""
    io, tick = simulation.io, simulation.clock.tick
    io.s_axil_arvalid, io.s_axil_araddr, io.s_axil_rready = 1, address, 0
    tick()
    io.s_axil_araddr = REGISTERS["VERSION"] if address == REGISTERS["ID"] else REGISTERS["ID"]
    for _ in range(3):
        if not io.s_axil_rvalid or io.s_axil_rdata != expected:
            return f"register {address:#05x}: rvalid {io.s_axil_rvalid}, {io.s_axil_rdata:#x} before it is taken"
        tick()
    io.s_axil_arvalid, io.s_axil_rready = 0, 1
    tick()
    return f"register {address:#05x}: answered twice" if io.s_axil_rvalid else None


def _slow_write(simulation: Simulation, address: int) -> str | None:
    """What is wrong with a write of WRITTEN whose data come late, and whose answer is not taken while another waits."""
    io, tick = simulation.io, simulation.clock.tick
    io.s_axil_awvalid, io.s_axil_awaddr, io.s_axil_wstrb, io.s_axil_bready = 1, address, 0xF, 0
    for _ in range(2):
        tick()
        if io.s_axil_bvalid:
            return "a write was answered before its data came"
    io.s_axil_wvalid, io.s_axil_wdata = 1, WRITTEN
    tick()
    io.s_axil_wdata = 0
    for _ in range(3):
        if not io.s_axil_bvalid:
            return "the answer to a write did not stay until it was taken"
        tick()
    io.s_axil_awvalid, io.s_axil_wvalid, io.s_axil_bready = 0, 0, 1
    tick()
    return "a write was answered twice" if io.s_axil_bvalid else None


def shapes(config: Config) -> Mapping[str, str]:
    """Programs for any configuration that do what random ones do not: boxes of three planes; loops of ALU whose sources
    have the bit above an accumulator's index, where the field has it; work without any register instruction."""
    high = _ignored(config)
    begin = "LOAD mem=uop base=1 x=2\nLOAD mem=wgt\nLOAD mem=prm push_next\n"
    return {
        "three planes": "STRIDE mem=inp y=9 z=40\nLOAD mem=inp x=2 y=2 z=3\n" + begin +
        "LOOP dst2=1 src2=1\nGEMM n2=12 overwrite pop_prev push_next\n"
        "WALK acc_x=1 acc_y=2 acc_z=4 y=17 z=40\nQUANT ma=3 mr=5 shift=2 lo1=-128 hi1=127 lo2=-128 hi2=127\n"
        "RESIDUAL offset=3 y=5 z=11\nSTORE base=2 raw x=2 y=2 z=3 pop_prev\n"
        "STORE base=2 offset=512 x=2 y=2 z=3 residual\nFINISH",
        "wide sources": "LOAD mem=inp x=64\n" + begin + "LOOP dst2=1 src2=1\nGEMM n2=40 overwrite pop_prev\n"
        f"LOOP dst2=1 src2={high + 2} src1={high} src0={high}\nALU begin=1 n0=2 n1=2 n2=9 op=mov push_next\n"
        "WALK acc_x=1\nSTORE base=2 x=49 raw pop_prev\nFINISH",
        "nothing set": "LOAD mem=inp\n" + begin + "GEMM n0=2 n1=2 n2=2 overwrite pop_prev push_next\n"
        "STORE base=2 raw x=3 pop_prev\nSTORE base=2 offset=64 x=3 residual\nFINISH",
    }  # fmt: skip


def _ignored(config: Config) -> int:
    """The bit above an accumulator's index in the sources of ALU, or 0 where the field has no such bit."""
    widths = config.widths()
    return 1 << widths["acc_index"] if widths["inp_index"] > widths["acc_index"] else 0


def _memory(config: Config) -> NDArray[np.uint8]:
    """Random numbers, and the two micro-ops of the shapes."""
    memory = np.random.default_rng(1).integers(0, 256, END + 4096, dtype=np.uint8)
    kind = np.uint32 if config.uop_bits == 32 else np.uint64
    uops = [encode_uop(config, 0, 0, 0), encode_uop(config, 40, _ignored(config) + 7, 0)]
    table = np.array(uops, kind).view(np.uint8)
    memory[TABLE : TABLE + len(table)] = table
    return memory


def run_shape(
    config: Config, model: Model, text: str, number: int | None = None
) -> tuple[NDArray[np.uint8], Mapping[str, int]]:
    """The memory and the counters after a program of `shapes`, whose code crosses 4 KiB within a burst."""
    memory = _memory(config)
    rtl = Rtl(config, model, memory, Memory(latency=9))
    try:
        if number is not None:
            rtl.simulation.io.mutant = number
        return memory, rtl.run(assemble(text), END - 48, [0, TABLE, RESULT], WATCHDOG, MOST)
    finally:
        rtl.close()


def shaped(config: Config, model: Model, number: int | None = None) -> str | None:
    """On which of the shapes the RTL leaves another memory than the functional model, or None."""
    for name, text in shapes(config).items():
        expected = _memory(config)
        Functional(config, expected).run(assemble(text), [0, TABLE, RESULT])
        if (run_shape(config, model, text, number)[0][: END - 48] != expected[: END - 48]).any():
            return f"{name}: memory"
    return None


def faulty(config: Config, model: Model, number: int | None = None) -> str | None:
    """Which of WRONG and RIGHT the hardware judges wrongly, or None; both are for the smallest configuration."""
    if config.name != "tiny":
        return None
    memory = np.zeros(16384, np.uint8)
    rtl = Rtl(config, model, memory, Memory(latency=9))
    try:
        if number is not None:
            rtl.simulation.io.mutant = number
        for text, kind, index in WRONG:
            try:
                rtl.run(assemble(text), 8192, [0, 4096, 16384], WATCHDOG, MOST)
                return f"{text.splitlines()[-2:][0]}: not noticed"
            except FaultError as fault:
                if fault.kind != kind or index not in (-1, fault.index):
                    return f"{text.splitlines()[-2:][0]}: {fault.kind} of {fault.index}"
        for text in RIGHT:
            counts = rtl.run(assemble(text), 8192, [0, 4096, 16384], PATIENCE, MOST)
            slots = sum(i["count"] * i["n0"] * i["n1"] * i["n2"] for i in assemble(text) if i.name in ("GEMM", "ALU"))
            if not slots <= counts["compute_gemm"] + counts["compute_alu"] <= 2 * slots:
                return f"right program: {slots} micro-ops, counted {counts['compute_gemm'] + counts['compute_alu']}"
        return unknown_opcode(rtl)
    finally:
        rtl.close()


def unknown_opcode(rtl: Rtl) -> str | None:
    """How an instruction of zeros was taken for something, or None."""
    registers = rtl.simulation.buses["s_axil"]
    for name, value in (("CODE", 0), ("COUNT", 1), ("CONTROL", 1)):
        registers.write(REGISTERS[name], value)
    rtl.simulation.run(max_cycles=MOST, until="irq")
    status = registers.read(REGISTERS["STATUS"])
    return None if status == 0x102 else f"unknown opcode: status {status:#x}"
