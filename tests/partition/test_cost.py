"""Placement by cost: as cheap as the best of all plans, within what the user demands."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import pytest
from heddle.core.ir import Graph, Node, Value, tensor
from heddle.core.pattern import Index, Match, Pattern, any_of, binary, ops, optional, pattern, unary
from heddle.core.plugin import Backend, Figures, Link
from heddle.core.plugin.calibration import Correction, Record, region_key, using
from heddle.partition import Demands, Plan, by_cost, milp, plan
from heddle.partition.candidates import Fallback, everything
from heddle.partition.milp import Model
from heddle.partition.pricing import Pricer
from heddle.partition.units import Unit

Read = Callable[..., Graph]
Make = Callable[..., Backend]

SLOW_HOST = Figures({"*": 1e9}, 1e9, launch=1e-6)
FAR = Figures({"*": 1e12}, 1e12, launch=1e-6, memory="far", link=Link(1e-5, 1e9))
NEAR = Figures({"*": 1e12}, 1e12, launch=1e-6)

CHAIN = """graph (%x: float32[{n}]) -> (%c) {{
  %a: float32[{n}] = Tanh(%x) "one"
  %b: float32[{n}] = Exp(%a) "two"
  %c: float32[{n}] = Sigmoid(%b) "three"
}}"""


def layout(made: Plan) -> list[str]:
    return [region.backend for region in made.regions]


def test_work_goes_where_it_pays(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    far, host = backend("far", any_unary, figures=FAR), backend("host", figures=SLOW_HOST, takes_all=True)
    assert layout(plan(read_graph(CHAIN.format(n=100)), [far, host], "cost")) == ["host"]
    assert layout(plan(read_graph(CHAIN.format(n=1_000_000)), [far, host], "cost")) == ["far"]
    near = backend("near", any_unary, figures=NEAR)
    assert layout(plan(read_graph(CHAIN.format(n=100_000)), [far, near, host], "cost")) == ["near"]


def test_a_guess_must_win_by_more_than_its_error(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=NEAR, takes_all=True)
    graph = read_graph(CHAIN.format(n=100_000))
    for scale, error, chosen in ((0.8, 0.0, "near"), (0.8, 0.2, "near"), (0.8, 0.5, "host"), (1.2, 0.0, "host")):
        corrections = {"near": Correction({"function": scale}, 0.0, error), "host": Correction({}, 0.0, 0.9)}
        with using(Record(corrections)):
            assert layout(plan(graph, [near, host], "cost")) == [chosen]


def test_a_guess_must_beat_what_was_measured(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    """Once the whole is known on the host, its parts there are guesses as any others."""
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=NEAR, takes_all=True)
    graph, pinned = read_graph(CHAIN.format(n=100_000)), Demands(exclude=(("three", "near"),))
    (price,) = plan(graph, [host]).cost.regions
    corrections = {"near": Correction({"function": 0.1}), "host": Correction({}, 0.0, 9.0)}
    for measured, chosen in (({}, ["near", "host"]), ({region_key(host, graph): price.compute}, ["host"])):
        with using(Record(corrections, regions={"host": measured})):
            assert layout(plan(graph, [near, host], "cost", pinned)) == chosen


def test_several_regions_must_win_by_more_than_chance(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=NEAR, takes_all=True)
    graph, pinned = read_graph(CHAIN.format(n=100_000)), Demands(exclude=(("three", "near"),))
    corrections = {"near": Correction({"function": 0.1})}
    with using(Record(corrections)):
        apart = plan(graph, [near, host], "cost", pinned)
    assert layout(apart) == ["near", "host"]
    for share, chosen in ((0.97, ["host"]), (0.93, ["near", "host"])):
        measured = {region_key(host, graph): apart.cost.seconds / share}
        with using(Record(corrections, regions={"host": measured})):
            made = plan(graph, [near, host], "cost", pinned)
        assert layout(made) == chosen
        assert made.cost.seconds == pytest.approx(min(measured.values()) if chosen == ["host"] else apart.cost.seconds)


def test_a_region_among_others_costs_its_dispatch(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=SLOW_HOST, takes_all=True)
    graph = read_graph(CHAIN.format(n=100))
    one, both = [near, host], Demands(pins=(("two", "host"),))
    for dispatch in (0.0, 1e-3):
        with using(Record(dispatch=dispatch)):
            assert sum(r.launch for r in plan(graph, one).cost.regions) == pytest.approx(1e-6)
            apart = plan(graph, one, demands=both)
            assert layout(apart) == ["near", "host", "near"]
            assert sum(r.launch for r in apart.cost.regions) == pytest.approx(3 * (1e-6 + dispatch))


def test_one_transfer_serves_all_readers_of_a_domain(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    far, host = backend("far", any_unary, figures=FAR), backend("host", figures=SLOW_HOST, takes_all=True)
    made = plan(read_graph(CHAIN.format(n=1_000_000)), [far, host])
    (price,) = made.cost.regions
    assert price.inward == pytest.approx(1e-5 + 4e6 / 1e9)
    assert price.outward == pytest.approx(1e-5 + 4e6 / 1e9)


def test_a_value_moves_once_however_many_regions_read_it(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    far, host = backend("far", any_unary, figures=FAR, merges=False), backend("host", figures=SLOW_HOST, takes_all=True)
    made = plan(
        read_graph("""graph (%x: float32[1000]) -> (%c) {
          %a: float32[1000] = Tanh(%x)
          %b: float32[1000] = Exp(%x)
          %c: float32[1000] = Add(%a, %b)
        }"""),
        [far, host],
    )
    assert layout(made) == ["far", "far", "host"]
    assert [region.inward for region in made.cost.regions] == pytest.approx([1e-5 + 4000 / 1e9, 0.0, 0.0])
    assert [region.outward for region in made.cost.regions] == pytest.approx([1e-5 + 4000 / 1e9] * 2 + [0.0])


def test_the_placement_says_how_it_was_found(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    far, host = backend("far", any_unary, figures=FAR), backend("host", figures=SLOW_HOST, takes_all=True)
    made = plan(read_graph(CHAIN.format(n=8)), [far, host], "cost")
    assert made.placement == "by cost, the cheapest of all 8 combinations"


def test_a_small_benefit_is_not_worth_the_trouble(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    quick = Figures({"*": 1.05e9}, 1e9, launch=1e-6)
    slightly, host = backend("quick", any_unary, figures=quick), backend("host", figures=SLOW_HOST, takes_all=True)
    graph = read_graph(CHAIN.format(n=100_000))
    assert layout(plan(graph, [slightly, host], "cost")) == ["quick"]
    made = plan(graph, [slightly, host], "cost", Demands(minimum_benefit=0.1))
    assert layout(made) == ["host"]
    assert made.placement.endswith("offloading gains less than 10%")


def test_a_device_takes_no_more_than_its_memory_holds(read_graph: Read, backend: Make) -> None:
    @pattern("matmul")
    def matmul(x, w):
        return ops.MatMul(x, w)

    graph = read_graph("""graph (%x: float32[64,64]) -> (%c) {
      const %u: float32[64,64]
      const %v: float32[64,64]
      const %w: float32[64,64]
      %a: float32[64,64] = MatMul(%x, %u)
      %b: float32[64,64] = MatMul(%a, %v)
      %c: float32[64,64] = MatMul(%b, %w)
    }""")
    host = backend("host", figures=SLOW_HOST, takes_all=True)
    near = backend("near", matmul, figures=NEAR)
    assert layout(plan(graph, [near, host], "cost")) == ["near"]
    capped = plan(graph, [near, host], "cost", Demands(memory={"near": 4 * 16_384}))
    assert sorted(layout(capped)) == ["host", "near"]
    held = [len(region.body.constants) for region in capped.regions if region.backend == "near"]
    assert held == [2]


def test_pins_hold_against_cost(read_graph: Read, backend: Make, any_unary: Pattern) -> None:
    far, host = backend("far", any_unary, figures=FAR), backend("host", figures=SLOW_HOST, takes_all=True)
    pinned = plan(read_graph(CHAIN.format(n=100)), [far, host], "cost", Demands(pins=(("two", "far"),)))
    assert "far" in layout(pinned)
    (region,) = [region for region in pinned.regions if region.backend == "far"]
    assert "two" in [node.name for node in region.body.nodes]


# -- against brute force -------------------------------------------------------------------------------------------


def small_graph(rng: random.Random, size: int) -> Graph:
    kind = tensor("float32", 64, 64)
    values = [Value("x", kind), Value("y", kind)]
    nodes = []
    for i in range(size):
        out = Value(f"v{i}", kind)
        if rng.random() < 0.5:
            nodes.append(Node(rng.choice(("Relu", "Tanh", "Exp")), (rng.choice(values[-3:]),), (out,)))
        else:
            nodes.append(Node(rng.choice(("Add", "MatMul")), (rng.choice(values[-3:]), rng.choice(values)), (out,)))
        values.append(out)
    read = {value for node in nodes for value in node.operands}
    return Graph(tuple(values[:2]), tuple(nodes), tuple(v for v in values[2:] if v not in read))


def patterns(allowed: Callable[[Match], bool]) -> list[Pattern]:
    def where(match: Match) -> str | None:
        return None if allowed(match) else "not allowed"

    @pattern("fused", where=where)
    def fused(x, y):
        return optional(any_of("Relu", "Tanh"))(ops.MatMul(x, y))

    @pattern("one", where=where)
    def one(x):
        return unary(x)

    @pattern("two", where=where)
    def two(x, y):
        return binary(x, y)

    return [fused, one, two]


def price(made: Plan, backends: list[Backend]) -> float:
    """The price of a plan from its regions alone: computing, starting, each value once to and from each memory."""
    by_name = {backend.name: backend for backend in backends}
    figures = {name: backend.figures for name, backend in by_name.items()}
    home = dict.fromkeys(made.inputs, "host")
    link = {f.memory: f.link for f in figures.values() if f.link is not None}
    bytes_of = {
        value: value.type.nbytes for region in made.regions for value in (*region.body.inputs, *region.body.outputs)
    }
    total = 0.0
    moves = set()
    for region in made.regions:
        total += by_name[region.backend].estimate(region).seconds
        here = figures[region.backend].memory
        home |= dict.fromkeys(region.body.outputs, here)
        for value in region.body.inputs:
            if home[value] != here:
                moves |= {(value, "to", here), (value, "from", home[value])}
    moves |= {(value, "from", home[value]) for value in made.outputs}
    return total + sum(
        link[memory].latency + bytes_of[value] / link[memory].bandwidth for value, _, memory in moves if memory in link
    )


def matches_of(graph: Graph, make: Make, figures: list[Figures], salt: int) -> Iterable[tuple[int, str]]:
    from heddle.core.pattern import find

    for number in range(len(figures)):
        for form in patterns(lambda match, number=number: claims(match, number, salt)):
            for match in find(graph, [form]).matches:
                yield number, match.pattern.name + match.outputs[0].name


def claims(match: Match, number: int, salt: int) -> bool:
    return random.Random(f"{salt} {number} {match.pattern.name} {match.outputs[0].name}").random() < 0.35


@pytest.mark.parametrize("salt", range(12))
def test_small_graphs_are_placed_as_cheaply_as_by_brute_force(backend: Make, salt: int) -> None:
    rng = random.Random(salt)
    graph = small_graph(rng, rng.randint(3, 15))
    figures = [
        Figures(
            {"*": 10 ** rng.uniform(9, 11)},
            10 ** rng.uniform(9, 11),
            launch=10 ** rng.uniform(-7, -6),
            memory=rng.choice(("host", f"m{number}")),
            link=Link(10 ** rng.uniform(-8, -6), 10 ** rng.uniform(9, 11)),
        )
        for number in range(2)
    ]
    figures = [f if f.memory != "host" else Figures(f.operations, f.bandwidth, f.launch) for f in figures]
    host = backend("host", figures=Figures({"*": 1e10}, 1e10, launch=1e-7), takes_all=True)
    everything = list(matches_of(graph, backend, figures, salt))[:7]
    backends = [
        backend(
            f"b{number}",
            *patterns(lambda match, number=number: (number, match.pattern.name + match.outputs[0].name) in everything),
            figures=figures[number],
        )
        for number in range(2)
    ]
    best = float("inf")
    for count in range(len(everything) + 1):
        for chosen in combinations(everything, count):
            some = [
                backend(
                    f"b{number}",
                    *patterns(
                        lambda match, number=number, chosen=chosen: (
                            (number, match.pattern.name + match.outputs[0].name) in chosen
                        )
                    ),
                    figures=figures[number],
                )
                for number in range(2)
            ]
            for listed in ([*some, host], [*reversed(some), host]):
                made = plan(graph, listed)
                best = min(best, price(made, listed))
    made = plan(graph, [*backends, host], "cost")
    assert price(made, [*backends, host]) == pytest.approx(made.cost.seconds)
    assert made.cost.seconds <= best * (1 + 1e-9)


@pytest.mark.parametrize("salt", range(12))
def test_the_program_is_exact_where_nothing_merges(backend: Make, salt: int) -> None:
    """Units that stay apart cost what the program thinks that they cost, so its choice must be the cheapest."""
    rng = random.Random(salt)
    graph = small_graph(rng, rng.randint(3, 14))
    index = Index(graph)
    far = Figures({"*": 1e11}, 1e11, launch=1e-6, memory="far", link=Link(10 ** rng.uniform(-7, -5), 1e10))
    backends = [
        backend("far", *patterns(lambda match: claims(match, 0, salt)), figures=far, merges=False),
        backend("near", *patterns(lambda match: claims(match, 1, salt)), figures=NEAR, merges=False),
        backend("host", figures=Figures({"*": 1e10}, 1e10, launch=1e-7), takes_all=True, merges=False),
    ]
    candidates = everything(index, backends, Demands(), ())
    del candidates.units[9:]
    search = by_cost.Search(index, backends, candidates, Fallback(backends, Demands()), Pricer(index, backends))
    rest = [Unit("host", (node,), (node,)) for node in graph.nodes]
    chosen = Model(search.pricer, candidates.units, rest).solve(set(range(len(candidates.units))), ())
    overlaps = search.overlaps()
    every = [
        choice
        for count in range(len(candidates.units) + 1)
        for choice in combinations(range(len(candidates.units)), count)
        if all(overlaps[number].isdisjoint(choice) for number in choice)
    ]
    best = min(search.price(choice).price.seconds for choice in every)
    assert search.price(chosen).price.seconds == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("salt", range(8))
def test_the_program_is_never_worse_than_order_greed_or_host(
    backend: Make, salt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_cost, "EVERY_PLAN", 0)
    rng = random.Random(100 + salt)
    graph = small_graph(rng, 30)
    near = backend("near", *patterns(lambda match: claims(match, 0, salt)), figures=NEAR)
    far = backend("far", *patterns(lambda match: claims(match, 1, salt)), figures=FAR)
    host = backend("host", figures=SLOW_HOST, takes_all=True)
    made = plan(graph, [far, near, host], "cost")
    assert made.placement == "by cost, a mixed-integer program, refined by trials"
    assert made.inline() == graph
    for listed in ([far, near, host], [near, far, host], [near, host], [far, host], [host]):
        assert made.cost.seconds <= plan(graph, listed).cost.seconds * (1 + 1e-9)


def test_a_program_that_was_not_finished_is_told_with_its_bound(
    backend: Make, any_unary: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solver proves what it finds for graphs like these; here it says that it stopped before."""
    solved = milp.milp

    def stopped(*arguments: Any, **options: Any) -> Any:
        result = solved(*arguments, **options)
        result.mip_gap = 0.031
        return result

    monkeypatch.setattr(by_cost, "EVERY_PLAN", 0)
    monkeypatch.setattr(milp, "milp", stopped)
    graph = small_graph(random.Random(3), 12)
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=SLOW_HOST, takes_all=True)
    how = "by cost, a mixed-integer program that stopped within 3.1% of its bound, refined by trials"
    assert plan(graph, [near, host], "cost").placement == how


def test_windows_of_candidates_cover_graphs_of_any_size(
    backend: Make, any_unary: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_cost, "EVERY_PLAN", 0)
    monkeypatch.setattr(by_cost, "WINDOW", 5)
    graph = small_graph(random.Random(3), 40)
    near, host = backend("near", any_unary, figures=NEAR), backend("host", figures=SLOW_HOST, takes_all=True)
    made = plan(graph, [near, host], "cost")
    assert "programs over windows" in made.placement
    assert made.cost.seconds <= plan(graph, [near, host]).cost.seconds
