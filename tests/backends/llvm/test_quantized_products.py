"""Products of two computed matrices of bytes: exact in integers, whatever their zero points, shapes and batches."""

from __future__ import annotations

import numpy as np
import onnx.helper as oh
import pytest
from heddle.backends.llvm.strategy import Kernels
from heddle.core.codegen.region import program
from heddle.core.codegen.template import Template
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import version_converter
from onnx.reference import ReferenceEvaluator

import heddle
from tests.oracle import session

generated = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BATCHES = [((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), ()), ((4,), (1,))]


def kernels(host, graph) -> int:
    return sum(isinstance(call.kernel, Template) for call in program(graph, host.target, Kernels()).calls)


def quantized(net, dtype, zero, *shape):
    """A computed tensor of bytes, its extremes among them."""
    one, point = net.const(np.float32(1)), net.const(dtype(zero))
    return net("QuantizeLinear", net.input(*shape, scale=120.0), one, point)


@generated
@given(data=st.data())
def test_sums_are_those_of_the_definition(fresh_net, host, data):
    """MatMulInteger against onnx's own, and QLinearMatMul of the same; zero points known or computed."""
    net = fresh_net(data.draw(st.integers(0, 999)))
    rows, depth, columns = (data.draw(st.integers(1, most)) for most in (13, 21, 40))
    left, right = data.draw(st.sampled_from(BATCHES))
    (a_type, a_zero), (b_type, b_zero) = (
        data.draw(st.sampled_from([(np.uint8, 0), (np.uint8, 255), (np.int8, -128), (np.int8, 3)])) for _ in range(2)
    )
    a, b = quantized(net, a_type, a_zero, *left, rows, depth), quantized(net, b_type, b_zero, *right, depth, columns)
    zeros = [net.const(a_type(a_zero)), net.const(b_type(b_zero))]
    if data.draw(st.booleans()):
        limits = np.iinfo(b_type)
        zeros[1] = net.const(net.rng.integers(limits.min, limits.max + 1, columns).astype(b_type))
    elif data.draw(st.booleans()):
        zeros[0] = net("QuantizeLinear", net.input(), net.const(np.float32(0.01)), net.const(a_type(a_zero)))
    y = net("MatMulInteger", a, b, *zeros)
    graph = net.graph(y, a, b, *zeros)
    got, *operands = host.run(graph, net.arrays)
    node = oh.make_node("MatMulInteger", ["a", "b", "p", "q"], ["y"])
    (wanted,) = ReferenceEvaluator(node).run(None, dict(zip("abpq", operands, strict=True)))
    np.testing.assert_array_equal(got, wanted)
    assert kernels(host, graph) == 1


@pytest.mark.parametrize("signed", [False, True])
def test_operator_that_names_its_scales(net, host, signed):
    dtype, zero = (np.int8, -7) if signed else (np.uint8, 131)

    def real(value):
        return net.const(np.float32(value))

    a, b = quantized(net, dtype, zero, 2, 9, 33), quantized(net, dtype, zero, 2, 33, 17)
    point = net.const(dtype(zero))
    y = net("QLinearMatMul", a, real(0.017), point, b, real(0.023), point, real(1.1), point)
    host.check(net, y)
    assert kernels(host, net.graph(y)) == 1


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_attention(net, host, signed, turned):
    """Scores and their weighted sums; keys are transposed before they are quantized, or after."""
    dtype, zero = (np.int8, 3) if signed else (np.uint8, 120)

    def through(x, scale, point=zero):
        s, z = net.const(np.float32(scale)), net.const(dtype(point))
        return net("DequantizeLinear", net("QuantizeLinear", x, s, z), s, z)

    heads = []
    for _ in range(3):
        x = net("Reshape", net.input(2, 11, 24), net.const(np.array([2, 11, 3, 8])))
        heads.append(net("Transpose", x, perm=(0, 2, 1, 3)))
    q, k, v = heads
    keys = net("Transpose", through(k, 0.03), perm=(0, 1, 3, 2)) if turned else through(
        net("Transpose", k, perm=(0, 1, 3, 2)), 0.03
    )  # fmt: skip
    scores = net("Mul", net("MatMul", through(q, 0.03), keys), net.const(np.float32(8**-0.5)))
    weights = through(net("Softmax", through(scores, 0.05), axis=-1), 1 / 255, -128 if signed else 0)
    y = net(
        "QuantizeLinear",
        net("MatMul", weights, through(v, 0.03)),
        net.const(np.float32(0.0213)),
        net.const(dtype(zero)),
    )
    host.check(net, y)
    made = program(net.graph(y), host.target, Kernels()).calls
    products = [call for call in made if isinstance(call.kernel, Template) and "held" in str(call.kernel)]
    assert len(products) == 2, "both products are kernels of integers"


def test_attention_of_a_model():
    """A small transformer layer, quantized by onnxruntime: its reference's bytes, and onnxruntime's within few units,
    which rounds or saturates otherwise between products."""
    from benchmarks.models.net import Net
    from benchmarks.models.quantized import quantize
    from benchmarks.models.transformers import attention

    net = Net("small", 5)
    net.input(np.float32, 1, 19, 32)
    net.finish(attention(net, "x", "attention", 19, 32, 4, casts=False), 1, 19, 32)
    rng = np.random.default_rng(2)
    made = quantize(net.model(), [rng.standard_normal((1, 19, 32), np.float32) for _ in range(4)], symmetric=False)
    feed = {"x": rng.standard_normal((1, 19, 32), np.float32)}
    (got,) = heddle.compile(made)(feed["x"]).values()
    (wanted,) = ReferenceEvaluator(version_converter.convert_version(made, 21)).run(None, feed)
    (peer,) = session(made).run(None, feed)
    unit = np.diff(np.unique(wanted)).max()
    assert np.abs(got - wanted).max() <= 1.01 * unit
    assert (np.abs(got - wanted) > 0.01 * unit).mean() < 0.02
    assert np.abs(got - peer).max() <= 4.01 * unit
