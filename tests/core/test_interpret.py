"""The reference evaluates a graph node by node."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.interpret import evaluate

TEXT = """graph (%x: float32[2], %y: float32[2]) -> (%z, %x) {
  const %two: float32[]
  %d: float32[2] = Mul(%y, %two)
  %z: float32[2] = Sub(%x, %d) "difference"
}"""
X, Y = np.array([1, 2], np.float32), np.array([3, 4], np.float32)


@pytest.fixture
def graph(read_graph):
    return read_graph(TEXT, two=2)


def test_inputs_by_position_and_by_name(graph):
    for inputs in ((X, Y), {"y": Y, "x": X}):
        z, x = evaluate(graph, inputs)
        assert z.tolist() == [-5, -6]
        assert x is X


def test_every_value_that_is_bound_is_watched_in_order(graph):
    seen = []
    evaluate(graph, (X, Y), lambda value, array: seen.append((value.name, array.tolist())))
    assert seen == [("d", [6, 8]), ("z", [-5, -6])]


def test_a_wrong_number_of_inputs_is_an_error(graph):
    with pytest.raises(GraphError) as raised:
        evaluate(graph, (X,))
    assert str(raised.value) == "the graph takes 2 inputs, 1 are given"


def test_an_error_names_the_node(graph):
    with pytest.raises(ValueError) as raised:
        evaluate(graph, (X, np.zeros(3, np.float32)))
    assert raised.value.__notes__ == ["while evaluating Sub 'difference', which binds %z"]


def test_bodies_read_what_they_capture(read_graph):
    text = """graph (%n: int64[], %step: float32[2]) -> (%total, %sums) {
      const %zero: float32[2]
      %total: float32[2], %sums: float32[?,2] = Loop(%n, _, %zero, %step) {captures=1, body=graph (
          %i: int64[], %going: bool[], %sum: float32[2], %outside: float32[2]) -> (%going, %next, %next) {
        %next: float32[2] = Add(%sum, %outside)
      }}
    }"""
    total, sums = evaluate(read_graph(text), (np.asarray(3), X))
    assert total.tolist() == [3, 6]
    assert sums.tolist() == [[1, 2], [2, 4], [3, 6]]
    total, sums = evaluate(read_graph(text), (np.asarray(0), X))
    assert total.tolist() == [0, 0]
    assert sums.shape == (0, 2)
