"""Cases can be drawn for every operator, and from conditions on all that a pattern can speak of."""

from __future__ import annotations

import random

import numpy as np
import pytest
from heddle.core.ops import OPERATORS
from heddle.core.pattern import (
    attr,
    const,
    dim,
    dtype,
    maybe,
    maybe_const,
    ops,
    pattern,
    rank,
    several,
    size,
    spread,
    value,
)
from heddle.core.pattern.trace import _trace

from heddle.testing import ImpossibleError, draw_case
from heddle.testing.limits import Constancy

UNDRAWN = {
    "its result has a shape that only its values decide": {
        "NonZero", "Unique", "NonMaxSuppression", "Compress",
    },
    "it holds graphs": {"If", "Loop", "Scan", "SequenceMap"},
    "it is about sequences and optionals": {
        "SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceLength", "SplitToSequence",
        "ConcatFromSequence", "Optional", "SequenceErase",
    },
    "it is about texts": {"StringNormalizer", "StringSplit", "TfIdfVectorizer", "ImageDecoder"},
    "it computes from constants alone": {
        "Range", "RandomNormal", "RandomUniform", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix",
    },
}  # fmt: skip
"""Operators of which a lone case cannot be drawn, and why."""


def lone(name):
    """A pattern of one operator whose operands are anything, present or not."""
    definition = OPERATORS[name]

    def one():
        operands = []
        for number, operand in enumerate(definition.operands):
            if definition.variadic and number == len(definition.operands) - 1:
                operands.append(several(operand))
            elif number >= definition.required:
                operands.append(maybe(operand))
            else:
                operands.append(_trace().leaf(operand))
        return getattr(ops, name)(*operands, label="node")

    return pattern(name)(one)


def drawn(chosen, seeds=60, beyond=None):
    for seed in range(seeds):
        try:
            yield draw_case(chosen, random.Random(seed).choice, seed, beyond)
        except ImpossibleError:
            continue


@pytest.mark.parametrize("name", sorted(set(OPERATORS).difference(*UNDRAWN.values())))
def test_every_operator_is_drawn(name):
    """With each number of operands, and each case has a meaning: its reference computes."""
    definition, chosen = OPERATORS[name], lone(name)
    counts = set()
    for case in drawn(chosen, seeds=24):
        (node,) = case.graph.nodes
        counts.add(sum(operand is not None for operand in node.inputs))
        (found, *_) = case.reference(call=1)
        assert found.shape == case.graph.outputs[0].shape
    assert counts, name
    wanted = {1} if definition.variadic else {definition.required, len(definition.operands)} - {0}
    assert len(counts) >= min(2, len(wanted)), f"{name} was drawn with {counts} operands"


def test_what_is_not_drawn_is_known():
    """An operator that can be drawn after all is no exception."""
    assert not [name for names in UNDRAWN.values() for name in names if any(drawn(lone(name), seeds=10))]


def test_no_more_is_cut_off_than_there_is():
    """Edges that are cut off may leave nothing, and never less."""

    @pattern("cut", conditions=[attr("node", "mode").equals("constant"), rank("x").equals(1)])
    def cut(x):
        return ops.Pad(x, const("pads"), label="node")

    sizes = {case.graph.outputs[0].shape[0] for case in drawn(cut, seeds=300)}
    assert min(sizes) == 0
    assert len(sizes) > 3


def test_places_are_within_the_tensor():
    """Indices that are inputs are never out of range, in any call and with any filling; some are negative."""

    @pattern("pick", conditions=[attr("node", "axis").among(0, 1), rank("x").equals(3)])
    def pick(x, places):
        return ops.Gather(x, places, label="node")

    signs, computed = set(), 0
    for case in drawn(pick, seeds=120):
        x, *rest = case.graph.inputs
        computed += bool(rest)
        axis = case.graph.nodes[0].attrs.get("axis", 0)
        places = [case.inputs(call)[1] for call in range(3)] if rest else list(case.graph.constants.values())
        for array in places:
            assert array.dtype in (np.int32, np.int64)
            assert array.size == 0 or -x.shape[axis] <= array.min() <= array.max() < x.shape[axis]
            signs.update(np.sign(array).reshape(-1).tolist())
    assert computed > 10
    assert signs == {-1, 0, 1}


