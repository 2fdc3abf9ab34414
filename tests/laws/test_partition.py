"""Laws of partitioning: on any graph, whatever backends claim, the plan is legal and inlines to the same graph."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, Node, Value, tensor, verify
from heddle.core.pattern import (
    FREE,
    Index,
    Match,
    Pattern,
    any_of,
    binary,
    const,
    either,
    find,
    ops,
    optional,
    pattern,
    repeat,
    unary,
)
from heddle.core.pattern.find import Findings
from heddle.core.plugin import Backend, Figures, Link
from heddle.partition import Plan, plan, verify_plan
from hypothesis import given, settings
from hypothesis import strategies as st

UNARY, BINARY = ("Relu", "Tanh", "Neg", "Abs", "Identity"), ("Add", "Sub", "Mul", "Max")
TYPE = tensor("float32", 2, 2)


def random_graph(seed: int, size: int) -> Graph:
    """A connected jumble: operators of one and two operands, dequantizations and two-output splits over few inputs."""
    rng = random.Random(seed)
    scale, packed = Value("scale", tensor("float32")), Value("packed", tensor("int8", 2, 2))
    constants = {scale: np.float32(0.5).reshape(()), packed: np.arange(4, dtype=np.int8).reshape(2, 2)}
    inputs = tuple(Value(f"in{i}", TYPE) for i in range(rng.randint(1, 3)))
    live: list[Value] = list(inputs)
    nodes: list[Node] = []

    def pick() -> Value:
        recent = live[-4:] if rng.random() < 0.7 else live
        return rng.choice(recent)

    for i in range(size):
        out = Value(f"v{i}", TYPE)
        kind = rng.random()
        if kind < 0.35:
            nodes.append(Node(rng.choice(UNARY), (pick(),), (out,)))
        elif kind < 0.85:
            nodes.append(Node(rng.choice(BINARY), (pick(), pick()), (out,)))
        elif kind < 0.88:
            source, left, right = pick(), Value(f"v{i}l", TYPE), Value(f"v{i}r", TYPE)
            nodes += [Node("Relu", (source,), (left,)), Node("Tanh", (source,), (right,))]
            nodes.append(Node("Add", (right, left), (out,)))
        elif kind < 0.95:
            nodes.append(Node("DequantizeLinear", (packed, scale), (out,)))
        else:
            left, right = Value(f"v{i}a", tensor("float32", 1, 2)), Value(f"v{i}b", tensor("float32", 1, 2))
            nodes.append(Node("Split", (pick(),), (left, right), {"axis": 0, "num_outputs": 2}))
            nodes.append(Node("Concat", (right, left), (out,), {"axis": 0}))
        live.append(out)
    read = {value for node in nodes for value in node.operands}
    ends = [value for node in nodes for value in node.results if value not in read]
    extra = [value for value in live if rng.random() < 0.05]
    outputs = tuple(dict.fromkeys((*ends, *extra)))
    return verify(Graph(inputs, tuple(nodes), outputs, constants if packed in read else {}))


def shapes(where: Callable[[Match], str | None]) -> tuple[Pattern, ...]:
    """Patterns of every kind, all under one condition."""

    @pattern("chain", where=where)
    def chain(x):
        return repeat(lambda h: either(unary(h), ops.Mul(h, h)))(x)

    @pattern("fused", where=where)
    def fused(x, y):
        return optional(any_of("Relu", "Tanh"))(binary(x, y))

    @pattern("diamond", where=where)
    def diamond(x):
        return ops.Add(ops.Relu(x), ops.Tanh(x))

    @pattern("pair", where=where)
    def pair(x, y):
        return unary(x), binary(x, y)

    @pattern("both_ends", where=where)
    def both_ends(x, y):
        first = unary(x)
        return first, binary(first, y)

    @pattern("dequantized", where=where)
    def dequantized(x):
        return binary(ops.DequantizeLinear(const("q"), const("s")), x)

    @pattern("split", where=where)
    def split(x):
        return ops.Split(x, outputs=2)

    return chain, fused, diamond, pair, both_ends, dequantized, split


class Claimer(Backend):
    """Takes a random subset of what its random patterns match."""

    name = "claimer"

    def __init__(self, number: int, seed: int) -> None:
        super().__init__()
        rng = random.Random(seed * 31 + number)
        self.name = f"b{number}"  # type: ignore[misc]  # each claimer is a backend of its own
        self.merges = rng.random() < 0.8  # type: ignore[misc]
        share = rng.choice((0.2, 0.6, 1.0))

        def where(match: Match) -> str | None:
            key = f"{seed} {number} {match.nodes[-1].results[0].name}".encode()
            return None if zlib.crc32(key) % 100 < share * 100 else "not today"

        found = list(shapes(where))
        rng.shuffle(found)
        self._patterns = tuple(found[: rng.randint(1, len(found))])
        near, speed = rng.random() < 0.4, 10 ** rng.uniform(6, 9)
        link = None if near else Link(1e-9, 1e9)
        self._figures = Figures({"*": speed}, speed, 1e-8, "host" if near else self.name, link)

    @property
    def figures(self) -> Figures:
        return self._figures

    @property
    def patterns(self) -> Sequence[Pattern]:
        return self._patterns


class Host(Backend):
    """Takes everything."""

    name = "host"
    takes_all = True
    figures: ClassVar[Any] = Figures({"*": 1e8}, 1e8, 1e-8)


def planned(seed: int, size: int) -> tuple[Graph, Plan, set[str]]:
    """A graph, its plan, and the backends whose regions may not be merged."""
    graph = random_graph(seed, size)
    claimers = [Claimer(number, seed) for number in range(4)]
    alone = {claimer.name for claimer in claimers if not claimer.merges}
    return graph, plan(graph, [*claimers, Host()]), alone


def check(graph: Graph, made: Plan, alone: set[str]) -> None:
    """The law: legal, exact, each node once but for free copies, no two neighbours left that could be one region."""
    verify_plan(made, graph)
    assert str(made.inline()) == str(graph)
    owners: dict[Value, int] = {}
    for region in made.regions:
        for node in region.body.nodes:
            for value in node.results:
                owners[value] = owners.get(value, 0) + 1
                assert owners[value] == 1 or node.op in FREE
        covered = {id(node) for match in region.matches for node in match.nodes}
        assert region.backend == "host" or covered == {id(node) for node in region.body.nodes}
        assert len(region.matches) <= 1 or region.backend not in alone
    after = readers(made)
    for source, reading in enumerate(after):
        for reader in reading:
            if made.regions[source].backend == made.regions[reader].backend not in alone:
                assert any(reader in reachable(after, other) for other in reading - {reader}), (
                    "two regions could be one"
                )


def readers(made: Plan) -> list[set[int]]:
    """For each region, the numbers of those that read from it."""
    giver = {value: number for number, region in enumerate(made.regions) for value in region.body.outputs}
    after: list[set[int]] = [set() for _ in made.regions]
    for number, region in enumerate(made.regions):
        for value in region.body.inputs:
            if value in giver:
                after[giver[value]].add(number)
    return after


def reachable(after: list[set[int]], start: int) -> set[int]:
    seen, todo = {start}, [start]
    while todo:
        new = after[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 40))
def test_every_plan_is_legal_and_inlines_to_the_graph(seed: int, size: int) -> None:
    check(*planned(seed, size))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 25))
def test_regions_one_after_another_compute_what_the_graph_computes(seed: int, size: int) -> None:
    graph, made, _ = planned(seed, size)
    rng = np.random.default_rng(seed)
    inputs = {value.name: rng.standard_normal(value.shape).astype(np.float32) for value in graph.inputs}
    known: dict[str, object] = dict(inputs) | {value.name: array for value, array in made.constants.items()}
    for region in made.regions:
        results = evaluate(region.body, {value.name: known[value.name] for value in region.body.inputs})
        known.update({value.name: result for value, result in zip(region.body.outputs, results, strict=True)})
    for value, expected in zip(graph.outputs, evaluate(graph, inputs), strict=True):
        np.testing.assert_array_equal(known[value.name], expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 14))
def test_plans_by_cost_are_legal_and_no_dearer_than_plans_by_order(seed: int, size: int) -> None:
    graph = random_graph(seed, size)
    claimers = [Claimer(number, seed) for number in range(2)]
    alone = {claimer.name for claimer in claimers if not claimer.merges}
    by_cost = plan(graph, [*claimers, Host()], "cost")
    check(graph, by_cost, alone)
    assert by_cost.cost.seconds <= plan(graph, [*claimers, Host()]).cost.seconds * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 30))
def test_what_an_index_remembers_changes_nothing_that_is_found(seed: int, size: int) -> None:
    graph, rng = random_graph(seed, size), random.Random(seed)
    patterns, used = Claimer(0, seed).patterns, Index(graph)
    for _ in range(5):
        some = rng.sample(patterns, rng.randint(1, len(patterns)))
        taken = {id(node) for node in graph.nodes if rng.random() < 0.2}
        assert told(find(used, some, taken)) == told(find(graph, some, taken))


def told(found: Findings) -> tuple[list[Any], list[Any]]:
    """Findings as plain data."""
    matches = [(match.pattern.name, match.nodes, dict(match.bindings), dict(match.choices)) for match in found.matches]
    return matches, [(key, str(refusal)) for key, refusal in found.refusals.items()]


@pytest.mark.long
def test_ten_thousand_graphs() -> None:
    for seed in range(10_000):
        check(*planned(seed, 1 + seed % 60))
