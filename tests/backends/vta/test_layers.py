"""Layers as instruction streams on the functional model, against the same layers in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.vta.layers import (
    Concat,
    Conv,
    Copy,
    Layer,
    Leaky,
    Pool,
    Product,
    Residual,
    Scaling,
    Tensor,
    block_of,
    reads,
    scaled,
)
from heddle.backends.vta.program import IMAGES, emit
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.ports import PortLayout, pack, unpack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.vta.semantics import evaluate


def run(config: Config, layer: Layer, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The output of one layer on the functional model, with every check on."""
    tensors = {tensor.name: tensor for tensor in reads(layer)}
    names = [IMAGES, layer.output.name, *tensors]
    emitted = emit(config, [layer], {name: (number, 0) for number, name in enumerate(names)}.__getitem__)
    program, image = emitted.instructions, emitted.image
    sizes = [len(image), layer.output.nbytes(config), *(tensor.nbytes(config) for tensor in tensors.values())]
    starts = [sum(-(-size // 64) * 64 for size in sizes[:at]) for at in range(len(sizes) + 1)]
    memory = np.zeros(starts[-1], np.uint8)
    memory[: len(image)] = np.frombuffer(image, np.uint8)
    for start, (name, tensor) in zip(starts[2:], tensors.items(), strict=False):
        pack(port(config, tensor, start), arrays[name].reshape(-1).view(np.uint8), memory)
    Functional(config, memory).run(program, starts[:-1])
    y = layer.output
    result = np.zeros((y.batch, y.channels, y.height, y.width), np.uint8 if y.unsigned else np.int8)
    unpack(port(config, y, starts[1]), memory, result.reshape(-1).view(np.uint8))
    return result


def port(config: Config, tensor: Tensor, offset: int) -> PortLayout:
    sizes = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    return PortLayout(*sizes, block_of(config), offset)


def check(config: Config, layer: Layer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {tensor.name: random_tensor(rng, tensor) for tensor in reads(layer)}
    expected = evaluate(layer, *arrays.values())
    found = run(config, layer, arrays).astype(np.int64)
    if isinstance(layer, Copy):
        found = found[:, layer.offset : layer.offset + layer.input.channels]
    np.testing.assert_array_equal(found, expected)


def random_tensor(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    shape = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    return rng.integers(tensor.low, tensor.high + 1, shape).astype(np.uint8 if tensor.unsigned else np.int8)


# -- generated layers ----------------------------------------------------------------------------------------------

CONFIGS = [load_config(name) for name in config_names()]


@st.composite
def tensors(draw: st.DrawFn, name: str, channels: int | None = None) -> Tensor:
    unsigned = draw(st.booleans())
    return Tensor(
        name, draw(st.sampled_from([1, 1, 1, 2])), channels or draw(st.integers(1, 70)), draw(st.integers(1, 12)),
        draw(st.integers(1, 12)), 0.1, draw(st.integers(0, 255) if unsigned else st.integers(-128, 127)), unsigned,
    )  # fmt: skip


def like(tensor: Tensor, name: str, **changes: int | bool) -> Tensor:
    return Tensor(**{**{f: getattr(tensor, f) for f in tensor.__dataclass_fields__}, "name": name, **changes})


@st.composite
def scalings(draw: st.DrawFn, output: Tensor, spread: float, channels: int | None = None) -> Scaling:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = channels or output.channels
    ratios = rng.uniform(0.2, 3.0, count) * 60 / spread
    pairs = [scaled(float(ratio)) for ratio in ratios]
    low = draw(st.integers(output.low, output.high))
    return Scaling(
        rng.integers(-int(spread), int(spread) + 1, count).astype(np.int32),
        np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64),
        draw(st.integers(output.low, output.high)), low, draw(st.integers(low, output.high)),
    )  # fmt: skip


@st.composite
def residuals(draw: st.DrawFn, output: Tensor) -> Residual:
    tensor = like(output, "r", zero_point=draw(st.integers(0, 127)), unsigned=draw(st.booleans()))
    shift = draw(st.integers(0, 22))
    return Residual(
        tensor, draw(st.integers(0, 2 ** min(shift + 1, 23))), draw(st.integers(0, 2 ** min(shift + 1, 23))), shift,
        draw(st.integers(output.low, output.high)), output.low, output.high,
    )  # fmt: skip


@st.composite
def windows(draw: st.DrawFn, x: Tensor, most: int) -> tuple[tuple[int, int], ...]:
    """A kernel, strides, pads, dilations that fit an input, and the output's size."""
    axes = []
    for size in (x.height, x.width):
        kernel, dilation = draw(st.integers(1, most)), draw(st.sampled_from([1, 1, 2, 3]))
        extent = (kernel - 1) * dilation + 1
        before, after = draw(st.integers(0, extent - 1)), draw(st.integers(0, extent - 1))
        if size + before + after < extent:
            kernel, dilation, extent, before, after = 1, 1, 1, 0, 0
        stride = draw(st.sampled_from([1, 1, 2, 3]))
        axes.append((kernel, stride, before, after, dilation, (size + before + after - extent) // stride + 1))
    (kh, sh, top, bottom, dh, oh), (kw, sw, left, right, dw, ow) = axes
    return (kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw), (oh, ow)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, "depthwise"]))
    x = draw(tensors("x"))
    if groups == "depthwise":
        groups = x.channels
        outputs = groups * draw(st.sampled_from([1, 1, 2]))
    else:
        x = like(x, "x", channels=groups * draw(st.integers(1, 70 // groups)))
        outputs = groups * draw(st.integers(1, 60 // groups))
    kernel, strides, pads, dilations, (rows, columns) = draw(windows(x, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-128, 128, (outputs, x.channels // groups, *kernel)).astype(np.int8)
    y = like(x, "y", channels=outputs, height=rows, width=columns, unsigned=draw(st.booleans()))
    scaling = draw(scalings(y, 70 * 128 * float(np.sqrt(weights[0].size))))
    residual = draw(residuals(y)) if draw(st.booleans()) else None
    return Conv("layer", x, y, weights, scaling, strides, pads, dilations, groups, residual)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    x, kind = draw(tensors("x")), draw(st.sampled_from(["max", "sum"]))
    kernel, strides, pads, dilations, (rows, columns) = draw(windows(x, 4))
    y = like(x, "y", height=rows, width=columns)
    spread = 128.0 if kind == "max" else 128.0 * kernel[0] * kernel[1]
    return Pool("layer", x, y, kind, kernel, draw(scalings(y, spread)), strides, pads, dilations)


@st.composite
def concats(draw: st.DrawFn) -> Concat:
    x = draw(tensors("x"))
    count = draw(st.integers(2, 4))
    inputs = [like(x, f"x{n}", channels=draw(st.integers(1, 40)), unsigned=draw(st.booleans())) for n in range(count)]
    y = like(x, "y", channels=sum(tensor.channels for tensor in inputs))
    return Concat("layer", tuple(inputs), y, draw(scalings(y, 128.0)))


@st.composite
def maps(draw: st.DrawFn) -> Layer:
    x = draw(tensors("x"))
    y = like(x, "y", unsigned=draw(st.booleans()))
    kind = draw(st.sampled_from([Copy, Product, Leaky]))
    if kind is Copy:
        offset = draw(st.sampled_from([0, 64]))
        y = like(y, "y", channels=offset + x.channels)
        residual = draw(residuals(y)) if not offset and draw(st.booleans()) else None
        return Copy("layer", x, y, draw(scalings(y, 128.0, x.channels)), residual, offset)
    if kind is Product:
        other = like(x, "o", unsigned=draw(st.booleans()), zero_point=draw(st.integers(0, 127)))
        return Product("layer", x, other, y, draw(scalings(y, 128.0**2)))
    bits = draw(st.integers(0, 14))
    return Leaky("layer", x, y, draw(st.integers(0, 2**bits)), bits, draw(scalings(y, 128.0 * 2**bits)))


def campaign(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None)


@campaign(120)
@given(layer=convolutions(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32 - 1))
def test_convolutions(layer: Conv, config: Config, seed: int) -> None:
    check(config, layer, seed)


@campaign(60)
@given(layer=pools(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32 - 1))
def test_pools(layer: Pool, config: Config, seed: int) -> None:
    check(config, layer, seed)


@campaign(60)
@given(layer=concats(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32 - 1))
def test_concatenations(layer: Concat, config: Config, seed: int) -> None:
    check(config, layer, seed)


@campaign(60)
@given(layer=maps(), config=st.sampled_from(CONFIGS), seed=st.integers(0, 2**32 - 1))
def test_maps(layer: Layer, config: Config, seed: int) -> None:
    check(config, layer, seed)


@pytest.mark.long
@pytest.mark.timeout(7200)
@campaign(5000)
@given(
    layer=st.one_of(convolutions(), pools(), maps(), concats()),
    config=st.sampled_from(CONFIGS),
    seed=st.integers(0, 2**32 - 1),
)
def test_five_thousand_layers(layer: Layer, config: Config, seed: int) -> None:
    check(config, layer, seed)


def test_scaled_is_the_nearest() -> None:
    assert scaled(1.0) == (1073741824, 30)
    assert scaled(2.0**-40) == (1 << 23, 63)
    with pytest.raises(ValueError, match="positive"):
        scaled(0.0)