CONDITIONS = {
    "a multiple of an attribute": (
        [dim("x", 1).multiple_of(attr("c", "group")), attr("c", "group").at_least(2)],
        lambda x, w, b, node: x[1] % node.attrs["group"] == 0 and node.attrs["group"] > 1,
    ),
    "channels of a group": (
        [(dim("x", 1) // attr("c", "group")).multiple_of(4)],
        lambda x, w, b, node: x[1] // node.attrs["group"] % 4 == 0,
    ),
    "depthwise": (
        [attr("c", "group").equals(dim("x", 1))],
        lambda x, w, b, node: node.attrs["group"] == x[1],
    ),
    "a sum of dimensions": (
        [(dim("x", 2) + dim("x", 3)).at_most(9)],
        lambda x, w, b, node: x[2] + x[3] <= 9,
    ),
    "a number of elements": (
        [size("x").between(100, 400)],
        lambda x, w, b, node: 100 <= np.prod(x) <= 400,
    ),
    "as wide as high": (
        [dim("x", 2).equals(dim("x", 3)), dim("x", 2).at_least(20)],
        lambda x, w, b, node: x[2] == x[3] >= 20,
    ),
    "as many as there are filters": (
        [size("b").equals(dim("w", 0)), dim("w", 0).multiple_of(8)],
        lambda x, w, b, node: b[0] == w[0] and w[0] % 8 == 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_on_computed_terms_are_met(name):
    """Most draws fulfil what a condition says of several quantities; just beyond it, none does."""
    conditions, holds = CONDITIONS[name]

    @pattern("conv", conditions=[rank("x").equals(4), dtype("x").equals("float32"), *conditions])
    def conv(x):
        return ops.Conv(x, const("w"), const("b"), label="c")

    def shapes(case):
        (node,) = case.graph.nodes
        return *(operand.shape for operand in node.operands), node

    within = list(drawn(conv))
    assert len(within) >= 12
    assert all(holds(*shapes(case)) for case in within)
    for condition in conditions:
        beyond = list(drawn(conv, beyond=condition))
        assert not any(holds(*shapes(case)) for case in beyond)


def test_scalars_and_spreads_are_met():
    @pattern(
        "scaled",
        conditions=[
            value("k").among(2.0, 0.5),
            size("k").equals(1),
            spread("b", "x").equals("last"),
            rank("x").at_least(2),
        ],
    )
    def scaled(x, b):
        return ops.Add(ops.Mul(x, const("k")), b)

    cases = list(drawn(scaled, seeds=200))
    assert len(cases) >= 40
    for case in cases:
        (k,) = (array for v, array in case.graph.constants.items() if v.name == "k")
        assert k.size == 1
        assert k.reshape(-1)[0] in (2.0, 0.5)


def test_what_need_not_be_constant_becomes_an_input_that_holds_what_it_must():
    """Beyond the limit that a shape is constant, the shape is an input whose values make sense."""

    @pattern("reshape", conditions=[dtype("x").equals("float32")])
    def reshape(x):
        return ops.Reshape(x, const("to"))

    cases = list(drawn(reshape, beyond=Constancy("to")))
    assert len(cases) >= 20
    for case in cases:
        x, to = case.inputs()
        assert case.reference()[0].size == x.size
        assert to.dtype == np.int64


def test_a_slice_is_cut_in_many_ways():
    @pattern("cut")
    def cut(x):
        return ops.Slice(x, const("starts"), const("ends"), maybe_const("axes"), maybe_const("steps"))

    kinds = set()
    for case in drawn(cut, seeds=150):
        names = {v.name: array for v, array in case.graph.constants.items()}
        kinds.add(("axes" in names, "steps" in names and (names["steps"] < 0).any(), (names["starts"] < 0).any()))
    assert len(kinds) >= 5
