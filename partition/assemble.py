"""Makes a plan of units: merges them into regions, in order, and proves the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from heddle.core.ir import Node, Value
from heddle.core.pattern import Failure, Index, Refusal, subgraph
from heddle.core.plugin import Backend, Region
from heddle.partition.merge import merge
from heddle.partition.plan import Plan, key_of
from heddle.partition.pricing import Pricer
from heddle.partition.units import Quotient, Unit, complete, order, quotient
from heddle.partition.verify import verify_plan


def acyclic(index: Index, claimed: Sequence[Unit], fallback: Callable[[Node], str]) -> tuple[Quotient, list[Refusal]]:
    """The quotient of the claimed and the fallback's units, without the claims that would close a cycle.

    Only a match with several outputs can: something outside of it then reads one output and feeds what gives another.
    """
    units, refusals = list(claimed), list[Refusal]()
    while True:
        whole = quotient(index, complete(index, units, fallback))
        if len(order(whole.before, whole.after, range(len(whole.units)))) == len(whole.units):
            return whole, refusals
        dropped = _closing(index, whole)
        for unit in dropped:
            refusals += [Refusal(unit.matches[0].pattern, node, (_ENTANGLED,), unit.backend) for node in unit.owned]
        units = [unit for unit in units if unit not in dropped]


_ENTANGLED = Failure(
    "what it computes first",
    "needed by another region, whose results it needs",
    "parts that can be computed at once",
    "let the pattern give fewer outputs",
    verb=" is ",
)


def _closing(index: Index, whole: Quotient) -> list[Unit]:
    """From each cycle of units, the last one in the graph that has several outputs."""
    # Here, because few plans have cycles, and scipy takes longer to import than most models take to plan.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    edges = [(source, reader) for reader, sources in enumerate(whole.before) for source in sources]
    count = len(whole.units)
    matrix = csr_array(([1] * len(edges), tuple(zip(*edges, strict=True))), shape=(count, count))
    _, component = connected_components(matrix, connection="strong")
    members: dict[int, list[Unit]] = {}
    for number, unit in enumerate(whole.units):
        members.setdefault(int(component[number]), []).append(unit)
    cycles = [units for units in members.values() if len(units) > 1]
    return [
        max(filter(_has_several_outputs, units), key=lambda unit: index.position[id(unit.nodes[0])]) for units in cycles
    ]


def _has_several_outputs(unit: Unit) -> bool:
    return any(len(match.outputs) > 1 for match in unit.matches)


def assemble(
    index: Index,
    whole: Quotient,
    backends: Sequence[Backend],
    refusals: Sequence[Refusal],
    placement: str,
    pricer: Pricer,
) -> Plan:
    """The plan of an acyclic quotient, priced and verified."""
    units = merged(index, whole, backends)
    regions = _regions(index, units)
    held = {value for region in regions for value in region.body.constants}
    graph = index.graph
    plan = Plan(
        regions=tuple(regions),
        refusals=tuple(refusals),
        inputs=graph.inputs,
        outputs=graph.outputs,
        constants={value: array for value, array in graph.constants.items() if value not in held},
        order=tuple(key_of(node) for node in graph.nodes),
        listing=tuple(value.name for value in graph.constants),
        name=graph.name,
        placement=placement,
        cost=pricer.price(units),
        calibration=pricer.record.digest(),
    )
    return verify_plan(plan, graph)


def merged(index: Index, whole: Quotient, backends: Sequence[Backend]) -> list[Unit]:
    """The units of an acyclic quotient merged as far as may be, in an order in which they can run.

    A merger can leave a free copy without a reader; once that is gone, more may be merged.
    """
    alone = {backend.name for backend in backends if not backend.merges}
    anywhere = {backend.name for backend in backends if backend.takes_all}
    while True:
        clusters = [[whole.units[number] for number in group] for group in merge(whole, alone, anywhere)]
        units = _joined(clusters, _without_idle_copies(index, clusters))
        if _size(units) == _size(whole.units):
            return units
        whole = quotient(index, units)


def _joined(clusters: list[list[Unit]], kept: list[tuple[Node, ...]]) -> list[Unit]:
    """A unit of each cluster that still computes anything."""
    units: list[Unit] = []
    for cluster, nodes in zip(clusters, kept, strict=True):
        owned = {id(node) for unit in cluster for node in unit.owned}
        matches = tuple(match for unit in cluster for match in unit.matches)
        if nodes:
            mine = tuple(node for node in nodes if id(node) in owned)
            units.append(Unit(cluster[0].backend, nodes, mine, matches))
    return units


def _size(units: Sequence[Unit]) -> tuple[int, int]:
    return len(units), sum(len(unit.nodes) for unit in units)


def _regions(index: Index, units: Sequence[Unit]) -> list[Region]:
    wanted: set[Value] = set(index.graph.outputs)
    for unit in units:
        inside = {value for node in unit.nodes for value in node.results}
        wanted.update(value for node in unit.nodes for value in node.operands if value not in inside)
    regions: list[Region] = []
    for number, unit in enumerate(units):
        outputs = [value for node in unit.owned for value in node.results if value in wanted]
        name = f"{unit.backend}.{number}"
        regions.append(Region(name, unit.backend, subgraph(index.graph, unit.nodes, name, outputs), unit.matches))
    return regions


def _without_idle_copies(index: Index, clusters: list[list[Unit]]) -> list[tuple[Node, ...]]:
    """The nodes of each cluster, without the copies that nobody reads there once units have been merged."""
    if all(len(unit.nodes) == len(unit.owned) for units in clusters for unit in units):
        return [index.ordered(node for unit in units for node in unit.nodes) for units in clusters]
    holders: dict[int, list[int]] = {}
    owner: dict[int, int] = {}
    for number, units in enumerate(clusters):
        for node in {id(node): node for unit in units for node in unit.nodes}.values():
            holders.setdefault(id(node), []).append(number)
        owner.update({id(node): number for unit in units for node in unit.owned})
    for node in reversed(index.graph.nodes):
        here = holders.get(id(node), [])
        if len(here) < 2 or not index.outputs.isdisjoint(node.results):
            continue
        readers = [r for value in node.results for r in index.graph.consumers.get(value, ())]
        reading = {number for reader in readers for number in holders.get(id(reader), ())}
        lacking = reading.difference(here)
        holders[id(node)] = [n for n in here if n in reading or (lacking and owner.get(id(node)) == n)]
    nodes: list[list[Node]] = [[] for _ in clusters]
    for node in index.graph.nodes:
        for number in holders.get(id(node), ()):
            nodes[number].append(node)
    return [tuple(kept) for kept in nodes]
