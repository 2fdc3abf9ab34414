"""Images read at places that other tensors compute."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial, reduce
from math import prod
from operator import add

import numpy as np
from heddle.core.codegen.affine import Affine, Opaque, axis
from heddle.core.codegen.lower.indexing import guard, wrapped
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import fold, indirect, load, position, total
from heddle.core.ir.types import DType
from heddle.core.ops.scalar import (
    Expr,
    absolute,
    cast,
    const,
    floor,
    is_floating,
    lowest,
    maximum,
    minimum,
    remainder,
    round_even,
    where,
)

I64, F32, F64 = np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.float64)
_REACH = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}
_MOST_KEPT = 16
"""Corners of more are computed for each channel anew, rather than kept in so many arrays."""

Corners = Callable[..., list[tuple[Affine, Expr]]]
"""Of a place of the output, without its channel: the elements that it sees and their weights."""


@lowers("GridSample")
def grid_sample(op: Lowering) -> None:
    """The weighted neighbours of each place, written out; what they are is found once for all channels."""
    x, output = op[0], op.output
    size = prod(x.shape[2:])
    wide = F32 if is_floating(x.dtype) and x.dtype.itemsize <= F32.itemsize else F64
    corners: Corners = partial(_corners, op, wide, size)
    if x.shape[1] > 1 and len(_REACH[op.attrs["mode"]]) ** len(x.shape[2:]) <= _MOST_KEPT:
        corners = _kept(op, corners, wide, size, (output.shape[0], *output.shape[2:]))
    flat = op.view(op.fresh("flat", x.dtype, (*x.shape[:2], size)), x)

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        terms = [cast(load(flat, n, c, at), wide) * weight for at, weight in corners(n, *out)]
        return cast(reduce(add, terms), output.dtype)

    op.compute(output, body)


def _kept(op: Lowering, corners: Corners, wide: DType, size: int, shape: tuple[int, ...]) -> Corners:
    """The same corners, computed for every place of the output and then read."""
    number = len(corners(*(Affine() for _ in shape)))
    values = [(op.fresh("at", I64, shape), op.fresh("weight", wide, shape)) for _ in range(number)]
    for i, (at, weight) in enumerate(values):
        op.compute(at, lambda *out, i=i: position(corners(*out)[i][0]))
        op.compute(weight, lambda *out, i=i: corners(*out)[i][1])

    def read(*out: Affine) -> list[tuple[Affine, Expr]]:
        return [(Affine(((Opaque(load(at, *out), 0, size - 1), 1),)), load(weight, *out)) for at, weight in values]

    return read


def _corners(op: Lowering, wide: DType, size: int, n: Affine, *out: Affine) -> list[tuple[Affine, Expr]]:
    """The elements that a place sees, by their position in a channel, each with its weight."""
    mode, padding, corners = op.attrs["mode"], op.attrs["padding_mode"], bool(op.attrs["align_corners"])
    spatial = op[0].shape[2:]
    taps = []
    for i, length in enumerate(spatial):
        at = cast(load(op[1], n, *out, len(spatial) - 1 - i), F64)
        at = (at + 1) / 2 * (length - 1) if corners else ((at + 1) * length - 1) / 2
        at = round_even(at) if mode == "nearest" else at
        taps.append(_taps(_inside(at, length, padding, corners), length, mode, padding, corners))
    found = []
    for corner in itertools.product(*taps):
        at, weight = corner[0]
        for length, (index, factor) in zip(spatial[1:], corner[1:], strict=True):
            at, weight = at * length + index, weight * factor
        found.append((indirect(at, size), cast(weight, wide)))
    return found


def _taps(at: Expr, size: int, mode: str, padding: str, corners: bool) -> list[tuple[Expr, Expr]]:
    """The elements along one axis that a place sees, each with its weight."""
    base = floor(at)
    found: list[tuple[Expr, Expr]] = []
    for step in _REACH[mode]:
        index, weight = base + step, const(1, F64)
        if mode != "nearest":
            weight = _linear(at - index) if mode == "linear" else _cubic(at - index)
        if padding == "zeros":
            weight = where((index >= 0) & (index < size), weight, 0)
        else:
            index = _inside(index, size, padding, corners)
        found.append((maximum(minimum(index, size - 1), 0), weight))
    return found


def _linear(distance: Expr) -> Expr:
    return maximum(1 - absolute(distance), 0)


def _cubic(distance: Expr, a: float = -0.75) -> Expr:
    """The weight of Keys' cubic kernel."""
    d = absolute(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return where(d <= 1, near, where(d < 2, far, 0))


def _inside(at: Expr, size: int, padding: str, corners: bool) -> Expr:
    """A place brought back into the image, as the padding says."""
    if padding == "border":
        return maximum(minimum(at, size - 1), 0)
    return _reflected(at, size, corners) if padding == "reflection" else at


def _reflected(at: Expr, size: int, corners: bool) -> Expr:
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return const(0, at.dtype)
    beyond = where(at < low, low - at, at - high)
    turns = floor(beyond / span)
    rest = beyond - turns * span
    even = remainder(turns, 2).equals(0)
    below, above = where(even, low + rest, high - rest), where(even, high - rest, low + rest)
    return where(at < low, below, where(at > high, above, at))


@lowers("AffineGrid")
def affine_grid(op: Lowering) -> None:
    """Places from -1 to 1 along each axis, the last axis first, moved by a matrix."""
    spatial = op.output.shape[1:-1]
    lines = []
    for n in spatial:
        steps = np.arange(n, dtype=np.float64)
        lines.append(steps * 2 / max(n - 1, 1) - 1 if op.attrs["align_corners"] else (2 * steps + 1) / n - 1)
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(spatial)], axis=-1)
    table = op.table("places", places)

    def body(n: Affine, *rest: Affine) -> Expr:
        k = axis(len(spatial) + 1, "k")
        product = load(table, *rest[:-1], k) * cast(load(op[0], n, rest[-1], k), F64)
        return cast(total([k], product), op.output.dtype)

    op.compute(op.output, body)


