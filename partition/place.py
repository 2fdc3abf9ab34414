"""The front of the partitioner: from a graph and backends to a plan."""

from __future__ import annotations

from collections.abc import Sequence

from heddle.core.errors import HeddleError
from heddle.core.ir import Graph
from heddle.core.pattern import Index
from heddle.core.plugin import Backend
from heddle.partition.assemble import acyclic, assemble
from heddle.partition.candidates import Fallback, by_order, demand_places, everything
from heddle.partition.demands import Demands
from heddle.partition.plan import Plan
from heddle.partition.pricing import Pricer

PLACES = ("order", "greedy", "cost")


def plan(graph: Graph, backends: Sequence[Backend], place: str = "order", demands: Demands | None = None) -> Plan:
    """Partition a graph over backends.

    `place="order"` gives each node to the first listed backend that accepts it, `"greedy"` to whichever computes it
    quickest, wherever the data lies, `"cost"` minimises the predicted time. RefusedError, with every reason, when a
    node has no place; BackendError when a backend fails.
    """
    if place not in PLACES:
        raise HeddleError(
            f"plan: there is no placement {place!r}, it is {', '.join(map(repr, PLACES[:-1]))} or {PLACES[-1]!r}"
        )
    demands = Demands() if demands is None else demands
    demands.check(graph, backends)
    index = Index(graph)
    fallback = Fallback(backends, demands)
    pricer = Pricer(index, backends, dict(demands.memory))
    ordered = by_order(index, backends, demands)
    if place == "order":
        whole, cyclic = acyclic(index, ordered.units, fallback)
        refusals, how = [*ordered.refusals, *cyclic], "by order"
    else:
        # Here, because its solver takes longer to import than most models take to plan by order.
        from heddle.partition.by_cost import Search, cheapest, greedy

        candidates = everything(index, backends, demands, ordered.units)
        search = Search(index, backends, candidates, fallback, pricer)
        best, how = greedy(search) if place == "greedy" else cheapest(search, ordered.units, demands)
        whole, refusals = best.whole, [*candidates.refusals, *best.refusals]
    demand_places(whole, backends, refusals, demands)
    return assemble(index, whole, backends, refusals, how, pricer)
