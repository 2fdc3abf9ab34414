"""What became of each mutant, kept as one line of JSON each, and the page that tells it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.heddle.testing.survivors import EQUIVALENT, WITHIN_TOLERANCE


@dataclass(frozen=True)
class Verdict:
    """A mutant, by its backend and its change, and how the kit caught it: nothing when it did not."""

    backend: str
    change: str
    caught: str

    @property
    def key(self) -> tuple[str, str]:
        return self.backend, self.change


def read_verdicts(record: Path) -> list[Verdict]:
    """The verdicts of a record, in its order."""
    return [Verdict(**json.loads(line)) for line in record.read_text().splitlines()]


def append_verdict(record: Path, verdict: Verdict) -> None:
    """One more verdict at the end of a record, which it begins where there is none."""
    with record.open("a") as file:
        file.write(json.dumps(asdict(verdict)) + "\n")


def document(verdicts: Sequence[Verdict]) -> str:
    """docs/vendor/mutants.md."""
    caught = Counter(verdict.caught.partition(":")[0] for verdict in verdicts if verdict.caught)
    left = [verdict for verdict in verdicts if not verdict.caught]
    return TEXT.format(
        total=len(verdicts),
        caught=caught.total(),
        kinds="\n".join(f"| {kind} | {count} |" for kind, count in caught.most_common()),
        left=len(left),
        survivors="\n".join(map(_row, left)),
    )


def _row(verdict: Verdict) -> str:
    change = verdict.change.replace("|", "\\|")
    return f"| {verdict.backend} | `{change}` | {_REASONS.get(verdict.key, 'not explained')} |"


_REASONS = {
    **{(backend, change): f"the same bits: {why}" for backend, change, why in EQUIVALENT},
    **{(backend, change): f"within the tolerance: {why}" for backend, change, why in WITHIN_TOLERANCE},
}

TEXT = """# Mutants of sample backends that the kit lets pass

This page is written, with `mutants.jsonl` beside it, by

    python -m tests.heddle.testing.campaign --record docs/vendor/mutants.jsonl

It changes two backends mechanically, one small change at a time: the scaffold of a library (`library`) and the stack
machine in `tests/heddle/testing/stack_machine.py` (`codegen`). Operands are swapped, constants one off, conditions and
assignments dropped, slices without their steps, arguments in another order. Each mutant is put to the conformance kit
as it is shipped, 200 cases of each pattern, without making failing cases smaller. A record that is there already is
gone on with; to run all mutants anew, remove it.

Of {total} mutants {caught} are caught:

| what the kit says | mutants |
|---|---|
{kinds}

{left} are not. Each is listed in `tests/heddle/testing/survivors.py` with the reason, and shown to be as it says:
`tests/heddle/testing/equivalence.py` runs the backend and the mutant over a small domain, every pair of edge values (of
8-bit numbers every pair there is) under every operator, or batches, groups, channels, kernels, strides, dilations
and paddings in every pair of choices, and compares bits.

| backend | change | why it need not be caught |
|---|---|---|
{survivors}
"""
