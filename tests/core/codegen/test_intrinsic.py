"""An instruction is found by what it means, and called where whole tiles fit; elsewhere the loops stay plain."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.intrinsic import Intrinsic, Intrinsics
from heddle.core.codegen.target import host
from heddle.core.codegen.values import F32, I8, I32
from heddle.core.interpret import evaluate
from heddle.core.ir import parse
from heddle.core.ops.scalar import cast
from heddle.core.runtime.host import HostProgram


def rows(f, acc, a, b):
    right = f.load(F32.of(4), b.at(f, 0, 0))
    for row in range(2):
        place = acc.at(f, row, 0)
        left = f.splat(f.load(F32, a.at(f, row, 0)), 4)
        f.store(f.fma(left, right, f.load(F32.of(4), place)), place)


PRODUCT = Intrinsic("product", (2, 4, 1), lambda acc, a, b: acc + a * b, rows)


def wide(f, acc, a, b):
    left = f.convert("sext", f.load(I8, a.at(f, 0, 0)), I32)
    for column in range(2):
        right = f.convert("sext", f.load(I8, b.at(f, 0, column)), I32)
        place = acc.at(f, 0, column)
        f.store(f.add(f.load(I32, place), f.mul(left, right)), place)


WIDE = Intrinsic(
    "wide", (1, 2, 1), lambda acc, a, b: acc + cast(a, "int32") * cast(b, "int32"), wide, ("int8", "int8", "int32")
)


def run(text, intrinsics, seed=0):
    graph = parse(text)
    strategy = Intrinsics(intrinsics)
    program = HostProgram(compile_region(graph, host(), strategy))
    random = np.random.default_rng(seed)
    inputs = [np.asarray(random.integers(-9, 9, v.shape)).astype(v.dtype) for v in graph.inputs]
    outputs = [np.full(v.shape, 77, v.dtype) for v in graph.outputs]
    program.call([x.ctypes.data for x in inputs], [y.ctypes.data for y in outputs])
    for found, expected in zip(outputs, evaluate(graph, inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    return strategy.used


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("graph (%a: float32[6,5], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}", {"product": 1}),
        (
            "graph (%a: float32[3,6,5], %b: float32[3,5,8]) -> (%y) {\n %y: float32[3,6,8] = MatMul(%a, %b)\n}",
            {"product": 1},
        ),
        ("graph (%a: float32[5,5], %b: float32[5,8]) -> (%y) {\n %y: float32[5,8] = MatMul(%a, %b)\n}", {}),
        ("graph (%a: float32[6,5], %b: float32[5,7]) -> (%y) {\n %y: float32[6,7] = MatMul(%a, %b)\n}", {}),
        ("graph (%a: float32[6,0], %b: float32[0,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}", {}),
        (
            "graph (%a: float32[6,5], %b: float32[5,8], %c: float32[8]) -> (%y) {\n"
            " %y: float32[6,8] = Gemm(%a, %b, %c) {alpha=2.0}\n}",
            {"product": 1},
        ),
        (
            "graph (%a: float32[5,6], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = Gemm(%a, %b) {transA=1}\n}",
            {"product": 1},
        ),
        ("graph (%a: float32[6,5], %b: float32[8,5]) -> (%y) {\n %y: float32[6,8] = Gemm(%a, %b) {transB=1}\n}", {}),
    ],
)
def test_products_of_floats(text, used):
    assert run(text, [PRODUCT]) == used


def test_a_product_of_bytes():
    text = "graph (%a: int8[3,5], %b: int8[5,4]) -> (%y) {\n %y: int32[3,4] = MatMulInteger(%a, %b)\n}"
    assert run(text, [PRODUCT, WIDE]) == {"wide": 1}


def test_another_meaning_is_not_found():
    other = Intrinsic("other", (2, 4, 1), lambda acc, a, b: acc - a * b, rows)
    text = "graph (%a: float32[6,5], %b: float32[5,8]) -> (%y) {\n %y: float32[6,8] = MatMul(%a, %b)\n}"
    assert run(text, [other]) == {}
