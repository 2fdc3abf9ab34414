"""What became of each mutant of the RTL: noticed by programs, proved to change nothing, or neither; kept in a file.

`python -m heddle.simulators.vta.verdicts` writes docs/hardware/mutants.md anew from mutants.json beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from heddle.core.files import write_whole
from heddle.simulators.vta.mutants import Mutant


@dataclass(frozen=True)
class Verdict:
    """A mutant, what noticed it (empty if nothing did), and the configurations for which it is proved equivalent."""

    mutant: Mutant
    noticed: str = ""
    proved: tuple[str, ...] = ()


def write_verdicts(file: Path, verdicts: Sequence[Verdict]) -> None:
    lines = ",\n".join(json.dumps(asdict(verdict)) for verdict in verdicts)
    write_whole(file, f"[\n{lines}\n]\n")


def read_verdicts(file: Path) -> list[Verdict]:
    return [
        Verdict(Mutant(**entry["mutant"]), entry["noticed"], tuple(entry["proved"]))
        for entry in json.loads(file.read_text())
    ]


def document(verdicts: Sequence[Verdict]) -> str:
    """docs/hardware/mutants.md."""
    left = [verdict for verdict in verdicts if not verdict.noticed]
    counts = Counter(verdict.noticed.split(":")[0] for verdict in verdicts if verdict.noticed)
    noticed = " and ".join(f"{count} on `{name}`" for name, count in counts.items())
    proved = sum(bool(verdict.proved) for verdict in left)
    return TEXT.format(
        total=len(verdicts), noticed=noticed, left=len(left), proved=proved, table="\n".join(map(_row, left))
    )


def _row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    before, after = (text.replace("|", "\\|") for text in (mutant.before, mutant.after))
    proved = ", ".join(f"`{name}`" for name in verdict.proved) or "not proved"
    return f"| `{mutant.file}:{mutant.line}` | `{before}` | `{after}` | {proved} |"


TEXT = """# Mutants of the RTL that survive

This page is written by `python -m heddle.simulators.vta.verdicts` from `mutants.json`, what these two commands leave:

    python -m heddle.simulators.vta.mutate --record docs/hardware/mutants.json
    python -m heddle.simulators.vta.equivalence docs/hardware/mutants.json

The first draws one-token changes from a fixed seed, puts all of them into one model of the accelerator, and runs on
each programs at and over the edges of what is allowed, accesses of a slow master, and 60 random programs. What one
configuration lets survive, the next tries. The second proves of those that nothing noticed that they change nothing:
for the whole accelerator of a configuration, for ever, by yosys and z3.

Of {total} mutants {noticed} are noticed. {left} survive, of which {proved} are proved to change nothing, for the
configurations that are named. In one that is not named, the mutant is no legal SystemVerilog, or the proof was not run.

| place | design | mutant | proved equivalent on |
|---|---|---|---|
{table}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="writes the page on mutants of the RTL from their record")
    parser.add_argument("record", type=Path, nargs="?", default=Path("docs/hardware/mutants.json"))
    options = parser.parse_args(arguments)
    write_whole(options.record.with_suffix(".md"), document(read_verdicts(options.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
