"""What the hardware reports: errors of programs and of the memory, and that the machine runs again afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import load_config
from heddle.hw.vta.description import description
from heddle.hw.vta.generate import version_word
from heddle.hw.vta.isa import counter_names, make
from heddle.simulators.verilator import Axi4, AxiLite, Dram
from heddle.simulators.vta.edges import WRONG
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, build_rtl

CONFIG = load_config("tiny")
CODE = 2048
GOOD = (
    "LOAD mem=uop\nLOAD mem=inp\nLOAD mem=wgt\nLOAD mem=prm push_next\nGEMM overwrite pop_prev push_next\n"
    "STORE base=1 raw pop_prev\nFINISH"
)


@pytest.fixture
def rtl() -> Iterator[Rtl]:
    memory = np.zeros(8192, np.uint8)
    machine = Rtl(CONFIG, build_rtl(CONFIG), memory, Memory(latency=7))
    yield machine
    machine.close()


@pytest.mark.parametrize(("text", "kind", "index"), WRONG)
def test_errors_are_reported_with_their_instruction(rtl: Rtl, text: str, kind: str, index: int) -> None:
    with pytest.raises(FaultError) as error:
        rtl.run(assemble(text), CODE, [0, 1024, 8192], watchdog=2000)
    assert error.value.kind == kind
    if index >= 0:
        assert error.value.index == index
    assert rtl.run(assemble(GOOD), CODE, [0, 1024], watchdog=2000)["write_beats"] == 4


@pytest.mark.parametrize("extra", [1 << 127, 0xF0])
def test_reserved_bits_are_illegal(rtl: Rtl, extra: int) -> None:
    program = assemble("LOAD mem=inp\nFINISH")
    rtl.prepare(program, CODE, [0])
    rtl.simulation.run(max_cycles=10_000, until="irq")
    low = int.from_bytes(rtl._memory[CODE + 16 : CODE + 32].tobytes(), "little") | extra
    rtl._memory[CODE + 16 : CODE + 32] = np.frombuffer(low.to_bytes(16, "little"), np.uint8)
    registers = rtl.simulation.buses["s_axil"]
    registers.write(REGISTERS["CONTROL"], 1)
    rtl.simulation.run(max_cycles=10_000, until="irq")
    assert registers.read(REGISTERS["STATUS"]) == 0x102
    assert registers.read(REGISTERS["ERROR_INDEX"]) == 1


def test_registers_hold_what_is_written(rtl: Rtl) -> None:
    registers = rtl.simulation.buses["s_axil"]
    assert registers.read(REGISTERS["ID"]) == 0x48454456
    assert registers.read(REGISTERS["VERSION"]) == version_word(CONFIG)
    patterns = [0x0F1E2D3C * (n + 1) % (1 << 32) for n in range(16)]
    for number, pattern in enumerate(patterns):
        registers.write(REGISTERS["BASE0"] + 4 * number, pattern)
    assert [registers.read(REGISTERS["BASE0"] + 4 * n) for n in range(16)] == patterns
    registers.write(REGISTERS["CODE"], 0xDEADBEEF)
    registers.write(REGISTERS["COUNT"], 0xCAFEF00D)
    registers.write(REGISTERS["CODE"], 0, strobe=1)
    assert registers.read(REGISTERS["CODE"]) == 0xDEADBEEF
    assert registers.read(REGISTERS["COUNT"]) == 0xCAFEF00D
    registers.write(REGISTERS["CONTROL"], 0)
    assert registers.read(REGISTERS["STATUS"]) == 0
    assert registers.read(0x0C0) == 0


def test_a_hang_is_reported_with_tokens_and_heads(rtl: Rtl) -> None:
    stuck = "SYNC unit=load push_next\nSYNC unit=compute pop_next push_next\n"
    stuck += "SYNC unit=store pop_prev\nLOAD pop_next\nFINISH"
    with pytest.raises(FaultError, match=r"deadlock.*load_to_compute 1, compute_to_load 0") as error:
        rtl.run(assemble(stuck), CODE, [0], watchdog=300)
    assert error.value.kind == "deadlock"
    assert error.value.__notes__[:3] == [
        "load queue: instruction 3: LOAD mem=inp pop_next",
        "compute queue: instruction 1: SYNC unit=compute pop_next push_next",
        "store queue: instruction 2: SYNC unit=store pop_prev",
    ]


def test_an_error_of_the_memory_ends_the_program_and_not_the_machine() -> None:
    model, memory = build_rtl(CONFIG), np.zeros(8192, np.uint8)
    dram = Dram(8192, latency=5, contents=memory, faults=[(512, 516)])
    machine = Rtl(CONFIG, model, memory, Memory())
    machine.close()
    machine.simulation = model.open(dram, {"m_axi": Axi4(errors="respond"), "s_axil": AxiLite()})
    machine._registers = machine.simulation.buses["s_axil"]
    with pytest.raises(FaultError) as error:
        machine.run([make("LOAD", mem="inp", x=200), make("FINISH")], CODE, [0], 2000)
    assert error.value.kind == "read"
    machine.run([make("LOAD", mem="inp", x=100), make("FINISH")], CODE, [0], 2000)
    machine.close()


def test_the_counters_are_those_of_the_description() -> None:
    assert len(counter_names()) == len(description()["counter"]) == len(set(counter_names()))
