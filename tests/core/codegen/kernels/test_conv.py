"""Convolutions against numpy: windows, groups, layouts and halos, on every vector width that runs here."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv, depthwise
from heddle.core.codegen.kernels.image import Image, Window, arrange, per_channel, restore
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.values import constant


def reference(x, w, window: Window, height: int, width: int, groups: int):
    """The sum of products in double precision, with as much padding after the image as the output asks for."""
    (down, across), (sy, sx), (dy, dx), (top, left) = window.kernel, window.stride, window.dilation, window.pads
    reach_y, reach_x = (height - 1) * sy + (down - 1) * dy + 1, (width - 1) * sx + (across - 1) * dx + 1
    padded = np.zeros((*x.shape[:2], max(reach_y, top + x.shape[2]), max(reach_x, left + x.shape[3])))
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    out = np.zeros((x.shape[0], w.shape[0], height, width))
    inputs, outputs = w.shape[1], w.shape[0] // groups
    for g in range(groups):
        part, rows = padded[:, g * inputs : (g + 1) * inputs], slice(g * outputs, (g + 1) * outputs)
        for ky in range(down):
            for kx in range(across):
                ys, xs = slice(ky * dy, ky * dy + height * sy, sy), slice(kx * dx, kx * dx + width * sx, sx)
                seen = part[:, :, ys, xs][:, :, :height, :width]
                out[:, rows] += np.einsum("nihw,oi->nohw", seen, w[rows, :, ky, kx])
    return out


def tail_of(block: int, residual: Image) -> Tail:
    def emit(f, accumulator, operands):
        total = f.add(f.add(accumulator, operands[0]), operands[1])
        return f.intrinsic("maximum", total, constant(0.0, total.type))

    return Tail(emit, (per_channel(block), residual.place()), "bias residual relu")


CASES = [
    # channels in, out, height, width, window, groups, batch
    (3, 20, 11, 13, Window((7, 7), (2, 2), pads=(3, 3)), 1, 1),
    (32, 48, 7, 7, Window((3, 3), pads=(1, 1)), 1, 1),
    (20, 33, 9, 6, Window((3, 3), (2, 2), pads=(1, 1)), 1, 2),
    (48, 64, 10, 5, Window((1, 1)), 1, 1),
    (40, 24, 8, 8, Window((1, 1), (2, 2)), 1, 1),
    (16, 16, 12, 9, Window((3, 2), (1, 2), (2, 3), (2, 1)), 1, 1),
    (24, 24, 6, 6, Window((3, 3), pads=(1, 1)), 3, 1),
    (64, 32, 5, 7, Window((3, 3), pads=(1, 1)), 2, 1),
    (64, 64, 5, 5, Window((3, 3), pads=(1, 1)), 16, 1),
    (5, 7, 4, 4, Window((1, 1)), 1, 3),
    (48, 16, 1, 40, Window((1, 5), pads=(0, 2)), 1, 1),
]


DEPTHWISE = [
    Window((3, 3), pads=(1, 1)),
    Window((3, 3), (2, 2), pads=(1, 1)),
    Window((5, 5), pads=(2, 2)),
    Window((3, 3), (1, 1), (2, 2), (2, 2)),
]


def build(case, lanes: int, out_halo, source_block: int | None = None):
    inputs, outputs, height, width, window, groups, batch = case
    end_y = (height + 2 * window.pads[0] - (window.kernel[0] - 1) * window.dilation[0] - 1) // window.stride[0] + 1
    end_x = (width + 2 * window.pads[1] - (window.kernel[1] - 1) * window.dilation[1] - 1) // window.stride[1] + 1
    out = Image(outputs, end_y, end_x, lanes, out_halo, batch)
    bare = Image(inputs, height, width, source_block or lanes, batch=batch)
    source = Image(inputs, height, width, source_block or lanes, window.reach(bare, out), batch)
    return conv.Conv(source, out, window, groups)


def check(native, guard, problem, schedules, rng, kernel=None):
    source, out, window = problem.source, problem.out, problem.window
    kernel = kernel or conv
    groups = getattr(problem, "groups", source.channels)
    x = rng.standard_normal((source.batch, source.channels, source.height, source.width)).astype(np.float32)
    w = rng.standard_normal((out.channels, source.channels // groups, *window.kernel)).astype(np.float32)
    bias = rng.standard_normal(out.channels).astype(np.float32)
    residual = Image(out.channels, out.height, out.width, out.block, (0, 1, 1, 0), out.batch)
    extra = rng.standard_normal((out.batch, out.channels, out.height, out.width)).astype(np.float32)
    expected = np.maximum(reference(x, w, window, out.height, out.width, groups) + bias[:, None, None] + extra, 0)
    filled = np.resize(bias, out.blocks * out.block)
    filled[out.channels :] = 5
    for schedule in schedules:
        if kernel is conv:
            functions = conv.conv("k", native.target, problem, schedule, tail_of(out.block, residual), internal=False)
            packed = conv.pack(w, problem, native.target, schedule)
        else:
            functions = depthwise.depthwise(
                "k", native.target, problem, schedule, tail_of(out.block, residual), internal=False
            )
            packed = depthwise.pack(w, problem, native.target, schedule)
        y = guard(arrange(np.full(expected.shape, 9, np.float32), out, fill=9))
        arrays = [guard(a) for a in (arrange(x, source), packed)]
        native(functions, *arrays, y, guard(filled), guard(arrange(extra, residual)), None)
        np.testing.assert_allclose(restore(y, out), expected, rtol=1e-4, atol=1e-4)
        after = y.copy().reshape(out.batch, out.blocks, -1, out.row // out.block, out.block)
        top, left = out.halo[0], out.halo[1]
        inside = after[:, :, top : top + out.height, left : left + out.width]
        assert (inside[:, -1, ..., (out.channels - 1) % out.block + 1 :] == 0).all(), "filled-up channels are zero"
        inside[...] = 9
        last = after[:, -1, ..., (out.channels - 1) % out.block + 1 :]
        last[last == 0] = 9
        assert (after == 9).all(), "the halo is left alone"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocked_source(native, guard, case):
    rng = np.random.default_rng(7)
    problem = build(case, native.target.lanes(4), (1, 2, 0, 1) if case[2] % 2 else (0, 0, 0, 0))
    every = conv.candidates(problem, native.target)
    check(native, guard, problem, [every[0], every[len(every) // 2]], rng)


@pytest.mark.parametrize("block", [1, 3], ids=["NCHW", "NHWC"])
def test_plain_source(native, guard, block):
    problem = build(CASES[0], native.target.lanes(4), (1, 1, 1, 1), block)
    check(native, guard, problem, [conv.default(problem, native.target)], np.random.default_rng(3))


def test_cut_input_channels_and_bands(native, guard):
    problem = build((80, 40, 9, 9, Window((3, 3), pads=(1, 1)), 1, 1), native.target.lanes(4), (1, 1, 1, 1))
    schedules = [conv.Schedule(2, 4, 2, 3, split=2, band=4), conv.Schedule(1, 6, 1, 4, split=1, band=1, prefetch=4)]
    check(native, guard, problem, schedules, np.random.default_rng(4))


@pytest.mark.parametrize("window", DEPTHWISE, ids=str)
@pytest.mark.parametrize("channels", [32, 37])
def test_depthwise(native, guard, window, channels):
    built = build((channels, channels, 9, 11, window, channels, 1), native.target.lanes(4), (1, 1, 1, 1))
    problem = depthwise.Depthwise(built.source, built.out, window)
    every = depthwise.candidates(problem, native.target)
    check(native, guard, problem, [every[0], every[-1]], np.random.default_rng(5), depthwise)


def test_layout_is_restored():
    image = Image(21, 4, 5, 8, (1, 2, 3, 0), 2)
    x = np.random.default_rng(0).standard_normal((2, 21, 4, 5))
    np.testing.assert_array_equal(restore(arrange(x, image), image), x)
    assert arrange(x, image).size == image.size


def test_other_machines_get_code(assemble):
    problem = build(CASES[2], 4, (0, 0, 0, 0))
    functions = conv.conv("k", targets.aarch64(), problem, conv.default(problem, targets.aarch64()), internal=False)
    assert "fmla" in assemble(functions, targets.aarch64())
