"""Images read at places that other tensors compute."""

from __future__ import annotations

import itertools
from functools import reduce
from operator import add

import numpy as np
from heddle.core.codegen.affine import Affine, axis
from heddle.core.codegen.lower.indexing import guard, wrapped
from heddle.core.codegen.lower.rules import Lowering, lowers
from heddle.core.codegen.tensor import fold, indirect, load, position, total
from heddle.core.ops.scalar import (
    Expr,
    absolute,
    cast,
    const,
    floor,
    lowest,
    maximum,
    minimum,
    remainder,
    round_even,
    where,
)

F64 = np.dtype(np.float64)
_REACH = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}


@lowers("GridSample")
def grid_sample(op: Lowering) -> None:
    """The weighted neighbours of each place, written out."""
    x, grid, mode = op[0], op[1], op.attrs["mode"]
    padding, corners = op.attrs["padding_mode"], bool(op.attrs["align_corners"])
    spatial = x.shape[2:]

    def body(n: Affine, c: Affine, *out: Affine) -> Expr:
        taps = []
        for i, size in enumerate(spatial):
            at = cast(load(grid, n, *out, len(spatial) - 1 - i), F64)
            at = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
            at = round_even(at) if mode == "nearest" else at
            taps.append(_taps(_inside(at, size, padding, corners), size, mode, padding, corners))
        result: Expr | None = None
        for corner in itertools.product(*taps):
            term = cast(load(x, n, c, *(index for index, _ in corner)), F64)
            for _, weight in corner:
                term = term if weight is None else term * weight
            result = term if result is None else result + term
        assert result is not None
        return cast(result, op.output.dtype)

    op.compute(op.output, body)


def _taps(at: Expr, size: int, mode: str, padding: str, corners: bool) -> list[tuple[Affine, Expr | None]]:
    """The elements along one axis that a place sees, each with its weight (None: one)."""
    base = floor(at)
    found: list[tuple[Affine, Expr | None]] = []
    for step in _REACH[mode]:
        index = base + step
        weight = None if mode == "nearest" else _linear(at - index) if mode == "linear" else _cubic(at - index)
        if padding == "zeros":
            inside = (index >= 0) & (index < size)
            weight = where(inside, const(1, F64) if weight is None else weight, 0)
        else:
            index = _inside(index, size, padding, corners)
        found.append((indirect(maximum(minimum(index, size - 1), 0), size), weight))
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
