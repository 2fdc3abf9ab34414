"""A small network trained here on scikit-learn's digits, quantized, on the accelerator: as good as in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import heddle
from heddle.quantize import quantize
from tests.backends.vta.regions import macs_on_device

Array = NDArray[Any]
FILTERS, HIDDEN, EPOCHS, BATCH = 16, 10, 12, 32
AT_ONCE = 7
"""How many images are given to a compiled network at once; those held out are a multiple of it."""


def digits() -> tuple[Array, Array, Array, Array]:
    """Images and labels to train with, and those held out."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = (data.images / 16.0).astype(np.float32)[:, None], data.target
    order = np.random.default_rng(0).permutation(len(images))
    train, held = order[:1300], order[1300:]
    return images[train], labels[train], images[held], labels[held]


def patches(images: Array) -> Array:
    """[image, row, column, tap] of 3x3 windows with a border of zeros."""
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows: Array = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return windows.reshape(*windows.shape[:3], 9)


def train(images: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
    """Filters and their bias, weights and their bias: convolution, rectifier, 2x2 average, dense; by plain descent."""
    rng = np.random.default_rng(1)
    w, b = rng.standard_normal((9, FILTERS)) * 0.4, np.zeros(FILTERS)
    v, c = rng.standard_normal((FILTERS * 16, HIDDEN)) * 0.06, np.zeros(HIDDEN)
    moving = [np.zeros_like(each) for each in (w, b, v, c)]
    for epoch in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            here = order[start : start + BATCH]
            seen = patches(images[here])
            raw = seen @ w + b
            active = np.maximum(raw, 0)
            pooled = active.reshape(len(here), 4, 2, 4, 2, FILTERS).mean((2, 4))
            flat = pooled.transpose(0, 3, 1, 2).reshape(len(here), -1)
            scores = flat @ v + c
            share = np.exp(scores - scores.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
            share[np.arange(len(here)), labels[here]] -= 1
            share /= len(here)
            back = (share @ v.T).reshape(len(here), FILTERS, 4, 4).transpose(0, 2, 3, 1) / 4
            spread = back.repeat(2, 1).repeat(2, 2) * (raw > 0)
            slopes = (
                np.tensordot(seen, spread, ((0, 1, 2), (0, 1, 2))), spread.sum((0, 1, 2)), flat.T @ share, share.sum(0),
            )  # fmt: skip
            rate = 0.3 * (1 - epoch / EPOCHS) + 0.02
            for parameter, slope, speed in zip((w, b, v, c), slopes, moving, strict=True):
                speed *= 0.8
                speed += slope
                parameter -= rate * speed
    return w, b, v, c


def network(w: Array, b: Array, v: Array, c: Array, batch: int) -> ModelProto:
    """The trained network as ONNX; the dense layer is a convolution over all of the pooled image."""
    constants = {
        "w": w.T.reshape(FILTERS, 1, 3, 3),
        "b": b,
        "v": v.T.reshape(HIDDEN, FILTERS, 4, 4),
        "c": c,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["raw"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["raw"], ["active"], "relu"),
        helper.make_node("AveragePool", ["active"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pooled", "v", "c"], ["square"], "dense"),
        helper.make_node("Flatten", ["square"], ["y"], "flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, HIDDEN])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_digits_are_read_as_well_as_in_float() -> None:
    images, labels, held, truth = digits()
    model = network(*train(images, labels), AT_ONCE)
    calibration = [{"x": images[at : at + AT_ONCE]} for at in range(0, len(images) - AT_ONCE, AT_ONCE)]
    coded = quantize(model, calibration).model
    assert macs_on_device(heddle.plan(coded, backends=["vta", "host"])) == 1.0

    def accuracy(exe: Any) -> float:
        scores = [next(iter(exe(part).values())) for part in np.split(held, len(held) // AT_ONCE)]
        return float((np.concatenate(scores).argmax(1) == truth).mean())

    plain = accuracy(heddle.compile(model))
    ours = accuracy(heddle.compile(coded, backends=["vta", "host"]))
    print(f"accuracy on {len(held)} held-out digits: float {plain:.4f}, accelerator {ours:.4f}")
    assert plain >= 0.95
    assert ours >= plain - 0.01
