"""Rules: graphs in, graphs out, the same function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph, verify
from heddle.core.pattern import const, ops, pattern, rule, unary

Read = Callable[..., Graph]


@pattern("double_relu")
def double_relu(x):
    return ops.Relu(ops.Relu(x))


@rule(double_relu)
def relu_once(build, match):
    return build.Relu(match["x"])


@pattern("times_one")
def times_one(x):
    return ops.Mul(x, const("one", 1.0))


@rule(times_one)
def drop_times_one(build, match):
    return match["x"] if match["x"].type == match.outputs[0].type else None


@pattern("scaled_twice")
def scaled_twice(x):
    return ops.Mul(ops.Mul(x, const("a")), const("b"))


@rule(scaled_twice)
def scale_once(build, match):
    return build.Mul(match["x"], build.constant(match.array("a") * match.array("b")))


def test_a_rule_is_applied_until_nothing_changes(read_graph: Read) -> None:
    graph = read_graph("""graph (%x: float32[2]) -> (%d) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Relu(%a)
      %c: float32[2] = Relu(%b)
      %d: float32[2] = Relu(%c)
    }""")
    assert (
        str(relu_once(graph))
        == """\
graph (%x: float32[2]) -> (%d) {
  %d: float32[2] = Relu(%x)
}"""
    )


def test_what_a_rule_takes_away_is_read_from_its_source(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[2]) -> (%c, %d) {
      const %one: float32[]
      %a: float32[2] = Mul(%x, %one)
      %b: float32[2] = Mul(%a, %one)
      %c: float32[2] = Relu(%b)
      %d: float32[2] = Mul(%c, %one)
    }""",
        one=1,
    )
    assert (
        str(drop_times_one(graph))
        == """\
graph (%x: float32[2]) -> (%c, %d) {
  %c: float32[2] = Relu(%x)
  %d: float32[2] = Identity(%c)
}"""
    )


def test_a_rule_may_leave_a_match_alone(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[2]) -> (%a) {
      const %one: float32[3,1]
      %a: float32[3,2] = Mul(%x, %one)
    }""",
        one=np.ones((3, 1)),
    )
    assert drop_times_one(graph) is graph


def test_a_rule_may_make_constants_and_keeps_what_is_computed(read_graph: Read) -> None:
    graph = read_graph(
        """graph (%x: float32[2]) -> (%c) {
      const %p: float32[2]
      const %q: float32[]
      %a: float32[2] = Mul(%x, %p)
      %b: float32[2] = Mul(%q, %a)
      %c: float32[2] = Relu(%b)
    }""",
        p=[2, 4],
        q=8,
    )
    rewritten = verify(scale_once(graph))
    assert [node.op for node in rewritten.nodes] == ["Mul", "Relu"]
    x = np.array([1, -3], np.float32)
    np.testing.assert_array_equal(evaluate(rewritten, [x])[0], evaluate(graph, [x])[0])


def test_a_rule_that_runs_in_circles_is_stopped(read_graph: Read) -> None:
    @pattern("relu")
    def relu(x):
        return ops.Relu(x)

    @rule(relu)
    def again(build, match):
        return build.Relu(match["x"])

    graph = read_graph("graph (%x: float32[2]) -> (%a) { %a: float32[2] = Relu(%x) }")
    with pytest.raises(GraphError) as error:
        again(graph)
    assert str(error.value) == "rule relu: it still finds something after 1000 rounds; it runs in circles"


def test_a_rule_keeps_types(read_graph: Read) -> None:
    @rule(double_relu)
    def wrong(build, match):
        return build.Shape(match["x"])

    graph = read_graph("""graph (%x: float32[2]) -> (%b) {
      %a: float32[2] = Relu(%x)
      %b: float32[2] = Relu(%a)
    }""")
    with pytest.raises(GraphError) as error:
        wrong(graph)
    assert str(error.value) == "rule double_relu: %b is float32[2], its replacement is int64[1]"


def test_a_rule_has_one_output() -> None:
    @pattern("two")
    def two(x):
        return unary(x), unary(x)

    with pytest.raises(GraphError) as error:
        rule(two)(lambda build, match: None)
    assert str(error.value) == "rule two: its pattern gives 2 values, one is expected"