@lowers("RoiAlign")
def roi_align(op: Lowering) -> None:
    """Each cell of a region is the mean, or the greatest, of points that are read between pixels."""
    x, rois, images, points = op[0], op[1], op[2], op.attrs["sampling_ratio"]
    if points <= 0:
        raise op.refuse("sampling_ratio is 0: how many points a cell has depends on its region; give it")
    greatest = op.attrs["mode"] == "max"
    guard(op, images, lambda i: wrapped(load(images, i), x.shape[0]), x.shape[0])

    def taps(r: Affine, cell: Affine, point: Affine, across: int) -> list[tuple[Affine, Expr]]:
        """The two pixels beside a point along an axis, each with its weight; nothing beyond the image."""
        size, count = x.shape[3 if across else 2], op.output.shape[3 if across else 2]
        begin, end = (cast(load(rois, r, side), F64) * op.attrs["spatial_scale"] for side in (1 - across, 3 - across))
        length = end - begin
        if op.attrs["coordinate_transformation_mode"] == "half_pixel":
            begin = begin - 0.5
        else:
            length = maximum(length, const(1.0, F64))
        each = length / float(count)
        at = begin + position(cell, F64) * each + (position(point, F64) + 0.5) * each / float(points)
        inside = (at >= -1.0) & (at <= float(size))
        held = maximum(minimum(at, float(size - 1)), 0.0)
        low = floor(held)
        part = held - low
        pixels = (low, minimum(low + 1.0, float(size - 1)))
        return [
            (indirect(pixel, size), where(inside, w, 0.0)) for pixel, w in zip(pixels, (1 - part, part), strict=True)
        ]

    def body(r: Affine, c: Affine, i: Affine, j: Affine) -> Expr:
        down, across = axis(points, "down"), axis(points, "across")
        image = indirect(wrapped(load(images, r), x.shape[0]), x.shape[0])
        terms = [
            cast(load(x, image, c, row, column), F64) * (one * other)
            for (row, one), (column, other) in itertools.product(taps(r, i, down, 0), taps(r, j, across, 1))
        ]
        if greatest:
            best = reduce(maximum, terms)
            return cast(fold([down, across], const(lowest(F64), F64), best, maximum), op.output.dtype)
        return cast(total([down, across], reduce(add, terms)) / float(points * points), op.output.dtype)

    op.compute(op.output, body)
