"""Quantized convolutions of every channel by itself: exact in integers, with nothing in floats between neighbours."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen.region import program
from heddle.core.codegen.template import Template
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

import heddle
from tests.oracle import session

generated = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def between(low: int, high: int):
    return st.tuples(*[st.integers(low, high)] * 2)


@generated
@given(data=st.data())
def test_sums_are_those_of_the_definition(fresh_net, host, data):
    """ConvInteger against onnx's own: any zero points, windows, multipliers, padding before and after."""
    net = fresh_net(data.draw(st.integers(0, 999)))
    dtype, kind = (data.draw(st.sampled_from([np.int8, np.uint8])) for _ in range(2))
    groups, multiplier = data.draw(st.integers(2, 19)), data.draw(st.sampled_from([1, 1, 2]))
    kernel, strides, dilations = (data.draw(between(1, most)) for most in (3, 2, 2))
    before, after = data.draw(between(0, 2)), data.draw(between(0, 2))
    size = [
        max(1, (k - 1) * d + 1 - p - q) + data.draw(st.integers(0, 7))
        for k, d, p, q in zip(kernel, dilations, before, after, strict=True)
    ]
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    one = net.const(np.float32(1))
    zero = int(data.draw(st.integers(low, high)))
    x = net("QuantizeLinear", net.input(2, groups, *size, scale=80.0), one, net.const(dtype(zero)))
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    w = net.rng.choice([least, least + 1, -1 % (most + 1), most], (groups * multiplier, 1, *kernel)).astype(kind)
    shift = data.draw(st.sampled_from([128, 0] if kind == np.uint8 else [0, 3]))
    attrs = {"strides": strides, "dilations": dilations, "pads": (*before, *after), "group": groups}
    operands = [x, net.const(w), net.const(dtype(zero)), net.const(kind(shift))]
    y = net("ConvInteger", *operands, **attrs)
    (got, bytes_) = host.run(net.graph(y, x), net.arrays)
    node = oh.make_node("ConvInteger", ["x", "w", "z", "s"], ["y"], **attrs)
    (wanted,) = ReferenceEvaluator(node).run(
        None, {"x": bytes_, "w": w, "z": np.array(zero, dtype), "s": np.array(shift, kind)}
    )
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(24, 9, 8, 1), (19, 8, 11, 2)], ids=str)
def test_bottleneck(net, host, signed, shape):
    """Widened, channel by channel, narrowed and added: a kernel for each, and only the input is quantized by loops."""
    channels, height, width, stride = shape
    dtype, zero = (np.int8, -5) if signed else (np.uint8, 0)

    def through(x, scale):
        s, z = net.const(np.float32(scale)), net.const(dtype(zero))
        return net("DequantizeLinear", net("QuantizeLinear", x, s, z), s, z)

    def conv(x, filters, size, groups=1, **attrs):
        w = net.const(net.rng.integers(-127, 128, (filters, x.shape[1] // groups, size, size)).astype(np.int8))
        scales = (net.rng.uniform(0.5, 1, filters) / (64 * size * np.sqrt(w.shape[1]))).astype(np.float32)
        real = net("DequantizeLinear", w, net.const(scales), net.const(np.zeros(filters, np.int8)), axis=0)
        return net("Conv", x, real, net.weights(filters), group=groups, pads=(size // 2,) * 4, **attrs)

    def clipped(x):
        return through(net("Clip", x, net.const(np.float32(0)), net.const(np.float32(6))), 6 / 255)

    x = through(net.input(2, channels, height, width), 0.0213)
    wide = clipped(conv(x, 6 * channels, 1))
    wide = clipped(conv(wide, 6 * channels, 3, 6 * channels, strides=(stride, stride)))
    narrow = through(conv(wide, channels, 1), 0.0331)
    y = net("Add", x, narrow) if stride == 1 else narrow
    y = net("QuantizeLinear", y, net.const(np.float32(0.0437)), net.const(dtype(zero)))
    host.check(net, y)
    assert len(host.loops(net.graph(y))) == 1
    calls = program(net.graph(y), host.target, Kernels()).calls
    kernels = [call.kernel for call in calls if isinstance(call.kernel, Template)]
    most = 5 if host.target.tiles_of_bytes else 0  # copies that turn images for tiles
    assert 5 <= len(kernels) <= 5 + most, "three convolutions, and the input and the output between layouts"


@pytest.mark.parametrize("signed", [False, True])
def test_operator_that_names_its_scales(net, host, signed):
    """QLinearConv with a bias, scales by channel, unsigned weights, and a multiplier."""
    dtype, zero = (np.int8, -7) if signed else (np.uint8, 131)

    def real(value):
        return net.const(np.float32(value))

    x = net("QuantizeLinear", net.input(1, 21, 9, 8), real(0.02), net.const(dtype(zero)))
    for filters, kind, shift in ((21, np.uint8, 128), (21, np.int8, 0), (42, np.int8, 0)):
        limits = np.iinfo(kind)
        w = net.const(net.rng.integers(limits.min, limits.max + 1, (filters, 1, 3, 3)).astype(kind))
        scales = net.const(net.rng.uniform(0.004, 0.008, filters).astype(np.float32))
        zeros = net.const(np.full(filters, shift, kind))
        bias = net.const(net.rng.integers(-9000, 9000, filters).astype(np.int32))
        operands = [x, real(0.02), net.const(dtype(zero)), w, scales, zeros, real(0.02), net.const(dtype(zero)), bias]
        x = net("QLinearConv", *operands, pads=(1, 0, 1, 2), group=21)
    host.check(net, x)
    assert len(host.loops(net.graph(x))) == 1, "only the input is quantized by loops"


def test_small_network_against_onnxruntime():
    """A chain of widening, depthwise and narrowing layers, quantized and run by onnxruntime with exact sums."""
    from benchmarks.models.net import Net
    from benchmarks.models.quantized import quantize
    from benchmarks.models.vision import conv, relu6

    net = Net("small", 3)
    x = net.input(np.float32, 1, 3, 33, 30)
    x = relu6(net, conv(net, x, "stem", (3, 16), 3, 2, gain=1.0), "stem")
    for index, (inputs, outputs, stride) in enumerate([(16, 16, 1), (16, 24, 2), (24, 24, 1)]):
        wide = relu6(net, conv(net, x, f"{index}/expand", (inputs, 4 * inputs), 1), f"{index}/expand")
        deep = conv(net, wide, f"{index}/deep", (4 * inputs, 4 * inputs), 3, stride, group=4 * inputs)
        narrow = conv(net, relu6(net, deep, f"{index}/deep"), f"{index}/project", (4 * inputs, outputs), 1, gain=0.7)
        x = net.op("Add", [x, narrow], f"{index}") if inputs == outputs else narrow
    net.finish(x, 1, 24, 9, 8)
    rng = np.random.default_rng(1)
    made = quantize(net.model(), [rng.standard_normal((1, 3, 33, 30), np.float32) for _ in range(4)], symmetric=False)
    feed = rng.standard_normal((1, 3, 33, 30), np.float32)
    (wanted,) = session(made).run(None, {"x": feed})
    (got,) = heddle.compile(made)(feed).values()
    step = next(onnx.numpy_helper.to_array(i) for i in reversed(made.graph.initializer) if i.name == "y_scale")
    difference = np.abs(got - wanted) / step
    assert difference.max() <= 2.01, "one unit of a rounding on the way, and what it leads to"
    assert (difference > 0.01).mean() < 0.03
