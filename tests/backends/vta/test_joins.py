"""Copies that need not be: what they would read is written in their place, and nothing else is overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from heddle.backends.vta import Vta
from heddle.backends.vta.placement import placed
from heddle.core.interpret import evaluate
from onnx import ModelProto

import heddle
from tests.backends.vta.regions import accelerated, random_inputs, run
from tests.backends.vta.test_operators import Net


def fire(
    channels: tuple[int, ...], axis: int = 1, alike: bool = True, twice: bool = False, nested: bool = False
) -> ModelProto:
    """Convolutions of one input whose results are joined, all of one scale where they are `alike`."""
    net = Net(unsigned=True)
    x = net.input("x", [1, 16, 6, 5])
    parts = []
    for number, count in enumerate(channels):
        weights = net.constant(
            np.random.default_rng(number).integers(-99, 99, (count, 16, 1, 1)).astype(np.int8), f"w{number}"
        )
        scale = net.constant(np.full(count, 0.004, np.float32), f"s{number}")
        zero = net.constant(np.zeros(count, np.int8), f"z{number}")
        dense = net.add("DequantizeLinear", weights, scale, zero, axis=0)
        parts.append(net.quantized(net.add("Conv", x, dense), "joined" if alike else f"part{number}"))
    if twice:
        parts.append(parts[0])
    joined = net.quantized(net.add("Concat", *parts, axis=axis), "joined")
    if nested:
        joined = net.quantized(net.add("Concat", joined, parts[0], axis=axis), "joined")
    pooled = net.add("MaxPool", joined, kernel_shape=[2, 2])
    return net.model(pooled)


CASES: dict[str, tuple[dict[str, Any], int]] = {
    "one scale": ({"channels": (32, 16)}, 0),
    "rows": ({"channels": (20, 20), "axis": 2}, 0),
    "other scales": ({"channels": (32, 16), "alike": False}, 2),
    "the last not whole": ({"channels": (32, 5)}, 0),
    "the first not whole": ({"channels": (5, 32)}, 1),
    "one of them twice": ({"channels": (32, 16), "twice": True}, 1),
    "joined again": ({"channels": (32, 16), "nested": True}, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_joined(name: str) -> None:
    options, copies = CASES[name]
    (region,) = accelerated(heddle.plan(fire(**options), backends=["vta", "host"]))
    layers = placed(Vta().config, region).layers
    assert sum(type(layer).__name__ in ("Copy", "Concat") for layer in layers) == copies
    inputs = random_inputs(region)
    found, _ = run(Vta().compile(region), inputs)
    (expected,) = evaluate(region.body, inputs)
    assert np.abs(found[0].astype(np.int64) - expected.astype(np.int64)).max() <= 1
