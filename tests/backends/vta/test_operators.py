"""Each operator that the accelerator takes, alone in a model: on the device, and within a quantum of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from heddle.backends.vta import Vta
from heddle.core.interpret import evaluate
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import heddle
from tests.backends.vta.regions import accelerated, random_inputs, run

Array = NDArray[Any]


class Net:
    """A model of quantized operators under construction: each value has a scale and a zero point."""

    def __init__(self, unsigned: bool) -> None:
        self.kind = np.uint8 if unsigned else np.int8
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.points: dict[str, tuple[str, str]] = {}

    def constant(self, array: Any, name: str) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def point(self, name: str) -> tuple[str, str]:
        """The scale and the zero point of a value; no two values have the same."""
        number = len(self.constants)
        zero = self.kind(3 + number % 5 if self.kind is np.int8 else 100 + number)
        scale = self.constant(np.float32(0.02 + 0.003 * number), f"{name}_scale")
        return scale, self.constant(zero, f"{name}_zero")

    def input(self, name: str, shape: list[int]) -> str:
        kind = TensorProto.UINT8 if self.kind is np.uint8 else TensorProto.INT8
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return self.add("DequantizeLinear", name, *self.point(name))

    def weights(self, shape: tuple[int, ...], axis: int = 0) -> str:
        rng = np.random.default_rng(len(self.constants))
        array = self.constant(rng.integers(-127, 128, shape).astype(np.int8), "w")
        scales = self.constant(rng.uniform(0.002, 0.01, shape[axis]).astype(np.float32), "w_scale")
        return self.add(
            "DequantizeLinear", array, scales, self.constant(np.zeros(shape[axis], np.int8), "w_zero"), axis=axis
        )

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"{op}{len(self.nodes)}", domain=domain, **attributes))
        return name

    def quantized(self, value: str, name: str) -> str:
        """The value quantized and dequantized again, by the point of this name; the first use makes it."""
        if name not in self.points:
            self.points[name] = self.point(f"{name}_inner")
        stored = self.add("QuantizeLinear", value, *self.points[name])
        return self.add("DequantizeLinear", stored, *self.points[name])

    def model(self, last: str, quantize: bool = True) -> ModelProto:
        if quantize:
            last = self.add("QuantizeLinear", last, *self.point("y"))
        kind = TensorProto.UINT8 if self.kind is np.uint8 else TensorProto.INT8
        result = helper.make_tensor_value_info(last, kind, None)
        graph = helper.make_graph(self.nodes, "operator", self.inputs, [result], self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 8
        return model


def conv(net: Net, shape: list[int], weights: tuple[int, ...], **attributes: Any) -> ModelProto:
    return net.model(net.add("Conv", net.input("x", shape), net.weights(weights), **attributes))


def biased(net: Net, shape: list[int], weights: tuple[int, ...]) -> ModelProto:
    """A convolution whose bias has a scale and a zero point of its own, as no tool writes it but ONNX allows."""
    stored = net.constant(np.arange(weights[0], dtype=np.int32) * 7 - 9, "b")
    scale, zero = net.constant(np.float32(0.031), "b_scale"), net.constant(np.int32(11), "b_zero")
    bias = net.add("DequantizeLinear", stored, scale, zero)
    return net.model(net.add("Conv", net.input("x", shape), net.weights(weights), bias))


def unary(net: Net, shape: list[int], op: str, *operands: Any, **attributes: Any) -> ModelProto:
    extra = [net.constant(np.float32(value), f"operand{at}") for at, value in enumerate(operands)]
    return net.model(net.add(op, net.input("x", shape), *extra, **attributes))


def binary(net: Net, op: str, shape: list[int]) -> ModelProto:
    return net.model(net.add(op, net.input("x", shape), net.input("z", shape)))


def dense(net: Net, op: str, shape: list[int], weights: tuple[int, int], **attributes: Any) -> ModelProto:
    axis = 0 if attributes.get("transB") else 1
    return net.model(net.add(op, net.input("x", shape), net.weights(weights, axis), **attributes))


def concat(net: Net, channels: list[int]) -> ModelProto:
    parts = [net.input(f"x{at}", [2, count, 5, 6]) for at, count in enumerate(channels)]
    return net.model(net.add("Concat", *parts, axis=1))


def transposed(net: Net, shape: list[int], weights: tuple[int, ...], **attributes: Any) -> ModelProto:
    return net.model(net.add("ConvTranspose", net.input("x", shape), net.weights(weights, 1), **attributes))


def product(net: Net, left: list[int], right: list[int]) -> ModelProto:
    return net.model(net.add("MatMul", net.input("x", left), net.input("z", right)))


def moved(net: Net, shape: list[int], op: str, *operands: list[int], **attributes: Any) -> ModelProto:
    extra = [net.constant(np.array(values, np.int64), f"operand{at}") for at, values in enumerate(operands)]
    return net.model(net.add(op, net.input("x", shape), *extra, **attributes))


def whole(net: Net, shape: list[int], op: str, *operands: list[int], **attributes: Any) -> ModelProto:
    net.input("x", shape)
    net.nodes.clear()
    extra = [net.constant(np.array(values, np.int64), f"operand{at}") for at, values in enumerate(operands)]
    return net.model(net.add(op, "x", *extra, **attributes), quantize=False)


def heads(net: Net, rows: int, width: int, count: int) -> ModelProto:
    """Attention without its softmax: queries, keys and values are split into heads, and the heads joined again."""
    split = net.constant(np.array([1, rows, count, width // count]), "split")

    def part(name: str, perm: list[int]) -> str:
        made = net.add("Reshape", net.quantized(net.input(name, [1, rows, width]), name), split)
        return net.quantized(net.add("Transpose", net.quantized(made, name), perm=perm), name)

    scores = net.quantized(net.add("MatMul", part("q", [0, 2, 1, 3]), part("k", [0, 2, 3, 1])), "s")
    mixed = net.quantized(net.add("MatMul", scores, part("v", [0, 2, 1, 3])), "m")
    turned = net.quantized(net.add("Transpose", mixed, perm=[0, 2, 1, 3]), "m")
    joined = net.constant(np.array([1, rows, width]), "joined")
    return net.model(net.add("Reshape", turned, joined))


def qlinear_concat(net: Net, channels: list[int]) -> ModelProto:
    for at, count in enumerate(channels):
        net.input(f"x{at}", [2, count, 5, 6])
    net.nodes.clear()
    parts = [p for at in range(len(channels)) for p in (f"x{at}", f"x{at}_scale", f"x{at}_zero")]
    made = net.add("QLinearConcat", *net.point("y"), *parts, domain="com.microsoft", axis=1)
    return net.model(made, quantize=False)


def qgemm(net: Net, shape: list[int], weights: tuple[int, int]) -> ModelProto:
    net.input("x", shape)
    net.weights(weights, 1)
    net.nodes.clear()
    bias = net.constant(np.arange(weights[1], dtype=np.int32) * 100, "bias")
    parts = [part for name in "xw" for part in (name, f"{name}_scale", f"{name}_zero")]
    return net.model(net.add("QGemm", *parts, bias, *net.point("y"), domain="com.microsoft"), quantize=False)


def qlinear(net: Net, op: str, shape: list[int], names: str = "ab", **attributes: Any) -> ModelProto:
    for name in names:
        net.input(name, shape)
    net.nodes.clear()
    parts = [part for name in names for part in (name, f"{name}_scale", f"{name}_zero")]
    return net.model(net.add(op, *parts, *net.point("y"), domain="com.microsoft", **attributes), quantize=False)


def qlinear_weighted(net: Net, op: str, shape: list[int], weights: tuple[int, ...], axis: int) -> ModelProto:
    net.input("x", shape)
    net.weights(weights, axis)
    net.nodes.clear()
    parts = [part for name in "xw" for part in (name, f"{name}_scale", f"{name}_zero")]
    return net.model(net.add(op, *parts, *net.point("y")), quantize=False)


OPERATORS = {
    "conv": lambda net: conv(net, [2, 5, 9, 8], (7, 5, 3, 3), pads=[1, 0, 2, 1], strides=[2, 1]),
    "conv dilated": lambda net: conv(net, [1, 5, 9, 8], (7, 5, 3, 2), dilations=[2, 3]),
    "conv auto_pad": lambda net: conv(net, [1, 20, 9, 8], (7, 20, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv grouped": lambda net: conv(net, [2, 6, 7, 7], (9, 2, 3, 3), group=3),
    "conv depthwise": lambda net: conv(net, [2, 20, 7, 7], (20, 1, 3, 3), group=20, pads=[1, 1, 1, 1]),
    "conv, bias": lambda net: biased(net, [2, 5, 9, 8], (7, 5, 3, 3)),
    "conv of one dimension": lambda net: conv(net, [2, 5, 17], (7, 5, 3), pads=[1, 2], strides=[2], dilations=[2]),
    "gemm": lambda net: dense(net, "Gemm", [5, 20], (20, 9)),
    "gemm transposed": lambda net: dense(net, "Gemm", [5, 20], (9, 20), transB=1),
    "matmul": lambda net: dense(net, "MatMul", [5, 20], (20, 9)),
    "matmul batched": lambda net: dense(net, "MatMul", [2, 3, 5, 20], (20, 9)),
    "max pool": lambda net: unary(net, [2, 5, 9, 8], "MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max pool, ceil": lambda net: unary(net, [1, 5, 8, 8], "MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max pool of one dimension": lambda net: unary(net, [2, 5, 9], "MaxPool", kernel_shape=[3]),
    "average pool": lambda net: unary(net, [2, 5, 9, 8], "AveragePool", kernel_shape=[3, 2], strides=[2, 2]),
    "max pool, auto_pad": lambda net: unary(
        net, [1, 5, 9, 8], "MaxPool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "average pool, counting padding": lambda net: unary(
        net, [1, 5, 9, 8], "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "average pool, ceil without a rest": lambda net: unary(
        net, [1, 5, 9, 9], "AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    ),
    "average pool of the same": lambda net: unary(
        net, [1, 5, 8, 8], "AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "average pool of one dimension": lambda net: unary(net, [2, 5, 9], "AveragePool", kernel_shape=[4]),
    "global average pool": lambda net: unary(net, [2, 40, 9, 8], "GlobalAveragePool"),
    "relu": lambda net: unary(net, [2, 5, 9, 8], "Relu"),
    "clip": lambda net: unary(net, [2, 5, 9, 8], "Clip", -0.5, 0.7),
    "leaky relu": lambda net: unary(net, [2, 5, 9, 8], "LeakyRelu", alpha=0.1),
    "add": lambda net: binary(net, "Add", [2, 21, 9, 8]),
    "add of three dimensions": lambda net: binary(net, "Add", [2, 21, 9]),
    "add of two dimensions": lambda net: binary(net, "Add", [3, 21]),
    "mul": lambda net: binary(net, "Mul", [2, 21, 9, 8]),
    "concat": lambda net: concat(net, [5, 30, 1]),
    "concat of nine": lambda net: concat(net, [3] * 9),
    "qlinear add": lambda net: qlinear(net, "QLinearAdd", [2, 21, 9, 8]),
    "qlinear mul": lambda net: qlinear(net, "QLinearMul", [2, 21, 9, 8]),
    "qlinear leaky relu": lambda net: qlinear(net, "QLinearLeakyRelu", [2, 21, 9], "a", alpha=0.2),
    "qlinear global average pool": lambda net: qlinear(net, "QLinearGlobalAveragePool", [2, 40, 3, 3], "a"),
    "qlinear conv": lambda net: qlinear_weighted(net, "QLinearConv", [2, 5, 9, 8], (7, 5, 3, 3), 0),
    "qlinear matmul": lambda net: qlinear_weighted(net, "QLinearMatMul", [2, 5, 20], (20, 9), 1),
    "conv transpose": lambda net: transposed(net, [2, 5, 7, 6], (5, 7, 3, 4), strides=[2, 3], pads=[1, 0, 2, 1]),
    "conv transpose, output padding": lambda net: transposed(
        net, [1, 20, 5, 5], (20, 9, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "conv transpose dilated": lambda net: transposed(net, [1, 5, 7, 6], (5, 7, 3, 3), strides=[3, 2], dilations=[2, 2]),
    "conv transpose, few taps": lambda net: transposed(net, [1, 5, 4, 4], (5, 7, 2, 1), strides=[3, 3]),
    "conv transpose, last input unused": lambda net: transposed(
        net, [1, 1, 4, 3], (1, 7, 2, 2), strides=[1, 1], pads=[0, 1, 1, 2]
    ),
    "conv transpose grouped": lambda net: transposed(net, [1, 6, 5, 5], (6, 4, 2, 2), strides=[2, 2], group=2),
    "conv transpose depthwise": lambda net: transposed(net, [1, 20, 5, 5], (20, 1, 4, 4), strides=[2, 2], group=20),
    "conv transpose auto_pad": lambda net: transposed(
        net, [1, 5, 5, 4], (5, 7, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "conv transpose of a size": lambda net: transposed(
        net, [1, 5, 5, 4], (5, 7, 3, 3), strides=[2, 2], output_shape=[9, 8]
    ),
    "conv transpose of one dimension": lambda net: transposed(net, [2, 5, 9], (5, 7, 4), strides=[2], pads=[1, 2]),
    "matmul of two": lambda net: product(net, [20, 32], [32, 30]),
    "matmul of two, odd": lambda net: product(net, [2, 9, 21], [2, 21, 5]),
    "matmul of two, batched": lambda net: product(net, [2, 3, 17, 16], [2, 3, 16, 40]),
    "attention": lambda net: heads(net, 20, 96, 3),
    "attention of small heads": lambda net: heads(net, 37, 32, 2),
    "transpose": lambda net: moved(net, [2, 5, 9, 8], "Transpose", perm=[0, 2, 3, 1]),
    "transpose to channels of rows": lambda net: moved(net, [2, 5, 9, 8], "Transpose", perm=[1, 3, 0, 2]),
    "transpose of two dimensions": lambda net: moved(net, [20, 33], "Transpose"),
    "transpose of integers": lambda net: whole(net, [2, 5, 40], "Transpose", perm=[0, 2, 1]),
    "reshape": lambda net: moved(net, [2, 32, 3, 4], "Reshape", [2, 2, 16, 12]),
    "reshape of rows": lambda net: moved(net, [2, 6, 32], "Reshape", [12, 32]),
    "reshape of pixels": lambda net: moved(net, [2, 20, 4, 8], "Reshape", [2, 640]),
    "reshape to pixels": lambda net: moved(net, [2, 640], "Reshape", [2, 20, 4, 8]),
    "flatten of an image": lambda net: moved(net, [1, 16, 4, 4], "Flatten"),
    "reshape of integers": lambda net: whole(net, [2, 16, 3, 4], "Reshape", [2, 16, 12]),
    "squeeze": lambda net: moved(net, [2, 20, 1, 4], "Squeeze", [2]),
    "unsqueeze": lambda net: moved(net, [2, 20, 4], "Unsqueeze", [2]),
    "flatten of a batch": lambda net: moved(net, [5, 40, 1, 1], "Flatten"),
    "slice": lambda net: moved(net, [2, 40, 9, 8], "Slice", [1, 16, 2], [2, 36, 9], [0, 1, 2], [1, 1, 3]),
    "slice amid a vector": lambda net: moved(net, [2, 40, 5, 4], "Slice", [7], [31], [1]),
    "slice of every third channel": lambda net: moved(net, [1, 40, 5, 4], "Slice", [1], [40], [1], [3]),
    "slice of integers": lambda net: whole(net, [2, 40, 5, 4], "Slice", [0, 1], [16, 4], [1, 2]),
    "slice to the end": lambda net: moved(net, [2, 20, 9], "Slice", [-4], [2**31], [-1]),
    "concat of rows": lambda net: net.model(
        net.add("Concat", net.input("x0", [1, 5, 3, 4]), net.input("x1", [1, 5, 6, 4]), axis=2)
    ),
    "concat of whole blocks": lambda net: concat(net, [32, 16, 5]),
    "concat of matrices": lambda net: net.model(
        net.add("Concat", net.input("x0", [3, 20]), net.input("x1", [6, 20]), axis=0)
    ),
    "qlinear concat": lambda net: qlinear_concat(net, [5, 30, 1]),
    "qlinear average pool": lambda net: qlinear(net, "QLinearAveragePool", [2, 5, 9, 8], "a", kernel_shape=[3, 2]),
    "qlinear average pool of one dimension": lambda net: qlinear(
        net, "QLinearAveragePool", [2, 5, 9], "a", kernel_shape=[3], strides=[2]
    ),
    "qgemm": lambda net: qgemm(net, [5, 20], (20, 9)),
    "flatten": lambda net: unary(net, [1, 40, 1, 1], "Flatten"),
}
HOST = {"concat of nine": "no pattern joins so many"}


@pytest.mark.parametrize("unsigned", [True, False], ids=["uint8", "int8"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str, unsigned: bool) -> None:
    plan = heddle.plan(OPERATORS[name](Net(unsigned)), backends=["vta", "host"])
    if name in HOST:
        assert not accelerated(plan)
        return
    assert [region.backend for region in plan.regions] == ["vta"], "\n".join(map(str, plan.refusals))
    (region,) = plan.regions
    inputs = random_inputs(region)
    found, _ = run(Vta().compile(region), inputs)
    (expected,) = evaluate(region.body, inputs)
    gap = np.abs(found[0].astype(np.int64) - expected.astype(np.int64))
    assert gap.max() <= 1
    assert np.count_nonzero(gap) <= 0.05 * gap.size
    assert np.unique(expected).size > 8
