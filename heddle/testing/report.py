"""The score card of a backend: for each pattern how many cases it took, and the smallest case of each failing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from heddle.core.files import write_whole
from heddle.testing.examine import Finding

LEAST = 200
"""So many accepted cases of each pattern are asked for; fewer is a failure, since then little was tried."""


@dataclass(frozen=True)
class Beyond:
    """The cases that break one limit of a pattern: so many were left to others, so many taken and computed rightly."""

    limit: str
    left: int
    right: int


@dataclass(frozen=True)
class Score:
    """What came of one pattern. `model` is the file with the smallest failing case, where it was written.

    `beyond` tells of the cases outside each of its limits; neither left nor right where none could be drawn.
    """

    pattern: str
    accepted: int
    drawn: int
    asked: int = LEAST
    finding: Finding | None = None
    case: str = ""
    model: str = ""
    seconds: float = 0.0
    refusals: Mapping[str, int] | None = None
    beyond: tuple[Beyond, ...] = ()

    @property
    def ok(self) -> bool:
        return self.finding is None and self.accepted >= self.asked

    @property
    def outside(self) -> str:
        """What became of the cases beyond the limits, in a few words."""
        left, right = sum(one.left for one in self.beyond), sum(one.right for one in self.beyond)
        untried = sum(not one.left + one.right for one in self.beyond)
        told = [f"{left} left", *([f"{right} right"] if right else [])]
        return ", ".join([*told, *([f"{untried} of {len(self.beyond)} limits untried"] if untried else [])])

    @property
    def verdict(self) -> str:
        """What is wrong, or that nothing is."""
        if self.finding is not None:
            return str(self.finding)
        if self.ok:
            return "ok"
        often = max(self.refusals or {"": 0}, key=lambda reason: (self.refusals or {"": 0})[reason])
        return f"only {self.accepted} of {self.asked} cases were accepted; most often: {often}"


@dataclass(frozen=True)
class Report:
    """The scores of all patterns of a backend."""

    backend: str
    scores: tuple[Score, ...]

    @property
    def ok(self) -> bool:
        return bool(self.scores) and all(score.ok for score in self.scores)

    def table(self) -> Table:
        """The score card for a terminal."""
        shown = Table(title=f"conformance of {self.backend}", title_justify="left", box=None, pad_edge=False)
        for column in ("pattern", "accepted", "drawn", "beyond its limits", "seconds", "verdict"):
            shown.add_column(column, overflow="fold")
        for score in self.scores:
            shown.add_row(
                score.pattern,
                f"{score.accepted}/{score.asked}",
                str(score.drawn),
                score.outside,
                f"{score.seconds:.1f}",
                Text(score.verdict, style="green" if score.ok else "red"),
            )
        return shown

    def json(self) -> dict[str, Any]:
        """The report as plain data."""
        scores = [asdict(score) | {"ok": score.ok, "verdict": score.verdict} for score in self.scores]
        return {"backend": self.backend, "ok": self.ok, "scores": scores}

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        write_whole(path, json.dumps(self.json(), indent=2) + "\n")
