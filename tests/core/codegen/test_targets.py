"""Code for older machines computes the same; code for other machines can at least be made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from heddle.core.codegen import compile_region
from heddle.core.codegen.target import Target, aarch64, avx2, x86_64
from heddle.core.ir import parse

LINES = """
Add(float32[3,40], float32[40])
Floor(float32[30])
Ceil(float64[30])
Round(float32[30])
Gelu(float32[30])
Tan(float32[30])
MatMul(float32[7,33], float32[33,40])
MatMul(float16[3,4], float16[4,5])
Softmax(float32[5,70])
ReduceMax(float32[5,70])
Conv(float32[1,3,8,20], float32[4,3,3,3], float32[4])
Concat(float32[2,300], float32[2,100]) {axis=1}
Mod(int64[30], int64[30])
Pow(float32[9], float32[9])
Cast(float32[64]) {to="float16"}
Cast(float16[64]) {to="float64"}
Cast(float64[64]) {to="bfloat16"}
LSTM/3(float32[3,2,3], float32[1,16,3], float32[1,16,4])
Resize(float32[1,2,5,7], _, float32[4]=[1, 1, 0.6, 0.6]) {mode="linear"}
"""


@pytest.mark.parametrize("target", [x86_64(), avx2()], ids=["x86-64", "avx2"])
@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_older_machines_compute_the_same(line: str, target: Target, agrees: Callable[..., None]) -> None:
    agrees(line, target=target)


def test_code_is_made_for_another_machine(case: Callable[..., object]) -> None:
    for line in LINES.strip().splitlines():
        graph, _ = case(line)  # type: ignore[misc]
        assert compile_region(graph, aarch64()).code[18:20] == b"\xb7\0"


GRAPH = """graph (%a: float32[64]) -> (%y) {
  const %half: float32[]
  %y: float32[64] = Mul(%a, %half)
}"""


def test_denormals_are_flushed_and_the_callers_state_is_kept(native: Callable[..., list[np.ndarray]]) -> None:
    graph = parse(GRAPH, {"half": np.array(0.5, np.float32)})
    tiny = np.full(64, np.finfo(np.float32).tiny, np.float32)
    assert (native(compile_region(graph, x86_64()), [tiny])[0] == 0).all()
    assert (native(compile_region(graph, x86_64(), flush=False), [tiny])[0] == tiny / 2).all()
    assert tiny[0] / 2 > 0  # this thread still has its denormals


def test_the_same_graph_gives_the_same_bytes() -> None:
    constants = {"half": np.array(0.5, np.float32)}
    first, second = (compile_region(parse(GRAPH, constants), avx2()).code for _ in range(2))
    assert first == second
