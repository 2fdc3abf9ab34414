"""What the accelerator leaves to others because it would not be right: each with the reason that `explain` prints."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.vta import Vta
from heddle.core.frontend import import_model
from heddle.core.pattern import find
from onnx import ModelProto, numpy_helper

from tests.backends.vta.test_operators import Net, unary


def reasons(model: ModelProto) -> list[str]:
    """Why each pattern does not take what it looks at."""
    return [refusal.reason for refusal in find(import_model(model), Vta().patterns).refusals.values()]


def gemm(bias: np.ndarray, scale: float = 0.001, rows: int = 4) -> ModelProto:
    net = Net(unsigned=True)
    x, w = net.input("x", [rows, 20]), net.weights((20, 4), 1)
    b = net.add("DequantizeLinear", net.constant(bias, "b"), net.constant(np.float32(scale), "b_scale"))
    return net.model(net.add("Gemm", x, w, b))


def with_constant(model: ModelProto, name: str, array: np.ndarray) -> ModelProto:
    """The model with another constant of this name."""
    (stored,) = (each for each in model.graph.initializer if each.name == name)
    stored.CopyFrom(numpy_helper.from_array(array, name))
    return model


def pool(op: str, **attributes: object) -> ModelProto:
    return unary(Net(unsigned=True), [1, 3, 6, 6], op, **attributes)


BORDER = "averages at the border count fewer elements, takes count_include_pad=1 and ceil_mode=0, or no padding"
FINE = with_constant(gemm(np.arange(4, dtype=np.int32)), "y_scale", np.float32(1e-6))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (gemm(np.zeros((4, 1), np.int32)), "b has the shape [4, 1] for 4 output channels"),
        (gemm(np.zeros(1, np.int32)), "b has the shape [1] for 4 output channels"),
        (FINE, "b as a multiple of x_scale * w_scale is 72 quanta of the result off, takes 0.5 at most"),
        (gemm(np.full(4, 2**31 - 1, np.int32), 0.01), "the sum of the products and b do not fit 32 bits"),
        (pool("MaxPool", kernel_shape=[1, 2], pads=[1, 1, 1, 1]),
         "a window lies wholly in the padding, takes narrower pads"),
        (pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), BORDER),
        (pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), BORDER),
    ],
    ids=["bias of rows", "one bias", "too coarse", "too great a bias", "only padding", "less at the border", "a rest"],
)  # fmt: skip
def test_refused(model: ModelProto, reason: str) -> None:
    assert reason in reasons(model)
