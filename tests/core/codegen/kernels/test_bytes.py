"""Convolutions of bytes against integers in numpy, with a requantizing tail."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen import target as targets
from heddle.core.codegen.kernels import conv
from heddle.core.codegen.kernels.arithmetic import integers
from heddle.core.codegen.kernels.image import Image, Window, arrange, per_channel, restore
from heddle.core.codegen.kernels.layout import repack
from heddle.core.codegen.kernels.pool import Pool, pool
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.values import F32, I8, I16, I32, constant

DTYPES = {I8: np.uint8, I16: np.int16}

CASES = [
    (32, 40, 9, 7, Window((3, 3), (1, 1), pads=(1, 1)), 1),
    (16, 16, 8, 8, Window((1, 1)), 1),
    (3, 20, 12, 10, Window((7, 7), (2, 2), pads=(3, 3)), 1),
    (24, 33, 6, 5, Window((3, 3), (2, 2), (1, 1), (1, 1)), 1),
    (32, 32, 5, 5, Window((3, 3), (1, 1), (2, 2), (2, 2)), 4),
]


def requantize(f, total, operands):
    scale, shift = operands
    x = f.add(f.mul(f.convert("sitofp", total, F32), scale), shift)
    x = f.intrinsic("minnum", f.intrinsic("maxnum", f.intrinsic("roundeven", x), constant(0.0, x.type)),
                    constant(255.0, x.type))  # fmt: skip
    return f.convert("trunc", f.convert("fptosi", x, I32), I8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_exact_sums(native, guard, case):
    inputs, outputs, height, width, window, groups = case
    lanes = native.target.lanes(4)
    block = 4 if inputs < 4 else lanes
    ends = [
        (n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(
            (height, width), window.pads, window.kernel, window.dilation, window.stride, strict=True
        )
    ]
    held = integers(native.target).a
    out = Image(outputs, *ends, lanes, (1, 0, 0, 1), scalar=I8)
    source = Image(inputs, height, width, block, scalar=held)
    source = Image(inputs, height, width, block, window.reach(source, out), scalar=held)
    problem = conv.Conv(source, out, window, groups)
    rng = np.random.default_rng(inputs)
    x = rng.integers(0, 256, (1, inputs, height, width)).astype(np.uint8)
    w = rng.integers(-128, 128, (outputs, inputs // groups, *window.kernel)).astype(np.int8)
    scale, shift = rng.uniform(0.001, 0.004, outputs).astype(np.float32), rng.uniform(0, 99, outputs).astype(np.float32)
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), *[(p, p + 8) for p in window.pads]))
    total = np.zeros((1, outputs, *ends), np.int64)
    each, filters = inputs // groups, outputs // groups
    for o in range(outputs):
        part = padded[0, o // filters * each : (o // filters + 1) * each]
        for ky in range(window.kernel[0]):
            for kx in range(window.kernel[1]):
                ys = slice(ky * window.dilation[0], None, window.stride[0])
                xs = slice(kx * window.dilation[1], None, window.stride[1])
                total[0, o] += np.tensordot(w[o, :, ky, kx].astype(np.int64), part[:, ys, xs], 1)[: ends[0], : ends[1]]
    real = total.astype(np.float32) * scale[:, None, None] + shift[:, None, None]
    expected = np.clip(np.rint(real), 0, 255).astype(np.uint8)
    fill = lambda v: np.resize(v, out.blocks * lanes)  # noqa: E731
    every = conv.candidates(problem, native.target)
    for schedule in (every[0], every[-1]):
        y = guard(arrange(np.zeros_like(expected), out))
        tail = Tail(requantize, (per_channel(lanes), per_channel(lanes)))
        functions = conv.conv("k", native.target, problem, schedule, tail, internal=False)
        packed = guard(conv.pack(w, problem, native.target, schedule))
        a = guard(arrange(x, source).astype(DTYPES[held]))
        native(functions, a, packed, y, guard(fill(scale)), guard(fill(shift)), None)
        difference = restore(y, out).astype(int) - expected
        assert np.abs(difference).max() <= 1, "a product and a sum may be fused"
        assert (difference != 0).mean() < 0.01


def test_the_sums_themselves_do_not_saturate(native, guard):
    lanes = native.target.lanes(4)
    held = integers(native.target).a
    source, out = Image(64, 1, 4, lanes, scalar=held), Image(lanes, 1, 4, lanes, scalar=I32)
    problem = conv.Conv(source, out, Window((1, 1)))
    x = np.full((1, 64, 1, 4), 255, np.uint8)
    for extreme in (127, -128):
        w = np.full((lanes, 64, 1, 1), extreme, np.int8)
        schedule = conv.default(problem, native.target)
        y = guard(np.zeros(out.size, np.int32))
        functions = conv.conv("k", native.target, problem, schedule, internal=False)
        packed = guard(conv.pack(w, problem, native.target, schedule))
        native(functions, guard(arrange(x, source).astype(DTYPES[held])), packed, y, None)
        assert (y == 64 * 255 * extreme).all()


def test_words_hold_bytes(native, guard):
    """Signed bytes become words on the way into blocks, the halo gets a word, and the greatest is a signed one."""
    lanes = native.target.lanes(4)
    x = np.random.default_rng(1).integers(-128, 128, (1, lanes + 3, 5, 7)).astype(np.int8)
    plain = Image(lanes + 3, 5, 7, 1, scalar=I8)
    blocked = Image(lanes + 3, 5, 7, lanes, (1, 2, 1, 0), scalar=I16)
    words = guard(np.zeros(blocked.size, np.int16))
    widen = lambda f, value: f.convert("sext", value, I16)  # noqa: E731
    native(repack("k", native.target, plain, blocked, fill=-77, change=widen, internal=False), guard(x), words)
    real = arrange(np.ones_like(x), blocked, fill=1).ravel() == 1
    expected = arrange(x.astype(np.int16), blocked, fill=-77).ravel()
    np.testing.assert_array_equal(words[real], expected[real])
    out = Image(lanes + 3, 2, 3, lanes, scalar=I16)
    y = guard(np.zeros(out.size, np.int16))
    native(pool("k", native.target, Pool(blocked, out, Window((2, 2), (2, 2)), "max"), internal=False), words, y)
    np.testing.assert_array_equal(restore(y, out), x[:, :, :4, :6].reshape(1, -1, 2, 2, 3, 2).max((3, 5)))
    back = guard(np.zeros_like(x))
    narrow = lambda f, value: f.convert("trunc", value, I8)  # noqa: E731
    native(repack("k", native.target, blocked, plain, change=narrow, internal=False), words, back)
    np.testing.assert_array_equal(back, x)


def test_greatest_byte_and_layouts(native, guard):
    lanes = native.target.lanes(4)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (1, lanes + 2, 6, 9)).astype(np.uint8)
    plain = Image(lanes + 2, 6, 9, 1, scalar=I8)
    blocked = Image(lanes + 2, 6, 9, lanes, (1, 1, 1, 1), scalar=I8)
    packed = guard(np.zeros(blocked.size, np.uint8))
    native(repack("k", native.target, plain, blocked, fill=7, internal=False), guard(x), packed)
    real = arrange(np.ones_like(x), blocked, fill=1).ravel() == 1
    np.testing.assert_array_equal(packed[real], arrange(x, blocked, fill=7).ravel()[real])
    out = Image(lanes + 2, 3, 4, lanes, scalar=I8)
    y = guard(np.zeros(out.size, np.uint8))
    problem = Pool(blocked, out, Window((2, 2), (2, 2)), "max")
    native(pool("k", native.target, problem, internal=False), packed, y)
    expected = x[:, :, :6, :8].reshape(1, lanes + 2, 3, 2, 4, 2).max((3, 5))
    np.testing.assert_array_equal(restore(y, out), expected)
    if lanes > 4:
        three, beside = Image(3, 6, 9, 1, scalar=I8), Image(3, 6, 9, 4, (2, 1, 0, 3), scalar=I8)
        woven = guard(np.zeros(beside.size, np.uint8))
        native(repack("k", native.target, three, beside, fill=9, internal=False), guard(x[:, :3].copy()), woven)
        np.testing.assert_array_equal(restore(woven, beside), x[:, :3])


def test_other_machines_get_code(assemble):
    image = Image(32, 8, 8, 4, (1, 1, 1, 1), scalar=I16)
    problem = conv.Conv(image, Image(32, 8, 8, 4, scalar=I32), Window((3, 3), pads=(1, 1)))
    target = targets.aarch64()
    functions = conv.conv("k", target, problem, conv.default(problem, target), internal=False)
    assert "smlal" in assemble(functions, target)
