"""A thread for each element, or for a few that lie side by side: whatever is computed without others' help."""

from __future__ import annotations

from math import prod

from heddle.backends.cudnn.kernels.grid import MOST_THREADS, Grid, below, rounded, when
from heddle.core.codegen.affine import Affine, Axis, axis, of_axis, only_axis, unflatten
from heddle.core.codegen.loops import Buffer, Fail, For, Stmt
from heddle.core.codegen.narrow import storage_type
from heddle.core.codegen.nest import Flat, Namer, by_store, merge_axes, outer_folds, plain, replaced
from heddle.core.codegen.tensor import rewrite
from heddle.core.ops.scalar import Expr

WIDE_BYTES = 16
"""What one thread moves at once where elements lie side by side."""
ENOUGH_THREADS = 1 << 16
"""With fewer threads than these, an element for each is worth more than wide moves."""


def each(item: Flat, parameters: tuple[Buffer, ...]) -> Grid:
    """Every element by a thread of its own, neighbours in memory by neighbouring threads."""
    item = by_store(merge_axes(item))
    count = prod(a.extent for a in item.axes)
    block, thread, index = threads(count // (width := _width(item)))
    lane = axis(width, "v")
    axes = item.axes
    mapping = {}
    if width > 1:
        inner = axes[-1]
        outer = only_axis(axis(inner.extent // width, inner.name))
        mapping[inner] = of_axis(outer) * width + lane
        axes = (*axes[:-1], outer)
    places = dict(zip(axes, unflatten(index, tuple(a.extent for a in axes)), strict=True))
    item = Flat((), item.buffer, replaced(item.offset, mapping), rewrite(item.body, mapping))
    body = plain(Flat((), item.buffer, replaced(item.offset, places), rewrite(item.body, places)), Namer())
    wide: tuple[Stmt, ...] = (For(only_axis(lane), body, "unroll"),) if width > 1 else body
    limit = prod(a.extent for a in axes)
    return Grid(parameters, frozenset({item.buffer}), (), block, thread, (when(below(index, limit), *wide),))


def failing(axes: tuple[Axis, ...], bad: Expr, number: int, parameters: tuple[Buffer, ...]) -> Grid:
    """A thread for each place where a condition is looked at; the run fails with a number where it holds."""
    extents = tuple(a.extent for a in axes)
    block, thread, index = threads(prod(extents))
    mapping = dict(zip(axes, unflatten(index, extents), strict=True))
    body = when(rewrite(bad, mapping), Fail(number))
    return Grid(parameters, frozenset(), (), block, thread, (when(below(index, prod(extents)), *body),))


def threads(count: int) -> tuple[Axis, Axis, Affine]:
    """Axes of blocks and threads for so many turns, and the number of a turn."""
    size = min(MOST_THREADS, rounded(max(count, 1), 32))
    block, thread = Axis(rounded(count, size) // size, "block"), Axis(size, "thread")
    return block, thread, of_axis(block) * size + of_axis(thread)


def _width(item: Flat) -> int:
    """How many elements one thread computes: as many as it can move at once, when there are threads enough."""
    if not item.axes or outer_folds(item.body) or item.offset.stride(item.axes[-1]) != 1:
        return 1
    width = WIDE_BYTES // max(2, storage_type(item.buffer.dtype).bits // 8)
    count = prod(a.extent for a in item.axes)
    while width > 1 and (item.axes[-1].extent % width or count // width < ENOUGH_THREADS):
        width //= 2
    return width
