"""Quantized networks: convolutions and pooling done in bytes, results at most one step from the operators' own."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import target as targets
from heddle.core.codegen.region import program
from heddle.core.codegen.template import Template
from heddle.core.interpret import evaluate


class Bytes:
    """Quantization of a network's values to one signed or unsigned format."""

    def __init__(self, net, signed: bool) -> None:
        self.net, self.dtype = net, np.int8 if signed else np.uint8
        self.zero = 3 if signed else 120

    def through(self, x, scale: float):
        """The value quantized and dequantized."""
        s, z = self.net.const(np.float32(scale)), self.net.const(self.dtype(self.zero))
        return self.net("DequantizeLinear", self.net("QuantizeLinear", x, s, z), s, z)

    def conv(self, x, filters: int, size: int, groups: int = 1, **attrs):
        net = self.net
        w = net.const(net.rng.integers(-127, 128, (filters, x.shape[1] // groups, size, size)).astype(np.int8))
        scale = net.const((net.rng.uniform(0.5, 1, filters) / (64 * size * np.sqrt(x.shape[1]))).astype(np.float32))
        zero = net.const(np.zeros(filters, np.int8))
        real = net("DequantizeLinear", w, scale, zero, axis=0)
        bias = net.const(net.rng.integers(-90, 90, filters).astype(np.int32))
        bias = net("DequantizeLinear", bias, net.const(np.full(filters, 0.01, np.float32)), axis=0)
        attrs.setdefault("pads", (size // 2,) * 4)
        return net("Conv", x, real, bias, group=groups, **attrs)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_residual_network(net, host, signed, batch):
    b = Bytes(net, signed)
    x = b.through(net.input(batch, 3, 15, 14), 0.03)
    x = b.through(net("Relu", b.conv(x, 20, 7, strides=(2, 2))), 0.02)
    x = b.through(net("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1,) * 4), 0.02)
    inner = b.through(b.conv(b.through(net("Relu", b.conv(x, 24, 3)), 0.02), 20, 3), 0.03)
    x = b.through(net("Relu", net("Add", inner, x)), 0.03)
    y = net("QuantizeLinear", b.conv(x, 33, 1), net.const(np.float32(0.05)), net.const(b.dtype(b.zero)))
    host.check(net, y)
    loops = host.loops(net.graph(y))
    assert len(loops) == 1, "only the input is quantized by loops"


def test_sums_of_two_convolutions(net, host):
    """One of them adds the other's bytes to its own; nothing is left between them."""
    b = Bytes(net, signed=False)
    x = b.through(net.input(1, 16, 8, 8), 0.03)
    left, right = b.through(b.conv(x, 32, 3), 0.03), b.through(b.conv(x, 32, 1), 0.03)
    x = b.through(net("Relu", net("Add", left, right)), 0.03)
    y = net("QuantizeLinear", b.conv(x, 16, 1), net.const(np.float32(0.05)), net.const(b.dtype(b.zero)))
    host.check(net, y)
    made = program(net.graph(y), targets.avx2(), Kernels())
    kernels = [call.kernel for call in made.calls if isinstance(call.kernel, Template)]
    assert len(kernels) == 5, "three convolutions, and the input and the output between layouts"


@pytest.mark.parametrize("signed", [False, True])
def test_floats_on_the_way(net, host, signed):
    """What has no kernel in bytes is done in floats, in the same layout."""
    b = Bytes(net, signed)
    x = b.through(net.input(1, 16, 8, 8), 0.03)
    x = b.through(b.conv(x, 16, 3, groups=16), 0.03)
    x = net("AveragePool", x, kernel_shape=(2, 2), strides=(2, 2))
    y = net("GlobalAveragePool", b.through(net("Sigmoid", x), 0.01))
    host.check(net, y, tolerance=0.012)


@pytest.mark.parametrize("signed", [False, True])
def test_concatenation(net, host, signed):
    b = Bytes(net, signed)
    x = b.through(net.input(1, 3, 8, 8), 0.03)
    left, right = b.through(b.conv(x, 16, 1), 0.02), b.through(b.conv(x, 32, 3), 0.02)
    joined = b.through(net("Concat", left, right, axis=1), 0.02)
    y = net("QuantizeLinear", b.conv(joined, 8, 3), net.const(np.float32(0.05)), net.const(b.dtype(b.zero)))
    host.check(net, y)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_operators_that_name_their_scales(net, host, signed, bias):
    dtype, zero = (np.int8, -7) if signed else (np.uint8, 131)

    def real(value):
        return net.const(np.float32(value))

    x = net("QuantizeLinear", net.input(1, 20, 9, 8), real(0.02), net.const(dtype(zero)))
    for filters in (24, 33):
        w = net.const(net.rng.integers(-127, 128, (filters, x.shape[1], 3, 3)).astype(np.int8))
        scales = net.const(net.rng.uniform(0.001, 0.002, filters).astype(np.float32))
        operands = [x, real(0.02), net.const(dtype(zero)), w, scales, net.const(np.zeros(filters, np.int8))]
        operands += [real(0.05), net.const(dtype(zero))]
        operands += [net.const(net.rng.integers(-9000, 9000, filters).astype(np.int32))] if bias else []
        x = net("QLinearConv", *operands, pads=(1, 1, 1, 1))
    host.check(net, x)
    assert len(host.loops(net.graph(x))) == 1, "only the input is quantized by loops"


def _kernels(host, graph) -> list[str]:
    return [
        str(call.kernel) for call in program(graph, host.target, Kernels()).calls if isinstance(call.kernel, Template)
    ]


PRODUCTS = [
    ((5, 33), (33, 17)),
    ((2, 3, 40), (40, 64)),
    ((2, 4, 7), (2, 7, 5)),
    ((1, 4, 20), (1, 20, 3)),
    ((3, 1, 9), (9, 1)),
]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("left", "right"), PRODUCTS, ids=str)
def test_products_of_dequantized_matrices(net, host, signed, left, right):
    """With scales by column, a bias, and an activation behind."""
    b = Bytes(net, signed)
    x = b.through(net.input(*left), 0.03)
    w = net.const(net.rng.integers(-127, 128, right).astype(np.int8))
    columns = right[-1]
    scale = net.const(net.rng.uniform(0.001, 0.002, columns).astype(np.float32))
    real = net("DequantizeLinear", w, scale, net.const(np.zeros(columns, np.int8)), axis=len(right) - 1)
    y = net("Relu", net("Add", net("MatMul", x, real), net.weights(columns)))
    y = net("QuantizeLinear", y, net.const(np.float32(0.01)), net.const(b.dtype(b.zero)))
    host.check(net, y)
    assert len(_kernels(host, net.graph(y))) == 1, "the product is one kernel, with all that follows it"


@pytest.mark.parametrize("signed", [False, True])
def test_gemm_of_dequantized_matrices(net, host, signed):
    b = Bytes(net, signed)
    x = b.through(net.input(6, 50), 0.03)
    w = net.const(net.rng.integers(-128, 128, (31, 50)).astype(np.int8))
    real = net("DequantizeLinear", w, net.const(np.float32(0.002)), net.const(np.int8(-3)))
    y = net("Gemm", x, real, net.weights(31), transB=1)
    host.check(net, y)
    assert _kernels(host, net.graph(y))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weights", [np.int8, np.uint8])
def test_operators_of_integers(net, host, signed, weights):
    """One whose zero point is computed, as dynamic quantization has it, and one that names its scales; the extremes
    of all bytes included."""
    dtype, zero = (np.int8, -7) if signed else (np.uint8, 131)
    limits, real = np.iinfo(weights), lambda value: net.const(np.float32(value))
    x = net("QuantizeLinear", net.input(4, 65, scale=9.0), real(0.05), net.const(dtype(zero)))
    w = net.rng.integers(limits.min, limits.max + 1, (65, 19))
    w[:, 0], w[:, 1] = limits.min, limits.max
    zeros = net.const(net.rng.integers(limits.min, limits.max + 1, 19).astype(weights))
    zero_point = net("QuantizeLinear", net("ReduceMean", net.input(3), keepdims=0), real(1.0), net.const(dtype(5)))
    total = net("MatMulInteger", x, net.const(w.astype(weights)), zero_point, zeros)
    scales = net.const(net.rng.uniform(0.001, 0.002, 19).astype(np.float32))
    named = net("QLinearMatMul", x, real(0.05), net.const(dtype(zero)), net.const(w.astype(weights)), scales, zeros,
                real(0.2), net.const(dtype(3)))  # fmt: skip
    graph = net.graph(total, named)
    exact, close = host.run(graph, net.arrays)
    wanted = evaluate(graph, net.arrays)
    np.testing.assert_array_equal(exact, wanted[0])
    assert np.abs(close.astype(int) - wanted[1].astype(int)).max() <= 1
    assert len(_kernels(host, graph)) == 2
