"""Bytes of numbers that are rounded and clamped stay the same bytes when less is computed."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.backends.llvm.requantizing import linear_part, simplified, whole_of
from heddle.core.codegen.tensor import load
from heddle.core.ir import Value, tensor
from heddle.core.ops.scalar import argument, cast, const, evaluate, finite_range, maximum, minimum, round_even

F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
SCALE = 0.25


def quantized(x, zero, dtype):
    low, high = finite_range(dtype)
    return cast(minimum(maximum(round_even(x / const(SCALE, F32)) + cast(zero, F32), low), high), dtype)


def inverse(divisor):
    return const(1 / divisor.value, F32) if divisor.op == "const" else None


def unknown(item):
    return None


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
    made = simplified(body, sums, inverse, unknown)
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


@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), np.dtype(np.int8)], ids=str)
@pytest.mark.parametrize("zero", [-128, -3, 0, 5, 255])
@pytest.mark.parametrize(
    "bounds", [(0, None), (0, 6), (0, 63.75), (0, 63.8), (0, 63.7), (0, 63.4), (-1, 64), (-99, 99)], ids=str
)
def test_bounds_that_change_nothing_are_dropped(dtype, zero, bounds):
    """An activation before the clamp goes where the clamp is as narrow, and stays where it is not."""
    low, high = finite_range(dtype)
    if not low <= zero <= high:
        return
    sums, least, most = argument(0, F32), *bounds
    active = maximum(sums, least) if most is None else minimum(maximum(sums, least), most)
    body = quantized(active, const(zero, dtype), dtype)
    made = simplified(body, sums, inverse, unknown)
    x = np.concatenate([np.arange(-300, 300, 0.0625, np.float32), np.float32([3e38, -3e38, -0.0])])
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(1000))])
    np.testing.assert_array_equal(evaluate(made, [x]), evaluate(body, [x]))
    kept = [item.op for item in every(made) if item.op in ("min", "max")]
    narrower = most is not None and most / SCALE < high - zero - 0.5
    assert kept.count("min") == 1 + narrower
    if not narrower:
        assert kept.count("max") == 1 + (least / SCALE > low - zero + 0.5)


def test_what_is_known_is_written_as_a_number():
    value = Value("s", tensor("float32"))
    body = cast(round_even(argument(0, F32) * load(value)), I32)
    made = simplified(body, argument(0, F32), inverse, lambda item: const(3.0, item.dtype))
    assert not any(item.op == "load" for item in every(made))


def test_the_linear_part():
    """Of a sum and a multiple, as far as nobody else reads them."""
    x, bias = argument(0, F32), load(Value("b", tensor("float32")))
    total, alone = x + bias, x * 3.0
    both = total * 3.0
    assert linear_part(round_even(both), x) == (both, bias, 3.0)
    assert linear_part(round_even(alone), x) == (alone, None, 3.0)
    assert linear_part(maximum(total, 0), x) == (total, bias, 1.0)
    assert linear_part(both + total, x) == (total, bias, 1.0)
    assert linear_part(round_even(x * bias), x) == (x, None, 1.0)
    assert linear_part(x * 3.0 + x, x) == (x, None, 1.0)


def test_what_is_no_byte_stays():
    x = argument(0, F32)
    for body in (cast(round_even(x), I32), x / argument(1, F32), cast(minimum(round_even(x) + 0.5, 255), "uint8")):
        assert simplified(body, x, inverse, unknown) is body
