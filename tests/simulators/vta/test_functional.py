"""The functional model against the plain loops of the instruction set's chapter, and what it says of wrong programs."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.hw.vta.assembly import assemble
from heddle.hw.vta.config import load_config
from heddle.simulators.vta.faults import FaultError
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.lockstep import reference_run
from heddle.simulators.vta.randomize import random_case

from tests.simulators.vta.plain import Plain


@pytest.mark.parametrize("name", ["tiny", "small", "wide", "tall"])
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_do_what_the_chapter_says(name: str, seed: int) -> None:
    config, case = load_config(name), random_case(load_config(name), 5000 + seed, jobs=2)
    memory = bytearray(case.memory.tobytes())
    Plain(config, memory).run(case.program, case.bases)
    assert bytes(memory) == reference_run(config, case)[0].tobytes()


def run(text: str, size: int = 4096) -> None:
    Functional(load_config("tiny"), np.zeros(size, np.uint8)).run(assemble(text), [0, 1024])


READY = "LOAD mem=uop\nLOAD mem=inp\nLOAD mem=wgt\nLOAD mem=prm push_next\nSYNC unit=compute pop_prev\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("LOAD mem=inp x=3", "illegal", "instruction 1: the program ends without FINISH"),
        ("FINISH\nFINISH", "illegal", "instruction 0: FINISH: instructions follow it, expected it last"),
        ("LOAD x=0\nFINISH", "illegal", "instruction 0: LOAD: x is 0, expected at least 1"),
        ("ALU op=7\nFINISH", "illegal", "instruction 0: ALU: op is 7, which is not an operation"),
        ("GEMM warm=1\nFINISH", "illegal", "instruction 0: GEMM: warm is set without depthwise"),
        ("STORE raw residual\nFINISH", "illegal",
         "instruction 0: STORE: raw and residual are both set, and they exclude each other"),
        ("LOAD pop_prev\nFINISH", "illegal", "instruction 0: LOAD: pop_prev is set, and LOAD has no such neighbour"),
        ("LOAD mem=inp sram=250 x=10\nFINISH", "bounds",
         "instruction 0: LOAD: writes inp[259], which has 256 elements"),
        ("LOAD mem=inp x=2000\nFINISH", "read",
         "instruction 0: LOAD: reaches byte 8000 of base 0, expected at most 4096"),
        ("GEMM\nFINISH", "uninitialised", "instruction 0: GEMM: reads uop[0], which was never written"),
        (READY + "GEMM\nFINISH", "uninitialised", "instruction 5: GEMM: reads acc[0], which was never written"),
        (READY + "LOOP src2=200\nGEMM n2=3 overwrite\nFINISH", "bounds",
         "instruction 6: GEMM: inp[400] is used, which has 256 elements"),
        (READY + "GEMM overwrite\nSTORE base=1\nFINISH", "race",
         "instruction 6: STORE: reads acc that instruction 5 of COMPUTE wrote; no token orders them"),
        (READY + "GEMM overwrite push_next\nSTORE offset=1023 x=2 pop_prev\nFINISH", "write",
         "instruction 6: STORE: reaches byte 4100 of base 0, expected at most 4096"),
        (READY + "GEMM overwrite push_next\nSTORE y=2 pop_prev\nFINISH", "write",
         "instruction 6: STORE: two vectors overlap in memory"),
        (READY + "GEMM overwrite push_next\nSTORE base=1 pop_prev push_prev\nSYNC unit=compute pop_next push_prev\n"
         "LOAD base=1 pop_next\nFINISH", "race",
         "instruction 8: LOAD: reads memory that STORE 6 writes; a SYNC of STORE and tokens must order them"),
        ("SYNC unit=load push_next\n" * 256 + "FINISH", "token",
         "instruction 255: SYNC: more than 255 tokens load_to_compute"),
    ],
)  # fmt: skip
def test_wrong_programs_are_named(text: str, kind: str, message: str) -> None:
    with pytest.raises(FaultError) as error:
        run(text)
    assert (error.value.kind, str(error.value)) == (kind, message)


def test_a_read_back_is_ordered_by_sync_of_store() -> None:
    run(
        READY + "GEMM overwrite push_next\nSTORE base=1 pop_prev\nSYNC unit=store push_prev\n"
        "SYNC unit=compute pop_next push_prev\nLOAD base=1 pop_next\nFINISH"
    )


def test_a_full_queue_in_front_of_what_it_waits_for_is_a_deadlock() -> None:
    waits = "SYNC unit=compute pop_prev\n" * 6 + "SYNC unit=load push_next\n" * 6 + "FINISH"
    with pytest.raises(FaultError, match=r"^instruction 0: deadlock: every unit waits for a token") as error:
        run(waits)
    assert error.value.__notes__[-1] == "fetch: instruction 4 waits for room in the compute queue"
