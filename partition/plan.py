"""Plan: which backend computes which part of a graph, flat and in order, with the reasons of what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heddle.core.ir import Graph, Node, Value
from heddle.core.ir.graph import Array
from heddle.core.pattern import Refusal
from heddle.core.plugin import Region
from heddle.partition.pricing import PlanPrice, RegionPrice


@dataclass(frozen=True, eq=False)
class Plan:
    """The regions of a graph in an order in which they can run, each reading what earlier ones or the inputs give.

    `inputs`, `outputs` and `name` are the graph's. `constants` are those that no region holds: outputs, or read by
    nobody. `order` and `listing` are the first results of the nodes, and the constants, in the order of the graph.
    `placement` says how places were chosen, `cost` what each region is predicted to take; `calibration` is the digest
    of the measurements that this depends on, empty where there were none.
    """

    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    constants: Mapping[Value, Array] = field(default_factory=dict, repr=False)
    order: tuple[str, ...] = field(default=(), repr=False)
    listing: tuple[str, ...] = field(default=(), repr=False)
    name: str = ""
    placement: str = "by order"
    cost: PlanPrice = field(default_factory=lambda: PlanPrice(()))
    calibration: str = ""

    def inline(self) -> Graph:
        """The graph that was partitioned, put together again from the regions' bodies."""
        nodes = {key_of(node): node for region in self.regions for node in region.body.nodes}
        constants = {value.name: (value, array) for value, array in self.constants.items()}
        for region in self.regions:
            constants.update({value.name: (value, array) for value, array in region.body.constants.items()})
        return Graph(
            self.inputs,
            tuple(nodes[key] for key in self.order),
            self.outputs,
            dict(constants[name] for name in self.listing),
            self.name,
        )

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that compute something, in order of appearance."""
        return tuple(dict.fromkeys(region.backend for region in self.regions))

    def region_of(self, value: str) -> Region | None:
        """The first region that binds a value of this name."""
        for region in self.regions:
            if any(result.name == value for node in region.body.nodes for result in node.results):
                return region
        return None

    def __str__(self) -> str:
        counts = Counter(region.backend for region in self.regions for _ in region.body.nodes)
        shares = ", ".join(f"{count} nodes on {backend}" for backend, count in counts.items()) or "nothing to compute"
        known = "predicted" if self.cost.measured is None else "measured"
        predicted = f"; {known} {duration(self.cost.seconds)}" if self.regions else ""
        predicted += f" with calibration {self.calibration}" if self.calibration else ""
        lines = [f"plan {self.placement}: {_plural(len(self.regions), 'region')}; {shares}{predicted}"]
        prices = [f"; {told(price)}" for price in self.cost.regions]
        prices += [""] * (len(self.regions) - len(prices))
        for number, region in enumerate(self.regions):
            reads = ", ".join(str(value) for value in region.body.inputs) or "nothing"
            gives = ", ".join(str(value) for value in region.body.outputs) or "nothing"
            lines.append(f"  {region.name}: {reads} -> {gives}: {operators(region.body)}{prices[number]}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, without arrays."""
        return {
            "name": self.name,
            "placement": self.placement,
            "calibration": self.calibration,
            "inputs": [value.name for value in self.inputs],
            "outputs": [value.name for value in self.outputs],
            "seconds": self.cost.seconds,
            "measured": self.cost.measured,
            "regions": [region_json(*priced) for priced in zip(self.regions, self.cost.regions, strict=True)],
            "refusals": [refusal_json(refusal) for refusal in self.refusals],
        }


def key_of(node: Node) -> str:
    """What a node is known by in a plan: the name of its first result."""
    return node.results[0].name if node.results else f"{node.op} {node.name}"


def operators(body: Graph) -> str:
    """The operators of a graph with their numbers: `2 Conv, Relu`."""
    counts = Counter(node.op for node in body.nodes)
    return ", ".join(op if count == 1 else f"{count} {op}" for op, count in counts.items())


def region_json(region: Region, price: RegionPrice) -> dict[str, Any]:
    """A region as plain data."""
    return {
        "name": region.name,
        "backend": region.backend,
        "inputs": [{"name": value.name, "type": str(value.type)} for value in region.body.inputs],
        "outputs": [{"name": value.name, "type": str(value.type)} for value in region.body.outputs],
        "nodes": [{"op": node.op, "name": node.name, "result": key_of(node)} for node in region.body.nodes],
        "patterns": [match.pattern.name for match in region.matches],
        "seconds": {
            "compute": price.compute,
            "launch": price.launch,
            "inward": price.inward,
            "outward": price.outward,
            "predicted": price.predicted,
            "measured": price.measured,
        },
    }


def refusal_json(refusal: Refusal) -> dict[str, Any]:
    """A refusal as plain data."""
    return {
        "backend": refusal.backend,
        "pattern": refusal.pattern.name,
        "node": {"op": refusal.node.op, "name": refusal.node.name, "result": key_of(refusal.node)},
        "reason": refusal.reason,
        "failures": [
            {"subject": f.subject, "actual": f.actual, "takes": f.takes, "fix": f.fix} for f in refusal.failures
        ],
    }


def told(price: RegionPrice) -> str:
    """What a region takes, as it was predicted and, where it was, measured."""
    if price.measured is None:
        return duration(price.seconds)
    moved = price.inward + price.outward
    moving = f", {duration(moved)} of moving" if moved else ""
    return f"{duration(price.predicted)} predicted, {duration(price.measured)} measured{moving}"


def duration(seconds: float) -> str:
    """Seconds as people read them: `1.25 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
