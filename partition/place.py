"""The front of the partitioner: from a graph and backends to a plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from heddle.core.errors import BackendError, HeddleError, RefusedError
from heddle.core.ir import Graph, Node
from heddle.core.pattern import Index, Pattern, Refusal, describe, find
from heddle.core.pattern.find import Findings
from heddle.core.plugin import Backend, patterns_of, refusal_of
from heddle.partition.assemble import acyclic, assemble
from heddle.partition.plan import Plan
from heddle.partition.units import Quotient, Unit, unit_of


def plan(graph: Graph, backends: Sequence[Backend], place: str = "order") -> Plan:
    """Partition a graph over backends, each node to the first listed one that accepts it.

    RefusedError, with every reason, when a node has no place; BackendError when a backend's pattern fails.
    """
    if place != "order":
        raise HeddleError(f"plan: there is no placement {place!r}, it is 'order'")
    index = Index(graph)
    fallback = Fallback(backends)
    claimed: list[Unit] = []
    refusals: list[Refusal] = []
    taken: set[int] = set()
    for backend in backends:
        if backend.takes_all:
            taken.update(id(node) for node in graph.nodes if refusal_of(backend, node) is None)
            continue
        found = findings(index, backend, patterns_of(backend), taken)
        refusals += [Refusal(r.pattern, r.node, r.failures, backend.name) for r in found.refusals.values()]
        units = [unit_of(index, backend.name, match) for match in found.matches]
        taken.update(id(node) for unit in units for node in unit.owned)
        claimed += units
    whole, cyclic = acyclic(index, claimed, fallback)
    demand_places(whole, backends, [*refusals, *cyclic])
    return assemble(index, whole, backends, [*refusals, *cyclic], "by order")


@dataclass(frozen=True)
class Fallback:
    """Gives a node to the first backend that takes all and does not refuse it; `""` when there is none."""

    backends: Sequence[Backend]

    def __call__(self, node: Node) -> str:
        for backend in self.backends:
            if backend.takes_all and refusal_of(backend, node) is None:
                return backend.name
        return ""


def findings(index: Index, backend: Backend, patterns: Sequence[Pattern], taken: Collection[int] = ()) -> Findings:
    """What a backend's patterns match among the nodes whose ids are not in `taken`."""
    try:
        return find(index, patterns, taken)
    except Exception as error:
        raise BackendError(
            f"backend {backend.name!r}: its patterns failed with {type(error).__name__}: {error}; "
            "a `where` returns the reason of a refusal, or None"
        ) from error


def demand_places(whole: Quotient, backends: Sequence[Backend], refusals: Sequence[Refusal]) -> None:
    """RefusedError when nobody computes a node, with every reason in its notes."""
    homeless = [node for unit in whole.units if not unit.backend for node in unit.nodes]
    if not homeless:
        return
    by_node: dict[int, list[str]] = {}
    for refusal in refusals:
        by_node.setdefault(id(refusal.node), []).append(str(refusal))
    count = sum(len(unit.owned) for unit in whole.units)
    error = RefusedError(
        f"plan: {len(homeless)} of {count} nodes have no place on {', '.join(b.name for b in backends)}; "
        f"the first is {describe(homeless[0])}; list a backend that takes them"
    )
    for node in homeless:
        for reason in by_node.get(id(node), []) or _reasons(node, backends):
            error.add_note(reason)
    raise error


def _reasons(node: Node, backends: Sequence[Backend]) -> list[str]:
    reasons = []
    for backend in backends:
        if backend.takes_all:
            reasons.append(f"{backend.name} refused {describe(node)}: {refusal_of(backend, node)}")
        else:
            reasons.append(f"{backend.name} refused {describe(node)}: no pattern of it has {node.op}")
    return reasons
