"""Explains a plan: where each node runs and why, what blocked the alternatives, and what would help most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heddle.core.errors import BackendError
from heddle.core.ir import Graph, Node
from heddle.core.pattern import Index, Refusal, describe
from heddle.core.pattern.trace import EITHER, OPTIONAL, REPEAT
from heddle.core.plugin import Backend, Cost, Region, patterns_of
from heddle.core.plugin.figures import roofline, work_of
from heddle.partition.assemble import acyclic, merged
from heddle.partition.candidates import Fallback, by_order, everything, reasons
from heddle.partition.demands import Demands
from heddle.partition.plan import Plan, duration, key_of
from heddle.partition.pricing import Known, Pricer
from heddle.partition.units import Unit, unit_of


@dataclass(frozen=True)
class Obstacle:
    """One thing that keeps a node from a backend: which pattern asks for what, what was found, what would mend it."""

    pattern: str
    subject: str
    actual: str
    takes: str
    fix: str
    text: str


@dataclass(frozen=True)
class Alternative:
    """Another backend for a node: what it would take there on its own, or what blocks it."""

    backend: str
    seconds: float | None
    reason: str
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True)
class Account:
    """Where one node runs, what it takes there, how much of all work it is, and why it is not elsewhere."""

    result: str
    op: str
    name: str
    backend: str
    region: str
    pattern: str
    seconds: float
    share: float
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Counterfactual:
    """What a change would bring: the share of work that is offloaded, and the predicted time, before and after."""

    what: str
    nodes: int
    share_before: float
    share_after: float
    seconds_before: float
    seconds_after: float

    def __str__(self) -> str:
        change = self.seconds_after / self.seconds_before - 1 if self.seconds_before else 0.0
        digits = int(f"{self.share_before:.0%}" == f"{self.share_after:.0%}")
        return (
            f"{self.what} would move {self.share_before:.{digits}%} to {self.share_after:.{digits}%} of the work, "
            f"predicted {change:+.0%} ({duration(self.seconds_before)} to {duration(self.seconds_after)})"
        )


@dataclass(frozen=True)
class Explanation:
    """The accounts of a plan's nodes, in the order of the graph, and the changes that would help, the best first.

    `remarks` are what backends that compute something have to say of their options.
    """

    plan: Plan
    accounts: tuple[Account, ...]
    shares: dict[str, float]
    counterfactuals: tuple[Counterfactual, ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [str(self.plan)]
        lines.append("work: " + (", ".join(f"{share:.0%} on {name}" for name, share in self.shares.items()) or "none"))
        lines += self.remarks
        for account in self.accounts:
            label = f' "{account.name}"' if account.name else ""
            by = f" by {account.pattern}" if account.pattern else ""
            lines.append(
                f"%{account.result} {account.op}{label}: {account.region}{by}, "
                f"{duration(account.seconds)}, {account.share:.1%} of the work"
            )
            lines += [f"    {other.reason}" for other in account.alternatives]
        if self.counterfactuals:
            lines.append("what would help most:")
            lines += [f"  {change}" for change in self.counterfactuals]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The explanation as plain data."""
        return {
            "plan": self.plan.to_json(),
            "shares": dict(self.shares),
            "remarks": list(self.remarks),
            "nodes": [asdict(account) for account in self.accounts],
            "counterfactuals": [{**asdict(change), "text": str(change)} for change in self.counterfactuals],
        }


def explain(plan: Plan, backends: Sequence[Backend], demands: Demands | None = None) -> Explanation:
    """The explanation of a plan that was made for these backends under these demands."""
    return _Explainer(plan, backends, Demands() if demands is None else demands).explanation()


