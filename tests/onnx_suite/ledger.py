"""Which case passes, which is refused and which fails, with the reason; kept in the tree, a file per backend.

python -m tests.onnx_suite.ledger reference    writes the ledger anew; a reason that still holds is kept
"""

from __future__ import annotations

import json
import sys
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
from heddle.core.errors import HeddleError
from onnx.backend.base import Backend

from tests.onnx_suite.backend import Host, Reference
from tests.onnx_suite.cases import Case, cases, difference

BACKENDS: dict[str, type[Backend]] = {"reference": Reference, "host": Host}
RIGHT, WRONG = ("pass", "carried"), ("unsupported", "failing")
STATUSES = (*RIGHT, *WRONG)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    `carried`: right, and beside code of the backend the runtime has a part in it: control flow, sequences, optionals;
    `unsupported`: refused with a HeddleError; `failing`: anything else that is not right.
    """

    status: str
    reason: str = ""


def outcome(backend: type[Backend], case: Case) -> Outcome:
    """Run a case."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = backend.prepare(case.model)
            results = [prepared.run(inputs) for inputs, _ in case.data]
    except HeddleError as error:
        return Outcome("unsupported", _line(error, case))
    except Exception as error:
        return Outcome("failing", f"{type(error).__name__}: {_line(error, case)}")
    for actual, (_, expected) in zip(results, case.data, strict=True):
        for position, (a, e) in enumerate(zip(actual, expected, strict=False)):
            wrong = difference(a, e, case.rtol, case.atol)
            if wrong:
                return Outcome("failing", f"output {position}: {wrong}")
    return Outcome("carried" if prepared.carries else "pass")


def _line(error: Exception, case: Case) -> str:
    """The error on one line, without the name of the case."""
    text = " ".join(str(error).split()).removeprefix(f"{case.name}: ")
    return text if len(text) < 200 else text[:197] + "..."


@dataclass(frozen=True)
class Ledger:
    """The outcome of each case, and the version of onnx whose cases they are."""

    onnx: str
    outcomes: dict[str, Outcome]

    def count(self, status: str) -> int:
        """How many cases have this status."""
        return sum(outcome.status == status for outcome in self.outcomes.values())


def path(name: str) -> Path:
    """The file of a backend's ledger."""
    return Path(__file__).parent / f"{name}.toml"


def read(name: str) -> Ledger:
    """The ledger in the tree."""
    data = tomllib.loads(path(name).read_text())
    outcomes = {case: Outcome(status) for status in RIGHT for case in data[status]["cases"]}
    for status in WRONG:
        outcomes |= {case: Outcome(status, reason) for case, reason in data[status].items()}
    return Ledger(data["onnx"], outcomes)


def write(name: str, ledger: Ledger) -> None:
    """Put a ledger into the tree."""
    lines = [f'onnx = "{ledger.onnx}"', f"cases = {len(ledger.outcomes)}"]
    lines += [f"count.{status} = {ledger.count(status)}" for status in STATUSES]
    for status in WRONG:
        chosen = [(case, found.reason) for case, found in ledger.outcomes.items() if found.status == status]
        lines += ["", f"[{status}]", *(f"{case} = {json.dumps(reason)}" for case, reason in sorted(chosen))]
    for status in RIGHT:
        right = sorted(case for case, found in ledger.outcomes.items() if found.status == status)
        lines += ["", f"[{status}]", "cases = [", *(f'    "{case}",' for case in right), "]"]
    path(name).write_text("\n".join(lines) + "\n")


def main(name: str) -> None:
    """Run every case and write the ledger, keeping the reasons of cases whose status stays."""
    known = read(name).outcomes if path(name).exists() else {}
    outcomes = {}
    for case in cases().values():
        found = outcome(BACKENDS[name], case)
        old = known.get(case.name)
        outcomes[case.name] = old if old is not None and old.status == found.status else found
    ledger = Ledger(onnx.__version__, outcomes)
    write(name, ledger)
    print(f"{name}: " + ", ".join(f"{ledger.count(status)} {status}" for status in STATUSES))


if __name__ == "__main__":
    main(sys.argv[1])
