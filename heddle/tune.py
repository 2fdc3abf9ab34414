"""Measuring what backends leave to choose, in worker processes, and remembering it in records."""

from __future__ import annotations

import json
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
from heddle.core.plugin.tuning import Choice, Problem, Tunable, is_exact, read_records
from heddle.measure.timing import pin

Progress = Callable[[str, int, int], None]
"""Called with what is being measured, and how many problems are done of how many."""

BATCH, ROUNDS, FINAL, FINAL_ROUNDS = 6, 5, 3, 15
GAIN = 0.97
"""A choice is taken when it needs at most this part of the default's cost, more than noise makes of it."""


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a problem, and its cost as a part of the default's, 1.0 for the default itself."""

    backend: str
    problem: Problem
    choice: Choice
    ratio: float


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

    What the file holds already is not measured again, so that a run that ran out of its `seconds` is taken up by the
    next one. The measuring process is kept on `core`. Compile with the backend's option `tuning` set to the file.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    job = _Job(records, _untuned(options or {}), core, deadline)
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


def settle(
    tuning: Tuning, records: Path, whole: Callable[[Tuning], float], options: Options | None = None
) -> tuple[Tuning, float]:
    """The choices that are worth keeping in a whole model, and its cost with them as a part of that without.

    `whole` measures that cost. While it shows a loss, the half of the choices that gained least by themselves go back
    to the defaults; further records of the file say so. Exact costs of kernels are not doubted.
    """
    ratio = whole(tuning)
    while ratio > 1.0:
        doubted = sorted((c for c in tuning.chosen if not is_exact(_opened(c.backend, options))), key=lambda c: c.ratio)
        gains = [c for c in doubted if c.ratio != 1.0]
        if not gains:
            break
        weak = {id(c): revert(c, records, options) for c in gains[len(gains) // 2 :]}
        tuning = replace(tuning, chosen=tuple(weak.get(id(c), c) for c in tuning.chosen))
        ratio = whole(tuning)
    return tuning, ratio


def revert(chosen: Chosen, records: Path, options: Options | None = None) -> Chosen:
    """Go back to the default for a problem; a further record of the file says so."""
    job = _Job(records, _untuned(options or {}), None, math.inf)
    default = job.candidates(chosen.backend, chosen.problem)[0]
    job.write(chosen.backend, chosen.problem, {"chosen": default, "ratio": 1.0})
    return replace(chosen, choice=default, ratio=1.0)


def _opened(backend: str, options: Options | None) -> Any:
    return get_backend(backend, (options or {}).get(backend))


def _untuned(options: Options) -> dict[str, dict[str, Any]]:
    return {name: {k: v for k, v in fields.items() if k != "tuning"} for name, fields in options.items()}


@dataclass
class _Job:
    """The records, as they are read and added to, and the process that measures."""

    path: Path
    options: Mapping[str, Mapping[str, Any]]
    core: int | None
    deadline: float
    measured: int = 0
    ratios: dict[tuple[str, str], dict[str, float | None]] = field(default_factory=dict)
    chosen: dict[tuple[str, str], tuple[Choice, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.worker = _Worker()
        if self.path.exists():
            for record in read_records(self.path):
                self._learn(record)
            self._mend()

    def _mend(self) -> None:
        """Cut off a last line that was not written to its end, so that the next record begins a line."""
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            self.path.write_bytes(data[: data.rfind(b"\n") + 1])

    def _learn(self, record: Mapping[str, Any]) -> None:
        key = (record["backend"], record["problem"])
        if "chosen" in record:
            self.chosen[key] = (record["chosen"], record["ratio"])
        else:
            self.ratios.setdefault(key, {})[_text(record["choice"])] = record["ratio"]

    def write(self, backend: str, problem: Problem, fields: Mapping[str, Any]) -> None:
        record = {"backend": backend, "problem": problem.key, "what": problem.text, **fields}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise HeddleError(f"tune: {self.path} cannot be written: {error.strerror}") from error
        self._learn(record)

    def backend(self, name: str) -> Any:
        return get_backend(name, self.options.get(name))

    def candidates(self, backend: str, problem: Problem) -> list[Choice]:
        return list(self.backend(backend).candidates(problem))

    def problems(self, model: Source, backends: Sequence[str], shapes: Shapes | None) -> list[tuple[str, Problem]]:
        """What there is to choose, each once, the weightiest first."""
        found: dict[tuple[str, str], Problem] = {}
        weights: dict[tuple[str, str], float] = {}
        for region in plan(model, backends, shapes, options=self.options).regions:
            backend = self.backend(region.backend)
            if not isinstance(backend, Tunable):
                continue
            body = run_passes(backend, Phase.REGION, region.body)  # type: ignore[arg-type] # a backend that is tunable
            for problem in backend.problems(type(region)(region.name, region.backend, body, region.matches)):
                key = (region.backend, problem.key)
                found.setdefault(key, problem)
                weights[key] = weights.get(key, 0.0) + problem.weight
        return [(key[0], found[key]) for key in sorted(found, key=lambda key: (-weights[key], key))]

    def solve(self, backend: str, problem: Problem) -> tuple[Choice, float] | None:
        """What was chosen for a problem, in the records or by measuring; None when time ran out before."""
        key = (backend, problem.key)
        if key in self.chosen:
            return self.chosen[key]
        candidates = self.candidates(backend, problem)
        default = candidates[0]
        known = self.ratios.setdefault(key, {})
        todo = [choice for choice in candidates[1:] if _text(choice) not in known]
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            if time.monotonic() >= self.deadline:
                return None
            for choice, ratio in zip(batch, self._compare(backend, problem, default, batch, ROUNDS), strict=True):
                self.write(backend, problem, {"choice": choice, "ratio": ratio})
        if time.monotonic() >= self.deadline:
            return None
        rated = [(known[_text(choice)], number, choice) for number, choice in enumerate(candidates[1:])]
        hopeful = sorted((ratio, number, choice) for ratio, number, choice in rated if ratio is not None and ratio < 1)
        best: tuple[Choice, float] = (default, 1.0)
        enough = 1.0 if is_exact(self.backend(backend)) else GAIN
        if hopeful:
            finalists = [choice for _, _, choice in hopeful[:FINAL]]
            for choice, ratio in zip(
                finalists, self._compare(backend, problem, default, finalists, FINAL_ROUNDS), strict=True
            ):
                if ratio is not None and ratio <= enough and ratio < best[1]:
                    best = (choice, ratio)
        self.write(backend, problem, {"chosen": best[0], "ratio": best[1]})
        return best

    def _compare(
        self, backend: str, problem: Problem, default: Choice, choices: Sequence[Choice], rounds: int
    ) -> list[float | None]:
        """The costs of choices as parts of the default's; None for one that cannot be built or ends its process."""
        work = (backend, self.options.get(backend), problem, [default, *choices], rounds, self.core)
        try:
            ratios: list[float | None] = self.worker.run(_measure, *work)
        except BrokenProcessPool:
            if len(choices) == 1:
                return [None]
            return [self._compare(backend, problem, default, [choice], rounds)[0] for choice in choices]
        self.measured += len(choices)
        return ratios


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
) -> list[float | None]:
    """In the worker: the least cost in interleaved rounds, as a part of that of the first choice."""
    pin(core)
    opened: Any = get_backend(backend, options)
    runs: list[Callable[[], float] | None] = []
    for number, choice in enumerate(choices):
        try:
            runs.append(opened.measurement(problem, choice))
        except HeddleError:
            if not number:
                raise
            runs.append(None)
    costs: list[list[float]] = [[] for _ in choices]
    for _ in range(rounds):
        for run, cost in zip(runs, costs, strict=True):
            if run is not None:
                cost.append(run())
    least = [min(cost, default=None) for cost in costs]
    return [None if own is None else own / (least[0] or own) for own in least[1:]]


def _text(choice: Choice) -> str:
    return json.dumps(choice, sort_keys=True)
