"""Every operator of real numbers that oneDNN takes, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.backends.onednn.comparing import compare, model, needs_library, normal

pytestmark = needs_library

CONVOLUTIONS = [
    ((1, 3, 9), (4, 3, 3), {"pads": [1, 1]}),
    ((2, 3, 9, 8), (8, 3, 3, 3), {"pads": [1, 0, 1, 2], "strides": [2, 1]}),
    ((1, 8, 6, 6), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    ((1, 8, 9, 9), (6, 4, 3, 3), {"group": 2, "dilations": [2, 2]}),
    ((1, 1, 28, 28), (8, 1, 5, 5), {"auto_pad": "SAME_UPPER"}),
    ((1, 1, 9, 9), (3, 1, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 5, 6, 6), (7, 5, 1, 1), {"strides": [2, 2]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": [1, 2, 2]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS)
@pytest.mark.parametrize("tail", [False, True])
def test_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], tail: bool) -> None:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c" if tail else "y"], **attributes)]
    inputs = {"x": normal(*x)}
    if tail:
        nodes += [helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Add", ["r", "r"], ["s"])]
        nodes += [helper.make_node("Mul", ["s", "k"], ["y"])]
    constants = {"w": normal(*w), "b": normal(w[0]), "k": normal(1, w[0], *[1] * (len(w) - 2))}
    compare(model(nodes, inputs, constants), inputs)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((1, 3, 5, 5), (3, 4, 3, 3), {"strides": [2, 2]}),
        ((1, 4, 5, 6), (4, 2, 3, 2), {"group": 2, "pads": [1, 0, 1, 0]}),
        ((1, 3, 4, 4), (3, 2, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((1, 2, 7), (2, 3, 3), {"dilations": [2]}),
    ],
)
def test_transposed_convolutions(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = {"x": normal(*x)}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    compare(model([node], inputs, {"w": normal(*w)}), inputs)


SINGLE: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("MaxPool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", (1, 3, 9, 9), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", (1, 3, 9), {"kernel_shape": [3], "dilations": [2]}),
    ("AveragePool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", (1, 3, 9, 9), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("GlobalAveragePool", (2, 5, 7, 6), {}), ("GlobalMaxPool", (2, 5, 7, 6), {}),
    ("Relu", (3, 4), {}), ("Sigmoid", (3, 4), {}), ("Tanh", (7,), {}), ("Elu", (3, 4), {"alpha": 0.7}),
    ("Abs", (3, 4), {}), ("Exp", (3, 4), {}), ("LeakyRelu", (3, 4), {"alpha": 0.1}),
    ("HardSigmoid", (3, 4), {"alpha": 0.3, "beta": 0.4}), ("HardSwish", (3, 9), {}), ("Softplus", (3, 4), {}),
    ("Mish", (3, 4), {}), ("Softmax", (2, 3, 5), {"axis": 1}), ("LogSoftmax", (2, 3, 5), {}),
    ("Flatten", (2, 3, 5), {}), ("Transpose", (2, 3, 5), {"perm": [2, 0, 1]}), ("Transpose", (2, 3, 4, 5), {}),
    ("ReduceMax", (2, 3, 5), {"keepdims": 0}), ("ReduceSum", (2, 3, 5), {}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shape", "attributes"), SINGLE)
def test_operators_of_one_operand(op: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    inputs = {"x": normal(*shape)}
    compare(model([helper.make_node(op, ["x"], ["y"], **attributes)], inputs, {}), inputs)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("other", [(2, 3, 4, 5), (5,), (3, 1, 1), (2, 1, 4, 1), ()])
def test_operators_of_two_operands(op: str, other: tuple[int, ...]) -> None:
    inputs = {"x": normal(2, 3, 4, 5), "z": np.asarray(normal(*other) + 3, np.float32)}
    compare(model([helper.make_node(op, ["x", "z"], ["y"])], inputs, {}), inputs)


@pytest.mark.parametrize(
    ("x", "w"), [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4, 5), (2, 3, 5, 6)), ((2, 3, 4, 5), (5, 6)),
                 ((2, 1, 4, 5), (3, 5, 6))],
)  # fmt: skip
@pytest.mark.parametrize("constant", [False, True])
def test_products(x: tuple[int, ...], w: tuple[int, ...], constant: bool) -> None:
    inputs, held = {"x": normal(*x)}, {"b": normal(w[-1])}
    (held if constant else inputs)["w"] = normal(*w)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"])]
    compare(model([*nodes, helper.make_node("Relu", ["q"], ["y"])], inputs, held), inputs)


@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("c", [(5,), (3, 1), (3, 5), (1,), None])
def test_gemm(turned: tuple[int, int], c: tuple[int, ...] | None) -> None:
    inputs = {"x": normal(4, 3) if turned[0] else normal(3, 4)}
    held = {"w": normal(5, 4) if turned[1] else normal(4, 5)} | ({} if c is None else {"c": normal(*c)})
    node = helper.make_node("Gemm", ["x", *held], ["y"], transA=turned[0], transB=turned[1])
    compare(model([node], inputs, held), inputs)


def test_normalization_concat_and_resize() -> None:
    inputs = {"x": normal(2, 3, 4, 6)}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "s", "b"], ["n"], epsilon=1e-3),
        helper.make_node("Resize", ["n", "", "f"], ["r"], mode="linear"),
        helper.make_node("Concat", ["r", "r"], ["y"], axis=1),
    ]
    held = {"s": normal(6), "b": normal(6, seed=1), "f": np.array([1, 1, 2, 2], np.float32)}
    compare(model(nodes, inputs, held), inputs)


def test_bfloat16_is_an_option() -> None:
    inputs = {"x": normal(64, 256)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    compare(model([node], inputs, {"w": normal(256, 64)}), inputs, tolerance=2e-2, bf16=True)
