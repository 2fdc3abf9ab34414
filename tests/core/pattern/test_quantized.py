"""Quantized operators are recognised in both spellings, with scales and zero points at hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from heddle.core.ir import Graph
from heddle.core.pattern import each, equals, find, maybe_const, ops, optional, pattern, quantized

Read = Callable[..., Graph]


@pattern("qconv")
def qconv(x, w):
    return quantized("Conv", x, w, bias=maybe_const("b"), activation=optional(ops.Relu), dilations=each(equals(1)))


HEAD = """graph (%in: int8[1,4,6,6]) -> (%q) {
  const %xs: float32[]
  const %xz: int8[]
  const %k: int8[8,4,3,3]
  const %ks: float32[]
  const %kz: int8[]
  const %bias: int32[8]
  const %bs: float32[]
  const %ys: float32[]
  const %yz: int8[]
"""
SPELLINGS = {
    "wrapped": """
  %dx: float32[1,4,6,6] = DequantizeLinear(%in, %xs, %xz)
  %dk: float32[8,4,3,3] = DequantizeLinear(%k, %ks, %kz)
  %db: float32[8] = DequantizeLinear(%bias, %bs)
  %c: float32[1,8,4,4] = Conv(%dx, %dk, %db) {dilations=[1,1]}
  %q: int8[1,8,4,4] = QuantizeLinear(%c, %ys, %yz)
}""",
    "activated": """
  %dx: float32[1,4,6,6] = DequantizeLinear(%in, %xs, %xz)
  %dk: float32[8,4,3,3] = DequantizeLinear(%k, %ks, %kz)
  %c: float32[1,8,4,4] = Conv(%dx, %dk) {dilations=[1,1]}
  %r: float32[1,8,4,4] = Relu(%c)
  %q: int8[1,8,4,4] = QuantizeLinear(%r, %ys, %yz)
}""",
    "direct": """
  %q: int8[1,8,4,4] = QLinearConv(%in, %xs, %xz, %k, %ks, %kz, %ys, %yz, %bias) {dilations=[1,1]}
}""",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_either_spelling_binds_operands_scales_and_zero_points(read_graph: Read, spelling: str) -> None:
    graph = read_graph(HEAD + SPELLINGS[spelling], xs=0.5, ks=0.25, ys=2.0, xz=3, yz=-1)
    (match,) = find(graph, [qconv]).matches
    assert (match["x"].name, match["w"].name) == ("in", "k")
    assert match.value("b") is None if spelling == "activated" else match["b"].name == "bias"
    scalars = [match.array(name) for name in ("x_scale", "w_scale", "y_scale", "x_zero_point", "y_zero_point")]
    assert [float(scalar) for scalar in scalars if scalar is not None] == [0.5, 0.25, 2.0, 3.0, -1.0]
    node = match.node("conv", "qlinearconv")
    assert node is not None
    assert node.op == ("QLinearConv" if spelling == "direct" else "Conv")
    assert len(match.nodes) == len(graph.nodes)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_conditions_hold_of_either_spelling(read_graph: Read, spelling: str) -> None:
    text = (HEAD + SPELLINGS[spelling]).replace("dilations=[1,1]", "dilations=[2,2]")
    reasons = {refusal.reason for refusal in find(read_graph(text), [qconv]).refusals.values()}
    assert "dilations=[2,2], takes 1 in each place" in reasons


def test_a_dequantization_that_others_read_too_is_no_obstacle(read_graph: Read) -> None:
    text = (HEAD + SPELLINGS["wrapped"]).replace("-> (%q)", "-> (%q, %t)")
    text = text[:-1] + "  %t: float32[1,4,6,6] = Tanh(%dx)\n}"
    (match,) = find(read_graph(text), [qconv]).matches
    assert len(match.nodes) == 5
