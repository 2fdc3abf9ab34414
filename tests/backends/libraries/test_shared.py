"""What backends of libraries share: known shapes, strides, and chains of operators."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.libraries.chains import Chain
from heddle.backends.libraries.checks import shapes_known
from heddle.backends.libraries.strides import channels_last, dense
from heddle.core.ir import parse
from heddle.core.pattern import Index, Refusal, match_at, ops, pattern


@pattern("rectify", where=shapes_known(4))
def rectify(x):  # type: ignore[no-untyped-def]
    return ops.Relu(x)


@pytest.mark.parametrize(
    ("type", "reason"),
    [
        ("float32[2,3,4,5]", None),
        ("float32[]", None),
        ("float32[2,0]", "%x is float32[2,0], takes at least one element"),
        ("float32[n,3]", "%x is float32[n,3], takes a known shape"),
        ("float32[1,1,1,1,2]", "%x has 5 axes, takes at most 4"),
    ],
)
def test_shapes(type: str, reason: str | None) -> None:
    graph = parse(f"graph (%x: {type}) -> (%y) {{\n  %y: {type} = Relu(%x)\n}}")
    found = match_at(Index(graph), rectify, graph.nodes[0])
    assert (found.reason if isinstance(found, Refusal) else None) == reason


@pytest.mark.parametrize("dims", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 8, 2, 3, 4)])
def test_strides(dims: tuple[int, ...]) -> None:
    rows = np.zeros(dims, np.int8)
    images = np.moveaxis(np.zeros((dims[0], *dims[2:], dims[1]), np.int8), -1, 1)
    assert (dense(dims), channels_last(dims)) == (rows.strides, images.strides)


def test_a_chain_grows_at_its_end() -> None:
    graph = parse(
        "graph (%x: float32[2], %z: float32[2]) -> (%s) {\n  %n: float32[2] = Neg(%x)\n"
        "  %r: float32[2] = Relu(%n)\n  %s: float32[2] = Add(%z, %r)\n}"
    )
    first, second, third = graph.nodes
    chain = Chain(first)
    assert (chain.last, chain.value.name) == (first, "n")
    chain.tail.append(second)
    assert (chain.nodes, chain.value.name, chain.other(third).name) == ((first, second), "r", "z")
