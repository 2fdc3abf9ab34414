"""Measuring what backends leave to choose, in worker processes, and remembering it in records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from heddle.compiler import Options, Shapes, Source, plan
from heddle.core.errors import HeddleError
from heddle.core.ir import Phase
from heddle.core.plugin import get_backend, run_passes
from heddle.core.plugin.tuning import Choice, Problem, Tunable, is_exact
from heddle.ledger import Ledger, as_text
from heddle.measure.timing import SAME, Ratio, pin, ratio_of

Progress = Callable[[str, int, int], None]
"""Called with what is being measured, and how many problems are done of how many."""

BATCH, ROUNDS, FINAL, FINAL_ROUNDS = 6, 5, 3, 101


Rounds = list[tuple[float, float]]
"""What a choice cost in each of several rounds, and what the default cost in the same."""


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a problem, and its cost as a part of the default's, `SAME` for the default itself."""

    backend: str
    problem: Problem
    choice: Choice
    ratio: Ratio


@dataclass(frozen=True)
class Tuning:
    """What a run of `tune` found; `measured` counts the measurements that it made, `open` the problems left."""

    chosen: tuple[Chosen, ...]
    measured: int
    open: int


def tune(
    model: Source,
    records: Path,
    backends: Sequence[str] = ("host",),
    shapes: Shapes | None = None,
    *,
    options: Options | None = None,
    seconds: float | None = None,
    core: int | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Choose how the regions of a model are made, by measuring, and add what was found to a file of records.

    Another choice than the default is taken where its gain is established. What the file holds is not measured again,
    so that a run that ran out of its `seconds` is taken up by the next one. The measuring process is kept on `core`.
    Compile with the backend's option `tuning` set to the file.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    job = _Job(Ledger(records), untuned(options or {}), core, deadline)
    problems = job.problems(model, backends, shapes)
    if not problems:
        raise HeddleError(f"tune: {', '.join(backends)} leave nothing to choose in this model")
    chosen: list[Chosen] = []
    with job.worker:
        for done, (backend, problem) in enumerate(problems):
            if progress is not None:
                progress(problem.text, done, len(problems))
            found = job.solve(backend, problem)
            if found is not None:
                chosen.append(Chosen(backend, problem, *found))
    if progress is not None:
        progress("", len(problems), len(problems))
    return Tuning(tuple(chosen), job.measured, len(problems) - len(chosen))


def untuned(options: Options) -> dict[str, dict[str, Any]]:
    """The options without the records that they name."""
    return {name: {k: v for k, v in fields.items() if k != "tuning"} for name, fields in options.items()}


@dataclass
class _Job:
    """The records, as they are read and added to, and the process that measures."""

    ledger: Ledger
    options: Mapping[str, Mapping[str, Any]]
    core: int | None
    deadline: float
    measured: int = 0
    worker: _Worker = field(default_factory=lambda: _Worker())

    def backend(self, name: str) -> Any:
        return get_backend(name, self.options.get(name))

    def problems(self, model: Source, backends: Sequence[str], shapes: Shapes | None) -> list[tuple[str, Problem]]:
        """What there is to choose, each once and as heavy as all places where it occurs, the weightiest first."""
        found: dict[tuple[str, str], Problem] = {}
        for region in plan(model, backends, shapes, options=self.options).regions:
            backend = self.backend(region.backend)
            if not isinstance(backend, Tunable):
                continue
            body = run_passes(backend, Phase.REGION, region.body)  # type: ignore[arg-type] # a backend that is tunable
            for problem in backend.problems(type(region)(region.name, region.backend, body, region.matches)):
                key = (region.backend, problem.key)
                before = found[key].weight if key in found else 0.0
                found[key] = replace(problem, weight=before + problem.weight)
        return [(key[0], found[key]) for key in sorted(found, key=lambda key: (-found[key].weight, key))]

    def solve(self, backend: str, problem: Problem) -> tuple[Choice, Ratio] | None:
        """What was chosen for a problem, in the records or by measuring; None when time ran out before."""
        key = (backend, problem.key)
        if key in self.ledger.chosen:
            return self.ledger.chosen[key]
        default, *others = self.backend(backend).candidates(problem)
        known = self.ledger.costs.setdefault(key, {})
        todo = [choice for choice in others if as_text(choice) not in known]
        for start in range(0, len(todo), BATCH):
            if time.monotonic() >= self.deadline:
                return None
            self._look(backend, problem, default, todo[start : start + BATCH])
        if time.monotonic() >= self.deadline:
            return None
        rated = [(known[as_text(choice)], number, choice) for number, choice in enumerate(others)]
        hopeful = sorted((ratio, number, choice) for ratio, number, choice in rated if ratio is not None and ratio < 1)
        best = self._best(backend, problem, default, [choice for _, _, choice in hopeful[:FINAL]])
        self.ledger.choose(backend, problem, *best)
        return best

    def _look(self, backend: str, problem: Problem, default: Choice, choices: Sequence[Choice]) -> None:
        """Note about what each choice costs: the least of a few rounds."""
        for choice, rounds in zip(choices, self._costs(backend, problem, default, choices, ROUNDS), strict=True):
            ratio = min(own for own, _ in rounds) / min(first for _, first in rounds) if rounds else None
            self.ledger.cost(backend, problem, choice, ratio)

    def _best(self, backend: str, problem: Problem, default: Choice, choices: Sequence[Choice]) -> tuple[Choice, Ratio]:
        """The choice that gains most, among those of which it is established that they do; else the default."""
        best = default, SAME
        if not choices:
            return best
        exact = is_exact(self.backend(backend))
        costs = self._costs(backend, problem, default, choices, 1 if exact else FINAL_ROUNDS)
        for choice, rounds in zip(choices, costs, strict=True):
            ratio = _ratio([own / first for own, first in rounds], exact)
            self.ledger.cost(backend, problem, choice, ratio.median)
            if ratio.gains and ratio.median < best[1].median:
                best = choice, ratio
        return best

    def _costs(
        self, backend: str, problem: Problem, default: Choice, choices: Sequence[Choice], rounds: int
    ) -> list[Rounds]:
        """The costs of each choice beside the default's; none for one that cannot be built or ends its process."""
        work = (backend, self.options.get(backend), problem, [default, *choices], rounds, self.core)
        try:
            costs: list[Rounds] = self.worker.run(_measure, *work)
        except BrokenProcessPool:
            if len(choices) == 1:
                return [[]]
            return [self._costs(backend, problem, default, [choice], rounds)[0] for choice in choices]
        self.measured += len(choices)
        return costs


def _ratio(rounds: Sequence[float], exact: bool) -> Ratio:
    """What rounds tell of a choice's cost; nothing where there are none."""
    if not rounds:
        return SAME
    return Ratio(rounds[0], rounds[0], rounds[0]) if exact else ratio_of(rounds)


class _Worker:
    """A process to measure in, started when it is needed, and again when it has died of what it was to compile."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        try:
            return self.pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            self.pool = None
            raise


def _measure(
    backend: str,
    options: Mapping[str, Any] | None,
    problem: Problem,
    choices: Sequence[Choice],
    rounds: int,
    core: int | None,
) -> list[Rounds]:
    """In the worker: the costs of all choices but the first beside its, in interleaved rounds."""
    pin(core)
    opened: Any = get_backend(backend, options)
    first = opened.measurement(problem, choices[0])
    runs: list[Callable[[], float] | None] = []
    for choice in choices[1:]:
        try:
            runs.append(opened.measurement(problem, choice))
        except HeddleError:
            runs.append(None)
    costs: list[Rounds] = [[] for _ in runs]
    for _ in range(rounds):
        default = first()
        for run, cost in zip(runs, costs, strict=True):
            if run is not None:
                cost.append((run(), default))
    return costs
