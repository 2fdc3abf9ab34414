"""The conformance kit: each pattern of a backend by at least so many cases, failing ones made as small as can be."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from heddle.core.errors import HeddleError
from heddle.core.frontend.export import export_model
from heddle.core.pattern import Condition, Pattern, Quantity
from heddle.core.plugin import Backend, get_backend, patterns_of
from heddle.core.runtime.device import Device
from heddle.testing.cases import Case, draw_case
from heddle.testing.drawing import DTYPES, ImpossibleError
from heddle.testing.examine import Finding, Subject, examine
from heddle.testing.limits import Limit, limits_of
from heddle.testing.report import LEAST, Beyond, Report, Score

THOROUGH_EVERY = 25
"""Every so many accepted cases are run from several threads, through a file, and with their resources counted."""

EFFORT = 60
"""So many cases are drawn, at most, for each that is asked for."""

BEYOND = 20
"""For each of a pattern's limits, one case beyond it for so many accepted cases that are asked for."""


@dataclass(frozen=True)
class Kit:
    """How a backend is examined: how many accepted cases of each pattern, from which seed, where models are written.

    `shrinking` is about how many seconds may be spent on making a failing case smaller; at 0 it stays as it was drawn.
    """

    cases: int = LEAST
    seed: int = 0
    folder: Path | None = None
    progress: Callable[[str, int, int], None] | None = None
    shrinking: float = 20.0

    def test(
        self,
        backend: str | Backend,
        options: Mapping[str, Any] | None = None,
        devices: Mapping[str, Device | Mapping[str, Any]] | None = None,
        only: Sequence[str] = (),
        timeout: float = 20.0,
    ) -> Report:
        """The score card of a backend, by name or open; `only` names the patterns to test."""
        opened = get_backend(backend, options) if isinstance(backend, str) else backend
        patterns = patterns_of(opened)
        if not patterns:
            raise HeddleError(f"backend {opened.name!r}: it has no patterns, the kit makes cases from patterns")
        known = [pattern.name for pattern in patterns]
        for name in only:
            if name not in known:
                raise HeddleError(f"backend {opened.name!r}: it has no pattern {name!r} (it has {', '.join(known)})")
        subject = Subject(opened, devices or {}, timeout)
        chosen = [pattern for pattern in patterns if not only or pattern.name in only]
        return Report(opened.name, tuple(self.score(subject, pattern) for pattern in chosen))

    def score(self, subject: Subject, pattern: Pattern) -> Score:
        """One pattern: cases until enough were accepted, then beyond each of its limits; until one fails."""
        start = time.perf_counter()
        accepted = drawn = 0
        refusals: Counter[str] = Counter()
        beyond: list[Beyond] = []

        def score(case: Case | None = None, finding: Finding | None = None) -> Score:
            told = ("", "")
            if case is not None and finding is not None:
                case, finding = self.shrunk(subject, case, finding)
                told = str(case), self._write(subject, case)
            seconds = time.perf_counter() - start
            return Score(
                pattern.name, accepted, drawn, self.cases, finding, *told, seconds, dict(refusals), tuple(beyond)
            )

        while accepted < self.cases and drawn < self.cases * EFFORT:
            drawn += 1
            try:
                case = self.case(pattern, drawn)
            except ImpossibleError as error:
                refusals[str(error).partition(";")[0]] += 1
                continue
            outcome = examine(subject, case, accepted % THOROUGH_EVERY == 0)
            accepted += outcome.accepted
            if outcome.finding is not None:
                return score(case, outcome.finding)
            self._tell(pattern.name, accepted, self.cases)
        limits = limits_of(pattern)
        for number, limit in enumerate(limits):
            self._tell(f"{pattern.name}, beyond its limits", number, len(limits))
            tried, beyond_it, finding = self._beyond(subject, pattern, limit)
            beyond.append(tried)
            if finding is not None:
                return score(beyond_it, finding)
        return score()

    def _beyond(self, subject: Subject, pattern: Pattern, limit: Limit) -> tuple[Beyond, Case | None, Finding | None]:
        """Cases that break one limit: the backend leaves them or is right; of a limit on element types, each once."""
        operand, missing = _types_beyond(limit)
        by_type = bool(missing)
        wanted = max(-(-self.cases // BEYOND), len(missing))
        tried: set[tuple[str, ...]] = set()
        left = right = 0
        for number in range(1, wanted * EFFORT + 1):
            try:
                case = self.case(pattern, number, limit)
            except ImpossibleError:
                continue
            types = {value.name: str(value.tensor.dtype) for value in case.graph.inputs}
            if by_type and tuple(types.values()) in tried:
                continue
            tried.add(tuple(types.values()))
            outcome = examine(subject, case)
            if outcome.finding is not None:
                return Beyond(str(limit), left, right), case, outcome.finding
            right += outcome.accepted
            left += not outcome.accepted
            missing -= {types.get(operand, "")}
            if left + right == wanted or (by_type and not missing):
                break
        return Beyond(str(limit), left, right), None, None

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)

    def case(self, pattern: Pattern, number: int, beyond: Limit | None = None) -> Case:
        """The case of a number; ImpossibleError when its choices make none."""
        seed = self.seed * 1_000_003 + number
        return draw_case(pattern, random.Random(seed).choice, seed, beyond)

    def shrunk(self, subject: Subject, case: Case, finding: Finding) -> tuple[Case, Finding]:
        """The smallest case that fails in the same way, found by hypothesis, and how it fails."""
        if not self.shrinking:
            return case, finding
        from hypothesis import HealthCheck, Phase, find, settings  # only who has a failing case needs it
        from hypothesis import strategies as st
        from hypothesis.errors import Flaky, NoSuchExample, UnsatisfiedAssumption

        best: list[tuple[Case, Finding]] = [(case, finding)]
        deadline = time.perf_counter() + self.shrinking
        deep = finding.kind in ("threads", "file", "leak", "random")

        @st.composite
        def drawn(draw: Any) -> Case:
            def pick(options: Sequence[Any]) -> Any:
                return draw(st.sampled_from(tuple(options)))

            try:
                return draw_case(case.pattern, pick, case.seed, case.beyond)
            except ImpossibleError:
                raise UnsatisfiedAssumption from None

        def fails(candidate: Case) -> bool:
            if time.perf_counter() > deadline:
                return any(str(candidate) == str(known) for known, _ in best)
            found = examine(subject, candidate, deep).finding
            if found is None or found.kind != finding.kind:
                return False
            best.append((candidate, found))
            return True

        effort = settings(
            max_examples=400,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        with suppress(NoSuchExample, Flaky):  # a race does not fail each time; the best of what failed is kept
            find(drawn(), fails, settings=effort)
        return min(best, key=lambda pair: (len(pair[0].graph.nodes), _elements(pair[0]), len(str(pair[0]))))

    def _write(self, subject: Subject, case: Case) -> str:
        if self.folder is None:
            return ""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{subject.backend.name}.{case.pattern.name}")
        path = self.folder / f"{name}.onnx"
        onnx.save(export_model(case.graph), path)
        return str(path)


def _types_beyond(limit: Limit) -> tuple[str, frozenset[str]]:
    """The operand whose element type a limit speaks of, and the types that it excludes; nothing of any other limit."""
    if isinstance(limit, Condition) and isinstance(limit.term, Quantity) and limit.term.kind == "dtype":
        return limit.term.of, frozenset(name for name in DTYPES if not limit.predicate.holds(name))
    return "", frozenset()


def _elements(case: Case) -> int:
    return sum(value.tensor.size or 0 for value in case.graph.values)
