"""Units: what is placed as a whole (a match, or a node on its own), and the graph of what reads what among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from heddle.core.ir import Node
from heddle.core.pattern import Index, Match, owned_nodes


@dataclass(frozen=True, eq=False)
class Unit:
    """Nodes that one backend computes together: one match, a node of its own, or several of these once merged.

    Of `nodes`, those not in `owned` are free copies.
    """

    backend: str
    nodes: tuple[Node, ...]
    owned: tuple[Node, ...]
    matches: tuple[Match, ...] = ()


@dataclass(eq=False)
class Quotient:
    """Units, and for each the numbers of the units that it reads from and that read from it."""

    units: list[Unit]
    before: list[set[int]] = field(default_factory=list)
    after: list[set[int]] = field(default_factory=list)


def unit_of(index: Index, backend: str, match: Match) -> Unit:
    """The unit of a match."""
    return Unit(backend, match.nodes, tuple(owned_nodes(index, match)), (match,))


def complete(index: Index, claimed: Sequence[Unit], fallback: Callable[[Node], str]) -> list[Unit]:
    """The claimed units, and one of `fallback(node)` for each other node that somebody still reads, by first node."""
    owned = {id(node) for unit in claimed for node in unit.owned}
    holders: dict[int, list[set[int]]] = {}
    for unit in claimed:
        inside = {id(node) for node in unit.nodes}
        for node in unit.nodes:
            holders.setdefault(id(node), []).append(inside)
    units = list(claimed)
    only_copies: set[int] = set()
    for node in reversed(index.graph.nodes):
        if id(node) in owned:
            continue
        if id(node) in holders and index.outputs.isdisjoint(node.results):
            readers = [r for value in node.results for r in index.graph.consumers.get(value, ())]
            if all(
                (id(reader) in owned or id(reader) in only_copies)
                and all(id(node) in inside for inside in holders.get(id(reader), [set[int]()]))
                for reader in readers
            ):
                only_copies.add(id(node))
                continue
        units.append(Unit(fallback(node), (node,), (node,)))
    return sorted(units, key=lambda unit: index.position[id(unit.nodes[0])])


def quotient(index: Index, units: Sequence[Unit]) -> Quotient:
    """What reads what among units."""
    owner = {id(node): number for number, unit in enumerate(units) for node in unit.owned}
    result = Quotient(list(units), [set() for _ in units], [set() for _ in units])
    for number, unit in enumerate(units):
        inside = {id(node) for node in unit.nodes}
        for node in unit.nodes:
            for maker in index.sources[id(node)]:
                if id(maker) not in inside:
                    result.before[number].add(owner[id(maker)])
                    result.after[owner[id(maker)]].add(number)
    return result


def order(before: Sequence[Iterable[int]], after: Sequence[Iterable[int]], keys: Sequence[int]) -> list[int]:
    """A topological order, the smallest key first where there is a choice; too short when there is a cycle."""
    waiting = [len(list(sources)) for sources in before]
    ready = [(keys[number], number) for number, count in enumerate(waiting) if count == 0]
    heapify(ready)
    result = []
    while ready:
        _, number = heappop(ready)
        result.append(number)
        for reader in after[number]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, (keys[reader], reader))
    return result
