"""Placement by order: who gets which node, how regions form, what is refused and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from heddle.core.errors import BackendError, GraphError, HeddleError, RefusedError
from heddle.core.ir import Graph
from heddle.core.pattern import Pattern, const, ops, pattern, rank, unary
from heddle.core.plugin import Backend
from heddle.partition import Demands, plan, verify_plan

Read = Callable[..., Graph]
Make = Callable[..., Backend]

LADDER = """graph (%x: float32[2]) -> (%d) {
  %a: float32[2] = Relu(%x) "first"
  %b: float32[2] = Tanh(%a) "second"
  %c: float32[2] = Add(%b, %a) "third"
  %d: float32[2] = Relu(%c) "fourth"
}"""


def one(op: str, **settings: Any) -> Pattern:
    @pattern(op.lower(), **settings)
    def single(x):
        return getattr(ops, op)(x)

    return single


def layout(made: Any) -> str:
    """Each region as `name: results`."""
    return "; ".join(
        f"{region.name}: {' '.join(value.name for node in region.body.nodes for value in node.results)}"
        for region in made.regions
    )


def test_the_first_listed_backend_wins(read_graph: Read, backend: Make, host: Backend, any_unary: Pattern) -> None:
    first, second = backend("first", one("Relu")), backend("second", any_unary)
    graph = read_graph(LADDER)
    assert layout(plan(graph, [first, second, host])) == "first.0: a; second.1: b; host.2: c; first.3: d"
    assert layout(plan(graph, [second, first, host])) == "second.0: a b; host.1: c; second.2: d"
    assert layout(plan(graph, [host, second, first])) == "host.0: a b c d"


def test_neighbours_merge_unless_the_backend_forbids_it(read_graph: Read, backend: Make, host: Backend) -> None:
    patterns = (one("Relu"), one("Tanh"))
    graph = read_graph(LADDER)
    assert layout(plan(graph, [backend("b", *patterns), host])) == "b.0: a b; host.1: c; b.2: d"
    apart = plan(graph, [backend("b", *patterns, merges=False), host])
    assert layout(apart) == "b.0: a; b.1: b; host.2: c; b.3: d"
    assert [len(region.matches) for region in apart.regions] == [1, 1, 0, 1]


def test_regions_that_would_close_a_cycle_stay_apart(read_graph: Read, backend: Make, host: Backend) -> None:
    """%c needs both %a and what the host makes of it: the two cannot be one region."""

    @pattern("add")
    def add(x, y):
        return ops.Add(x, y)

    graph = read_graph(LADDER)
    assert layout(plan(graph, [backend("b", one("Relu"), add), host])) == "b.0: a; host.1: b; b.2: c d"


def test_host_nodes_with_nothing_between_them_are_one_region(read_graph: Read, host: Backend) -> None:
    graph = read_graph("""graph (%x: float32[2], %y: float32[2]) -> (%a, %b) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Relu(%y)
    }""")
    assert layout(plan(graph, [host])) == "host.0: a b"


def test_a_free_node_is_copied_into_the_region_that_wants_it(read_graph: Read, backend: Make, host: Backend) -> None:
    @pattern("scaled")
    def scaled(x):
        return ops.Mul(x, ops.DequantizeLinear(const("w"), const("s")))

    graph = read_graph("""graph (%x: float32[2]) -> (%m, %t) {
      const %w: int8[2]
      const %s: float32[]
      %d: float32[2] = DequantizeLinear(%w, %s)
      %m: float32[2] = Mul(%x, %d)
      %t: float32[2] = Tanh(%d)
    }""")
    made = plan(graph, [backend("b", scaled), host])
    assert layout(made) == "b.0: d m; host.1: d t"
    assert [value.name for value in made.regions[1].body.outputs] == ["t"]
    assert made.inline() == graph


def test_graphs_of_nothing_but_wires(read_graph: Read, host: Backend) -> None:
    graph = read_graph("graph (%x: float32[2]) -> (%x, %k) {\n  const %k: float32[2]\n}", k=[1, 2])
    made = plan(graph, [host])
    assert made.regions == ()
    assert made.inline() == graph


def test_a_plan_prints_and_becomes_json(read_graph: Read, backend: Make, host: Backend) -> None:
    made = plan(read_graph(LADDER), [backend("b", one("Relu", conditions=[rank("x").equals(1)])), host])
    assert (
        str(made)
        == """\
