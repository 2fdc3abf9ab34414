"""What was measured on this machine: a record that a command writes, and that prices are read with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from heddle.core.errors import HeddleError
from heddle.core.files import home, write_whole
from heddle.core.ir import Graph, Node, Value
from heddle.core.plugin.backend import Backend, Cost, Region
from heddle.core.plugin.figures import Link, border, by_family

BORDER, WHOLE = "border", "whole"
"""The parts of a prediction beside the families of operators: what crosses, and a backend's own estimate."""


@dataclass(frozen=True)
class Correction:
    """What the parts of a backend's estimate are multiplied by; `error` is how far the result is off, typically."""

    scales: Mapping[str, float]
    launch: float = 0.0
    error: float = 0.0

    def seconds(self, parts: Mapping[str, float]) -> float:
        """The computing that these parts say; what crosses the border counts only where that was measured."""
        return sum(part * self.scales.get(name, float(name != BORDER)) for name, part in parts.items())


@dataclass(frozen=True)
class Record:
    """Corrections and links by backend, and the seconds that regions and whole plans took, by what they are.

    `dispatch` is what a region takes beside its computing where other regions are run as well.
    """

    corrections: Mapping[str, Correction] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    plans: Mapping[str, float] = field(default_factory=dict)
    dispatch: float = 0.0

    def measured(self, backend: Backend, body: Graph) -> float | None:
        """The seconds that a region like this one took; None when none was measured."""
        if len(body.nodes) not in self._sizes.get(backend.name, ()):
            return None  # so that most regions need no digest
        return self.regions[backend.name].get(region_key(backend, body))

    def whole(self, sizes: Sequence[tuple[str, int]], regions: Callable[[], Iterable[str]]) -> float | None:
        """The seconds that a plan took as a whole, by its backends and numbers of nodes, then by its regions' keys."""
        if _layout(sizes) not in self._layouts:
            return None
        return self.plans.get(plan_key(sizes, regions()))

    def digest(self) -> str:
        """What plans depend on beside model and options, in a few letters; empty where nothing is recorded."""
        return "" if self == Record() else hashlib.sha256(self.text().encode()).hexdigest()[:12]

    @cached_property
    def _sizes(self) -> Mapping[str, frozenset[int]]:
        """The numbers of nodes of the regions that were measured."""
        return {
            backend: frozenset(int(key.partition(":")[0]) for key in known) for backend, known in self.regions.items()
        }

    @cached_property
    def _layouts(self) -> frozenset[str]:
        return frozenset(key.partition(":")[0] for key in self.plans)

    def json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)

    def text(self) -> str:
        """The record as it is written."""
        return json.dumps(self.json(), indent=1, sort_keys=True) + "\n"


def parts_of(backend: Backend, region: Region, cost: Cost) -> dict[str, float]:
    """The parts of an estimate that can be right or wrong by different factors."""
    if type(backend).estimate is not Backend.estimate:
        return {WHOLE: cost.compute}
    return {**by_family(region.body, backend.figures), BORDER: border(region.body, backend.figures)}


def region_key(backend: Backend, body: Graph) -> str:
    """What a region is, whatever its values are called: its number of nodes, and a digest."""
    numbers: dict[Value, int] = {}

    def number(value: Value | None) -> int:
        return -1 if value is None else numbers.setdefault(value, len(numbers))

    def told(node: Node) -> str:
        operands = [(number(v), "" if v is None else str(v.type), v in body.constants) for v in node.inputs]
        results = [(number(v), "" if v is None else str(v.type)) for v in node.outputs]
        return f"{node.op} {sorted((name, str(value)) for name, value in node.attrs.items())} {operands} {results}"

    nodes = [told(node) for node in body.nodes]
    given = [[number(value) for value in values] for values in (body.inputs, body.outputs)]
    text = "\n".join([backend.name, repr(backend.options), *nodes, str(given)])
    return f"{len(body.nodes)}:{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def plan_key(sizes: Sequence[tuple[str, int]], regions: Iterable[str]) -> str:
    """What a plan is, by the keys of its regions in order."""
    return f"{_layout(sizes)}:{hashlib.sha256(' '.join(regions).encode()).hexdigest()[:24]}"


def _layout(sizes: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"{backend} {count}" for backend, count in sizes)


def location() -> Path:
    """Where the record lies: `$HEDDLE_CALIBRATION`, else `calibration.json` under the cache's folder."""
    chosen = os.environ.get("HEDDLE_CALIBRATION")
    if chosen:
        return Path(chosen)
    return home() / "calibration.json"


def write_record(record: Record, path: Path | None = None) -> Path:
    """Write the record; later prices in this process and others are read with it."""
    where = location() if path is None else path
    where.parent.mkdir(parents=True, exist_ok=True)
    write_whole(where, record.text())
    _read.cache_clear()
    return where


def read_record() -> Record:
    """The record that is in force, an empty one where there is none. HeddleError when it is damaged."""
    record = _in_force.get()
    return _read(location()) if record is None else record


@contextmanager
def using(record: Record) -> Iterator[None]:
    """Price by this record within the block, whatever is written."""
    token = _in_force.set(record)
    try:
        yield
    finally:
        _in_force.reset(token)


_in_force: ContextVar[Record | None] = ContextVar("record", default=None)


@cache
def _read(path: Path) -> Record:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return Record()
    try:
        return decoded(json.loads(text))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise HeddleError(f"{path}: the calibration is damaged: {error}; run `heddle calibrate` again") from error


def decoded(given: Mapping[str, Any]) -> Record:
    """The record that is this plain data. ValueError, TypeError, AttributeError or KeyError when it is none."""
    record = Record(
        {name: Correction(**entry) for name, entry in given["corrections"].items()},
        {name: Link(**entry) for name, entry in given["links"].items()},
        given["regions"],
        given["plans"],
        given["dispatch"],
    )
    numbers = [record.dispatch, *record.plans.values(), *(link.bandwidth for link in record.links.values())]
    numbers += [link.latency for link in record.links.values()]
    numbers += [seconds for known in record.regions.values() for seconds in known.values()]
    for correction in record.corrections.values():
        numbers += [*correction.scales.values(), correction.launch, correction.error]
    for number in numbers:
        if not 0 <= number < float("inf"):
            raise ValueError(f"{number!r} is no measured number, 0 or more is expected")
    if any(link.bandwidth == 0 for link in record.links.values()):
        raise ValueError("a link's bandwidth is 0")
    return record
