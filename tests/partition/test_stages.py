"""Where a graph is cut in time."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.ir import Graph, Node, parse
from heddle.partition.stages import Segment, cut, is_whole


def read(text: str) -> Graph:
    """A graph in text, whose one constant is called `zero`."""
    return parse(text, {"zero": np.zeros(1, np.int64)})


def stages(text: str) -> list[str]:
    """The stages of a graph in text: the nodes of each segment with what it must know, and the turns."""

    def show(stage: Segment | Node) -> str:
        if isinstance(stage, Node):
            return f"turn {stage.op}"
        values = sorted(value.name for value in stage.values)
        return " ".join(node.op for node in stage.body.nodes) + (f" knowing {' '.join(values)}" if values else "")

    return list(map(show, cut(read(text))))


CASES = {
    "known shapes are one segment": (
        """graph (%x: float32[2,3]) -> (%z) {
          %y: float32[2,3] = Relu(%x)
          %z: float32[2,3] = Neg(%y)
        }""",
        ["Relu Neg"],
    ),
    "a shape computed from shapes is no value": (
        """graph (%x: float32[N,3], %y: float32[?,?]) -> (%z) {
          %s: int64[2] = Shape(%x)
          %t: int64[2] = Add(%s, %s)
          %z: float32[?,?] = Reshape(%y, %t)
        }""",
        ["Shape Add Reshape"],
    ),
    "a shape computed from an input is a value of that input": (
        """graph (%x: float32[2,3], %n: int64[2]) -> (%z) {
          %t: int64[2] = Add(%n, %n)
          %z: float32[?,?] = Reshape(%x, %t)
        }""",
        ["Add Reshape knowing n"],
    ),
    "where the shape is known, its operand is not asked for": (
        """graph (%x: float32[2,3], %n: int64[1]) -> (%z) {
          %z: float32[6] = Reshape(%x, %n)
        }""",
        ["Reshape"],
    ),
    "axes are always asked for": (
        """graph (%x: float32[2,3], %n: int64[1]) -> (%z) {
          %z: float32[1,3] = ReduceSum(%x, %n)
        }""",
        ["ReduceSum knowing n"],
    ),
    "a value that comes out of data cuts the graph before its reader only": (
        """graph (%x: float32[5000], %y: float32[?]) -> (%v, %u) {
          const %zero: int64[1]
          %k: float32[] = ReduceMax(%x) {keepdims=0}
          %i: int64[] = Cast(%k) {to="int64"}
          %o: int64[1] = Unsqueeze(%i, %zero)
          %t: float32[?] = Tile(%y, %o)
          %u: float32[?] = Neg(%y)
          %v: float32[?] = Neg(%t)
        }""",
        ["ReduceMax Cast Unsqueeze Neg", "Tile Neg knowing o"],
    ),
    "turns stand between segments": (
        """graph (%x: float32[2], %y: float32[2], %i: int64[]) -> (%c, %d, %e) {
          %a: float32[2] = Neg(%x)
          %s: seq<float32[2]> = SequenceConstruct(%a, %y)
          %b: float32[2] = SequenceAt(%s, %i)
          %c: float32[2] = Neg(%y)
          %d: float32[?] = ConcatFromSequence(%s) {axis=0}
          %e: float32[2] = Neg(%b)
        }""",
        ["Neg Neg", "turn SequenceConstruct", "turn SequenceAt", "ConcatFromSequence", "Neg"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_stages(name):
    text, expected = CASES[name]
    assert stages(text) == expected


def test_only_one_segment_that_asks_for_nothing_is_whole():
    graphs = {name: read(text) for name, (text, _) in CASES.items()}
    whole = {name for name, graph in graphs.items() if is_whole(cut(graph))}
    assert whole == {
        "known shapes are one segment",
        "a shape computed from shapes is no value",
        "where the shape is known, its operand is not asked for",
    }
    assert is_whole(cut(read("graph (%x: float32[2]) -> (%x) { }")))
    alone = "graph (%s: seq<float32[2]>) -> (%y) { %y: float32[?] = ConcatFromSequence(%s) {axis=0} }"
    assert not is_whole(cut(read(alone)))
