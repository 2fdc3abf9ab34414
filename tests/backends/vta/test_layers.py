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
    MatMul,
    Pitch,
    Pool,
    Product,
    Residual,
    Scaling,
    Tensor,
    Turn,
    block_of,
    reads,
    scaled,
)
from heddle.backends.vta.matrices import loads_pixels_as_weights
from heddle.backends.vta.placement import span
from heddle.backends.vta.program import IMAGES, emit
from heddle.hw.vta.config import Config, config_names, load_config
from heddle.simulators.vta.functional import Functional
from heddle.simulators.vta.ports import PortLayout
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.vta.memory import positions, view_of
from tests.backends.vta.semantics import evaluate


def run(config: Config, layer: Layer, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The output of one layer on the functional model, with every check on."""
    tensors = {tensor.name: tensor for tensor in reads(layer)}
    names = [IMAGES, layer.output.name, *tensors]
    emitted = emit(config, [layer], {name: (number, 0) for number, name in enumerate(names)}.__getitem__)
    program, image = emitted.instructions, emitted.image
    sizes = [len(image), layer.output.nbytes(config), *(span(config, layer, tensor) for tensor in tensors.values())]
    starts = [sum(-(-size // 64) * 64 for size in sizes[:at]) for at in range(len(sizes) + 1)]
    memory = np.zeros(starts[-1], np.uint8)
    memory[: len(image)] = np.frombuffer(image, np.uint8)
    for start, (name, tensor) in zip(starts[2:], tensors.items(), strict=False):
        memory[start + places(config, tensor)] = arrays[name].view(np.uint8)
    Functional(config, memory).run(program, starts[:-1])
    y = layer.output
    found = memory[starts[1] + places(config, y)]
    return found if y.unsigned else found.view(np.int8)


def port(config: Config, tensor: Tensor, offset: int) -> PortLayout:
    sizes = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    return PortLayout(*sizes, block_of(config), offset)


def places(config: Config, tensor: Tensor) -> np.ndarray:
    """The byte of each element from the start of a tensor's memory."""
    vectors, lanes = positions(view_of(config, tensor))
    return np.asarray(vectors * block_of(config) + lanes)


def check(config: Config, layer: Layer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {tensor.name: random_tensor(rng, tensor) for tensor in reads(layer)}
    expected = evaluate(layer, *arrays.values())
    found = run(config, layer, arrays).astype(np.int64)
    np.testing.assert_array_equal(found, expected)


def random_tensor(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    shape = (tensor.batch, tensor.channels, tensor.height, tensor.width)
    return rng.integers(tensor.low, tensor.high + 1, shape).astype(np.uint8 if tensor.unsigned else np.int8)


# -- generated layers ----------------------------------------------------------------------------------------------

CONFIGS = [load_config(name) for name in config_names()]
TILED = [config for config in CONFIGS if loads_pixels_as_weights(config)]


@st.composite
def tensors(draw: st.DrawFn, name: str, channels: int | None = None) -> Tensor:
    unsigned = draw(st.booleans())
    return Tensor(
        name, draw(st.sampled_from([1, 1, 1, 2])), channels or draw(st.integers(1, 70)), draw(st.integers(1, 12)),
        draw(st.integers(1, 12)), 0.1, draw(st.integers(0, 255) if unsigned else st.integers(-128, 127)), unsigned,
    )  # fmt: skip


def like(tensor: Tensor, name: str, **changes: int | bool | Pitch | None) -> Tensor:
    return Tensor(**{**{f: getattr(tensor, f) for f in tensor.__dataclass_fields__}, "name": name, **changes})


@st.composite
def scattered(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """The tensor somewhere in a larger memory, its axes in some order there, for any configuration."""
    counts = {"image": tensor.batch, "block": -(-tensor.channels // 4), "row": tensor.height, "pixel": tensor.width}
    step, pitches = 1, {}
    for axis in draw(st.permutations(list(counts))):
        step *= draw(st.integers(1, 2))
        pitches[axis], step = step, step * counts[axis]
    return like(tensor, tensor.name, within=Pitch(draw(st.integers(0, 5)), **pitches))


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
    tensor = like(output, "r", zero_point=draw(st.integers(0, 127)), unsigned=draw(st.booleans()), within=None)
    if draw(st.booleans()):
        tensor = draw(scattered(tensor))
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
    if draw(st.booleans()):
        x, y = draw(scattered(x)), draw(scattered(y))
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
    channels = sum(tensor.channels for tensor in inputs)
    first = draw(st.integers(0, channels - 1))
    y = like(x, "y", channels=draw(st.integers(1, channels - first)))
    return Concat("layer", tuple(inputs), y, draw(scalings(y, 128.0)), first)


@st.composite
def products(draw: st.DrawFn) -> MatMul | Turn:
    """Products of two matrices and turned ones; the lanes beyond the channels hold what `random_memory` put there."""
    x = draw(tensors("x"))
    y = like(x, "y", channels=x.width, width=x.channels)
    if draw(st.booleans()):
        return Turn("layer", x, y)
    x = like(x, "x", channels=draw(st.sampled_from([32, 64])))
    count = draw(st.integers(1, 40))
    other = like(x, "o", width=count, unsigned=False, zero_point=draw(st.integers(-128, 127)))
    y = like(x, "y", channels=count, unsigned=draw(st.booleans()))
    scaling = draw(scalings(y, 128.0 * 128 * 8))
    bias = np.full(count, x.channels * x.zero_point * other.zero_point, np.int32)
    return MatMul("layer", x, other, y, Scaling(**{**scaling.__dict__, "bias": bias}))


@st.composite
def maps(draw: st.DrawFn) -> Layer:
    x = draw(tensors("x"))
    y = like(x, "y", unsigned=draw(st.booleans()))
    kind = draw(st.sampled_from([Copy, Product, Leaky]))
    if kind is Copy:
        x, y = draw(scattered(x)), draw(scattered(y))
        residual = draw(residuals(y)) if draw(st.booleans()) else None
        return Copy("layer", x, y, draw(scalings(y, 128.0)), residual)
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


@campaign(80)
@given(layer=products(), config=st.sampled_from(TILED), seed=st.integers(0, 2**32 - 1))
def test_products(layer: MatMul | Turn, config: Config, seed: int) -> None:
    check(config, layer, seed)


def test_scaled_is_the_nearest() -> None:
    assert scaled(1.0) == (1073741824, 30)
    assert scaled(2.0**-40) == (1 << 23, 63)
    with pytest.raises(ValueError, match="positive"):
        scaled(0.0)
