"""Matrix products against numpy, on every vector width that runs here."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import gemm
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.values import F32, F64, constant

SHAPES = [(1, 1, 1), (1, 40, 7), (3, 17, 33), (8, 64, 64), (13, 100, 50), (30, 33, 129), (64, 48, 256), (49, 130, 20)]


def relu(f, x):
    return f.intrinsic("maximum", x, constant(0.0, x.type))


def bias_residual_relu(n: int, ld: int) -> Tail:
    def emit(f, accumulator, operands):
        bias, residual, scale, row = operands
        return f.add(relu(f, f.add(f.mul(f.add(accumulator, bias), scale), residual)), row)

    return Tail(emit, (Place((0,)), Place((ld,), origin=3), Place((0,), lane=0), Place((1,), lane=0)), "brsr")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constant_operand_with_a_tail(native, guard, shape):
    m, n, k = shape
    rng = np.random.default_rng(m * n + k)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    bias, residual = rng.standard_normal(n, np.float32), rng.standard_normal((m, n + 5), np.float32)
    row = rng.standard_normal(m, np.float32)
    problem = gemm.Gemm(m, n, k, (k, 1), Place((n + 2,), origin=1))
    expected = np.maximum((a.astype(np.float64) @ b + bias) * 0.5 + residual[:, 3 : n + 3], 0) + row[:, None]
    every = gemm.candidates(problem, native.target)
    for number in {0, m % len(every), n % len(every), k % len(every)}:
        out = guard(np.full((m, n + 2), 7, np.float32))
        arrays = [guard(x) for x in (bias, residual, np.float32([0.5]), row)]
        functions = gemm.gemm("k", native.target, problem, every[number], bias_residual_relu(n, n + 5), internal=False)
        native(functions, guard(a), guard(gemm.pack(b, problem, native.target, every[number])), out, *arrays, None)
        np.testing.assert_allclose(out[:, 1 : n + 1], expected, rtol=1e-4, atol=1e-4)
        assert (out[:, 0] == 7).all()
        assert (out[:, n + 1] == 7).all()


@pytest.mark.parametrize("scalar", [F32, F64], ids=str)
def test_a_reduction_in_cuts_and_rows_in_bands(native, guard, scalar):
    m, n, k = 37, 41, 100
    dtype = np.float32 if scalar == F32 else np.float64
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    problem = gemm.Gemm(m, n, k, (k, 1), Place((n,), scalar=scalar), scalar=scalar)
    schedule = gemm.Schedule(4, 2, unroll=3, depth=30, band=16)
    out = guard(np.zeros((m, n), dtype))
    functions = gemm.gemm("k", native.target, problem, schedule, internal=False)
    native(functions, guard(a), guard(gemm.pack(b, problem, native.target, schedule)), out, None)
    np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(5, 33, 20), (16, 16, 64), (1, 7, 5), (20, 50, 17)], ids=str)
def test_computed_operand_in_a_strided_batch(native, guard, shape, turned):
    """Attention's products, read in place from tensors laid out as batch, position, head, channel."""
    m, n, k = shape
    heads, batch = 3, 2
    rng = np.random.default_rng(1)
    a = rng.standard_normal((batch, m, heads, k), np.float32)
    b = rng.standard_normal((batch, n, heads, k) if turned else (batch, k, heads, n), np.float32)
    along_b = (1, heads * k) if turned else (heads * n, 1)
    last = k if turned else n
    problem = gemm.Gemm(
        m, n, k, (heads * k, 1), Place((heads * m * n, m * n, n)), along_b,
        (batch, heads), (m * heads * k, k), (b[0].size, last),
    )  # fmt: skip
    expected = np.einsum("bmhk,bnhk->bhmn" if turned else "bmhk,bkhn->bhmn", a.astype(np.float64), b)
    schedule = gemm.default(problem, native.target)
    out = guard(np.zeros((batch, heads, m, n), np.float32))
    scratch = np.zeros(gemm.scratch_bytes(native.target, problem) + 64, np.uint8)
    scratch = scratch[-scratch.ctypes.data % 64 :]
    native(gemm.gemm("k", native.target, problem, schedule, internal=False), guard(a), guard(b), out, scratch)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_transposed_left_operand(native, guard):
    m, n, k = 19, 35, 23
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((k, m), np.float32), rng.standard_normal((k, n), np.float32)
    problem = gemm.Gemm(m, n, k, (1, m), Place((n,)))
    schedule = gemm.default(problem, native.target)
    out = guard(np.zeros((m, n), np.float32))
    packed = guard(gemm.pack(b, problem, native.target, schedule))
    native(gemm.gemm("k", native.target, problem, schedule, internal=False), guard(a), packed, out, None)
    np.testing.assert_allclose(out, a.T @ b, rtol=1e-4, atol=1e-4)


def test_infinities_and_nan_stay_in_their_rows(native, guard):
    m, n, k = 9, 20, 12
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    a[2, 3], a[4, 5] = np.inf, np.nan
    problem = gemm.Gemm(m, n, k, (k, 1), Place((n,)))
    schedule = gemm.default(problem, native.target)
    out = guard(np.zeros((m, n), np.float32))
    packed = guard(gemm.pack(b, problem, native.target, schedule))
    native(gemm.gemm("k", native.target, problem, schedule, internal=False), guard(a), packed, out, None)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize("turned", [False, True])
def test_other_machines_get_code(assemble, turned):
    problem = gemm.Gemm(20, 30, 40, (40, 1), Place((30,)), (1, 40) if turned else None)
    functions = gemm.gemm("k", targets.aarch64(), problem, gemm.default(problem, targets.aarch64()), NOTHING)
    functions[-1].internal = False
    assert "fmla" in assemble(functions, targets.aarch64())


def test_candidates_hold_the_default_and_fit_the_registers():
    for target in (targets.x86_64(), targets.avx2(), targets.avx512(), targets.aarch64()):
        problem = gemm.Gemm(128, 768, 3072, (3072, 1), Place((768,)))
        every = gemm.candidates(problem, target)
        assert every[0] == gemm.default(problem, target)
        assert 8 <= len(every) <= 30
        for schedule in every:
            assert schedule.rows * schedule.vectors + schedule.vectors + 1 <= target.vector_registers
