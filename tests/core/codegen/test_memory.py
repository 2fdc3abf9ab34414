"""The plan of memory: what lives at the same time lies apart, and outputs take the place of what is read no more."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from heddle.core.codegen.region import program
from heddle.core.codegen.target import host
from heddle.core.ir import parse

import heddle

ROWS, SIZE = 64, 64 * 512 * 4


def test_elementwise_work_is_done_in_place():
    shape = f"float32[{ROWS},512]"
    # Nothing is fused: cumulative sums never are, and Exp is read twice.
    text = (
        f"graph (%x: {shape}) -> (%y, %z) {{ const %axis: int64[]"
        f" %a: {shape} = CumSum(%x, %axis)"
        f" %b: {shape} = CumSum(%a, %axis)"
        f" %c: {shape} = Exp(%b)"
        f" %y: {shape} = Mul(%a, %c)"
        f" %z: {shape} = CumSum(%c, %axis) }}"
    )
    made = program(parse(text, {"axis": np.array(1)}), host())
    assert made.memory.workspace == 2 * SIZE


MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2,16,12,12] x) => (float[2,16,12,12] z) {
    a = Conv<pads=[1,1,1,1]>(x, w0)
    b = Conv<pads=[1,1,1,1]>(a, w1)
    c = Conv(b, w2)
    d = Add(c, a)
    e = Relu(d)
    f = Conv<pads=[1,1,1,1]>(e, w3)
    g = Add(e, f)
    h = Conv(g, w4)
    z = Add(h, g)
}
"""


def residual() -> onnx.ModelProto:
    """Convolutions with what they began with added, twice read and once."""
    model, rng = onnx.parser.parse_model(MODEL), np.random.default_rng(0)
    for name, kernel in (("w0", 3), ("w1", 3), ("w2", 1), ("w3", 3), ("w4", 1)):
        array = rng.standard_normal((16, 16, kernel, kernel), np.float32) / (4 * kernel)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.mark.parametrize("strict", [False, True])
def test_a_residual_sum_takes_the_place_of_what_it_adds(strict):
    model = residual()
    executable = heddle.compile(model, options={"host": {"strict_math": strict}})
    x = np.random.default_rng(1).standard_normal((2, 16, 12, 12), np.float32)
    (wanted,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    for threads in (1, 2):
        np.testing.assert_allclose(executable(x, threads=threads)[0], wanted, rtol=1e-4, atol=1e-4)


def test_tokens_that_are_added_are_added_in_place():
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[128,256] x) => (float[128,256] z)
    <float[256,256] w> {
        a = MatMul(x, w)
        b = Softmax<axis=1>(a)
        c = MatMul(b, w)
        d = Add(a, c)
        e = Softmax<axis=1>(d)
        f = MatMul(e, w)
        g = Add(f, d)
        z = MatMul(g, w)
    }
    """
    head, _, body = text.partition("<float[256,256] w>")
    model = onnx.parser.parse_model(head + body)
    w = np.random.default_rng(0).standard_normal((256, 256), np.float32) / 16
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    executable = heddle.compile(model)
    x = np.random.default_rng(1).standard_normal((128, 256), np.float32)
    (wanted,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(executable(x)[0], wanted, rtol=1e-4, atol=1e-4)
    assert executable.memory.arena == 2 * 128 * 256 * 4
