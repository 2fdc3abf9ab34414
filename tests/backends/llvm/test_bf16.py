"""Products of bfloat16: the operands are rounded and nothing else, on every machine; and only where it is asked for."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from heddle.backends.llvm.choices import Choices
from heddle.backends.llvm.host import Host, HostOptions
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv, gemm, tiled
from heddle.core.codegen.region import compile_region, program
from heddle.core.codegen.values import BF16
from heddle.core.errors import BackendError
from heddle.core.interpret import evaluate
from heddle.core.ir import Graph

PER_PRODUCT = 2.0**-8
"""Each of two factors is off by half a unit in the eighth place."""
PER_SUM = 2.0**-20
"""What float additions of some hundred products add to that."""


def rounded(array):
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def check(net, host, *outputs):
    """Each output is a product: it is that of the rounded operands, and as near to that of the operands as it must."""
    graph = net.graph(*outputs)
    made = host.run(graph, net.arrays, choices=Choices(host.target, halves=True))
    absolute = evaluate(*changed(graph, net.arrays, np.abs))
    narrow = evaluate(*changed(graph, net.arrays, rounded))
    for got, of_rounded, of_exact, size in zip(made, narrow, evaluate(graph, net.arrays), absolute, strict=True):
        assert (np.abs(got - of_rounded) <= PER_SUM * size + 1e-30).all()
        assert (np.abs(got - of_exact) <= (PER_PRODUCT + PER_SUM) * size + 1e-30).all()
        assert not np.array_equal(got, of_exact), "nothing was rounded"


def changed(graph, arrays, change):
    """The graph and its inputs with every float changed."""
    constants = {v: change(a) if a.dtype == np.float32 else a for v, a in graph.constants.items()}
    return Graph(graph.inputs, graph.nodes, graph.outputs, constants), [change(array) for array in arrays]


@pytest.mark.parametrize("shape", [(5, 64, 48), (1, 33, 20), (70, 127, 81)], ids=str)
def test_products(net, host, shape):
    m, k, n = shape
    x = net.input(2, m, k)
    check(net, host, net("MatMul", x, net.weights(k, n)), net("MatMul", x, net.weights(k, 7)))


@pytest.mark.parametrize("turned", [0, 1])
def test_products_of_transposed_operands(net, host, turned):
    x = net.input(*((40, 9) if turned else (9, 40)))
    check(net, host, net("Gemm", x, net.weights(17, 40), transA=turned, transB=1))


@pytest.mark.parametrize(
    ("channels", "filters", "attrs"),
    [
        (3, 20, {"size": 3}),
        (24, 40, {"size": 3, "strides": (2, 2)}),
        (32, 16, {"size": 1}),
        (20, 9, {"size": 3, "dilations": (2, 2)}),
        (24, 36, {"size": 3, "groups": 3}),
    ],
    ids=str,
)
def test_convolutions(net, host, channels, filters, attrs):
    check(net, host, net.conv(net.input(2, channels, 11, 14), filters, **attrs, bias=False))


def test_a_network_whose_convolutions_read_each_other(net, host):
    x = net("Relu", net.conv(net.input(1, 3, 20, 20), 24, 3))
    y = net("Relu", net("Add", net.conv(net.conv(x, 24, 3, groups=24), 24, 1), x))
    z = net("MatMul", net("Flatten", net("GlobalAveragePool", y)), net.weights(24, 10))
    host.check(net, y, z, tolerance=0.02, choices=Choices(host.target, halves=True))


@pytest.mark.parametrize("host", ["tiles"], indirect=True)
def test_tiles(net, host, monkeypatch):
    monkeypatch.setattr(tiled, "cycles", lambda problem, target, schedule: -1.0)
    x = net.input(2, 24, 9, 10)
    y = net.conv(x, 40, 3, bias=False)
    check(net, host, y, net("MatMul", net("Transpose", x, perm=(0, 2, 3, 1)), net.weights(24, 33)))


def kinds(net, target):
    x = net.input(1, 64, 28, 28)
    y = net("MatMul", net.input(128, 256), net.weights(256, 256))
    choices = Choices(target, halves=True)
    program(net.graph(net.conv(x, 64, 3), y), target, Kernels(choices=choices))
    return choices, {type(choices.default(problem)) for problem in choices.asked}


def test_what_processors_do_it_with(net, fresh_net):
    choices, taken = kinds(net, targets.amx())
    assert taken == {tiled.Schedule}
    assert {getattr(problem, "source", problem).scalar for problem in choices.asked} == {BF16}
    assert kinds(fresh_net(), targets.avx2())[1] == {conv.Schedule, gemm.Schedule}


def test_weights_take_half_the_memory(net):
    graph = net.graph(net("MatMul", net.input(4, 256), net.weights(256, 256)))
    sizes = [
        sum(a.nbytes for a in compile_region(graph, targets.avx2(), Kernels(choices=choices)).constants.values())
        for choices in (None, Choices(targets.avx2(), halves=True))
    ]
    assert sizes == [256 * 256 * 4, 256 * 256 * 2]


def test_it_is_off_unless_asked_for_and_no_strict_mathematics():
    assert Host(HostOptions()).remarks == ()
    assert Host(HostOptions(precision="bf16")).remarks == ("products with constants are of bfloat16, summed as floats",)
    with pytest.raises(BackendError) as error:
        Host(HostOptions(precision="bf16", strict_math=True))
    assert str(error.value) == "host: precision bf16 rounds what is multiplied, and strict_math forbids it; give up one"
