"""Softmax and layer normalization of rows against double precision."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen.kernels.rows import layer_norm, softmax
from scipy.special import log_softmax
from scipy.special import softmax as exact_softmax

LENGTHS = [1, 7, 16, 64, 65, 128, 197, 300, 1000]


@pytest.mark.parametrize("length", LENGTHS)
def test_softmax(native, guard, length):
    x = (np.random.default_rng(length).standard_normal((3, length)) * 10).astype(np.float32)
    y = guard(np.zeros_like(x))
    native(softmax("k", native.target, 3, length, internal=False), guard(x), y)
    np.testing.assert_allclose(y, exact_softmax(x.astype(np.float64), -1), rtol=5e-6, atol=1e-37)


@pytest.mark.parametrize("length", LENGTHS)
def test_logarithm_of_softmax(native, guard, length):
    x = (np.random.default_rng(length).standard_normal((3, length)) * 10).astype(np.float32)
    y = guard(np.zeros_like(x))
    native(softmax("k", native.target, 3, length, logarithmic=True, internal=False), guard(x), y)
    np.testing.assert_allclose(y, log_softmax(x.astype(np.float64), -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("length", [20, 500])
def test_softmax_of_special_values(native, guard, length):
    x = np.zeros((7, length), np.float32)
    x[0, 3] = np.nan
    x[1, 4] = np.inf
    x[2, 2:] = -np.inf
    x[3] = -np.inf
    x[4] = 3e38
    x[5, 2], x[5, 3] = 500, np.nan  # where a NaN hides what is greater
    x[6, 1] = 200
    y = guard(np.zeros_like(x))
    native(softmax("k", native.target, 7, length, internal=False), guard(x), y)
    with np.errstate(invalid="ignore"):
        expected = np.exp(x - x.max(-1, keepdims=True))
        expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert not y[6, 2:].any()


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_layer_norm(native, guard, length, shifted):
    rng = np.random.default_rng(length)
    x = (rng.standard_normal((3, length)) * 3 + 5).astype(np.float32)
    scale, shift = rng.standard_normal((2, length)).astype(np.float32)
    y = guard(np.zeros_like(x))
    functions = layer_norm("k", native.target, 3, length, 1e-5, shifted=shifted, internal=False)
    native(functions, guard(x), guard(scale), guard(shift) if shifted else None, y)
    wide = x.astype(np.float64)
    distance = wide - wide.mean(-1, keepdims=True)
    expected = distance / np.sqrt((distance**2).mean(-1, keepdims=True) + 1e-5) * scale + shift * shifted
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
