"""Vector math against double precision over the whole range of floats, special values included."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import vmath
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import F32, F64, I64, constant
from scipy import special

MEANING = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "atan": np.arctan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "tanh": np.tanh,
    "erf": special.erf,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
}
BOUND = {
    "exp": 1.5,
    "log": 1.5,
    "tanh": 5,
    "erf": 5,
    "sigmoid": 3,
    "expm1": 3,
    "log1p": 3,
    "atan": 3,
    "asin": 4,
    "acos": 3,
    "sin": 0.6,
    "cos": 0.6,
    "tan": 0.6,
}
SMALLEST = np.finfo(np.float32).tiny
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, 88.72, 88.73, -104.0]


def pointwise(function, scalar, lanes: int, count: int) -> Function:
    f = Function("k", [("x", "ptr noalias readonly"), ("y", "ptr noalias")])
    with f.loop(0, count, lanes) as i:
        f.store(function(f, f.load(scalar.of(lanes), f.gep(f["x"], i, scalar))), f.gep(f["y"], i, scalar))
    return f


def everywhere() -> np.ndarray:
    """A hundred thousand floats of every exponent and sign, the special ones, and the range where functions bend."""
    bits = np.arange(0, 1 << 32, 42949, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate(
        [
            bits,
            np.float32(SPECIAL),
            np.linspace(-20, 20, 40001, dtype=np.float32),
            np.linspace(-1, 1, 20001, dtype=np.float32),
        ]
    )
    return np.resize(x, -(-x.size // 64) * 64)


@pytest.mark.parametrize("name", MEANING)
def test_error_over_all_floats(native, name):
    x = everywhere()
    y = np.zeros_like(x)
    native([pointwise(vmath.AVAILABLE[name, F32], F32, native.target.lanes(4), x.size)], x, y)
    with np.errstate(all="ignore"):
        exact = MEANING[name](x.astype(np.float64))
        expected = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(y[infinite], expected[infinite])
    finite = np.isfinite(expected) & ~np.isnan(x)
    if name == "sigmoid":
        below = finite & (expected < SMALLEST)
        assert (np.abs(y[below]) <= SMALLEST).all()
        finite &= ~below
    ulp = np.spacing(np.abs(expected[finite])).astype(np.float64)
    assert (np.abs(y[finite] - exact[finite]) / ulp).max() <= BOUND[name]
    zero = (x == 0) & (expected == 0)
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(expected[zero]))


def test_powers_of_distances(native):
    """Those that are normal numbers; less is zero, whether or not the machine keeps smaller ones."""
    x = np.concatenate([-np.abs(everywhere()), np.linspace(-89, -86, 4096, dtype=np.float32)])
    y = np.zeros_like(x)
    native([pointwise(vmath.exp_of_distance, F32, native.target.lanes(4), x.size)], x, y)
    exact = np.exp(x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    normal = exact >= SMALLEST
    ulp = np.spacing(exact[normal].astype(np.float32)).astype(np.float64)
    assert (np.abs(y[normal] - exact[normal]) / ulp).max() <= BOUND["exp"]
    assert (y[exact < SMALLEST] <= SMALLEST).all()
    assert not y[exact < SMALLEST / 2].any()


@pytest.mark.parametrize("name", ["exp", "sigmoid"])
def test_double(native, name):
    x = np.concatenate([np.linspace(-750, 750, 100_000), SPECIAL, [0.0] * 17])
    x = np.resize(x, -(-x.size // 64) * 64)
    y = np.zeros_like(x)
    native([pointwise(vmath.AVAILABLE[name, F64], F64, native.target.lanes(8), x.size)], x, y)
    with np.errstate(all="ignore"):
        expected = MEANING[name](x)
    np.testing.assert_allclose(y, expected, rtol=1e-15, atol=1e-320)


@pytest.mark.parametrize("name", MEANING)
def test_one_lane_is_a_scalar(native, name):
    x = np.float32([0.5, 1.5, 2.5])
    y = np.zeros_like(x)
    native([pointwise(vmath.AVAILABLE[name, F32], F32, 1, x.size)], x, y)
    np.testing.assert_allclose(y, MEANING[name](x.astype(np.float64)), rtol=1e-6)


def test_surrounding_flags_do_not_reach_the_algorithms():
    f = Function("k", [("x", "ptr")])
    with f.fast("fast"):
        vmath.exp(f, f.load(F32, f["x"]))
        assert f.flags == "fast"
    assert " fast " not in f.text()
    assert constant(1, I64).text == "1"


@pytest.mark.parametrize("lanes", [1, 8])
def test_rests_of_division_are_exact(native, lanes):
    rng = np.random.default_rng(0)
    every = everywhere()[::7]
    near = np.float32(rng.integers(1, 1000, 20000)) * np.float32(0.1)
    near = np.nextafter(near, np.float32(rng.choice([-1, 1], near.size) * np.inf))
    pairs = [(rng.permutation(every), rng.permutation(every)), (near, np.resize(np.float32([0.1, 0.3, -7]), near.size))]
    a, b = (np.concatenate(both) for both in zip(*pairs, strict=True))
    a, b = (np.resize(x, x.size // 8 * 8) for x in (a, b))
    y = np.zeros_like(a)
    f = Function("k", [("a", "ptr noalias readonly"), ("b", "ptr noalias readonly"), ("y", "ptr noalias")])
    with f.loop(0, a.size, lanes) as i:
        operands = (f.load(F32.of(lanes), f.gep(f[name], i, F32)) for name in "ab")
        f.store(vmath.fmod(f, *operands), f.gep(f["y"], i, F32))
    native([f], a, b, y)
    with np.errstate(all="ignore"):
        expected = np.fmod(a, b)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y[y == 0]), np.signbit(expected[y == 0]))
