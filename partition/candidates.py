"""Everything that could be chosen: each match of each backend, and who may compute what nobody matches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from heddle.core.errors import BackendError, GraphError, RefusedError
from heddle.core.ir import Node
from heddle.core.pattern import Index, Pattern, Refusal, describe, find
from heddle.core.pattern.find import Findings
from heddle.core.plugin import Backend, patterns_of, refusal_of
from heddle.partition.demands import Demands
from heddle.partition.units import Quotient, Unit, unit_of


@dataclass(eq=False)
class Candidates:
    """The units that may be chosen, in order of preference, and the reasons of those that may not."""

    units: list[Unit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(eq=False)
class Fallback:
    """Gives a node to the first backend that takes all and does not refuse it; `""` when there is none."""

    backends: Sequence[Backend]
    demands: Demands
    _given: dict[Node, str] = field(default_factory=dict)

    def __call__(self, node: Node) -> str:
        if node not in self._given:
            self._given[node] = next((backend.name for backend in self.backends if self.takes(backend, node)), "")
        return self._given[node]

    def takes(self, backend: Backend, node: Node) -> bool:
        if not backend.takes_all or self.demands.bars(node, backend.name) is not None:
            return False
        return refusal_of(backend, node) is None


def by_order(index: Index, backends: Sequence[Backend], demands: Demands) -> Candidates:
    """Units that share no node: each node goes to the first listed backend that accepts it."""
    fallback = Fallback(backends, demands)
    chosen = Candidates()
    taken: set[int] = set()
    for backend in backends:
        if backend.takes_all:
            taken.update(id(node) for node in index.graph.nodes if fallback.takes(backend, node))
            continue
        barred = _barred(index, backend, demands)
        found = findings(index, backend, patterns_of(backend), taken | barred)
        chosen.refusals += _refusals(found, backend)
        units = [unit_of(index, backend.name, match) for match in found.matches]
        taken.update(id(node) for unit in units for node in unit.owned)
        chosen.units += units
    return chosen


def everything(index: Index, backends: Sequence[Backend], demands: Demands, ordered: Sequence[Unit]) -> Candidates:
    """Every match of every pattern, whether or not they overlap; of one pattern, the matches share no node.

    The units `ordered`, as chosen by order, are there too: a pattern fits differently once others have had theirs.
    The first backend that takes all is nobody's candidate: it computes what is left. Others offer each node alone.
    """
    offered = Candidates()
    fallback = Fallback(backends, demands)
    for backend in backends:
        if backend.takes_all:
            offered.units += [
                Unit(backend.name, (node,), (node,))
                for node in index.graph.nodes
                if fallback.takes(backend, node) and fallback(node) != backend.name
            ]
            continue
        barred = _barred(index, backend, demands)
        matched: set[int] = set()
        refused: list[Refusal] = []
        for pattern in patterns_of(backend):
            found = findings(index, backend, (pattern,), barred)
            refused += _refusals(found, backend)
            offered.units += [unit_of(index, backend.name, match) for match in found.matches]
            matched.update(id(node) for match in found.matches for node in match.nodes)
        offered.refusals += [refusal for refusal in refused if id(refusal.node) not in matched]
    known = {key_of_unit(unit) for unit in offered.units}
    offered.units += [unit for unit in ordered if key_of_unit(unit) not in known]
    return offered


def key_of_unit(unit: Unit) -> tuple[str, tuple[int, ...]]:
    """What makes two units the same: the backend and the nodes."""
    return unit.backend, tuple(id(node) for node in unit.nodes)


def findings(index: Index, backend: Backend, patterns: Sequence[Pattern], taken: Collection[int] = ()) -> Findings:
    """What a backend's patterns match among the nodes whose ids are not in `taken`."""
    try:
        return find(index, patterns, taken)
    except GraphError as error:
        raise BackendError(f"backend {backend.name!r}: {error}") from error
    except Exception as error:
        raise BackendError(
            f"backend {backend.name!r}: its patterns failed with {type(error).__name__}: {error}"
        ) from error


def _barred(index: Index, backend: Backend, demands: Demands) -> set[int]:
    return {id(node) for node in index.graph.nodes if demands.bars(node, backend.name) is not None}


def _refusals(found: Findings, backend: Backend) -> list[Refusal]:
    return [Refusal(r.pattern, r.node, r.failures, backend.name) for r in found.refusals.values()]


def demand_places(whole: Quotient, backends: Sequence[Backend], refusals: Sequence[Refusal], demands: Demands) -> None:
    """RefusedError when a node has no place, or not the place that is demanded, with every reason in its notes."""
    homeless = [node for unit in whole.units if not unit.backend for node in unit.nodes]
    general = {backend.name for backend in backends if backend.takes_all}
    fallen = [node for unit in whole.units if unit.backend in general for node in unit.owned]
    listed = ", ".join(backend.name for backend in backends)
    count = sum(len(unit.owned) for unit in whole.units)
    if homeless:
        what = f"plan: {len(homeless)} of {count} nodes have no place on {listed}"
        raise _refused(what, "list a backend that takes them", homeless, backends, refusals, demands)
    if demands.strict and fallen and len(general) < len(backends):
        what = f"plan: strict, and {len(fallen)} of {count} nodes fall to {' and '.join(sorted(general))}"
        raise _refused(
            what, "change what the reasons name, or plan without strict", fallen, backends, refusals, demands
        )


def _refused(
    what: str,
    remedy: str,
    nodes: Sequence[Node],
    backends: Sequence[Backend],
    refusals: Sequence[Refusal],
    demands: Demands,
) -> RefusedError:
    by_node: dict[int, list[str]] = {}
    for refusal in refusals:
        by_node.setdefault(id(refusal.node), []).append(str(refusal))
    error = RefusedError(f"{what}; the first is {describe(nodes[0])}; {remedy}")
    for node in nodes:
        for reason in by_node.get(id(node), []) or reasons(node, backends, demands):
            error.add_note(reason)
    return error


def reasons(node: Node, backends: Sequence[Backend], demands: Demands) -> list[str]:
    """Why each backend does not take a node that none of its patterns came near."""
    found = []
    for backend in backends:
        reason = demands.bars(node, backend.name)
        if reason is None and backend.takes_all:
            reason = refusal_of(backend, node)
        elif reason is None:
            reason = f"no pattern of it has {node.op}"
        if reason is not None:
            found.append(f"{backend.name} refused {describe(node)}: {reason}")
    return found
