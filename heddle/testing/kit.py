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
from heddle.core.pattern import Pattern
from heddle.core.plugin import Backend, get_backend, patterns_of
from heddle.core.runtime.device import Device
from heddle.testing.cases import Case, ImpossibleError, draw_case
from heddle.testing.examine import Finding, Subject, examine
from heddle.testing.report import LEAST, Report, Score

THOROUGH_EVERY = 25
"""Every so many accepted cases are run from several threads, through a file, and with their resources counted."""

EFFORT = 60
"""So many cases are drawn, at most, for each that is asked for."""


@dataclass(frozen=True)
class Kit:
    """How a backend is examined: how many accepted cases of each pattern, from which seed, where models are written.

    `shrinking` is the most seconds that are spent on making a failing case smaller.
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
        """One pattern: cases until enough were accepted, one failed, or too many were drawn for nothing."""
        start = time.perf_counter()
        accepted = drawn = 0
        refusals: Counter[str] = Counter()
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
                small, finding = self.shrunk(subject, case, outcome.finding)
                model = self._write(subject, small)
                return Score(
                    pattern.name, accepted, drawn, self.cases, finding, str(small), model, _since(start), refusals
                )
            if self.progress is not None:
                self.progress(pattern.name, accepted, self.cases)
        return Score(pattern.name, accepted, drawn, self.cases, seconds=_since(start), refusals=dict(refusals))

    def case(self, pattern: Pattern, number: int) -> Case:
        """The case of a number; ImpossibleError when its choices make none."""
        seed = self.seed * 1_000_003 + number
        return draw_case(pattern, random.Random(seed).choice, seed)

    def shrunk(self, subject: Subject, case: Case, finding: Finding) -> tuple[Case, Finding]:
        """The smallest case that fails in the same way, found by hypothesis, and how it fails."""
        from hypothesis import HealthCheck, Phase, find, settings  # only who has a failing case needs it
        from hypothesis import strategies as st
        from hypothesis.errors import Flaky, NoSuchExample, UnsatisfiedAssumption

        best: list[tuple[Case, Finding]] = [(case, finding)]
        deadline = time.perf_counter() + self.shrinking
        deep = finding.kind in ("threads", "file", "leak", "random")

        @st.composite
        def drawn(draw: Any) -> Case:
            try:
                return draw_case(case.pattern, lambda options: draw(st.sampled_from(tuple(options))), case.seed)
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


def _elements(case: Case) -> int:
    return sum(value.tensor.size or 0 for value in case.graph.values)


def _since(start: float) -> float:
    return time.perf_counter() - start
