"""The choice among candidates as a mixed-integer program: each node once, bytes moved, regions started."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from heddle.core.errors import HeddleError
from heddle.core.ir import Node, Value
from heddle.core.pattern import Index
from heddle.core.plugin import Cost
from heddle.core.plugin.figures import bytes_of
from heddle.partition.pricing import HOST, Domain, Pricer
from heddle.partition.units import Unit
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

MOST_NODES = 10_000
"""So many branches of a program are looked at; then the best choice so far counts."""

_PROVED = 1e-9


@dataclass(eq=False)
class _Rows:
    """Variables with their costs, and the rows `least <= sum of factors * variables <= most`."""

    costs: list[float] = field(default_factory=list)
    integral: list[int] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)

    def variable(self, cost: float, integral: bool) -> int:
        """A new variable from 0 to 1."""
        self.costs.append(cost)
        self.integral.append(int(integral))
        return len(self.costs) - 1

    def row(self, factors: dict[int, float], least: float = -np.inf, most: float = np.inf) -> None:
        self.entries.extend((len(self.least), column, factor) for column, factor in factors.items())
        self.least.append(least)
        self.most.append(most)

    def constraints(self) -> LinearConstraint:
        columns = [column for _, column, _ in self.entries]
        factors = [factor for _, _, factor in self.entries]
        rows = [row for row, _, _ in self.entries]
        matrix = csr_array((factors, (rows, columns)), shape=(len(self.least), len(self.costs)))
        return LinearConstraint(matrix, np.array(self.least), np.array(self.most))


class Model:
    """The program of one graph. Its prices are those of units on their own: what merging saves, it does not see.

    A region is counted as started by each unit that reads nothing of its own backend.
    """

    def __init__(self, pricer: Pricer, candidates: Sequence[Unit], rest: Sequence[Unit]) -> None:
        """`candidates` may be chosen; `rest` has one unit for each node, which computes it when no candidate does."""
        self.pricer, self.index = pricer, pricer.index
        self.candidates, self.rest = candidates, rest
        self.units = [*candidates, *rest]
        self.owners: dict[int, list[int]] = {}
        for number, unit in enumerate(self.units):
            for node in unit.owned:
                self.owners.setdefault(id(node), []).append(number)
        self.domains = [pricer.domain(unit.backend) if unit.backend else HOST for unit in self.units]
        self.readers: dict[Value, list[int]] = {}
        for number, unit in enumerate(self.units):
            inside = {value for node in unit.nodes for value in node.results}
            for value in dict.fromkeys(v for node in unit.nodes for v in node.operands):
                if value not in inside and value not in self.index.graph.constants:
                    self.readers.setdefault(value, []).append(number)
        known = [pricer.cost(unit) if unit.backend else None for unit in self.units]
        # What nobody computes must cost more than any plan, so that it is chosen only where nothing else is left.
        impossible = Cost(10 * sum(cost.seconds for cost in known if cost is not None) + 1.0)
        self.costs = [impossible if cost is None else cost for cost in known]

        self.gap = 0.0
        """How far the worst choice of a solution may be from its program's best, as a part of it; 0 where proved."""
        self.program = _Rows()
        for cost in self.costs:
            self.program.variable(cost.compute, True)
        for owners in self.owners.values():
            self.program.row(dict.fromkeys(owners, 1.0), 1.0, 1.0)
        for value in (*self.index.graph.inputs, *self.index.graph.producers):
            self._movement(self.program, value)
        self._starts(self.program)
        self._capacities(self.program)
        self.constraints = self.program.constraints()

    def solve(self, free: Collection[int], chosen: Collection[int]) -> set[int]:
        """The best choice of candidates when those not in `free` stay as `chosen` says.

        HeddleError when the solver finds none, which only a contradiction among the rows could cause.
        """
        low, high = np.zeros(len(self.program.costs)), np.ones(len(self.program.costs))
        integral = np.array(self.program.integral)
        for number, value in self._settled(free, chosen):
            low[number] = high[number] = value
            integral[number] = 0
        costs = np.array(self.program.costs)
        result = milp(
            costs / max(costs.max(initial=0.0), 1e-30),
            integrality=integral,
            bounds=Bounds(low, high),
            constraints=self.constraints,
            options={"node_limit": MOST_NODES, "mip_rel_gap": _PROVED},
        )
        if result.x is None:
            raise HeddleError(f"plan: the solver found no placement: {result.message}")
        gap = float(result.mip_gap or 0.0)
        self.gap = max(self.gap, gap if gap > _PROVED else 0.0)
        return {number for number in range(len(self.candidates)) if result.x[number] > 0.5}

    def _settled(self, free: Collection[int], chosen: Collection[int]) -> Iterator[tuple[int, float]]:
        """The units that are not up for choice, each with 1 when it is in and 0 when it is out."""
        open_nodes = {id(node) for number in free for node in self.candidates[number].owned}
        taken = {id(node) for number in chosen if number not in free for node in self.candidates[number].owned}
        for number, unit in enumerate(self.units):
            if number < len(self.candidates):
                if number not in free:
                    yield number, float(number in chosen)
                continue
            place = id(unit.nodes[0])
            if place not in open_nodes or place in taken:
                yield number, float(place not in taken)

    def _movement(self, rows: _Rows, value: Value) -> None:
        """A value goes once to each domain that reads it without making it, and leaves the one that makes it once."""
        maker = self.index.graph.producers.get(value)
        makers = [] if maker is None else self.owners[id(maker)]
        readers = self.readers.get(value, [])
        domains = dict.fromkeys(self.domains[number] for number in (*makers, *readers))
        put_out = value in self.index.outputs
        if all(domain == HOST for domain in domains):
            return
        nbytes = bytes_of(value)
        for domain in domains:
            if domain == HOST:
                continue
            cost = self._passage(domain, nbytes)
            made_here = {number: 1.0 for number in makers if self.domains[number] == domain}
            read_here = [number for number in readers if self.domains[number] == domain]
            if read_here:
                moved = rows.variable(cost, False)
                for number in read_here:
                    rows.row({moved: 1.0, number: -1.0, **{m: 1.0 for m in made_here if m != number}}, 0.0)
            elsewhere = [number for number in readers if self.domains[number] != domain]
            if made_here and (elsewhere or put_out):
                gone = rows.variable(cost, False)
                if put_out:
                    rows.row({gone: 1.0, **dict.fromkeys(made_here, -1.0)}, 0.0)
                for number in elsewhere:
                    rows.row({gone: 1.0, number: -1.0, **dict.fromkeys(made_here, -1.0)}, -1.0)

    def _passage(self, domain: Domain, nbytes: int) -> float:
        backend = next(unit.backend for place, unit in zip(self.domains, self.units, strict=True) if place == domain)
        return self.pricer.passage(backend, nbytes)

    def _starts(self, rows: _Rows) -> None:
        for number, unit in enumerate(self.units):
            launch = self.costs[number].launch
            if launch <= 0.0:
                continue
            started = rows.variable(launch, False)
            before = self._before(number, unit)
            rows.row({started: 1.0, number: -1.0, **dict.fromkeys(before, 1.0)}, 0.0)

    def _before(self, number: int, unit: Unit) -> list[int]:
        """The units of the same backend that make what this one reads, none for a backend whose regions stay apart."""
        if not self.pricer.merges(unit.backend):
            return []
        inside = {value for node in unit.nodes for value in node.results}
        found: dict[int, None] = {}
        for node in unit.nodes:
            for value in node.operands:
                maker: Node | None = self.index.graph.producers.get(value)
                if maker is None or value in inside:
                    continue
                owners = self.owners[id(maker)]
                found.update(dict.fromkeys(o for o in owners if o != number and self.units[o].backend == unit.backend))
        return list(found)

    def _capacities(self, rows: _Rows) -> None:
        for name in dict.fromkeys(unit.backend for unit in self.candidates):
            capacity = self.pricer.capacity(name)
            if capacity == float("inf"):
                continue
            numbers = [number for number, unit in enumerate(self.candidates) if unit.backend == name]
            needs = {number: self.pricer.needs(self.candidates[number]) for number in numbers}
            for one in numbers:
                factors = {number: float(needs[number][0]) for number in numbers}
                factors[one] += float(needs[one][1])
                rows.row(factors, -np.inf, capacity)


def index_of(index: Index, unit: Unit) -> int:
    """Where a unit begins in the graph."""
    return index.position[id(unit.nodes[0])]
