"""Measures regions, pieces and whole plans of models, and links, until placement by cost rests on measurements."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heddle.alone import Devices, region_alone
from heddle.compiler import Decisions, Source, compile, plan
from heddle.core.errors import HeddleError
from heddle.core.frontend.export import export_model
from heddle.core.ir import Graph
from heddle.core.pattern import Index, subgraph
from heddle.core.plugin import Backend, Link, Region, estimate
from heddle.core.plugin.calibration import Record, parts_of, plan_key, region_key, using
from heddle.core.plugin.recall import settle
from heddle.core.runtime.devices import open_device
from heddle.core.runtime.executable import Executable
from heddle.inputs import gathered, random_inputs
from heddle.measure.fitting import Mixed, Sample, dispatch_of, refit
from heddle.measure.links import measured_link
from heddle.measure.timing import CLOCKS, interleaved
from heddle.outline import Outline
from heddle.partition import Demands, Plan
from heddle.partition.candidates import by_order, everything
from heddle.partition.units import Unit

Tell = Callable[[str], None]


AGAIN = 2
"""So many times more is measured what seems to be quicker than the host."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: `rounds` of `seconds` for each region, by a clock of `timing.CLOCKS`.

    `pieces` is how many single nodes and matches of each model and backend are measured by themselves, the heaviest;
    `plans` how often a plan by cost is measured and chosen anew.
    """

    rounds: int = 5
    seconds: float = 0.05
    clock: str = "wall"
    pieces: int = 24
    plans: int = 8


@dataclass(frozen=True)
class _Placed:
    """A model and how its parts are placed."""

    model: Source
    place: str
    demands: Demands | None = None


@dataclass(eq=False)
class Calibration:
    """What was measured so far. `settled` tells of each model whether all of the plan by cost is measured."""

    backends: Sequence[Backend]
    devices: Devices = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)
    tell: Tell = lambda what: None
    samples: list[Sample] = field(default_factory=list)
    regions: dict[str, dict[str, float]] = field(default_factory=dict)
    plans: dict[str, float] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    settled: dict[str, bool] = field(default_factory=dict)
    _mixed: list[Mixed] = field(default_factory=list)
    _on_host: float = 0.0

    @property
    def record(self) -> Record:
        regions = {backend: dict(known) for backend, known in self.regions.items()}
        return Record(refit(self.samples), dict(self.links), regions, dict(self.plans), dispatch_of(self._mixed))

    def measure_links(self) -> None:
        """The links of all backends whose devices have a memory of their own and are not simulated."""
        for backend in self.backends:
            given = self.devices.get(backend.name, {})
            if backend.figures.link is None or not isinstance(given, Mapping):
                continue
            self.tell(f"link of {backend.name}")
            device = open_device(backend.name, given)
            try:
                link = measured_link(device, CLOCKS[self.effort.clock])
            finally:
                device.close()
            if link is not None:
                self.links[backend.name] = link

    def measure(self, name: str, model: Source, example: Mapping[str, Any] | None = None) -> None:
        """All that placement by cost could want to know of one model.

        One that is compiled part by part is run once on the host alone, with `example` or with inputs that are made up;
        then each part is measured like a model, for the shapes and values that came to it first.
        """
        on_host = _Placed(model, "order", self._away)
        if isinstance(self._planned(on_host), Plan):
            self._measure_whole(name, on_host)
            return
        for part, graph in self._parts(on_host, example).items():
            self._measure_whole(f"{name}: {part}", _Placed(export_model(graph), "order", self._away))

    @property
    def _away(self) -> Demands:
        """What leaves everything to the backends that take all."""
        return Demands(exclude=tuple(("*", backend.name) for backend in self.backends if not backend.takes_all))

    def _parts(self, placed: _Placed, example: Mapping[str, Any] | None) -> dict[str, Graph]:
        """The graph of each part of a model, for the first case that it was compiled for."""
        decisions = Decisions()
        with self._compiled(placed, decisions) as executable:
            executable(
                **(random_inputs(executable.inputs) if example is None else gathered(executable.inputs, example))
            )
        parts: dict[str, Graph] = {}
        for made in decisions.made:
            parts.setdefault(made.part, made.plan.inline())
        return parts

    def _measure_whole(self, name: str, on_host: _Placed) -> None:
        model = on_host.model
        first = self._measure_plan(name, on_host, None)
        self._measure_pieces(name, first.inline())
        if len(self.backends) == 1:
            return
        for place in ("order", "greedy"):
            self._measure_plan(name, _Placed(model, place), on_host)
        for _ in range(self.effort.plans):
            before = len(self.plans), len(self.samples)
            self._measure_plan(name, _Placed(model, "cost"), on_host)
            if before == (len(self.plans), len(self.samples)):
                self.settled[name] = True
                return
        self.settled[name] = False

    def _measure_plan(self, name: str, placed: _Placed, beside: _Placed | None) -> Plan:
        """Measure those regions of a plan that are not known, and the whole, in turns with another plan's."""
        made = self._planned(placed)
        assert isinstance(made, Plan), "a part is compiled at once"
        keys = [region_key(self._backend(region), region.body) for region in made.regions]
        whole = plan_key([(region.backend, len(region.body.nodes)) for region in made.regions], keys)
        if whole in self.plans:
            return made
        for region in made.regions:
            if not self._known(region):
                self._measure_region(name, region)
        what = f"{name}: the whole, {placed.place}"
        if beside is None:
            with self._compiled(placed) as executable:
                seconds, simulated = self._seconds(executable, what)
            self._on_host = seconds
        else:
            ratio, simulated = self._beside(placed, beside, what)
            if ratio < 1 and not simulated:  # by chance, maybe: executables of the same code differ
                ratio = statistics.median([ratio, *(self._beside(placed, beside, what)[0] for _ in range(AGAIN))])
            seconds = ratio * self._on_host
        if simulated:
            return made
        self.plans[whole] = seconds
        if len(made.regions) > 1:
            alone = sum(self.regions[r.backend][key] for r, key in zip(made.regions, keys, strict=True))
            self._mixed.append(Mixed(seconds, alone, len(made.regions)))
        return made

    def _beside(self, placed: _Placed, beside: _Placed, what: str) -> tuple[float, bool]:
        """How many times as long as another plan one takes, both made anew; in turns, since machines are slower at
        times. And whether it was simulated, which gives no time."""
        with self._compiled(placed) as executable, self._compiled(beside) as other:
            self.tell(what)
            settle()
            inputs = random_inputs(executable.inputs)
            if any(step.modelled is not None for step in executable.profile(**inputs).steps):
                return 0.0, True
            arguments = [inputs[spec.name] for spec in executable.inputs]
            functions = {"this": lambda: executable(*arguments), "other": lambda: other(*arguments)}
            times = interleaved(functions, self.effort.rounds, self.effort.seconds, self.effort.clock)
        return times["this"] / times["other"], False

    def _compiled(self, placed: _Placed, decisions: Decisions | None = None) -> Executable:
        with using(self.record):
            return compile(
                placed.model,
                self.backends,
                place=placed.place,
                demands=placed.demands,
                devices=self.devices,
                decisions=decisions,
            )

    def _planned(self, placed: _Placed) -> Plan | Outline:
        with using(self.record):
            return plan(placed.model, self.backends, place=placed.place, demands=placed.demands)

    def _measure_pieces(self, name: str, graph: Graph) -> None:
        """The heaviest nodes and matches, each as a region of its own."""
        index = Index(graph)
        demands = Demands()
        units = everything(index, self.backends, demands, by_order(index, self.backends, demands).units).units
        general = next(backend for backend in self.backends if backend.takes_all)
        units = [*units, *(Unit(general.name, (node,), (node,)) for node in graph.nodes)]
        for backend in self.backends:
            pieces: dict[str, tuple[float, Region]] = {}
            for region in self._regions(graph, [unit for unit in units if unit.backend == backend.name]):
                pieces[region_key(backend, region.body)] = estimate(backend, region).seconds, region
            heaviest = sorted(pieces.values(), key=lambda piece: -piece[0])[: self.effort.pieces]
            for _, region in heaviest:
                if not self._known(region):
                    self._measure_region(name, region)

    @staticmethod
    def _regions(graph: Graph, units: Sequence[Unit]) -> Iterator[Region]:
        for unit in units:
            body = subgraph(graph, unit.nodes, f"{unit.backend}.{unit.nodes[-1].op}")
            yield Region(body.name, unit.backend, body, unit.matches)

    def _measure_region(self, name: str, region: Region) -> None:
        backend = self._backend(region)
        try:
            with region_alone(backend, region, self.devices) as executable:
                seconds, _ = self._seconds(executable, f"{name}: {region.name}")
        except HeddleError as error:
            error.add_note(f"while {region.name} was measured by itself: {region.body}")
            raise
        parts = parts_of(backend, region, estimate(backend, region))
        self.samples.append(Sample(backend.name, f"{name}: {region.name}", len(region.body.nodes), parts, seconds))
        self.regions.setdefault(backend.name, {})[region_key(backend, region.body)] = seconds

    def _seconds(self, executable: Executable, what: str) -> tuple[float, bool]:
        """The least seconds of a call, as others can only add to it, and whether they are a simulation's own."""
        self.tell(what)
        settle()
        inputs = random_inputs(executable.inputs)
        now = CLOCKS[self.effort.clock]
        start = now()
        steps = executable.profile(**inputs).steps
        once = now() - start
        modelled = [step.modelled for step in steps if step.modelled is not None]
        if modelled:
            return sum(modelled), True
        arguments = [inputs[spec.name] for spec in executable.inputs]
        executable(*arguments)
        calls = max(1, min(10_000, round(self.effort.seconds / max(once, 1e-6))))
        times = []
        for _ in range(self.effort.rounds if once < 10 * self.effort.seconds else 2):
            start = now()
            for _ in range(calls):
                executable(*arguments)
            times.append((now() - start) / calls)
        return max(min(times), 1e-9), False

    def _known(self, region: Region) -> bool:
        return region_key(self._backend(region), region.body) in self.regions.get(region.backend, {})

    def _backend(self, region: Region) -> Backend:
        return next(backend for backend in self.backends if backend.name == region.backend)
