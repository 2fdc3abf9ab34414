"""What a refusal names is what keeps a node away: edited as it says, the node is taken; no node lacks a reason."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from heddle.core.ir import Graph, Node, TensorType, Value, dtype_named
from heddle.core.pattern import Refusal, attr, const, dim, dtype, find, ops, pattern, rank, value
from heddle.core.pattern.predicates import among, at_most

import heddle
from heddle.testing import ImpossibleError, draw_case
from heddle.testing.limits import limits_of

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


@pattern(
    "less",
    conditions=[
        dtype("x").among("float32", "int8"),
        rank("x").between(2, 3),
        dim("x", 0).multiple_of(3),
        dim("x", -1).at_most(7),
        value("k").among(2, 4),
    ],
)
def less(x):
    return ops.Relu(ops.Sub(x, const("k")))


def mended(graph: Graph, refusal: Refusal) -> Graph:
    """The graph with the input and the number as each fix of the refusal words it."""
    (x,) = [found for found in graph.inputs if found.name == "x"]
    dtype_, dims = x.type.dtype, list(x.shape)
    number = next((array for found, array in graph.constants.items() if found.name == "k"), np.zeros(()))
    for failure in refusal.failures:
        subject, wanted = failure.subject, failure.fix.rpartition(" to ")[2]
        if failure.fix.startswith("cast or quantize x to "):
            dtype_ = dtype_named(wanted)
        elif subject == "x.rank":
            dims = (dims + [1] * 4)[: int(wanted)]
        elif subject.startswith("x.shape["):
            dims[int(subject[8:-1])] = int(wanted)
        elif subject == "k":
            number = np.full(number.shape, float(wanted))
        else:
            assert failure.fix == "make %k a constant (an initializer)"
    kind = TensorType(dtype_, tuple(dims))
    x, k, m, y = Value("x", kind), Value("k", TensorType(dtype_, ())), Value("m", kind), Value("y", kind)
    nodes = (Node("Sub", (x, k), (m,)), Node("Relu", (m,), (y,)))
    return Graph((x,), nodes, (y,), {k: np.full((), number.reshape(-1)[0]).astype(dtype_)})


@pytest.mark.parametrize("limit", limits_of(less), ids=str)
def test_mending_what_a_refusal_names_is_enough(limit):
    """Whichever limit is broken, with others or alone: what the refusal says to do is enough, in at most three turns.

    A turn mends all that is named; a constant has a value to be looked at only once it is one.
    """
    refused = 0
    for seed in range(80):
        try:
            graph = draw_case(less, random.Random(seed).choice, seed, limit).graph
        except ImpossibleError:
            continue
        x, k = graph.nodes[0].inputs
        if x == k:
            continue  # one value in both places cannot be of two kinds
        refused += 1
        for _ in range(3):
            found = find(graph, (less,))
            if found.matches:
                break
            graph = mended(graph, next(iter(found.refusals.values())))
        assert find(graph, (less,)).matches, str(next(iter(find(graph, (less,)).refusals.values())))
    assert refused >= 10


QUANTIZED = Path(heddle.__file__).parent / "demo" / "mnist_int8.onnx"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
BUILT = ("mlp", "squeezenet", "mobilenetv2", "resnet18", "densenet121", "vit_tiny", "minilm")


def hold(model) -> None:
    """Every node that a backend left, each backend of those listed before: a reason that says more than that."""
    explanation = heddle.explain(model, ["vta", "onednn", "host"])
    names = {account.result for account in explanation.accounts}
    assert names == {node.results[0].name for node in explanation.plan.inline().nodes}
    for account in explanation.accounts:
        for backend in ("vta", "onednn"):
            if account.backend == backend:
                continue
            (other,) = [other for other in account.alternatives if other.backend == backend]
            assert other.reason, f"{account.result}: {backend} gives no reason"
            if other.seconds is None:
                assert other.obstacles
                assert all(obstacle.text for obstacle in other.obstacles)


@pytest.mark.parametrize("model", [*MODELS, QUANTIZED, *sorted(LIGHT.glob("*.onnx"))], ids=lambda path: path.stem)
def test_every_node_that_is_left_to_others_has_a_reason(model):
    hold(model)


@pytest.mark.parametrize("name", BUILT)
def test_every_node_of_the_models_that_are_measured_has_a_reason(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])
    from benchmarks.models import build

    hold(build(name))
