"""Quantized operators, in every spelling, against the reference of onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from heddle.backends.onednn.library import SRC, WEIGHTS
from heddle.backends.onednn.quantization import VNNI, exact
from heddle.core.codegen.target import host
from heddle.core.errors import HeddleError
from onnx import helper

import heddle
from tests.backends.graphs import Arrays, model, normal
from tests.backends.onednn.comparing import compare_integers, kinds, needs_library, program

pytestmark = needs_library


def whole(dtype: Any, *shape: int, seed: int = 0, most: int = 127) -> np.ndarray[Any, Any]:
    """Integers of the whole range of a dtype, or of a narrower one."""
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -most), min(limits.max, most if limits.min < 0 else 2 * most + 1)
    return np.random.default_rng([seed, *shape]).integers(low, high, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("zero", [0, 3])
def test_quantized_convolutions(dtype: Any, group: int, zero: int) -> None:
    """Scales per channel and zero points; one quantum is allowed where the sum lies between two."""
    inputs = {"x": normal(1, 8, 9, 9)}
    held = {
        "xs": np.float32(0.02), "z": np.array(zero, dtype), "ys": np.float32(0.09),
        "w": np.random.default_rng(1).integers(-127, 128, (16, 8 // group, 3, 3)).astype(np.int8),
        "ws": np.linspace(0.003, 0.02, 16, dtype=np.float32), "wz": np.zeros(16, np.int8),
        "b": np.arange(-800, 800, 100).astype(np.int32), "bs": np.linspace(6e-5, 4e-4, 16, dtype=np.float32),
        "bz": np.zeros(16, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["a"], axis=0),
        helper.make_node("Conv", ["d", "v", "a"], ["c"], group=group, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "z"], ["y"]),
    ]
    compare_integers(model(nodes, inputs, held), inputs, quanta=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op", ["Conv", "MatMul", "Gemm"])
def test_no_sum_saturates(dtype: Any, op: str) -> None:
    """The greatest data and weights together: where the library adds pairs in 16 bits, these overflow."""
    shape = {"Conv": (16, 32, 1, 1), "MatMul": (32, 16), "Gemm": (32, 16)}[op]
    inputs = {"x": np.full((1, 32, 3, 3) if op == "Conv" else (3, 32), np.iinfo(dtype).max, dtype)}
    held = {"s": np.float32(1), "z": np.zeros((), dtype), "w": np.full(shape, 127, np.int8), "wz": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        helper.make_node(op, ["d", "v"], ["y"]),
    ]
    compare_integers(model(nodes, inputs, held), inputs)


def test_bounded_weights_are_multiplied_as_integers() -> None:
    data = (0.0, 255.0)
    assert exact(data, np.array([[64, -64], [64, -64]], np.int8), 1)
    assert not exact(data, np.array([[65, 1], [64, 1]], np.int8), 1)
    assert exact(data, np.array([[65, 1], [64, 1]], np.int8), 0)
    assert not exact(data, np.array([[-127, 0], [-2, 0]], np.int8), 1)


def test_bounded_data_are_multiplied_as_integers() -> None:
    weights = np.array([[127, 127, -128, -128]], np.int8)
    assert exact((0.0, 127.0), weights, 0)
    assert exact((0.0, 128.0), weights, 0)
    assert not exact((0.0, 129.0), weights, 0)
    assert not exact((-1.0, 127.0), weights, 0)


@pytest.mark.parametrize("op", ["Conv", "MatMul", "Gemm"])
@pytest.mark.parametrize("before", ["Relu", "Neg"])
def test_signed_bytes_after_a_rectifier_are_multiplied_as_unsigned_ones(op: str, before: str) -> None:
    """None of the greatest pairs overflows 16 bits then; other signed data are integers with VNNI alone."""
    shape = {"Conv": (16, 32, 1, 1), "MatMul": (32, 16), "Gemm": (32, 16)}[op]
    x = normal(1, 32, 3, 3) if op == "Conv" else normal(3, 32)
    inputs = {"x": 200 * x}
    held = {"s": np.float32(1), "z": np.int8(0), "w": np.full(shape, 127, np.int8), "wz": np.int8(0)}
    held["w"].reshape(-1)[::3] = -128
    nodes = [
        helper.make_node(before, ["x"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        helper.make_node(op, ["d", "v"], ["y"]),
    ]
    made = model(nodes, inputs, held)
    found = program(made)
    data = [found.tensors[one.arguments[SRC]].dtype for one in found.primitives if WEIGHTS in one.arguments]
    assert data == ["uint8" if before == "Relu" else "int8" if host().has(VNNI) else "float32"]
    compare_integers(made, inputs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("channels", [False, True])
def test_qlinear_convolutions(dtype: Any, group: int, channels: bool) -> None:
    inputs = {"x": whole(dtype, 2, 8, 7, 6)}
    held = {
        "xs": np.float32(0.03), "xz": np.array(5, dtype), "w": whole(np.int8, 12, 8 // group, 3, 3),
        "ws": np.linspace(0.01, 0.03, 12, dtype=np.float32) if channels else np.float32(0.02),
        "wz": np.zeros(12, np.int8) if channels else np.int8(0), "ys": np.float32(0.7), "yz": np.array(9, dtype),
        "b": np.arange(-600, 600, 100).astype(np.int32),
    }  # fmt: skip
    node = helper.make_node("QLinearConv", ["x", *held], ["y"], group=group, pads=[1, 0, 1, 2], strides=[1, 2])
    compare_integers(model([node], inputs, held), inputs, quanta=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("rows", [(5,), (2, 3), (1,)])
@pytest.mark.parametrize("most", [127, 60])
def test_qlinear_products(dtype: Any, rows: tuple[int, ...], most: int) -> None:
    inputs = {"x": whole(dtype, *rows, 24)}
    held = {
        "xs": np.float32(0.03), "xz": np.array(7, dtype), "w": whole(np.int8, 24, 10, most=most),
        "ws": np.float32(0.02), "wz": np.int8(0), "ys": np.float32(0.4), "yz": np.array(3, dtype),
    }  # fmt: skip
    compare_integers(model([helper.make_node("QLinearMatMul", ["x", *held], ["y"])], inputs, held), inputs, quanta=1)


@pytest.mark.parametrize("left", [np.uint8, np.int8])
@pytest.mark.parametrize("right", [np.uint8, np.int8])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_products_of_integers_are_exact(left: Any, right: Any, constant: bool, zeros: bool) -> None:
    """The deepest that is taken whatever the bytes are, of whole ranges."""
    inputs, held = {"a": whole(left, 3, 258, most=255)}, {}
    (held if constant else inputs)["b"] = whole(right, 258, 9, most=255)
    if zeros:
        held |= {"az": np.array(100, left), "bz": np.array(90, right)}
    node = helper.make_node("MatMulInteger", ["a", "b", *(["az", "bz"] if zeros else [])], ["y"])
    compare_integers(model([node], inputs, held), inputs)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("left", "most"), [(np.uint8, 255), (np.int8, 128)])
def test_deep_products_of_integers(left: Any, most: int, known: bool) -> None:
    """As deep as float32 is exact, by the weights that are known or else by their type; one deeper is refused."""
    deepest = 2**24 // (most * (64 if known else 128))
    for depth in (deepest, deepest + 1):
        a = np.full((2, depth), 255 if left == np.uint8 else -128, left)
        b = np.full((depth, 3), -64 if known else -128, np.int8)
        inputs, held = ({"a": a}, {"b": b}) if known else ({"a": a, "b": b}, {})
        made = model([helper.make_node("MatMulInteger", ["a", "b"], ["y"])], inputs, held)
        if depth == deepest:
            compare_integers(made, inputs)
        else:
            with pytest.raises(HeddleError, match="sums of products reach"):
                heddle.compile(made, backends=["onednn"])


def residual(dtype: Any) -> tuple[onnx.ModelProto, Arrays]:
    """Two quantized tensors that are added, rectified and quantized."""
    inputs = {"a": whole(dtype, 1, 8, 6, 5), "b": whole(dtype, 1, 8, 6, 5, seed=1)}
    held = {
        "as": np.float32(0.02), "az": np.array(3, dtype), "bs": np.float32(0.05), "bz": np.array(8, dtype),
        "ys": np.float32(0.06), "yz": np.array(4, dtype),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "as", "az"], ["ar"]),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["br"]),
        helper.make_node("Add", ["ar", "br"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    return model(nodes, inputs, held), inputs


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_a_sum_of_bytes_is_one_primitive(dtype: Any) -> None:
    made, inputs = residual(dtype)
    assert kinds(made) == ["binary"]
    compare_integers(made, inputs, quanta=1)


def test_without_exactness_integers_are_multiplied_as_such() -> None:
    """The library's own sums are right for weights of half the range, whatever the processor."""
    inputs = {"x": whole(np.uint8, 4, 32)}
    held = {"s": np.float32(0.5), "z": np.uint8(3), "w": whole(np.int8, 32, 8, most=60), "wz": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "wz"], ["v"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    made = model(nodes, inputs, held)
    assert kinds(made) == kinds(made, exact=False) == ["matmul"]
    compare_integers(made, inputs, exact=False)


def test_words_with_a_zero_point_are_refused() -> None:
    """Differences of 32-bit integers may have 33 bits, which the library does not wrap as the operator does."""
    inputs = {"x": np.array([-(2**31), 5], np.int32)}
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"])
    made = model([node], inputs, {"s": np.float32(0.5), "z": np.int32(56)})
    plan = heddle.plan(made, ["onednn", "host"])
    assert [region.backend for region in plan.regions] == ["host"]
    reasons = [str(refusal) for refusal in plan.refusals if "33 bits" in str(refusal)]
    assert reasons
