"""Winograd's convolution: its matrices are exact, and its results are those of the plain sum of products."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from heddle.core.codegen.kernels import gemm, winograd
from heddle.core.codegen.kernels.conv import Conv
from heddle.core.codegen.kernels.image import Image, Window, arrange, per_channel, restore
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.kernels.transform import filtering, whole_filtering
from heddle.core.codegen.values import I8, I16, I32


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (6, 3), (2, 5), (3, 2)])
def test_matrices_compute_the_correlation_exactly(outputs, taps):
    matrices = filtering(outputs, taps)
    size = outputs + taps - 1
    for tap in range(taps):
        for position in range(size):
            weights = [row[tap] for row in matrices.weights]
            data = [row[position] for row in matrices.before]
            product = [a * b for a, b in zip(weights, data, strict=True)]
            got = [sum((a * b for a, b in zip(row, product, strict=True)), Fraction(0)) for row in matrices.after]
            assert got == [Fraction(position == i + tap) for i in range(outputs)]


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (3, 2)])
def test_matrices_of_whole_numbers_compute_a_multiple_of_it(outputs, taps):
    exact, whole = filtering(outputs, taps), whole_filtering(outputs, taps)
    entries = [entry for matrix in (whole.before, whole.weights, whole.after) for row in matrix for entry in row]
    assert all(entry.denominator == 1 for entry in entries)
    for row, other in zip(whole.after, exact.after, strict=True):
        for j in range(outputs + taps - 1):
            for tap in range(taps):
                assert row[j] * whole.weights[j][tap] == whole.divisor * other[j] * exact.weights[j][tap]


def correlate(x, w):
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nihwab,oiab->nohw", windows, w.astype(np.float64))


SHAPES = [(16, 32, 8, 8, 1), (20, 33, 7, 7, 2), (32, 16, 14, 10, 1), (16, 16, 3, 5, 1)]


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    "shape", [(16, 32, 8, 8, 1), (20, 33, 7, 7, 2), (32, 16, 14, 10, 1), (16, 16, 3, 5, 1)], ids=str
)
def test_results(native, guard, shape, tile):
    inputs, outputs, height, width, batch = shape
    rng = np.random.default_rng(inputs + height)
    lanes = native.target.lanes(4)
    out = Image(outputs, height, width, lanes, (1, 1, 1, 1), batch)
    source = Image(inputs, height, width, lanes, (1, 1, 1, 1), batch)
    problem = Conv(source, out, Window((3, 3), pads=(1, 1)))
    assert winograd.applies(problem)
    x = rng.standard_normal((batch, inputs, height, width)).astype(np.float32)
    w = (rng.standard_normal((outputs, inputs, 3, 3)) / 10).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    extra = rng.standard_normal((batch, outputs, height, width)).astype(np.float32)
    residual = Image(outputs, height, width, lanes, batch=batch)
    tail = Tail(lambda f, a, o: f.add(f.add(a, o[0]), o[1]), (per_channel(lanes), residual.place()))
    expected = correlate(x, w) + bias[:, None, None] + extra
    filled = np.resize(bias, out.blocks * lanes)
    for rows in {1, 2, -(-height // tile)}:
        product = gemm.default(winograd._product(problem, rows * -(-width // tile)), native.target)
        schedule = winograd.Schedule(tile, rows, product)
        y = guard(arrange(np.full(expected.shape, 9, np.float32), out, fill=9))
        packed = guard(winograd.pack(w, problem, native.target, schedule))
        scratch = guard(np.zeros(-(-winograd.scratch_bytes(problem, schedule) // 64) * 64, np.uint8))
        functions = winograd.winograd("k", native.target, problem, schedule, tail, internal=False)
        native(functions, guard(arrange(x, source)), packed, y, guard(filled), guard(arrange(extra, residual)), scratch)
        np.testing.assert_allclose(restore(y, out), expected, rtol=1e-4, atol=1e-4)
        shaped = y.reshape(batch, out.blocks, height + 2, width + 2, lanes)
        assert (shaped[:, :-1, 0] == 9).all()
        assert (shaped[:, :-1, :, -1] == 9).all()


@pytest.mark.parametrize("held", [I16, I8], ids=str)
@pytest.mark.parametrize("group", [1, 5])
def test_groups_of_channels_one_after_another(native, guard, held, group):
    """Also where they do not divide the channels, and where blocks of the source make no pairs."""
    lanes = native.target.lanes(4)
    inputs, outputs, size = 3 * lanes, 6 * lanes + 3, 9
    rng = np.random.default_rng(group)
    out = Image(outputs, size, size, lanes, scalar=I32)
    source = Image(inputs, size, size, lanes, (1, 1, 1, 1), scalar=held)
    problem = Conv(source, out, Window((3, 3), pads=(1, 1)), small=True)
    x = rng.integers(0, 256, (1, inputs, size, size))
    w = rng.integers(-30, 31, (outputs, inputs, 3, 3)).astype(np.int8)
    schedule = winograd.Schedule(4, 2, gemm.Schedule(3, 1, unroll=2), group)
    y = guard(np.zeros(out.size, np.int32))
    packed = guard(winograd.pack(w, problem, native.target, schedule))
    scratch = guard(np.zeros(-(-winograd.scratch_bytes(problem, schedule) // 64) * 64, np.uint8))
    a = guard(arrange(x, source).astype(np.uint8 if held == I8 else np.int16))
    native(winograd.winograd("k", native.target, problem, schedule, internal=False), a, packed, y, scratch)
    np.testing.assert_array_equal(restore(y, out), correlate(x, w))


@pytest.mark.parametrize("held", [I16, I8], ids=str)
@pytest.mark.parametrize("shape", [(16, 32, 8, 8, 1), (20, 33, 7, 6, 2), (512, 16, 5, 5, 1)], ids=str)
def test_sums_of_bytes_are_exact(native, guard, shape, held):
    """With weights as extreme as each size of tile allows."""
    inputs, outputs, height, width, batch = shape
    rng = np.random.default_rng(inputs + height)
    lanes = native.target.lanes(4)
    out = Image(outputs, height, width, lanes, batch=batch, scalar=I32)
    source = Image(inputs, height, width, lanes, (1, 1, 1, 1), batch, held)
    for small in (False, True):
        limit = min(127, (1 << 25) // (255 * 9 * inputs)) if small else 127
        problem = Conv(source, out, Window((3, 3), pads=(1, 1)), small=small)
        x = (
            rng.choice([0, 255], (batch, inputs, height, width))
            if small
            else rng.integers(0, 256, (batch, inputs, height, width))
        )
        w = rng.integers(-limit - 1, limit + 1, (outputs, inputs, 3, 3)).astype(np.int8)
        w[0] = limit
        x[0, :, :4] = 255
        expected = correlate(x, w)
        for tile in winograd.tiles(problem):
            product = gemm.default(winograd._product(problem, -(-width // tile)), native.target)
            schedule = winograd.Schedule(tile, 1, product)
            y = guard(np.zeros(out.size, np.int32))
            packed = guard(winograd.pack(w, problem, native.target, schedule))
            scratch = guard(np.zeros(-(-winograd.scratch_bytes(problem, schedule) // 64) * 64, np.uint8))
            a = guard(arrange(x, source).astype(np.uint8 if held == I8 else np.int16))
            native(winograd.winograd("k", native.target, problem, schedule, internal=False), a, packed, y, scratch)
            np.testing.assert_array_equal(restore(y, out), expected)


def test_sums_that_could_wrap_are_left_to_others():
    """F(2,3) gives four times a sum of bytes, in 32 bits."""
    at_most = (1 << 29) // (9 * 255 * 128)
    for channels, small, expected in ((at_most, False, True), (at_most + 1, False, False), (at_most + 1, True, True)):
        image = Image(channels, 8, 8, 8, (1, 1, 1, 1), scalar=I16)
        assert winograd.applies(Conv(image, image, Window((3, 3), pads=(1, 1)), small=small)) == expected


def test_the_default_is_a_candidate(native):
    lanes = native.target.lanes(4)
    for channels, pixels in ((64, 56), (512, 7)):
        image = Image(channels, pixels, pixels, lanes, (1, 1, 1, 1))
        problem = Conv(image, image, Window((3, 3), pads=(1, 1)))
        every = winograd.candidates(problem, native.target)
        assert every[0] == winograd.default(problem, native.target)
        assert 8 <= len(every) <= 30
