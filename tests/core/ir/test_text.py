"""The text form reads back exactly, and says where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.errors import GraphError
from heddle.core.ir import Graph, parse

EXAMPLES = {
    "plain": """graph "net" (%x: float32[N,3], %"a name": int64[]) -> (%y) {
  const %w: float32[3]
  %y: float32[N,3] = Add(%x, %w) "first node"
}""",
    "nothing": "graph () -> () {\n}",
    "odd words": """graph (%x: float32["batch size",?,"inf"]) -> (%y) {
  %y: float32[*] = "odd op"(%x, _) {"a b"=[1, -2.5, nan, -inf, "s\\n\\"t\\""], "nan"=True, to=seq<optional<int4[2]>>}
}""",
    "absent results": """graph (%x: float32[4]) -> () {
  _, %m: bool[4] = Dropout(%x)
  () = com.vendor.Tell(%x)
}""",
    "a body": """graph (%c: bool[], %x: float32[2]) -> (%y) {
  %y: float32[2] = If(%c, %x) {else_branch=graph "no" (%x: float32[2]) -> (%x) {
  }, then_branch=graph "yes" (%x: float32[2]) -> (%z) {
    const %k: float32[2]
    %z: float32[2] = Add(%x, %k)
  }}
}""",
}
ARRAYS = {"w": np.zeros(3, np.float32), "k": np.zeros(2, np.float32)}


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_text_reads_back_as_it_was(text: str) -> None:
    graph = parse(text, ARRAYS)
    assert str(graph) == text
    assert parse(str(graph), ARRAYS) == graph


MISTAKES = {
    "graph (%x: float32[2]) -> (%y) {\n}": "graph text, line 1: output %y is not defined",
    "graph () -> () {\n  %y: float32[] = Neg(%x)\n}": "graph text, line 2: %x is used before it is bound",
    "graph (%x: float31[2]) -> () {\n}": "graph text, line 1: there is no type 'float31'",
    "graph (%x: float32[2], %x: bool[]) -> () {\n}": "graph text, line 1: %x is bound twice",
    "graph () -> () {\n  const %w: int8[2]\n}": "graph text, line 2: no array is given for constant %w",
    "graph () -> () {\n}\n}": "graph text, line 3: a end was expected, found '}'",
    "graph () -> () {\n  ;\n}": "graph text, line 2: unexpected character ';'",
    "graph (%x: float32[2.5]) -> () {\n}": "graph text, line 1: a dimension was expected, found '2.5'",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_a_mistake_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_a_constant_of_another_type_is_refused() -> None:
    with pytest.raises(GraphError) as caught:
        parse("graph () -> (%w) {\n  const %w: int8[2]\n}", {"w": np.zeros(2, np.int16)})
    assert str(caught.value) == "graph text, line 2: constant %w: int8[2] expected, its array is int16(2,)"


def test_text_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(GraphError, match="it is nested too deep"):
        parse("graph () -> () {\n %y: bool[] = A() {a=" + "[" * 100_000)


def test_graphs_differ_when_an_array_differs() -> None:
    text = EXAMPLES["plain"]
    one, two = parse(text, ARRAYS), parse(text, {"w": -np.zeros(3, np.float32)})
    assert isinstance(one, Graph)
    assert one != two
