"""Pooling and layout changes against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from heddle.core.codegen.kernels.image import Image, Window, arrange, restore
from heddle.core.codegen.kernels.layout import repack
from heddle.core.codegen.kernels.pool import Pool, pool, whole_pool
from heddle.core.codegen.kernels.tail import Place, Tail
from heddle.core.codegen.values import constant

WINDOWS = [
    (Window((3, 3), (2, 2), pads=(1, 1)), 11, 14, (6, 7)),
    (Window((2, 2), (2, 2)), 9, 6, (5, 3)),
    (Window((3, 2), (1, 2), (2, 1), (2, 0)), 7, 9, (7, 4)),
    (Window((1, 5), (1, 1), pads=(0, 2)), 3, 20, (3, 20)),
]


def pooled(x, window, size, kind, padded):
    out = np.zeros((*x.shape[:2], *size))
    for y in range(size[0]):
        for z in range(size[1]):
            spans = [
                [i * s - p + k * d for k in range(n)]
                for i, s, p, d, n in zip(
                    (y, z), window.stride, window.pads, window.dilation, window.kernel, strict=True
                )
            ]
            within = [[p for p in span if 0 <= p < n] for span, n in zip(spans, x.shape[2:], strict=True)]
            seen = x[:, :, within[0]][:, :, :, within[1]]
            count = len(within[0]) * len(within[1])
            if padded:
                ends = (x.shape[2] + padded[0], x.shape[3] + padded[1])
                count = int(np.prod([sum(p < end for p in span) for span, end in zip(spans, ends, strict=True)]))
            out[:, :, y, z] = seen.max((2, 3)) if kind == "max" else seen.sum((2, 3)) / count
    return out


@pytest.mark.parametrize(("kind", "include"), [("max", False), ("average", False), ("average", True)])
@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_pool(native, guard, case, kind, include):
    window, height, width, size = case
    lanes = native.target.lanes(4)
    padded = (1, 1) if include else None
    source = Image(lanes + 3, height, width, lanes, (1, 1, 1, 2), 2)
    out = Image(lanes + 3, *size, lanes, (0, 1, 1, 0), 2)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, source.channels, height, width)).astype(np.float32)
    tail = Tail(lambda f, a, o: f.mul(a, constant(2.0, a.type)))
    y = guard(arrange(np.zeros((2, out.channels, *size), np.float32), out))
    problem = Pool(source, out, window, kind, padded)
    native(pool("k", native.target, problem, tail, internal=False), guard(arrange(x, source, fill=99)), y)
    expected = 2 * pooled(x, window, size, kind, padded)
    np.testing.assert_allclose(restore(y, out), expected, rtol=1e-5, atol=1e-6)


def test_the_maximum_of_a_window_with_nan_is_nan(native, guard):
    lanes = native.target.lanes(4)
    image = Image(lanes, 4, 4, lanes)
    x = np.zeros((1, lanes, 4, 4), np.float32)
    x[0, 1, 2, 2] = np.nan
    y = guard(np.zeros(lanes * 4, np.float32))
    problem = Pool(image, Image(lanes, 2, 2, lanes), Window((2, 2), (2, 2)), "max")
    native(pool("k", native.target, problem, internal=False), guard(arrange(x, image)), y)
    expected = np.zeros((1, lanes, 2, 2), np.float32)
    expected[0, 1, 1, 1] = np.nan
    np.testing.assert_array_equal(restore(y, Image(lanes, 2, 2, lanes)), expected)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("size", [(7, 7), (1, 3), (5, 13)])
def test_whole_pool(native, guard, kind, size):
    lanes = native.target.lanes(4)
    image = Image(2 * lanes + 5, *size, lanes, (1, 0, 0, 1), 2)
    x = np.random.default_rng(2).standard_normal((2, image.channels, *size)).astype(np.float32)
    y = guard(np.zeros((2, image.channels), np.float32))
    place = Place((image.channels, lanes))
    native(whole_pool("k", native.target, image, place, kind, internal=False), guard(arrange(x, image, fill=9)), y)
    np.testing.assert_allclose(y, x.max((2, 3)) if kind == "max" else x.mean((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("halo", [(0, 0, 0, 0), (1, 2, 1, 0), (0, 1, 2, 1)])
@pytest.mark.parametrize("channels", [3, 4, 16, 37])
def test_repack(native, guard, channels, halo):
    lanes = native.target.lanes(4)
    plain = Image(channels, 6, 19, 1, batch=2)
    blocked = Image(channels, 6, 19, lanes, halo, 2)
    x = np.random.default_rng(3).standard_normal((2, channels, 6, 19)).astype(np.float32)
    packed = guard(np.full(blocked.size, 9, np.float32))
    native(repack("k", native.target, plain, blocked, internal=False), guard(x), packed)
    np.testing.assert_array_equal(packed, arrange(x, blocked).ravel())
    back = guard(np.zeros_like(x))
    native(repack("k", native.target, blocked, plain, internal=False), packed, back)
    np.testing.assert_array_equal(back, x)
    moved = Image(channels, 6, 19, lanes, (2, 1, 0, 3), 2)
    again = guard(np.full(moved.size, 9, np.float32))
    native(repack("k", native.target, blocked, moved, internal=False), packed, again)
    np.testing.assert_array_equal(again, arrange(x, moved).ravel())
    if channels <= 4:
        beside = Image(channels, 6, 19, channels, halo, 2)
        woven = guard(np.full(beside.size, 9, np.float32))
        native(repack("k", native.target, plain, beside, internal=False), guard(x), woven)
        np.testing.assert_array_equal(woven, arrange(x, beside).ravel())