class _Explainer:
    def __init__(self, plan: Plan, backends: Sequence[Backend], demands: Demands) -> None:
        self.plan, self.backends, self.demands = plan, backends, demands
        self.graph: Graph = plan.inline()
        self.index = Index(self.graph)
        self.pricer = Pricer(self.index, backends, dict(demands.memory))
        self.general = {backend.name for backend in backends if backend.takes_all}
        self.fallback = Fallback(backends, demands)
        self.region_of: dict[str, Region] = {}
        self.pattern_of: dict[str, str] = {}
        for region in plan.regions:
            for node in region.body.nodes:
                self.region_of.setdefault(key_of(node), region)
            for match in region.matches:
                self.pattern_of.update({key_of(node): f"{region.backend}.{match.pattern.name}" for node in match.nodes})
        self.refusals: dict[tuple[str, str], list[Refusal]] = {}
        for refusal in plan.refusals:
            self.refusals.setdefault((refusal.backend, key_of(refusal.node)), []).append(refusal)
        self.offers: dict[tuple[str, str], Unit] = {}
        ordered = by_order(self.index, backends, demands).units
        for unit in everything(self.index, backends, demands, ordered).units:
            for node in unit.owned:
                self.offers.setdefault((unit.backend, key_of(node)), unit)

    def explanation(self) -> Explanation:
        seconds = self._seconds()
        work = {key_of(node): work_of(node).operations for node in self.graph.nodes}
        total = sum(work.values()) or 1.0
        accounts = []
        for node in self.graph.nodes:
            key = key_of(node)
            region = self.region_of[key]
            accounts.append(
                Account(
                    key,
                    node.op,
                    node.name,
                    region.backend,
                    region.name,
                    self.pattern_of.get(key, ""),
                    seconds[key],
                    work[key] / total,
                    tuple(
                        self._alternative(node, backend) for backend in self.backends if backend.name != region.backend
                    ),
                )
            )
        shares: dict[str, float] = {}
        for account in accounts:
            shares[account.backend] = shares.get(account.backend, 0.0) + account.share
        used = [backend for backend in self.backends if backend.name in shares]
        remarks = tuple(f"{backend.name}: {remark}" for backend in used for remark in backend.remarks)
        return Explanation(self.plan, tuple(accounts), shares, self._counterfactuals(work, total), remarks)

    def _seconds(self) -> dict[str, float]:
        """Each region's computing, shared out to its nodes by what each would take alone on its device."""
        seconds: dict[str, float] = {}
        for region, price in zip(self.plan.regions, self.plan.cost.regions, strict=True):
            alone = {}
            for node in region.body.nodes:
                body = Graph(node.operands, (node,), node.results)
                alone[key_of(node)] = roofline(body, self.pricer.figures(region.backend))[0]
            total = sum(alone.values())
            for key, part in alone.items():
                even = 1 / len(alone)
                seconds.setdefault(key, price.compute * (part / total if total else even))
        return seconds

    def _alternative(self, node: Node, backend: Backend) -> Alternative:
        key = key_of(node)
        offer = self.offers.get((backend.name, key))
        if offer is not None:
            seconds = self.pricer.cost(offer).seconds
            pattern = f"{backend.name}.{offer.matches[0].pattern.name}" if offer.matches else backend.name
            why = "an earlier backend has it" if self.plan.placement == "by order" else "another placement is cheaper"
            return Alternative(backend.name, seconds, f"{pattern} could take it in {duration(seconds)}; {why}")
        if backend.takes_all and self.fallback.takes(backend, node):
            seconds = self.pricer.cost(Unit(backend.name, (node,), (node,))).seconds
            return Alternative(backend.name, seconds, f"{backend.name} could take it in {duration(seconds)}")
        refused = self.refusals.get((backend.name, key), [])
        barred = self.demands.bars(node, backend.name)
        if refused and barred is None:
            obstacles = tuple(
                Obstacle(f"{backend.name}.{refusal.pattern.name}", f.subject, f.actual, f.takes, f.fix, str(f))
                for refusal in refused
                for f in refusal.failures
            )
            fixes = "; ".join(dict.fromkeys(refusal.fix for refusal in refused if refusal.fix))
            text = "; ".join(str(refusal) for refusal in refused) + (f" (to mend it: {fixes})" if fixes else "")
            return Alternative(backend.name, None, text, obstacles)
        text = "; ".join(reasons(node, [backend], self.demands)) or f"{backend.name} does not take {describe(node)}"
        if barred is None and not backend.takes_all:
            text += f"; it has {', '.join(_operators(backend))}"
        return Alternative(backend.name, None, text, (Obstacle(backend.name, "operator", node.op, "", "", text),))

    # -- what would help -----------------------------------------------------------------------------------------

    def _counterfactuals(self, work: dict[str, float], total: float) -> tuple[Counterfactual, ...]:
        """Each backend claiming each operator, and each condition lifted, that would make the whole quicker."""
        fallen = [node for node in self.graph.nodes if self.region_of[key_of(node)].backend in self.general]
        changes: dict[tuple[str, str], list[Node]] = {}
        for backend in self.backends:
            if backend.takes_all:
                continue
            for node in fallen:
                if self.demands.bars(node, backend.name) is not None:
                    continue
                changes.setdefault((backend.name, f"{backend.name} claiming {node.op}"), []).append(node)
                for refusal in self.refusals.get((backend.name, key_of(node)), []):
                    limits = " and ".join(dict.fromkeys(failure.subject for failure in refusal.failures))
                    if all(failure.fix for failure in refusal.failures):
                        what = f"{backend.name}.{refusal.pattern.name} without its limit on {limits}"
                        changes.setdefault((backend.name, what), []).append(node)
        units = [unit_of(self.index, region.backend, match) for region in self.plan.regions for match in region.matches]
        before = self._priced(units)
        fallen_work = {key_of(node) for node in fallen}
        share_before = sum(part for key, part in work.items() if key not in fallen_work) / total
        found = []
        for (backend_name, what), nodes in changes.items():
            after = self._priced([*units, *(Unit(backend_name, (node,), (node,)) for node in nodes)])
            if after < 0.995 * before:  # what would be told as 0% is no help
                share = share_before + sum(work[key_of(node)] for node in nodes) / total
                found.append(Counterfactual(what, len(nodes), share_before, share, before, after))
        return tuple(sorted(found, key=lambda change: (change.seconds_after, change.what))[:10])

    def _priced(self, units: Sequence[Unit]) -> float:
        whole, _ = acyclic(self.index, units, self.fallback)
        lenient = _Lenient(self.index, self.backends, self.pricer.memory)
        return lenient.price(merged(self.index, whole, self.backends)).seconds


class _Lenient(Pricer):
    """Prices what a backend does not take yet by its declared figures."""

    def region_cost(self, region: Region) -> Known:
        try:
            return super().region_cost(region)
        except BackendError:
            declared = Cost(*roofline(region.body, self.figures(region.backend)))
            cost, error = self.corrected(self._backend(region.backend), region, declared)
            return Known(cost, None, error)


def _operators(backend: Backend) -> list[str]:
    """The operators and wildcards that a backend's patterns name, sorted."""
    nodes = [node for found in patterns_of(backend) for graph in found.body.walk() for node in graph.nodes]
    named = {name for node in nodes for name in node.attrs.get("of", (node.op,))}
    return sorted(named - {EITHER, OPTIONAL, REPEAT})
