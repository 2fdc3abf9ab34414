"""Depthwise convolutions of integers: exact sums for any window, every vector width that runs here, and others."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import depthwise
from heddle.core.codegen.kernels.arithmetic import integers
from heddle.core.codegen.kernels.image import Image, Window, arrange, restore
from heddle.core.codegen.values import I16, I32
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.codegen.kernels.conftest import RUNNABLE, Native

pairs = lambda low, high: st.tuples(*[st.integers(low, high)] * 2)  # noqa: E731


@st.composite
def problems(draw, lanes: int, scalar):
    window = Window(draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 2)), draw(pairs(0, 2)))
    channels, batch = draw(st.integers(2, 2 * lanes + 1)), draw(st.integers(1, 2))
    out = Image(channels, *draw(pairs(1, 9)), lanes, draw(st.sampled_from([(0, 0, 0, 0), (1, 0, 2, 1)])), batch, I32)
    # The image may end before or behind what the last window reaches: padding after it is its own.
    ends = [
        max(1, (n - 1) * s + (k - 1) * d + 1 - p - draw(st.integers(-2, 2)))
        for n, s, k, d, p in zip(
            (out.height, out.width), window.stride, window.kernel, window.dilation, window.pads, strict=True
        )
    ]
    bare = Image(channels, *ends, lanes, batch=batch, scalar=scalar)
    return depthwise.Depthwise(Image(channels, *ends, lanes, window.reach(bare, out), batch, scalar), out, window)


def sums(padded, w, problem):
    """The definition, in 64 bits; `padded` is the image with its halo."""
    out, window, source = problem.out, problem.window, problem.source
    top, left = source.halo[0] - window.pads[0], source.halo[1] - window.pads[1]
    total = np.zeros((out.batch, out.channels, out.height, out.width), np.int64)
    for y, x in np.ndindex(out.height, out.width):
        for ky, kx in np.ndindex(window.kernel):
            row = top + y * window.stride[0] + ky * window.dilation[0]
            column = left + x * window.stride[1] + kx * window.dilation[1]
            total[:, :, y, x] += padded[:, :, row, column] * w[:, 0, ky, kx].astype(np.int64)
    return total


@pytest.fixture(params=RUNNABLE, scope="module")
def machine_code(request):
    return Native(request.param)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_exact_sums(machine_code, guard, data):
    """Of bytes as the machine holds them; weights and the halo take extremes as well."""
    target = machine_code.target
    held = integers(target).a
    problem = data.draw(problems(target.lanes(4), held))
    source, out = problem.source, problem.out
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    signed = held == I16 and data.draw(st.booleans())
    low, high = (-128, 128) if signed else (0, 256)
    shape = (out.batch, out.channels, source.height, source.width)
    x = rng.choice([rng.integers(low, high, shape), np.full(shape, low), np.full(shape, high - 1)])
    w = rng.choice([-128, -127, -1, 0, 1, 127], (out.channels, 1, *problem.window.kernel)).astype(np.int8)
    fill = int(rng.integers(low, high))
    kind = np.int16 if held == I16 else np.uint8
    top, left, bottom, right = source.halo
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    first, *others = depthwise.candidates(problem, target)
    schedule = data.draw(st.sampled_from([first, *others[-1:]]))
    functions = depthwise.depthwise("k", target, problem, schedule, internal=False)
    y = guard(arrange(np.full((out.batch, out.channels, out.height, out.width), 9, np.int32), out, fill=9))
    packed = guard(depthwise.pack(w, problem, target, schedule))
    machine_code(functions, guard(arrange(x, source, fill=fill).astype(kind)), packed, y, None)
    np.testing.assert_array_equal(restore(y, out), sums(padded, w, problem))


def test_other_machines_get_code(assemble):
    """Words are multiplied in pairs where the processor does so, and widened by the multiplication on Arm."""
    window = Window((3, 3), pads=(1, 1))
    for target, word in (
        (targets.aarch64(), "smlal"),
        (targets.avx512(vnni=False), "vpmaddwd"),
        (targets.avx512(), "vpmaddwd"),
    ):
        lanes = target.lanes(4)
        image = Image(32, 8, 8, lanes, (1, 1, 1, 1), scalar=integers(target).a)
        problem = depthwise.Depthwise(image, Image(32, 8, 8, lanes, scalar=I32), window)
        schedule = depthwise.default(problem, target)
        assert word in assemble(depthwise.depthwise("k", target, problem, schedule, internal=False), target)
