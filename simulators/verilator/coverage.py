"""Reads the coverage counts of Verilator, adds up those of several runs, and says what was not exercised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from heddle.simulators.verilator.errors import RtlBuildError


@dataclass(frozen=True, order=True)
class Point:
    """Something that a run can exercise: a line, one direction of one bit, or a cover statement.

    The instances of a module share their points: exercised in one is exercised.
    """

    file: str
    line: int
    kind: str
    what: str


@dataclass(frozen=True)
class Share:
    """How many points of a kind were exercised, of how many."""

    hit: int
    total: int

    @property
    def percent(self) -> float:
        return 100.0 * self.hit / self.total if self.total else 100.0


@dataclass(frozen=True)
class Coverage:
    """The counts of all points, by point."""

    counts: Mapping[Point, int]

    def share(self, kind: str, file: str | None = None) -> Share:
        """What was exercised of `line`, `toggle` or `user` points, of one file or of all."""
        chosen = [count for point, count in self.counts.items() if point.kind == kind and file in (None, point.file)]
        return Share(sum(1 for count in chosen if count), len(chosen))

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(sorted({point.file for point in self.counts}))

    def missed(self, kind: str) -> tuple[Point, ...]:
        """The points of a kind that nothing exercised, in the order of the files."""
        return tuple(sorted(point for point, count in self.counts.items() if point.kind == kind and not count))


def read_coverage(paths: Iterable[str | Path]) -> Coverage:
    """The sum of the counts in files that `Simulation.coverage` wrote."""
    written: Counter[str] = Counter()
    for path in paths:
        text = Path(path).read_text()
        if not text.startswith("# SystemC::Coverage"):
            raise RtlBuildError(f"{path}: not a coverage file of Verilator")
        for entry in text.splitlines()[1:]:
            keys, _, count = entry.rpartition("' ")
            if keys.startswith("C '"):
                written[keys.removeprefix("C '")] += int(count)
    counts: Counter[Point] = Counter()
    for keys, total in written.items():  # the files of one design have the same keys, which are read once
        for point in _points(keys):
            counts[point] += total
    return Coverage(dict(sorted(counts.items())))


def _points(written: str) -> list[Point]:
    """The points that are counted together, from the keys that Verilator writes beside their count."""
    keys = dict(item.split("\x02", 1) for item in written.split("\x01") if item)
    kind = keys.get("t", "user")
    if kind in ("line", "branch"):  # a branch is exercised through the lines that it holds
        return [Point(keys["f"], line, "line", "") for line in _lines(keys.get("S", ""))]
    return [Point(keys["f"], int(keys["l"]), kind, keys.get("o", ""))]


def _lines(text: str) -> list[int]:
    """The lines of a set such as `10-12,14`."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found
