"""Networks over images: every part a kernel, every result that of the operators."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen.region import compile_region, program


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_residual_network(net, host, batch, strict):
    x = net.input(batch, 3, 19, 22)
    x = net(
        "MaxPool", net("Relu", net.conv(x, 20, 7, strides=(2, 2))), kernel_shape=(3, 3), strides=(2, 2), pads=(1,) * 4
    )
    for _ in range(2):
        inner = net.conv(net("Relu", net.conv(x, 20, 3)), 20, 3)
        x = net("Relu", net("Add", inner, x))
    inner = net.conv(net("Relu", net.conv(x, 33, 3, strides=(2, 2))), 33, 3)
    x = net("Relu", net("Add", inner, net.conv(x, 33, 1, strides=(2, 2))))
    y = net("Flatten", net("GlobalAveragePool", x))
    y = net("Gemm", y, net.weights(10, 33), net.weights(10), transB=1)
    host.check(net, y, strict=strict)
    assert host.loops(net.graph(y)) == []


def test_inverted_residuals(net, host):
    x = net.conv(net.input(1, 3, 16, 16), 24, 3, strides=(2, 2))
    low, high = net.const(np.float32(0)), net.const(np.float32(6))
    inner = net("Clip", net.conv(x, 72), low, high)
    inner = net("Clip", net.conv(inner, 72, 3, groups=72), low, high)
    y = net("Add", x, net.conv(inner, 24))
    host.check(net, y)
    # The one image that leaves goes back to plain memory by a kernel as well.
    assert host.loops(net.graph(y)) == []


@pytest.mark.parametrize("batch", [1, 2])
def test_concatenated_images(net, host, batch):
    x = net("Relu", net.conv(net.input(batch, 3, 9, 9), 16, 3))
    left, right = net("Relu", net.conv(x, 32)), net("Relu", net.conv(x, 48, 3))
    joined = net("Concat", left, right, axis=1)
    y = net.conv(joined, 20, 3)
    host.check(net, y)
    assert host.loops(net.graph(y)) == []


def test_concatenation_of_what_is_read_elsewhere_too(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 8, 8), 16, 3))
    grown = net("Concat", x, net("Relu", net.conv(x, 16, 3)), axis=1)
    y = net.conv(grown, 16, 3)
    host.check(net, net("Add", y, x))


def test_concatenation_off_the_vector(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 8, 8), 5, 3))
    joined = net("Concat", x, net.conv(x, 6, 3), axis=1)
    host.check(net, net.conv(joined, 7, 3))


def test_gates(net, host):
    """An image times what is made of its own average, and times its own sigmoid."""
    x = net.conv(net.input(1, 3, 10, 10), 32, 3)
    x = net("Mul", x, net("Sigmoid", x))
    gate = net("Sigmoid", net.conv(net("Relu", net.conv(net("GlobalAveragePool", x), 16)), 32))
    host.check(net, net.conv(net("Mul", x, gate), 16, 3))


def test_an_image_between_other_operators(net, host):
    x = net("Transpose", net.input(1, 9, 9, 3), perm=(0, 3, 1, 2))
    y = net.conv(x, 20, 3)
    host.check(net, net("Transpose", y, perm=(0, 2, 3, 1)), y, net("Softmax", y, axis=1))


def test_an_image_that_leaves_and_goes_on(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 9, 9), 16, 3))
    host.check(net, x, net.conv(x, 8, 3))


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_pooling(net, host, include, ceil):
    x = net.conv(net.input(1, 3, 13, 12), 18, 3)
    window = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 0, 1, 1), "ceil_mode": ceil}
    y = net("AveragePool", x, count_include_pad=include, **window)
    host.check(net, y, net("MaxPool", x, **window), net("GlobalMaxPool", y))


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_few_channels_leave_alone(net, host, channels):
    x = net.input(1, channels, 9, 7)
    host.check(net, net("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2)), net.conv(x, channels, 3))


def test_groups_and_dilation(net, host):
    x = net.conv(net.input(1, 4, 11, 11), 24, 3, groups=2)
    x = net.conv(x, 24, 3, groups=3, dilations=(2, 2), pads=(2, 2, 2, 2))
    host.check(net, net.conv(x, 48, 3, groups=24))


def test_nan_and_infinity_in_an_image(net, host):
    x = net.input(1, 16, 6, 6)
    net.arrays[0][0, 3, 2, 2], net.arrays[0][0, 4, 5, 5] = np.nan, np.inf
    y = net("Relu", net.conv(x, 16, 1))
    graph = net.graph(y)
    (got,) = host.run(graph, net.arrays)
    assert np.isnan(got[0, :, 2, 2]).all()
    assert np.isfinite(got[0, :, :2]).all()


def test_code_does_not_depend_on_the_hash_seed(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 8, 8), 16, 3))
    graph = net.graph(net.conv(net("Add", net.conv(x, 16, 3), x), 8))
    first, second = (compile_region(graph, host.target, Kernels()) for _ in range(2))
    assert first.code == second.code
    assert list(first.constants) == list(second.constants)


def test_an_image_that_meets_its_own_transpose(net, host):
    x = net.conv(net.input(1, 3, 8, 8), 16, 3)
    host.check(net, net("Add", x, net("Transpose", x, perm=(0, 1, 3, 2))))


def test_an_image_with_a_mask_of_its_own_shape(net, host):
    """Operands that lie beside an image in ways that no kernel takes: by rows, by pixels, of one image of the batch."""
    x = net.conv(net.input(2, 3, 8, 8), 16, 3)
    for shape in ((8, 1), (1, 8), (8, 8), (2, 1, 1, 1), (1, 16, 8, 8)):
        x = net("Relu", net("Add", x, net.input(*shape)))
    host.check(net, net.conv(x, 8, 3))


@pytest.mark.parametrize("seed", range(8))
def test_any_convolution(fresh_net, host, seed):
    """Windows, strides, dilations, uneven padding, groups, batches and channel counts drawn at random."""
    rng = np.random.default_rng(seed)
    net = fresh_net(seed)
    groups = int(rng.choice([1, 1, 2, 3]))
    inputs, filters = groups * int(rng.integers(1, 12)), groups * int(rng.integers(1, 23))
    kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
    dilations = tuple(int(d) for d in rng.integers(1, 3, 2))
    pads = tuple(int(p) for p in rng.integers(0, 3, 4))
    x = net.input(int(rng.integers(1, 3)), inputs, int(rng.integers(9, 20)), int(rng.integers(9, 40)))
    weights = net.weights(filters, inputs // groups, *kernel)
    strides = tuple(int(s) for s in rng.integers(1, 4, 2))
    y = net("Conv", x, weights, group=groups, dilations=dilations, pads=pads, strides=strides)
    y = net("LeakyRelu", net("Add", y, net.input(1, filters, 1, 1)), alpha=0.1)
    pooled = net("MaxPool", y, kernel_shape=(2, 1), strides=(1, 2)) if y.shape[2] > 1 else y
    host.check(net, y, net("Conv", pooled, net.weights(7, filters, 1, 1)))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("attrs", [{"pads": (1, 1)}, {"strides": (2,), "dilations": (2,), "pads": (2, 0)}], ids=str)
def test_convolution_along_one_axis(net, host, groups, attrs):
    x = net(
        "Relu",
        net("Conv", net.input(2, 20, 31), net.weights(24, 20 // groups, 3), net.weights(24), group=groups, **attrs),
    )
    y = net("Conv", x, net.weights(7, 24, 1))
    host.check(net, y)
    graph = net.graph(y)
    assert not any("fold" in str(call.kernel) for call in program(graph, host.target, Kernels()).calls)


@pytest.mark.parametrize("groups", [1, 24])
def test_window_of_one_element_that_steps(net, host, groups):
    """What it steps over is left out beforehand, of halves of channels and of each channel by itself."""
    x = net.conv(net.input(2, 5, 9, 12), 24, 3)
    y = net.conv(net("Relu", x), 48 // groups * groups, 1, groups=groups, strides=(2, 3), pads=(0,) * 4)
    host.check(net, y, x)


@pytest.mark.parametrize("ends", [(0, 40, 2), (3, 23, 1)], ids=str)
def test_a_bias_that_is_computed(net, host, ends):
    """One that does not fill its last vector, and one whose elements are apart."""
    x = net.conv(net.input(1, 3, 9, 9), 20, 3)
    part = net("Slice", net.input(1, 40, 1, 1), *(net.const(np.array([n])) for n in (*ends[:2], 1, ends[2])))
    host.check(net, net.conv(net("Relu", net("Add", x, part)), 8, 3))
