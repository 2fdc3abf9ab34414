"""Conditions as data: each refusal names what failed, what was found, what is taken; mending exactly that is enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from heddle.core.errors import GraphError
from heddle.core.ir import Graph
from heddle.core.pattern import (
    Match,
    Pattern,
    Predicate,
    among,
    at_least,
    at_most,
    attr,
    between,
    const,
    differs,
    dim,
    dtype,
    each,
    equals,
    find,
    multiple_of,
    ops,
    optional,
    pattern,
    rank,
    repeat,
    shape,
    size,
    spread,
    times,
    unary,
    value,
)

Read = Callable[..., Graph]

CONV = """graph (%x: {dtype}[1,{c},{n},8]) -> (%y) {{
  const %w: {dtype}[{o},{i},3,3]
  %y: {dtype}[1,{o},6,6] = Conv(%x, %w) {{{attrs}}} "layer1.0"
}}"""
GOOD = {"dtype": "int8", "c": 16, "i": 16, "o": 32, "n": 8, "attrs": "dilations=[1,1]"}


def big_enough(match: Match) -> str | None:
    return "the image is narrower than 8" if match["x"].shape[3] < 8 else None


@pattern(
    "conv2d",
    conditions=[
        dtype("x").among("int8", "uint8"),
        rank("x").equals(4),
        dim("x", 1).multiple_of(16),
        dim("w", 0).between(16, 64),
        (dim("x", 1) // attr("conv", "group")).equals(dim("w", 1)),
    ],
    where=big_enough,
)
def conv2d(x):
    return ops.Conv(x, const("w"), dilations=each(equals(1)), strides=each(among(1, 2)), group=1)


def refusals(graph: Graph, *patterns: Pattern) -> list[str]:
    return [str(refusal) for refusal in find(graph, patterns).refusals.values()]


def test_a_node_that_fulfils_all_conditions_is_taken_absent_attributes_by_their_defaults(read_graph: Read) -> None:
    assert len(find(read_graph(CONV.format(**GOOD)), [conv2d]).matches) == 1
    (match,) = find(read_graph(CONV.format(**{**GOOD, "attrs": ""})), [conv2d]).matches
    assert (match.attr("conv", "strides"), match.attr("conv", "pads")) == ((1, 1), (0, 0, 0, 0))
    assert match.attr("conv", "kernel_shape") == (3, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attrs": "dilations=[2,2]"}, "dilations=[2,2], takes 1 in each place"),
        ({"attrs": "strides=[1,3]"}, "strides=[1,3], takes 1 or 2 in each place"),
        ({"dtype": "float32"}, "x.dtype=float32, takes int8 or uint8"),
        ({"c": 12, "i": 12}, "x.shape[1]=12, takes a multiple of 16"),
        ({"o": 65}, "w.shape[0]=65, takes 16 to 64"),
        ({"i": 8}, "(x.shape[1] // conv.group)=16, takes 8"),
        ({"c": '"N"'[1:-1]}, "x.shape[1]=N, takes a multiple of 16; (x.shape[1] // conv.group)=N, takes w.shape[1]"),
        ({"attrs": "dilations=[1,2], group=2"}, "dilations=[1,2], takes 1 in each place; group=2, takes 1"),
    ],
)
def test_a_refusal_names_every_condition_that_fails(read_graph: Read, change: dict[str, object], reason: str) -> None:
    found = refusals(read_graph(CONV.format(**{**GOOD, **change})), conv2d)
    assert found[0].startswith(f'conv2d refused %y (Conv "layer1.0"): {reason}')


def test_a_fix_says_what_to_change(read_graph: Read) -> None:
    graph = read_graph(CONV.format(**{**GOOD, "attrs": "dilations=[2,1]", "dtype": "float32", "c": 12, "i": 12}))
    (refusal,) = find(graph, [conv2d]).refusals.values()
    assert refusal.fix == (
        "change dilations from [2,1] to [1,1]; cast or quantize x to int8; change x.shape[1] from 12 to 16"
    )


def test_where_is_asked_last_and_gives_its_own_reason(read_graph: Read) -> None:
    text = CONV.format(**GOOD).replace("8,8]", "8,7]")
    assert refusals(read_graph(text), conv2d) == ['conv2d refused %y (Conv "layer1.0"): the image is narrower than 8']


def test_conditions_on_what_is_absent_hold(read_graph: Read) -> None:
    @pattern("scaled", conditions=[value("s").equals(2.0)])
    def scaled(x):
        return optional(lambda h: ops.Mul(h, const("s")))(ops.Relu(x))

    graph = read_graph("""graph (%x: float32[2]) -> (%r) {
      %r: float32[2] = Relu(%x)
    }""")
    assert len(find(graph, [scaled]).matches) == 1


def test_conditions_inside_a_repetition_are_asked_each_time(read_graph: Read) -> None:
    @pattern("sums", conditions=[value("c").among(1.0, 2.0), times("repeat").at_most(2)])
    def sums(x):
        return repeat(lambda h: ops.Add(h, const("c")))(x)

    text = """graph (%x: float32[2]) -> (%b) {
      const %k: float32[]
      const %l: float32[]
      %a: float32[2] = Add(%x, %k)
      %b: float32[2] = Add(%a, %l)
    }"""
    assert len(find(read_graph(text, k=1, l=2), [sums]).matches) == 1
    assert refusals(read_graph(text, k=3, l=3), sums)[0] == "sums refused %b (Add): c=3.0, takes 1.0 or 2.0"


@pytest.mark.parametrize(
    ("operand", "name"),
    [("[]", "scalar"), ("[3,1,1]", "channel"), ("[5]", "last"), ("[2,3,4,5]", "full"), ("[4,1]", "other")],
)
def test_how_an_operand_spreads(read_graph: Read, operand: str, name: str) -> None:
    @pattern("bias", conditions=[spread("b", over="add").equals(name)])
    def bias(x, b):
        return ops.Add(x, b)

    graph = read_graph(f"""graph (%x: float32[2,3,4,5], %b: float32{operand}) -> (%a) {{
      %a: float32[2,3,4,5] = Add(%x, %b)
    }}""")
    (match,) = find(graph, [bias]).matches
    assert match["b"].name == "b" or name == "full"


def test_shapes_and_sizes(read_graph: Read) -> None:
    @pattern("small", conditions=[shape("x").equals((2, 3)), size("x").at_least(6)])
    def small(x):
        return unary(x)

    text = "graph (%x: float32[{0}]) -> (%r) {{ %r: float32[{0}] = Relu(%x) }}"
    assert refusals(read_graph(text.format("2,3")), small) == []
    assert refusals(read_graph(text.format("2,2")), small) == [
        "small refused %r (Relu): x.shape=[2,2], takes [2,3]; x.size=4, takes 6 or more"
    ]


PREDICATES = [
    equals(3),
    differs(1, 2),
    among(1, 2, 4),
    between(3, 9),
    at_least(5),
    at_most(7),
    multiple_of(4),
    each(among(1, 2)),
]


@pytest.mark.parametrize("predicate", PREDICATES, ids=str)
def test_samples_hold_and_violations_do_not(predicate: Predicate) -> None:
    assert predicate.samples()
    assert all(predicate.holds(sample) for sample in predicate.samples())
    assert not any(predicate.holds(violation) for violation in predicate.violations())


@pytest.mark.parametrize("predicate", PREDICATES, ids=str)
def test_what_is_repaired_holds(predicate: Predicate) -> None:
    for actual in (*range(12), (2, 3)) if predicate.each else range(12):
        repaired = predicate.repaired(actual)
        assert repaired is None or predicate.holds(repaired)


def test_a_condition_on_an_unknown_name_is_refused_at_once() -> None:
    with pytest.raises(GraphError) as error:
        pattern("p", conditions=[rank("y").equals(2)])(lambda x: ops.Relu(x))
    assert str(error.value) == "pattern 'p': y.rank is 2: there is no 'y'; it has x, relu"


def test_a_pattern_prints_its_conditions() -> None:
    assert (
        str(conv2d)
        == """\
graph "conv2d" (%x: any, %w: any) -> (%conv) {
  %conv: any = Conv(%x, %w)
}
where %w is constant
      conv.dilations is 1 in each place
      conv.strides is 1 or 2 in each place
      conv.group is 1
      x.dtype is int8 or uint8
      x.rank is 4
      x.shape[1] is a multiple of 16
      w.shape[0] is 16 to 64
      (x.shape[1] // conv.group) is w.shape[1]
      big_enough()"""
    )
