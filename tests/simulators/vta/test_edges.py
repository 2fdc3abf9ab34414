"""What random programs do not reach: units that a configuration lacks, unknown opcodes, fields wider than an index."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import load_config
from heddle.hw.vta.isa import encode_uop
from heddle.simulators.vta.cycle import cycles
from heddle.simulators.vta.edges import directed
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.rtl import REGISTERS, Memory, Rtl, build_rtl

from tests.simulators.vta.plain import Plain
from tests.simulators.vta.test_lockstep import CONFIGS


def test_sources_of_alu_wrap_their_field_to_an_accumulator() -> None:
    """On `wide` a src field has 11 bits and an accumulator index 10: the highest bit does not count."""
    config = load_config("wide")
    memory = np.random.default_rng(1).integers(0, 256, 65536, dtype=np.uint8)
    uops = [encode_uop(config, 0, 0, 0), encode_uop(config, 40, 1024 + 7, 0)]
    memory[4096:4112] = np.array([*uops, 0, 0], np.uint32).view(np.uint8)
    program = assemble(
        "LOAD mem=uop base=1\nLOAD mem=inp x=64\nLOAD mem=wgt\nLOAD mem=prm push_next\nLOOP dst2=1 src2=1\n"
        "GEMM n2=40 overwrite pop_prev\nLOOP dst2=1 src2=1026 src1=1024\nALU begin=1 n1=2 n2=9 op=mov push_next\n"
        "WALK acc_x=1\nSTORE base=2 x=49 raw pop_prev\nFINISH"
    )
    bases = [8192, 4096, 32768]
    outcomes = [memory.copy() for _ in range(3)]
    Functional(config, outcomes[0]).run(program, bases)
    plain = bytearray(outcomes[1].tobytes())
    Plain(config, plain).run(program, bases)
    rtl = Rtl(config, build_rtl(config), outcomes[2], Memory(latency=11))
    rtl.run(program, 60000 // 64 * 64, bases, 3000)
    rtl.close()
    assert outcomes[0][:40000].tobytes() == bytes(plain)[:40000] == outcomes[2][:40000].tobytes()
    assert outcomes[0][32768:40000].any()


def test_depthwise_is_illegal_where_the_configuration_lacks_it() -> None:
    config, memory = load_config("wide"), np.zeros(8192, np.uint8)
    program = assemble("GEMM depthwise\nFINISH")
    rtl = Rtl(config, build_rtl(config), memory, Memory(latency=3))
    for machine in (lambda: rtl.run(program, 4096, [0], 500), lambda: Functional(config, memory).run(program, [0])):
        with pytest.raises(FaultError) as error:
            machine()
        assert (error.value.kind, error.value.index) == ("illegal", 0)
    rtl.close()


def test_unknown_opcodes_are_illegal() -> None:
    config, memory = load_config("tiny"), np.zeros(8192, np.uint8)
    rtl = Rtl(config, build_rtl(config), memory, Memory(latency=3))
    registers = rtl.simulation.buses["s_axil"]
    assert registers.read(REGISTERS["ERROR_INDEX"]) == 0
    for opcode in (0, 3, 7, 11):
        memory[0] = opcode
        for name, value in (("CODE", 0), ("COUNT", 1), ("CONTROL", 1)):
            registers.write(REGISTERS[name], value)
        rtl.simulation.run(max_cycles=10_000, until="irq")
        assert registers.read(REGISTERS["STATUS"]) == 0x102
    rtl.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_edges_shapes_and_slow_masters(name: str) -> None:
    config = load_config(name)
    assert directed(config, build_rtl(config)) is None


def test_a_base_that_is_no_whole_beat_is_refused_before_anything_runs() -> None:
    config, memory = load_config("tiny"), np.zeros(8192, np.uint8)
    program = assemble("LOAD mem=inp base=1\nWALK acc_x=1\nSTORE base=2\nFINISH")
    rtl = Rtl(config, build_rtl(config), memory, Memory(latency=3))
    refusals = {
        (0, 6, 4): (0, "LOAD: base 1 holds 6, expected whole beats of 4 bytes"),
        (0, 8, 5): (2, "STORE: base 2 holds 5, expected whole beats of 4 bytes"),
    }
    for bases, (index, text) in refusals.items():
        for machine in (
            lambda bases=bases: rtl.run(program, 4096, bases, 500),
            lambda bases=bases: Functional(config, memory).run(program, bases),
            lambda bases=bases: cycles(program, config, bases=bases),
        ):
            with pytest.raises(FaultError) as error:
                machine()
            assert (error.value.kind, str(error.value)) == ("alignment", f"instruction {index}: {text}")
    Functional(config, memory).run(assemble("LOAD mem=inp base=1\nFINISH"), [0, 8, 5])  # a base that nothing uses
    rtl.close()
