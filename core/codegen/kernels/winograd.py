"""Convolution of 3x3 windows by Winograd's minimal filtering: fewer multiplications, for some more rounding error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from heddle.core.codegen.kernels import gemm
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.conv import Conv
from heddle.core.codegen.kernels.gemm import displaced, entry_function
from heddle.core.codegen.kernels.shapes import block_cycles
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.kernels.transform import apply, filtering
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Index, Value
from numpy.typing import NDArray

TAPS = 3
L3_BYTES_PER_CYCLE = 8


@dataclass(frozen=True)
class Schedule:
    """Tiles of `tile` x `tile` outputs, `rows` rows of tiles at a time, multiplied by the schedule `product`."""

    tile: int
    rows: int
    product: gemm.Schedule


def applies(problem: Conv) -> bool:
    """Whether a convolution can be done this way: 3x3 without steps, dilation or groups, on images in vector blocks."""
    window = problem.window
    return (
        window.kernel == (TAPS, TAPS)
        and window.stride == window.dilation == (1, 1)
        and problem.groups == 1
        and problem.source.block == problem.out.block
    )


def winograd(
    name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`; see `scratch_bytes`.

    The places of the tail's operands have strides along (batch, channel block, y, x).
    """
    lanes, points = problem.source.block, (schedule.tile + TAPS - 1) ** 2
    source, out, tile = problem.source, problem.out, schedule.tile
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], problem.window.start(source), source.scalar)
    down, across = -(-out.height // tile), -(-out.width // tile)
    made: dict[Any, list[Function]] = {}

    def variant(key: tuple[Any, ...]) -> Function:
        """A function of the kernel, made when it is first called for."""
        if key not in made:
            label, strides = f"{name}.part{len(made)}", _strides(problem, key[1] if key[0] == "product" else key[3])
            if key[0] == "product":
                made[key] = gemm.gemm(label, target, _product(problem, key[1]), schedule.product)
            elif key[0] == "before":
                made[key] = [_before(label, target, problem, tile, key[1:3], strides[0])]
            else:
                made[key] = [_after(label, target, problem, tile, key[1:3], strides[1], tail)]
        return made[key][-1]

    for _, n in each(entry, [1] * out.batch):
        for count, top in _parts(entry, down, schedule.rows, out.height % tile > 0):
            tiles = count * across
            inner, outer = _strides(problem, tiles)
            results = entry.gep(entry["scratch"], inner * points, source.scalar)
            inside = _Walk(entry, problem, tile, top, count)
            for y, x, t, seen, _ in inside.tiles():
                terms = ((n, source.step), (y, source.row), (x, source.block))
                source_at = displaced(entry, first, terms, source.scalar)
                target_at = displaced(entry, entry["scratch"], ((t, source.blocks * lanes),), source.scalar)
                entry.invoke(variant(("before", *seen, tiles)), [source_at, target_at])
            with entry.loop(0, points, 1, (NO_UNROLL,)) as i:
                weights = source.channels * out.blocks * lanes
                pointers = [
                    displaced(entry, start, ((i, stride),), source.scalar)
                    for start, stride in ((entry["scratch"], inner), (entry["b"], weights), (results, outer))
                ]
                entry.invoke(variant(("product", tiles)), [*pointers, entry["scratch"]])
            for y, x, t, _, kept in inside.tiles():
                spots = [
                    displaced(
                        entry,
                        base[key],
                        ((n, place.strides[0]), (y, place.strides[2]), (x, place.strides[3])),
                        place.scalar,
                    )
                    for key, place in places.items()
                ]
                from_ = displaced(entry, results, ((t, out.blocks * lanes),), source.scalar)
                entry.invoke(variant(("after", *kept, tiles)), [from_, *spots])
    return [*(function for functions in made.values() for function in functions), entry]


def scratch_bytes(problem: Conv, schedule: Schedule) -> int:
    """The working memory that the kernel wants: a band's tiles, transformed, and their products."""
    tiles = schedule.rows * -(-problem.out.width // schedule.tile)
    points = (schedule.tile + TAPS - 1) ** 2
    return points * sum(_strides(problem, tiles)) * problem.source.scalar.bits // 8


def pack(weights: NDArray[Any], problem: Conv, target: Target, schedule: Schedule) -> NDArray[Any]:
    """Weights of [outputs, inputs, 3, 3] transformed in double precision, a packed matrix for each point."""
    matrix = np.array([[float(entry) for entry in row] for row in filtering(schedule.tile, TAPS).weights])
    size, inputs, outputs = matrix.shape[0], weights.shape[1], weights.shape[0]
    # On the left and on the right at once: the Kronecker square of the matrix, times each filter as a vector.
    filters = weights.astype(np.float64).transpose(2, 3, 1, 0).reshape(TAPS * TAPS, inputs * outputs)
    transformed = (np.kron(matrix, matrix) @ filters).reshape(size * size, inputs, outputs)
    filled = np.zeros((size * size, inputs, problem.out.blocks * problem.out.block), weights.dtype)
    filled[:, :, :outputs] = transformed
    return np.concatenate([gemm.pack(point, target, schedule.product) for point in filled])


@cache
def default(problem: Conv, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers."""
    tiles = [(tile, rows) for tile in (4, 2) for rows in range(1, -(-problem.out.height // tile) + 1)]
    tile, rows = min(tiles, key=lambda choice: _cycles(problem, target, *choice))
    return Schedule(tile, rows, gemm.default(_product(problem, rows * -(-problem.out.width // tile)), target))


@cache
def cycles(problem: Conv, target: Target) -> float:
    """What the model of the machine expects of the default schedule."""
    schedule = default(problem, target)
    return _cycles(problem, target, schedule.tile, schedule.rows)


def candidates(problem: Conv, target: Target) -> list[Schedule]:
    """The schedules worth measuring, the default first."""
    first = default(problem, target)
    found = [first]
    for tile in (4, 2):
        down = -(-problem.out.height // tile)
        for rows in sorted({1, 2, 3, 4, down // 2, down}):
            if 0 < rows <= down:
                product = gemm.default(_product(problem, rows * -(-problem.out.width // tile)), target)
                found += [Schedule(tile, rows, replace(product, prefetch=prefetch)) for prefetch in (0, 16)]
    return list(dict.fromkeys(found))


def _cycles(problem: Conv, target: Target, tile: int, rows: int) -> float:
    source, out = problem.source, problem.out
    down, across = -(-out.height // tile), -(-out.width // tile)
    points, size = (tile + TAPS - 1) ** 2, source.scalar.bits // 8
    total = 0.0
    for count in chunks(down, rows):
        tiles = count * across
        product = _product(problem, tiles)
        schedule = gemm.default(product, target)
        widths = chunks(out.blocks, schedule.vectors)
        work = block_cycles(target, balanced(tiles, schedule.rows), widths, product.k) * points
        weights = points * product.k * product.n * size
        held = points * sum(_strides(problem, tiles)) * size
        spilled = 2 * held if held > target.l2 // 2 else 0
        streamed = weights if weights > target.l2 // 2 else 0
        transforms = tiles * (source.blocks + out.blocks) * points * 6
        total += max(work, streamed / L3_BYTES_PER_CYCLE) + spilled / L3_BYTES_PER_CYCLE + transforms
    return total * out.batch


def _product(problem: Conv, tiles: int) -> gemm.Gemm:
    """The product of one point: its tiles by its weights."""
    block = problem.out.block
    width = problem.out.blocks * block
    return gemm.Gemm(tiles, width, problem.source.channels, (problem.source.blocks * block, 1), Place((width,)))


def _strides(problem: Conv, tiles: int) -> tuple[int, int]:
    """Elements from one point to the next, before and after the products; a vector more keeps them apart in caches."""
    lanes = problem.source.block
    return tiles * problem.source.blocks * lanes + lanes, tiles * problem.out.blocks * lanes + lanes


def _parts(f: Function, extent: int, size: int, ragged: bool) -> Iterator[tuple[int, Index]]:
    """Parts as `each` walks them, the last by itself where it is unlike the others."""
    parts = chunks(extent, size)
    last = [parts.pop()] if ragged else []
    yield from each(f, parts)
    for count in last:
        yield count, sum(parts)


@dataclass(frozen=True)
class _Walk:
    """The tiles of a band of `count` rows from row `top` on."""

    f: Function
    problem: Conv
    tile: int
    top: Index
    count: int

    def tiles(self) -> Iterator[tuple[Index, Index, Index, tuple[int, int], tuple[int, int]]]:
        """For each tile its first pixel (y, x), its number in the band, and the rows and columns that are there of its
        input and of its output."""
        out, source, tile = self.problem.out, self.problem.source, self.tile
        across = -(-out.width // tile)
        for row, last_row in self._edge(self.count, out.height, self._is_last()):
            for column, last_column in self._edge(across, out.width, True):
                y, x = self.f.times(self.f.plus(self.top, row), tile), self.f.times(column, tile)
                seen = (
                    self._seen(out.height, source.plane // source.row - source.halo[0], 0, last_row),
                    self._seen(out.width, source.row // source.block - source.halo[1], 1, last_column),
                )
                kept = (self._kept(out.height, last_row), self._kept(out.width, last_column))
                yield y, x, self.f.plus(self.f.times(row, across), column), seen, kept

    def _is_last(self) -> bool:
        return isinstance(self.top, int) and (self.top + self.count) * self.tile >= self.problem.out.height

    def _edge(self, count: int, extent: int, last: bool) -> Iterator[tuple[Index, bool]]:
        """Numbers of tiles along an axis, the one cut off by the end by itself."""
        cut = bool(extent % self.tile) and last
        for _, i in each(self.f, [1] * (count - cut)):
            yield i, False
        if cut:
            yield count - 1, True

    def _kept(self, extent: int, last: bool) -> int:
        return extent % self.tile if last else self.tile

    def _seen(self, extent: int, held: int, axis: int, last: bool) -> int:
        """How many rows or columns of a tile's input lie within the source and its halo."""
        size = self.tile + TAPS - 1
        if not last:
            return size
        start = extent - extent % self.tile - self.problem.window.pads[axis]
        return min(size, held - start)


def _before(name: str, target: Target, problem: Conv, tile: int, seen: tuple[int, int], stride: int) -> Function:
    """`(a, v)`: transform one tile of every block of input channels; what lies beyond `seen` counts as zero."""
    source, lanes, matrix = problem.source, problem.source.block, filtering(tile, TAPS).before
    f = _leaf(name, target, ["a", "v"])
    vector, size = source.scalar.of(lanes), tile + TAPS - 1
    zero = Value("zeroinitializer", vector)
    for _, c in each(f, [1] * source.blocks):
        a = displaced(f, f["a"], ((c, source.plane),), source.scalar)
        v = displaced(f, f["v"], ((c, lanes),), source.scalar)
        columns = []
        for x in range(size):
            column = [
                f.load(vector, f.gep(a, y * source.row + x * lanes, source.scalar))
                if y < seen[0] and x < seen[1]
                else zero
                for y in range(size)
            ]
            columns.append(apply(f, matrix, column))
        for i in range(size):
            for j, value in enumerate(apply(f, matrix, [columns[x][i] for x in range(size)])):
                f.store(value, f.gep(v, (i * size + j) * stride, source.scalar))
    return f


def _after(
    name: str, target: Target, problem: Conv, tile: int, kept: tuple[int, int], stride: int, tail: Tail
) -> Function:
    """`(m, out, operands...)`: transform one tile of every block of output channels back and store `kept` of it."""
    source, out, matrix = problem.source, problem.out, filtering(tile, TAPS).after
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    f = _leaf(name, target, ["m", *places])
    vector, size, lanes = source.scalar.of(out.block), tile + TAPS - 1, out.block
    ragged = out.channels % lanes
    pixels = [(y, x) for y in range(kept[0]) for x in range(kept[1])]
    spots = [
        Spot(tuple(y * p.strides[2] + x * p.strides[3] for y, x in pixels), 0, p.lane, p.scalar)
        for p in places.values()
    ]

    def block(c: Index, used: int) -> None:
        m = displaced(f, f["m"], ((c, lanes),), source.scalar)
        rows = []
        for j in range(size):
            column = [f.load(vector, f.gep(m, (i * size + j) * stride, source.scalar)) for i in range(size)]
            rows.append(apply(f, matrix, column))
        square = [apply(f, matrix, [rows[j][y] for j in range(size)]) for y in range(kept[0])]
        pointers = [displaced(f, f[key], ((c, place.strides[1]),), place.scalar) for key, place in places.items()]
        store(f, tail, spots, pointers, [[square[y][x]] for y, x in pixels], used, masked=False)

    for _, c in each(f, [1] * (out.blocks - bool(ragged))):
        block(c, lanes)
    if ragged:
        block(out.blocks - 1, ragged)
    return f


def _leaf(name: str, target: Target, pointers: Sequence[str]) -> Function:
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    parameters = [(key, "ptr noalias") for key in pointers[:2]] + [(key, "ptr readonly") for key in pointers[2:]]
    return Function(name, parameters, internal=True, attributes=attributes)
