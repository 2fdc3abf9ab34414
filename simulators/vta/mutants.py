"""Mutants of the RTL: mechanical one-token changes from a fixed seed, one by one or all in one design."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

OPERATORS = (
    ("&&", "||"), ("||", "&&"), ("==", "!="), ("!=", "=="), (" + ", " - "), (" - ", " + "), (" < ", " <= "),
    (" >= ", " > "), (" <= ", " < "), (" > ", " >= "), ("1'b1", "1'b0"), ("1'b0", "1'b1"), (" ? ", " ? ~"),
    ("'0", "'1"), ("<<", ">>"), (" & ", " | "), (">>>", ">>"), ("!", ""), (" * ", " + "),
)  # fmt: skip
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
    """`count` different changes, drawn from a seed.

    Whether one is drawn depends on its text and not on its line: a change of the RTL elsewhere leaves it in the sample.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    drawn = []
    for mutant in dict.fromkeys(candidates(sources)):
        text = (mutant.file, mutant.before, mutant.after)
        seen[text] += 1
        drawn.append((hashlib.sha256("\0".join([str(seed), *text, str(seen[text])]).encode()).digest(), mutant))
    return [mutant for _, mutant in sorted(drawn, key=lambda pair: pair[0])[:count]]


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
