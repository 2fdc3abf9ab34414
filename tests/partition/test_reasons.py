"""What a refusal names is what keeps a node away: edited as it says, the node is taken; no node lacks a reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from heddle.core.ir import Graph, Node
from heddle.core.pattern import Refusal, attr, find, ops, pattern
from heddle.core.pattern.predicates import among, at_most

import heddle
from heddle.testing import ImpossibleError, draw_case

MODELS = sorted((Path(__file__).parent.parent / "models").glob("*.onnx"))


@pattern("conv")
def anything(x, w):
    return ops.Conv(x, w)


@pattern(
    "conv",
    conditions=[
        attr("conv", "group").equals(1),
        attr("conv", "strides").each(among(1)),
        attr("conv", "dilations").each(at_most(1)),
        attr("conv", "pads").each(at_most(1)),
    ],
)
def narrow(x, w):
    return ops.Conv(x, w)


def edited(graph: Graph, refusal: Refusal) -> Graph:
    """The graph with every attribute that the refusal names as it wants it, by its own words."""
    (node,) = graph.nodes
    attrs = dict(node.attrs)
    for failure in refusal.failures:
        name, _, wanted = failure.fix.removeprefix("change ").partition(" from ")
        value = wanted.partition(" to ")[2]
        read = [int(number) for number in value.strip("[]").split(",")]
        attrs[name] = tuple(read) if value.startswith("[") else read[0]
    changed = Node(node.op, node.inputs, node.outputs, attrs, node.name)
    return Graph(graph.inputs, (changed,), graph.outputs, graph.constants)


def test_editing_what_a_refusal_names_makes_the_node_accepted():
    refused = 0
    for seed in range(200):
        try:
            graph = draw_case(anything, random.Random(seed).choice, seed).graph
        except ImpossibleError:
            continue
        found = find(graph, (narrow,))
        if found.matches:
            continue
        refused += 1
        (refusal,) = found.refusals.values()
        assert find(edited(graph, refusal), (narrow,)).matches, str(refusal)
    assert refused >= 50


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_every_node_that_is_left_to_the_host_has_a_reason(model):
    explanation = heddle.explain(model, ["vta", "host"])
    left = [account for account in explanation.accounts if account.backend == "host"]
    assert left
    for account in left:
        assert [other for other in account.alternatives if other.backend == "vta" and other.reason], account.result
