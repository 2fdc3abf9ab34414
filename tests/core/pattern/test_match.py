"""What patterns match: operators in any order of commutation, alternatives, options, repetitions, wildcards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph
from heddle.core.pattern import (
    Pattern,
    any_of,
    binary,
    const,
    either,
    find,
    maybe,
    ops,
    optional,
    pattern,
    repeat,
    several,
    unary,
)

Read = Callable[..., Graph]


def bound(graph: Graph, *patterns: Pattern) -> list[dict[str, str]]:
    """The bindings of each match, as names."""
    return [{name: value.name for name, value in match.bindings.items()} for match in find(graph, patterns).matches]


@pattern("dense")
def dense(x, w, b):
    return ops.Relu(ops.Add(ops.MatMul(x, w), b))


DENSE = """graph (%in: float32[2,3], %wt: float32[3,4], %bias: float32[4]) -> (%r) {
  %m: float32[2,4] = MatMul(%in, %wt)
  %a: float32[2,4] = Add(%bias, %m)
  %r: float32[2,4] = Relu(%a)
}"""


def test_a_traced_function_is_matched_and_binds_its_names(read_graph: Read) -> None:
    assert bound(read_graph(DENSE), dense) == [
        {"x": "in", "w": "wt", "b": "bias", "matmul": "m", "add": "a", "relu": "r"}
    ]


def test_the_body_of_a_match_is_its_meaning(read_graph: Read) -> None:
    (match,) = find(read_graph(DENSE), [dense]).matches
    x, w, b = (np.arange(n, dtype=np.float32).reshape(s) - 4 for n, s in ((6, (2, 3)), (12, (3, 4)), (4, (4,))))
    (result,) = evaluate(match.body, {"in": x, "wt": w, "bias": b})
    np.testing.assert_array_equal(result, np.maximum(x @ w + b, 0))


def test_operands_do_not_commute_where_the_operator_does_not(read_graph: Read) -> None:
    @pattern("sub")
    def sub(x):
        return ops.Sub(ops.Relu(x), x)

    graph = read_graph("""graph (%x: float32[2]) -> (%s) {
      %r: float32[2] = Relu(%x)
      %s: float32[2] = Sub(%x, %r)
    }""")
    (refusal,) = [r for r in find(graph, [sub]).refusals.values() if r.node.op == "Sub"]
    assert str(refusal) == "sub refused %s (Sub): operand a of %s (Sub) is %x, an input, takes Relu"


def test_a_name_used_twice_is_one_value(read_graph: Read) -> None:
    @pattern("square")
    def square(x):
        return ops.Mul(x, x)

    graph = read_graph("""graph (%x: float32[2], %y: float32[2]) -> (%s, %p) {
      %s: float32[2] = Mul(%x, %x)
      %p: float32[2] = Mul(%x, %y)
    }""")
    assert bound(graph, square) == [{"x": "x", "mul": "s"}]


@pytest.mark.parametrize(
    ("activation", "label"), [("Relu(%m)", "relu"), ("Sigmoid(%m)", "sigmoid"), ("Tanh(%m)", None)]
)
def test_alternatives_are_tried_in_turn(read_graph: Read, activation: str, label: str | None) -> None:
    @pattern("act")
    def act(x, w):
        m = ops.MatMul(x, w)
        return either(ops.Relu(m), ops.Sigmoid(m))

    graph = read_graph(f"""graph (%x: float32[2,2], %w: float32[2,2]) -> (%r) {{
      %m: float32[2,2] = MatMul(%x, %w)
      %r: float32[2,2] = {activation}
    }}""")
    found = [name for match in find(graph, [act]).matches for name in ("relu", "sigmoid") if name in match.bindings]
    assert found == ([label] if label else [])


@pytest.mark.parametrize("there", [True, False])
def test_an_option_may_be_there_or_not(read_graph: Read, there: bool) -> None:
    @pattern("linear")
    def linear(x):
        return optional(ops.Relu)(optional(lambda h: ops.Add(h, const("b")))(ops.MatMul(x, const("w"))))

    graph = read_graph(f"""graph (%x: float32[2,2]) -> (%r) {{
      const %wt: float32[2,2]
      const %bias: float32[2]
      %m: float32[2,2] = MatMul(%x, %wt)
      {"%a: float32[2,2] = Add(%bias, %m)" if there else ""}
      %r: float32[2,2] = {"Relu(%a)" if there else "Identity(%m)"}
    }}""")
    (match,) = find(graph, [linear]).matches
    assert match.choices == {"optional": int(there), "optional2": int(there)}
    assert [node.op for node in match.nodes] == (["MatMul", "Add", "Relu"] if there else ["MatMul"])
    assert (match.array("b") is not None) is there


def test_a_chain_of_any_length_is_one_match(read_graph: Read) -> None:
    @pattern("chain")
    def chain(x):
        return repeat(lambda h: either(unary(h), ops.Add(h, const("c"))))(x)

    graph = read_graph("""graph (%x: float32[2]) -> (%d) {
      const %k: float32[2]
      const %l: float32[2]
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Add(%k, %a)
      %c: float32[2] = Add(%b, %l)
      %d: float32[2] = Tanh(%c)
    }""")
    (match,) = find(graph, [chain]).matches
    assert match.times("repeat") == 4
    assert [value.name for value in match.all("h")] == ["x", "a", "b", "c"]
    assert {name: value.name for name, value in match.bindings.items() if name.startswith("c[")} == {
        "c[1]": "k",
        "c[2]": "l",
    }


def test_a_repetition_ends_where_its_value_is_read_elsewhere(read_graph: Read) -> None:
    @pattern("chain")
    def chain(x):
        return repeat(unary, least=2)(x)

    graph = read_graph("""graph (%x: float32[2]) -> (%d, %b) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Tanh(%a)
      %c: float32[2] = Relu(%b)
      %d: float32[2] = Tanh(%c)
    }""")
    assert [[node.op for node in match.nodes] for match in find(graph, [chain]).matches] == [["Relu", "Tanh"]] * 2


def test_a_repetition_gives_way_to_what_comes_before_it(read_graph: Read) -> None:
    @pattern("relu_then_any")
    def chain(x):
        return repeat(unary)(ops.Relu(x))

    graph = read_graph("""graph (%x: float32[2]) -> (%c) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Relu(%a)
      %c: float32[2] = Tanh(%b)
    }""")
    (match,) = find(graph, [chain]).matches
    assert (match.times("repeat"), match["x"].name) == (2, "x")


def test_a_chain_of_thousands_neither_recurses_nor_takes_long() -> None:
    from heddle.core.ir import Graph, Node, Value, tensor

    @pattern("chain")
    def chain(x):
        return repeat(unary)(x)

    values = [Value(f"v{i}", tensor("float32", 2)) for i in range(20_001)]
    nodes = tuple(Node("Relu", (values[i],), (values[i + 1],)) for i in range(20_000))
    (match,) = find(Graph((values[0],), nodes, (values[-1],)), [chain]).matches
    assert len(match.nodes) == 20_000


def test_constants_by_value(read_graph: Read) -> None:
    @pattern("hard_sigmoid_half")
    def scaled(x):
        return ops.Mul(ops.Add(x, 3.0), const("sixth"))

    text = """graph (%x: float32[2]) -> (%m) {
      const %k: float32[]
      const %s: float32[]
      %a: float32[2] = Add(%x, %k)
      %m: float32[2] = Mul(%a, %s)
    }"""
    assert len(find(read_graph(text, k=3), [scaled]).matches) == 1
    (refusal, *_) = find(read_graph(text, k=2), [scaled]).refusals.values()
    assert refusal.reason == "c=2.0, takes 3.0"


def test_operands_may_be_absent(read_graph: Read) -> None:
    @pattern("conv")
    def conv(x, w):
        return ops.Conv(x, w, maybe("b"))

    @pattern("conv_without_bias")
    def bare(x, w):
        return ops.Conv(x, w)

    text = """graph (%x: float32[1,1,4,4], %w: float32[1,1,3,3], %b: float32[1]) -> (%c) {{
      %c: float32[1,1,2,2] = Conv(%x, %w{})
    }}"""
    assert bound(read_graph(text.format(", %b")), conv) == [{"x": "x", "w": "w", "b": "b", "conv": "c"}]
    assert bound(read_graph(text.format("")), conv) == [{"x": "x", "w": "w", "conv": "c"}]
    assert bound(read_graph(text.format("")), bare) == [{"x": "x", "w": "w", "conv": "c"}]
    (refusal,) = find(read_graph(text.format(", %b")), [bare]).refusals.values()
    assert refusal.reason == "operand b of %c (Conv) is %b, takes none"


def test_any_number_of_operands(read_graph: Read) -> None:
    @pattern("concat")
    def concat():
        return ops.Concat(several("xs"), axis=1)

    graph = read_graph("""graph (%a: float32[1,1], %b: float32[1,2], %c: float32[1,3]) -> (%o) {
      %o: float32[1,6] = Concat(%a, %b, %c) {axis=1}
    }""")
    (match,) = find(graph, [concat]).matches
    assert [value.name for value in match.all("xs")] == ["a", "b", "c"]


def test_wildcards_by_set(read_graph: Read) -> None:
    @pattern("pair")
    def pair(x, y):
        return any_of("Relu", "Sigmoid")(binary(x, y), label="act")

    graph = read_graph("""graph (%a: float32[2], %b: float32[2]) -> (%r, %t) {
      %m: float32[2] = Max(%a, %b)
      %s: float32[2] = Sub(%a, %b)
      %r: float32[2] = Sigmoid(%s)
      %t: float32[2] = Tanh(%m)
    }""")
    (match,) = find(graph, [pair]).matches
    assert match.labels["act"].op == "Sigmoid"


def test_several_outputs_are_found_forward(read_graph: Read) -> None:
    @pattern("qk")
    def both(x):
        return ops.MatMul(x, const("q")), ops.MatMul(x, const("k"))

    graph = read_graph("""graph (%x: float32[2,2]) -> (%a, %b) {
      const %p: float32[2,2]
      const %r: float32[2,2]
      %h: float32[2,2] = Relu(%x)
      %a: float32[2,2] = MatMul(%h, %p)
      %b: float32[2,2] = MatMul(%h, %r)
    }""")
    (match,) = find(graph, [both]).matches
    assert [node.op for node in match.nodes] == ["MatMul", "MatMul"]
    assert {value.name for value in match.outputs} == {"a", "b"}


def test_interior_values_may_not_escape(read_graph: Read) -> None:
    graph = read_graph("""graph (%x: float32[2,2], %w: float32[2,2], %b: float32[2]) -> (%r, %t) {
      %m: float32[2,2] = MatMul(%x, %w)
      %a: float32[2,2] = Add(%m, %b)
      %r: float32[2,2] = Relu(%a)
      %t: float32[2,2] = Tanh(%a)
    }""")
    found = find(graph, [dense])
    assert found.matches == []
    assert {str(refusal) for refusal in found.refusals.values()} == {
        f"dense refused {node}: interior value %a is read by %t (Tanh) too, takes a value that nobody else reads"
        for node in ("%m (MatMul)", "%a (Add)", "%r (Relu)")
    }


def test_earlier_patterns_win_and_no_node_is_matched_twice(read_graph: Read) -> None:
    @pattern("matmul")
    def matmul(x, w):
        return ops.MatMul(x, w)

    graph = read_graph(DENSE)
    assert [match.pattern.name for match in find(graph, [dense, matmul]).matches] == ["dense"]
    assert [match.pattern.name for match in find(graph, [matmul, dense]).matches] == ["matmul"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: ops.Cnv(x), "pattern: there is no operator 'Cnv'; did you mean 'Conv'?"),
        (lambda x: ops.Softmax(x, axs=1), "pattern: Softmax has no attribute 'axs'; did you mean 'axis'?"),
        (lambda x: ops.Relu("x"), "pattern: a value or a number was expected, found 'x'"),
        (
            lambda x: repeat(lambda h: repeat(unary)(h))(x),
            "pattern: %repeat2 repeats a repetition; one of the two says it all",
        ),
    ],
)
def test_mistakes_in_a_pattern_are_told_at_once(make: Callable[..., object], message: str) -> None:
    with pytest.raises(GraphError) as error:
        pattern("p")(make)
    assert str(error.value) == message


def test_a_free_node_over_an_interior_value_escapes_like_any_other(read_graph: Read) -> None:
    @pattern("requantized")
    def requantized(x):
        inside = ops.DequantizeLinear(ops.QuantizeLinear(x, const("s"), const("z")), const("t"), const("u"))
        return ops.Relu(inside)

    graph = read_graph("""graph (%x: float32[2]) -> (%r, %o) {
      const %s: float32[]
      const %z: int8[]
      %q: int8[2] = QuantizeLinear(%x, %s, %z)
      %d: float32[2] = DequantizeLinear(%q, %s, %z)
      %r: float32[2] = Relu(%d)
      %o: float32[2] = Tanh(%d)
    }""")
    found = find(graph, [requantized])
    assert found.matches == []
    assert {refusal.reason for refusal in found.refusals.values()} == {
        "interior value %d is read by %o (Tanh) too, takes a value that nobody else reads"
    }
