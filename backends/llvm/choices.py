"""Which schedule each kernel gets: what the model of the machine prefers, or what was measured to be faster."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
from heddle.core.codegen.kernels import conv, depthwise, gemm, tiled, winograd
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import BF16
from heddle.core.errors import BackendError

Kernel = gemm.Gemm | conv.Conv | depthwise.Depthwise
Schedule = gemm.Schedule | conv.Schedule | winograd.Schedule | depthwise.Schedule | tiled.Schedule

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

_TEMPLATES: dict[type[Any], ModuleType] = {
    gemm.Schedule: gemm,
    conv.Schedule: conv,
    winograd.Schedule: winograd,
    depthwise.Schedule: depthwise,
    tiled.Schedule: tiled,
}
_NAMES = {module.__name__.rpartition(".")[2]: kind for kind, module in _TEMPLATES.items()}


class Choices:
    """The schedules of the kernels of one machine; remembers which problems it was asked about and what it took.

    `known` are choices by the problem's key, as JSON values. `strict` rules out minimal filtering; with `halves` the
    operands of products with constants are rounded to bfloat16.
    """

    def __init__(
        self,
        target: Target,
        strict: bool = False,
        known: Mapping[str, Mapping[str, Any]] | None = None,
        halves: bool = False,
    ):
        self.target, self.strict, self.known, self.halves = target, strict, known or {}, halves
        self.asked: list[Kernel] = []
        self.taken: dict[str, Mapping[str, Any]] = {}

    def __call__(self, problem: Kernel) -> Any:
        """The schedule of a problem, of one of the kinds that its kernels take."""
        self.asked.append(problem)
        key = self.key(problem)
        if key not in self.known:
            return self.default(problem)
        schedule = from_json(self.known[key])
        if schedule not in self.candidates(problem):
            raise BackendError(
                f"host: the tuning records choose {schedule} for {problem}, which this version does not offer; "
                "tune again with a new file"
            )
        self.taken[key] = self.known[key]
        return schedule

    def key(self, problem: Kernel) -> str:
        """What names a problem on this machine, and under these rules."""
        text = repr((type(problem).__name__, problem, self.target, self._filtered(problem)))
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def digest(self) -> str:
        """What was taken from the records, as a digest."""
        return hashlib.sha256(json.dumps(self.taken, sort_keys=True).encode()).hexdigest()

    def default(self, problem: Kernel) -> Schedule:
        """What the model of the machine prefers."""
        if isinstance(problem, depthwise.Depthwise):
            return depthwise.default(problem, self.target)
        cheapest, schedule = self._by_vectors(problem)
        if tiled.applies(problem, self.target):
            on_tiles = tiled.default(problem, self.target)
            if _needs_tiles(problem) or tiled.cycles(problem, self.target, on_tiles) < cheapest:
                return on_tiles
        return schedule

    def _by_vectors(self, problem: gemm.Gemm | conv.Conv) -> tuple[float, Schedule]:
        """The cycles and the schedule of what does without matrix tiles."""
        if isinstance(problem, gemm.Gemm):
            return gemm.cycles(problem, self.target), gemm.default(problem, self.target)
        direct = conv.cycles(problem, self.target)
        if self._filtered(problem) and (filtered := winograd.cycles(problem, self.target)) < direct:
            return filtered, winograd.default(problem, self.target)
        return direct, conv.default(problem, self.target)

    def candidates(self, problem: Kernel) -> list[Schedule]:
        """The schedules worth measuring, the default first."""
        return list(_candidates(problem, self.target, self._filtered(problem), self.default(problem)))

    def _filtered(self, problem: Kernel) -> bool:
        """Whether minimal filtering is allowed and possible: of floats it rounds otherwise, of bytes it is exact."""
        if not isinstance(problem, conv.Conv) or (self.strict and problem.source.scalar.floating):
            return False
        return problem.source.scalar != BF16 and winograd.applies(problem)


@cache
def _candidates(problem: Kernel, target: Target, filtered: bool, first: Schedule) -> tuple[Schedule, ...]:
    found: list[Schedule] = [first]
    if isinstance(problem, depthwise.Depthwise):
        return tuple(dict.fromkeys([*found, *depthwise.candidates(problem, target)]))
    if tiled.applies(problem, target):
        found += tiled.candidates(problem, target)
    if isinstance(problem, gemm.Gemm):
        found += [] if _needs_tiles(problem) else gemm.candidates(problem, target)
    else:
        found += conv.candidates(problem, target)
        if filtered:
            found += winograd.candidates(problem, target)
    return tuple(dict.fromkeys(found))


def _needs_tiles(problem: Kernel) -> bool:
    """Whether no vectors can compute it: bytes on the left are unsigned for them."""
    return isinstance(problem, gemm.Gemm) and problem.signed


def multiplications(problem: Kernel) -> float:
    """How much work a problem is."""
    if isinstance(problem, gemm.Gemm):
        return math.prod(problem.batch) * problem.m * problem.n * problem.k
    out, taps = problem.out, problem.window.taps
    inputs = 1 if isinstance(problem, depthwise.Depthwise) else problem.source.channels // problem.groups
    return out.batch * out.channels * out.height * out.width * taps * inputs


def to_json(schedule: Schedule) -> dict[str, Any]:
    """A schedule as a JSON value, with the name of its template."""
    name = next(name for name, kind in _NAMES.items() if isinstance(schedule, kind))
    return {"kernel": name, **asdict(schedule)}


def from_json(value: Mapping[str, Any]) -> Schedule:
    """The schedule of a JSON value; BackendError when it is none."""
    fields = dict(value)
    kind = _NAMES.get(fields.pop("kernel", ""))
    try:
        if kind is winograd.Schedule:
            fields["product"] = gemm.Schedule(**fields["product"])
        if kind is None:
            raise TypeError("it names no kernel")
        made: Schedule = kind(**fields)
        return made
    except (KeyError, TypeError) as error:
        raise BackendError(f"host: the tuning records hold {dict(value)}, which is no schedule: {error}") from error
