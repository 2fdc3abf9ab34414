"""Transposed convolutions and products of two matrices, bit for bit, from ONNX's meaning in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from heddle.backends.vta import Vta, VtaOptions
from heddle.backends.vta.layers import scaled
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

import heddle
from tests.backends.vta.regions import accelerated, random_inputs, run
from tests.backends.vta.semantics import rounded
from tests.backends.vta.test_layers import campaign
from tests.backends.vta.test_operators import Net, product, transposed

Ints = NDArray[Any]


def constants(model: ModelProto) -> dict[str, Ints]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def drained(total: Ints, ratios: Ints, zero: int, unsigned: bool) -> Ints:
    """The drain: each sum times its ratio as a multiplier and a shift, rounded, clipped; `ratios` broadcast."""
    pairs = [scaled(float(ratio)) for ratio in ratios.reshape(-1)]
    multiplier, shift = (np.array(each, np.int64).reshape(ratios.shape) for each in zip(*pairs, strict=True))
    low = 0 if unsigned else -128
    return np.clip(rounded(total * multiplier, shift) + zero, low, low + 255)


def accelerate(model: ModelProto, config: str) -> tuple[list[Ints], Ints]:
    """Random inputs and what the accelerator makes of them; all of the model must run there."""
    backend = Vta(VtaOptions(config))
    plan = heddle.plan(model, backends=[backend, "host"])
    assert [region.backend for region in plan.regions] == ["vta"], "\n".join(map(str, plan.refusals))
    (region,) = accelerated(plan)
    inputs = random_inputs(region)
    found, _ = run(backend.compile(region), inputs)
    return inputs, found[0].astype(np.int64)


def scattered(x: Ints, weights: Ints, groups: int, attributes: dict[str, list[int]]) -> Ints:
    """A transposed convolution as ONNX tells it: each input adds its share of the kernel to the outputs."""
    batch, channels, *sizes = x.shape
    strides, dilations = attributes["strides"], attributes["dilations"]
    pads, more, kernel = attributes["pads"], attributes["output_padding"], weights.shape[2:]
    spans = [
        (n - 1) * s + (k - 1) * d + 1 + o for n, s, k, d, o in zip(sizes, strides, kernel, dilations, more, strict=True)
    ]
    each = weights.shape[1]
    y = np.zeros((batch, each * groups, *spans), np.int64)
    for c in range(channels):
        group = c // (channels // groups)
        for o in range(each):
            for i, j in np.ndindex(*sizes):
                for k, m in np.ndindex(*kernel):
                    place = (i * strides[0] + k * dilations[0], j * strides[1] + m * dilations[1])
                    y[:, group * each + o, place[0], place[1]] += x[:, c, i, j] * int(weights[c, o, k, m])
    return y[:, :, pads[0] : spans[0] - pads[2], pads[1] : spans[1] - pads[3]]


@campaign(20)
@given(data=st.data(), unsigned=st.booleans(), config=st.sampled_from(["reference", "wide", "tall", "tiny"]))
def test_transposed_convolutions(data: st.DataObject, unsigned: bool, config: str) -> None:
    def two(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)), data.draw(st.integers(low, high))]

    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, each = groups * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    strides, dilations = two(1, 3), two(1, 2)
    kernel, sizes = two(1, 4), two(2, 4)
    spans = [(n - 1) * s + (k - 1) * d for n, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)]
    pads = [data.draw(st.integers(0, min(3, span // 2))) for span in (*spans, *spans)]
    more = [data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)]
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "output_padding": more}
    model = transposed(Net(unsigned), [2, channels, *sizes], (channels, each, *kernel), group=groups, **attributes)
    known = constants(model)
    (x,), found = accelerate(model, config)
    total = scattered(x.astype(np.int64) - int(known["x_zero"]), known["w"], groups, attributes)
    step = float(known["x_scale"]) * np.tile(known["w_scale"].astype(np.float64), groups)
    ratios = (step / float(known["y_scale"])).reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(found, drained(total, ratios, int(known["y_zero"]), unsigned))


@campaign(20)
@given(data=st.data(), unsigned=st.booleans(), config=st.sampled_from(["reference", "tall", "tiny", "large"]))
def test_products_of_two(data: st.DataObject, unsigned: bool, config: str) -> None:
    outer = data.draw(st.lists(st.integers(1, 3), max_size=2))
    rows, inner, columns = (data.draw(st.integers(1, 40)) for _ in range(3))
    model = product(Net(unsigned), [*outer, rows, inner], [*outer, inner, columns])
    known = constants(model)
    (x, z), found = accelerate(model, config)
    total = (x.astype(np.int64) - int(known["x_zero"])) @ (z.astype(np.int64) - int(known["z_zero"]))
    ratio = float(known["x_scale"]) * float(known["z_scale"]) / float(known["y_scale"])
    np.testing.assert_array_equal(found, drained(total, np.array(ratio), int(known["y_zero"]), unsigned))
