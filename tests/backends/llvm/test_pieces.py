"""Every kind of kernel divided into pieces: what several threads make of it is what one makes, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from heddle.core.codegen import pieces

import heddle

IMAGES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3,23,29] x) => (float[2,20] z, float[2,56,12,15] y)
<float[16,3,3,3] w0, float[24,16,3,3] w1, float[24,1,5,5] w2, float[32,24,1,1] w3, float[20,56] w4, float[20] b4> {
    c0 = Conv<pads=[1,1,1,1]>(x, w0)
    r0 = Relu(c0)
    c1 = Conv<pads=[1,1,1,1]>(r0, w1)
    c2 = Conv<pads=[2,2,2,2], group=24>(c1, w2)
    s2 = Sigmoid(c2)
    a2 = Add(s2, c1)
    m2 = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(a2)
    c3 = Conv(m2, w3)
    v3 = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(m2)
    y = Concat<axis=1>(c3, v3)
    p = GlobalAveragePool(y)
    f = Flatten(p)
    z = Gemm<transB=1>(f, w4, b4)
}
"""

TOKENS = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2,37,48] x) => (float[2,37,48] z)
<float[48,48] wq, float[48,48] wk, float[48,96] w0, float[96,48] w1, float[48] scale, float[48] shift> {
    n = LayerNormalization(x, scale, shift)
    q = MatMul(n, wq)
    k = MatMul(n, wk)
    t = Transpose<perm=[0,2,1]>(k)
    s = MatMul(q, t)
    a = Softmax<axis=-1>(s)
    h = MatMul(a, n)
    u = MatMul(h, w0)
    e = Erf(u)
    d = MatMul(e, w1)
    z = Add(d, x)
}
"""


def filled(text: str) -> onnx.ModelProto:
    """A model whose parameters are small random numbers."""
    head, _, rest = text.partition("\n<float")
    parameters, _, body = rest.partition("> {")
    rng, model = np.random.default_rng(1), onnx.parser.parse_model(f"{head} {{ {body}")
    for declared in parameters.split(", float"):
        kind, name = declared.split()
        shape = [int(dim) for dim in kind.strip("[]").split(",")]
        array = (rng.standard_normal(shape) * (2 / np.prod(shape[1:] or shape)) ** 0.5).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.fixture(autouse=True)
def _everything_is_worth_dividing(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(pieces, "WORTH", 1e-9)
    monkeypatch.setattr(pieces, "CLAIM", 50)


@pytest.mark.parametrize("text", [IMAGES, TOKENS], ids=["images", "tokens"])
@pytest.mark.parametrize("strict", [False, True], ids=["fast", "strict"])
def test_threads_do_not_change_a_bit(text, strict):
    model = filled(text)
    executable = heddle.compile(model, options={"host": {"strict_math": strict}})
    assert "team" in executable.schedules[0].steps[0].artifact.meta
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(2).standard_normal(shape, np.float32)
    alone = executable(x)
    for wanted, got in zip(ort.InferenceSession(model.SerializeToString()).run(None, {"x": x}), alone, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    for threads in (2, 4):
        for _ in range(6):
            for one, other in zip(alone, executable(x, threads=threads), strict=True):
                assert one.tobytes() == other.tobytes()
