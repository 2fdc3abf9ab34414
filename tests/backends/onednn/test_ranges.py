"""What is known of values before they are computed, against what they turn out to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from heddle.backends.onednn.ranges import EVERYTHING, ranges
from heddle.core.frontend import import_model
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph
from onnx import helper

from tests.backends.graphs import model


def drawn(seed: int) -> tuple[Graph, np.ndarray[Any, Any]]:
    """A few operators at random over bytes of an image and what they stand for."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.int8, np.uint8])
    x = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (1, 3, 6, 6), endpoint=True).astype(dtype)
    held: dict[str, np.ndarray[Any, Any]] = {
        "s": np.float32(rng.choice([0.01, 0.5, 2.0])), "z": np.array(rng.integers(0, 20), dtype),
        "low": np.float32(rng.choice([-3.0, 0.0, 0.25])), "high": np.float32(rng.choice([0.5, 6.0, 40.0])),
        "k": rng.standard_normal((3, 1, 1)).astype(np.float32),
    }  # fmt: skip
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    ways: dict[str, tuple[list[str], dict[str, Any]]] = {
        "Relu": ([], {}), "Clip": (["low", "high"], {}), "Sigmoid": ([], {}), "HardSigmoid": ([], {}),
        "Softmax": ([], {}), "Add": (["k"], {}), "MaxPool": ([], window),
        "AveragePool": ([], window | {"count_include_pad": 1}), "Transpose": ([], {"perm": [0, 1, 3, 2]}),
        "Neg": ([], {}),
    }  # fmt: skip
    nodes, last, whole = [], "x", True
    for number in range(int(rng.integers(3, 9))):
        name = f"v{number}"
        if whole or rng.random() < 0.3:
            nodes.append(helper.make_node("DequantizeLinear" if whole else "QuantizeLinear", [last, "s", "z"], [name]))
            whole = not whole
        else:
            op = str(rng.choice(list(ways)))
            more, attributes = ways[op]
            nodes.append(helper.make_node(op, [last, *more], [name], **attributes))
        last = name
    results = [node.output[0] for node in nodes]
    return import_model(model(nodes, {"x": x}, held, results)), x


@pytest.mark.parametrize("seed", range(60))
def test_no_element_is_beyond_its_range(seed: int) -> None:
    graph, x = drawn(seed)
    found = ranges(graph)
    for value, array in zip(graph.outputs, evaluate(graph, {"x": x}), strict=True):
        low, high = found[value]
        slack = 1e-5 * max(abs(low), abs(high), 1.0) if np.isfinite([low, high]).all() else 0.0
        assert low - slack <= array.min(), (value, found[value], array.min())
        assert array.max() <= high + slack, (value, found[value], array.max())


def test_padding_is_among_what_is_averaged() -> None:
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    ]
    held = {"low": np.float32(2), "high": np.float32(3)}
    graph = import_model(model(nodes, {"x": np.zeros((1, 1, 4, 4), np.float32)}, held, ("c", "y")))
    assert [ranges(graph)[value] for value in graph.outputs] == [(2.0, 3.0), (0.0, 3.0)]


@pytest.mark.parametrize(
    ("ops", "wanted"),
    [
        (("Relu",), (0.0, 127.0)), (("Sigmoid",), (0.0, 100.0)), (("Neg",), (-128.0, 127.0)),
        (("Neg", "Relu"), (0.0, 127.0)), (("Relu", "MaxPool"), (0.0, 127.0)), (("Relu", "Neg"), (-128.0, 127.0)),
    ],
)  # fmt: skip
def test_signed_bytes_after_a_rectifier_are_never_negative(ops: tuple[str, ...], wanted: tuple[float, float]) -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    window = {"MaxPool": {"kernel_shape": [2, 2]}}
    nodes = [
        helper.make_node(op, [f"v{number}" if number else "x"], [f"v{number + 1}"], **window.get(op, {}))
        for number, op in enumerate(ops)
    ]
    nodes.append(helper.make_node("QuantizeLinear", [f"v{len(ops)}", "s", "z"], ["y"]))
    graph = import_model(model(nodes, {"x": x}, {"s": np.float32(0.01), "z": np.int8(0)}))
    assert ranges(graph)[graph.outputs[0]] == wanted
    assert ranges(graph)[graph.inputs[0]] == EVERYTHING
