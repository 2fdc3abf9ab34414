"""The verifier refuses what breaks the rules of form, and shows the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, Names, Node, Value, parse, tensor, verify

X, Y = Value("x", tensor("float32", 2)), Value("y", tensor("float32", 2))
GOOD = Graph((X,), (Node("Neg", (X,), (Y,)),), (Y,))


def message(graph: Graph) -> str:
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert caught.value.__notes__ == [f"in the graph:\n{graph}"]
    return str(caught.value)


def test_a_sound_graph_is_returned() -> None:
    assert verify(GOOD) is GOOD


def test_a_name_bound_twice() -> None:
    graph = replace(GOOD, nodes=(Node("Neg", (X,), (Y,)), Node("Abs", (X,), (Y,), name="again")))
    assert message(graph) == '%y is bound twice; the second time by %y (Abs "again")'


def test_a_use_before_its_binding() -> None:
    graph = replace(GOOD, nodes=(Node("Neg", (Value("z", X.type),), (Y,)),))
    assert message(graph) == "%y (Neg): %z is used before it is bound"


def test_a_use_under_another_type() -> None:
    graph = replace(GOOD, nodes=(Node("Neg", (Value("x", tensor("int8", 2)),), (Y,)),))
    assert message(graph) == "%y (Neg): %x is used as int8[2], it is bound as float32[2]"


def test_an_output_that_nothing_binds() -> None:
    assert message(replace(GOOD, nodes=())) == "the outputs: %y is used before it is bound"


def test_a_constant_of_another_shape() -> None:
    graph = replace(GOOD, constants={Value("c", tensor("float32", 2)): np.zeros(3, np.float32)})
    assert message(graph) == "constant %c: its type is float32[2], its array has shape [3]"


def test_a_constant_of_another_type() -> None:
    graph = replace(GOOD, constants={Value("c", tensor("float32", 2)): np.zeros(2)})
    assert message(graph) == "constant %c: its type is float32[2], its array holds float64"


def test_a_branch_that_is_passed_too_little() -> None:
    text = """graph (%c: bool[]) -> (%y) {
      %y: bool[] = If(%c) {then_branch=graph (%a: bool[]) -> (%a) {}, else_branch=graph (%b: bool[]) -> (%b) {}}
    }"""
    expected = "%y (If): else_branch has 1 inputs, the node passes 0 captures"
    assert message(parse(text)) == expected


def test_fresh_names_avoid_those_of_bodies() -> None:
    text = """graph (%c: bool[]) -> (%y) {
      %y: bool[] = If(%c) {then_branch=graph () -> (%z) { %z: bool[] = A() },
        else_branch=graph () -> (%w) { %w: bool[] = A() }}
    }"""
    names = Names(parse(text))
    assert [names.fresh(stem, X.type).name for stem in ("z", "z", "new", "new")] == ["z.1", "z.2", "new", "new.1"]
