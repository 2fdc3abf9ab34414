"""What a plan costs: its regions by their backends' estimates, and the bytes that move between memories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from heddle.core.errors import BackendError
from heddle.core.ir import Graph, Value
from heddle.core.pattern import Index, subgraph
from heddle.core.plugin import Backend, Cost, Figures, Region, estimate, plugins
from heddle.core.plugin.calibration import Record, parts_of, read_record, region_key
from heddle.core.plugin.figures import bytes_of
from heddle.core.runtime.device import HOST_MEMORY
from heddle.partition.units import Unit

Domain = tuple[str, str]
"""Where data lies and how: a memory and a layout. Data of the same domain need not move."""

HOST: Domain = (HOST_MEMORY, "dense")

DOUBT = 0.05
"""Executables of the same code differ by so much from one time that they are made to the next: a gain below is none."""


@dataclass(frozen=True)
class RegionPrice:
    """Predicted seconds of one region: computing, starting it, bringing its inputs, taking its outputs away.

    `measured` is what computing and starting such a region took when it was measured, None where it never was. `error`
    is how far predictions of its backend tend to be off: so much is added to what was not measured.
    """

    compute: float
    launch: float
    inward: float
    outward: float
    measured: float | None = None
    error: float = 0.0

    @property
    def predicted(self) -> float:
        """Computing and starting, by the model alone."""
        return self.compute + self.launch

    @property
    def seconds(self) -> float:
        """What counts in the price of a plan."""
        computing = self.compute * (1 + self.error) + self.launch if self.measured is None else self.measured
        return computing + self.inward + self.outward


@dataclass(frozen=True)
class Known:
    """What a region costs, as its backend and the corrections predict it, and as it was measured."""

    predicted: Cost
    measured: float | None = None
    error: float = 0.0

    @property
    def cost(self) -> Cost:
        """The cost to choose by: the measured one, or the predicted one and as much again as it tends to be off by."""
        if self.measured is not None:
            return Cost(max(0.0, self.measured - self.predicted.launch), min(self.measured, self.predicted.launch))
        return Cost(self.predicted.compute * (1 + self.error), self.predicted.launch)


@dataclass(frozen=True)
class PlanPrice:
    """Predicted seconds of a plan, region by region, run one after another; `measured` where it once was as a whole.

    By so much of them as `doubt` says, it must be better than others.
    """

    regions: tuple[RegionPrice, ...]
    fits: bool = True
    measured: float | None = None
    doubt: float = 0.0

    @property
    def seconds(self) -> float:
        """What counts: what was measured, where it was."""
        return sum(region.seconds for region in self.regions) if self.measured is None else self.measured

    @property
    def weighed(self) -> float:
        """What plans are compared by."""
        return self.seconds * (1 + self.doubt)


@dataclass(eq=False)
class Pricer:
    """Prices units and regions of one graph; an estimate is asked for once for each set of nodes."""

    index: Index
    backends: Sequence[Backend]
    memory: dict[str, int] = field(default_factory=dict)
    record: Record = field(default_factory=read_record)
    _known: dict[tuple[str, frozenset[int]], Known] = field(default_factory=dict)
    _figures: dict[str, Figures] = field(default_factory=dict)

    def figures(self, backend: str) -> Figures:
        """The declared figures of a backend; BackendError when they cannot be had."""
        if backend not in self._figures:
            owner = self._backend(backend)
            try:
                figures = owner.figures
                assert isinstance(figures, Figures), f"they are {figures!r}, Figures are expected"
            except Exception as error:
                raise BackendError(f"backend {backend!r}: its figures cannot be had: {error}") from error
            self._figures[backend] = figures
        return self._figures[backend]

    def domain(self, backend: str) -> Domain:
        figures = self.figures(backend)
        return figures.memory, figures.layout

    def merges(self, backend: str) -> bool:
        """True when the backend's neighbouring units become one region."""
        return self._backend(backend).merges

    def capacity(self, backend: str) -> float:
        """The bytes that a backend may use: what its device has, or what the user allows."""
        known = [c for c in (self.figures(backend).capacity, self.memory.get(backend)) if c is not None]
        return min(known, default=float("inf"))

    def passage(self, backend: str, nbytes: int) -> float:
        """Seconds that a value takes between the host's dense memory and a backend's domain, either way."""
        figures = self.figures(backend)
        if (figures.memory, figures.layout) == HOST:
            return 0.0
        relaid = 0.0 if figures.layout == "dense" else 2 * nbytes / figures.bandwidth
        link = self.record.links.get(backend, figures.link)
        return relaid + (0.0 if link is None else link.seconds(nbytes))

    def cost(self, unit: Unit) -> Cost:
        """What the unit is expected to cost, among regions of other backends."""
        cost = self.known(unit).cost
        return replace(cost, launch=cost.launch + self.record.dispatch)

    def known(self, unit: Unit) -> Known:
        """What is known of the unit's cost; asked for once for each set of nodes."""
        key = (unit.backend, frozenset(id(node) for node in unit.nodes))
        if key not in self._known:
            region = Region(f"{unit.backend}.priced", unit.backend, self._body(unit), unit.matches)
            self._known[key] = self.region_cost(region)
        return self._known[key]

    def region_cost(self, region: Region) -> Known:
        """What its backend says that it costs, corrected and measured, or what a plugin says instead.

        To offload is a claim that must be better by more than its error. What takes all has nothing to prove, unless
        it is known how long it takes for everything.
        """
        backend = self._backend(region.backend)
        measured = self.record.measured(backend, region.body)
        predicted, error = self.corrected(backend, region, estimate(backend, region))
        error = 0.0 if backend.takes_all and not self.calibrated else error
        overriding = plugins().manager.hook.heddle_cost(backend=region.backend, region=region, cost=predicted)
        return Known(predicted, measured, error) if overriding is None else Known(overriding)

    @cached_property
    def calibrated(self) -> bool:
        """Whether the whole graph was measured on a backend that takes all."""
        nodes = self.index.graph.nodes
        return any(
            backend.takes_all
            and self.record.measured(backend, self._body(Unit(backend.name, nodes, nodes))) is not None
            for backend in self.backends
        )

    def corrected(self, backend: Backend, region: Region, cost: Cost) -> tuple[Cost, float]:
        """An estimate as the record corrects it, and how far it is then off, typically."""
        correction = self.record.corrections.get(backend.name)
        if correction is None:
            return cost, 0.0
        return Cost(correction.seconds(parts_of(backend, region, cost)), correction.launch), correction.error

    def price(self, units: Sequence[Unit]) -> PlanPrice:
        """The price of units that are regions: computing and starting each, moving each value once to each domain."""
        graph = self.index.graph
        giver = {value: unit.backend for unit in units for node in unit.owned for value in node.results}
        arrived: set[tuple[Value, Domain]] = set()
        left: set[Value] = set()
        inward, outward = [0.0] * len(units), [0.0] * len(units)
        number_of = {value: n for n, unit in enumerate(units) for node in unit.owned for value in node.results}

        def leave(value: Value) -> None:
            if value in giver and value not in left:
                left.add(value)
                outward[number_of[value]] += self.passage(giver[value], bytes_of(value))

        for number, unit in enumerate(units):
            here = self.domain(unit.backend)
            inside = {value for node in unit.nodes for value in node.results}
            for value in dict.fromkeys(v for node in unit.nodes for v in node.operands):
                if value in inside or value in graph.constants or (value, here) in arrived:
                    continue
                arrived.add((value, here))
                if (self.domain(giver[value]) if value in giver else HOST) != here:
                    leave(value)
                    inward[number] += self.passage(unit.backend, bytes_of(value))
        for value in graph.outputs:
            leave(value)
        prices = []
        dispatch = self.record.dispatch if len(units) > 1 else 0.0
        for number, unit in enumerate(units):
            known = self.known(unit)
            compute, launch = known.predicted.compute, known.predicted.launch + dispatch
            measured = None if known.measured is None else known.measured + dispatch
            prices.append(RegionPrice(compute, launch, inward[number], outward[number], measured, known.error))
        sizes = [(unit.backend, len(unit.nodes)) for unit in units]
        whole = self.record.whole(sizes, lambda: map(self._key, units))
        doubt = DOUBT if len(units) > 1 and self.record.corrections else 0.0
        return PlanPrice(tuple(prices), self._fits(units), whole, doubt)

    def _key(self, unit: Unit) -> str:
        return region_key(self._backend(unit.backend), self._body(unit))

    def _body(self, unit: Unit) -> Graph:
        """What a unit computes, with what others want of it as outputs."""
        inside = {id(node) for node in unit.nodes}
        outputs = [
            value
            for node in unit.owned
            for value in node.results
            if value in self.index.outputs or self.index.readers_outside(value, inside)
        ]
        return subgraph(self.index.graph, unit.nodes, f"{unit.backend}.priced", outputs)

    def _fits(self, units: Sequence[Unit]) -> bool:
        for name in dict.fromkeys(unit.backend for unit in units):
            capacity = self.capacity(name)
            if capacity < float("inf"):
                needs = [self.needs(unit) for unit in units if unit.backend == name]
                if sum(fixed for fixed, _ in needs) + max(moving for _, moving in needs) > capacity:
                    return False
        return True

    def needs(self, unit: Unit) -> tuple[int, int]:
        """The bytes that a unit holds on its device between runs (constants), and during one (inputs and outputs)."""
        graph = self.index.graph
        read = dict.fromkeys(value for node in unit.nodes for value in node.operands)
        inside = {value for node in unit.nodes for value in node.results}
        held = {id(node) for node in unit.nodes}
        fixed = sum(bytes_of(value) for value in read if value in graph.constants)
        moving = sum(bytes_of(value) for value in read if value not in graph.constants and value not in inside)
        for node in unit.nodes:
            for value in node.results:
                if value in self.index.outputs or self.index.readers_outside(value, held):
                    moving += bytes_of(value)
        return fixed, moving

    def _backend(self, name: str) -> Backend:
        return next(backend for backend in self.backends if backend.name == name)