plan by order: 3 regions; 2 nodes on b, 2 nodes on host; predicted 30 us
  b.0: %x -> %a: Relu; 10 us
  host.1: %a -> %c: Tanh, Add; 10 us
  b.2: %c -> %d: Relu; 10 us"""
    )
    data = json.loads(json.dumps(made.to_json()))
    assert [region["name"] for region in data["regions"]] == ["b.0", "host.1", "b.2"]
    assert data["regions"][1]["nodes"] == [
        {"op": "Tanh", "name": "second", "result": "b"},
        {"op": "Add", "name": "third", "result": "c"},
    ]


def test_nodes_without_a_place_are_all_named_with_their_reasons(read_graph: Read, backend: Make) -> None:
    picky = backend("picky", one("Relu", conditions=[rank("x").equals(2)]), one("Tanh"))
    with pytest.raises(RefusedError) as error:
        plan(read_graph(LADDER), [picky])
    assert str(error.value) == (
        'plan: 3 of 4 nodes have no place on picky; the first is %a (Relu "first"); list a backend that takes them'
    )
    assert error.value.__notes__ == [
        'picky.relu refused %a (Relu "first"): x.rank=1, takes 2',
        'picky refused %c (Add "third"): no pattern of it has Add',
        'picky.relu refused %d (Relu "fourth"): x.rank=1, takes 2',
    ]


def test_a_general_backend_may_refuse_too(read_graph: Read, backend: Make) -> None:
    class Narrow(Backend):
        name = "narrow"
        takes_all = True

        def refuses(self, node: Any) -> str | None:
            return "Tanh is not implemented" if node.op == "Tanh" else None

    with pytest.raises(RefusedError) as error:
        plan(read_graph(LADDER), [Narrow()])
    assert error.value.__notes__ == ['narrow refused %b (Tanh "second"): Tanh is not implemented']


def test_strict_plans_refuse_to_fall_back(read_graph: Read, backend: Make, host: Backend) -> None:
    with pytest.raises(RefusedError) as error:
        plan(read_graph(LADDER), [backend("b", one("Relu")), host], demands=Demands(strict=True))
    assert str(error.value).startswith('plan: strict, and 2 of 4 nodes fall to host; the first is %b (Tanh "second")')
    assert layout(plan(read_graph(LADDER), [host], demands=Demands(strict=True))) == "host.0: a b c d"


def test_pins_and_exclusions(read_graph: Read, backend: Make, host: Backend, any_unary: Pattern) -> None:
    both = [backend("b", any_unary), host]
    graph = read_graph(LADDER)
    assert layout(plan(graph, both, demands=Demands(pins=(("first", "host"),)))) == (
        "host.0: a; b.1: b; host.2: c; b.3: d"
    )
    assert layout(plan(graph, both, demands=Demands(exclude=(("Relu", "b"),)))) == ("host.0: a; b.1: b; host.2: c d")
    with pytest.raises(RefusedError) as error:
        plan(graph, both, demands=Demands(pins=(("third", "b"),)))
    assert error.value.__notes__ == [
        'b refused %c (Add "third"): no pattern of it has Add',
        'host refused %c (Add "third"): pinned to b',
    ]


@pytest.mark.parametrize(
    ("demands", "message"),
    [
        (Demands(pins=(("first", "gpu"),)), "plan: a demand names backend 'gpu'; listed are host"),
        (
            Demands(exclude=(("secnd", "host"),)),
            "plan: a demand names nodes 'secnd', the graph has none; did you mean 'second'?",
        ),
    ],
)
def test_demands_that_mean_nothing_are_errors(read_graph: Read, host: Backend, demands: Demands, message: str) -> None:
    with pytest.raises(HeddleError) as error:
        plan(read_graph(LADDER), [host], demands=demands)
    assert str(error.value) == message


def test_a_backend_that_raises_is_named(read_graph: Read, backend: Make, host: Backend) -> None:
    broken = backend("broken", one("Relu", where=lambda match: 1 / 0))
    with pytest.raises(BackendError) as error:
        plan(read_graph(LADDER), [broken, host])
    assert str(error.value) == (
        "backend 'broken': pattern 'relu': asked about %d (Relu \"fourth\"), its `where` failed with "
        "ZeroDivisionError: division by zero; it returns the reason of a refusal, or None where it takes the match"
    )


def test_the_verifier_sees_what_is_wrong(read_graph: Read, backend: Make, host: Backend) -> None:
    from dataclasses import replace

    graph = read_graph(LADDER)
    made = plan(graph, [backend("b", one("Relu")), host])
    first, *rest = made.regions
    broken = {
        "region host.1 reads %a, which no region before it gives": replace(made, regions=(rest[0], first, *rest[1:])),
        "%a (Relu) is computed twice: by b.0 and by again": replace(
            made, regions=(first, replace(first, name="again"), *rest)
        ),
        "output %d is given by no region": replace(made, regions=made.regions[:-1]),
    }
    for message, wrong in broken.items():
        with pytest.raises(GraphError) as error:
            verify_plan(wrong, graph)
        assert str(error.value) == message


def test_unary_is_a_wildcard_of_backends_too(read_graph: Read, backend: Make, host: Backend) -> None:
    @pattern("two")
    def two(x):
        return unary(unary(x))

    graph = read_graph("""graph (%x: float32[2]) -> (%c) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Tanh(%a)
      %c: float32[2] = Neg(%b)
    }""")
    assert layout(plan(graph, [backend("b", two), host])) == "host.0: a; b.1: b c"
