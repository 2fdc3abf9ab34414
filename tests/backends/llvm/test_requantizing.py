"""Bytes of numbers that are rounded and clamped stay the same bytes when less is computed."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.llvm.requantizing import simplified, whole_of
from heddle.core.ops.scalar import argument, cast, const, evaluate, finite_range, maximum, minimum, round_even

F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
SCALE = 0.25


def quantized(x, zero, dtype):
    low, high = finite_range(dtype)
    return cast(minimum(maximum(round_even(x / const(SCALE, F32)) + cast(zero, F32), low), high), dtype)


def inverse(divisor):
    return const(1 / divisor.value, F32) if divisor.op == "const" else None


def every(item):
    return [item, *(inner for arg in item.args for inner in every(arg))]


@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), np.dtype(np.int8)], ids=str)
@pytest.mark.parametrize("again", [False, True])
def test_the_same_bytes(dtype, again):
    sums, zero = argument(0, F32), argument(1, dtype)
    body = quantized(sums, zero, dtype)
    if again:
        read = cast(cast(body, I32) - cast(zero, I32), F32) * 0.125
        body = quantized(read + 1.0, zero, dtype)
    made = simplified(body, sums, inverse)
    assert whole_of(made) is not None
    assert not any(item.op == "div" for item in every(made))
    narrowed = {id(item) for item in every(made) if item.op == "cast" and item.dtype == dtype}
    assert narrowed == {id(made)}, "what is read again is not narrowed before"
    low, high = finite_range(dtype)
    # Every tie and what lies beside it, far beyond both ends.
    x = np.concatenate([np.arange(-300, 300, 0.125, np.float32), np.float32([3e38, -3e38, -0.0, 1e10, -1e10])])
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(1000))])
    for number in (low, low + 1, 0, 77, high):
        zeros = np.full(x.shape, number, dtype)
        np.testing.assert_array_equal(evaluate(made, [x, zeros]), evaluate(body, [x, zeros]))


def test_what_is_no_byte_stays():
    x = argument(0, F32)
    for body in (cast(round_even(x), I32), x / argument(1, F32), cast(minimum(round_even(x) + 0.5, 255), "uint8")):
        assert simplified(body, x, inverse) is body
