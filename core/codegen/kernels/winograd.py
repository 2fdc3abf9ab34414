"""Convolution of 3x3 windows by Winograd's minimal filtering: fewer multiplications, for some more rounding error.

Of bytes it is exact: tiles and weights are transformed in whole 16-bit words, products are summed in 32 bits, which
may wrap, and what comes out is divided without remainder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from heddle.core.codegen.kernels import gemm
from heddle.core.codegen.kernels.arithmetic import arithmetic_of
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.conv import Conv
from heddle.core.codegen.kernels.gemm import WHOLE, displaced, entry_function
from heddle.core.codegen.kernels.shapes import block_cycles, vector_products
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.kernels.transform import Filtering, apply, filtering, quotient, whole_filtering
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I1, I16, I32, Index, Type, Value, constant
from numpy.typing import NDArray

TAPS = 3
PIECES = 12
"""As many pieces at least are wanted of a convolution that threads are to share."""
L3_BYTES_PER_CYCLE = 8
MEMORY_BYTES_PER_CYCLE = 4
AHEAD = 32
"""As many steps ahead weights are prefetched that the second cache does not keep."""


@dataclass(frozen=True)
class Schedule:
    """Tiles of `tile` x `tile` outputs, `rows` rows of tiles at a time, multiplied by the schedule `product` and turned
    back for `group` blocks of output channels at a time."""

    tile: int
    rows: int
    product: gemm.Schedule
    group: int = WHOLE


def applies(problem: Conv) -> bool:
    """Whether a convolution can be done this way: 3x3 without steps, dilation or groups, on images in vector blocks,
    of sums that some size of tile gives exactly."""
    window = problem.window
    return (
        window.kernel == (TAPS, TAPS)
        and window.stride == window.dilation == (1, 1)
        and problem.groups == 1
        and problem.source.block == problem.out.block
        and bool(tiles(problem))
    )


def tiles(problem: Conv) -> tuple[int, ...]:
    """The sizes of tiles that a convolution can be cut into: of bytes, those whose exact division does not wrap."""
    if problem.source.scalar.floating or problem.small:
        return 4, 2
    largest = problem.source.channels * problem.window.taps * 255 * 128
    return (2,) if largest < 1 << 29 else ()


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
    pieces = Pieces(entry, cycles_at_best(problem, target, tile))
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], problem.window.start(source), source.scalar)
    down, across = -(-out.height // tile), -(-out.width // tile)
    bands = list(chunks(down, schedule.rows))
    groups = _groups(problem, schedule, len(bands) * out.batch if pieces.shared else PIECES)
    made: dict[Any, list[Function]] = {}

    def variant(kind: str, *key: Any) -> Function:
        """A function of the kernel, made when it is first called for."""
        if (kind, *key) not in made:
            label = f"{name}.part{len(made)}"
            makers: dict[str, Callable[..., list[Function]]]
            makers = {"product": _multiply, "before": _before, "after": _after}
            made[kind, *key] = makers[kind](label, target, problem, schedule, tail, *key)
        return made[kind, *key][-1]

    left, sums = _left(problem), _sums(problem)

    def transform(n: Index, inside: _Walk, tiles: int) -> None:
        for y, x, t, seen, _ in inside.tiles():
            terms = ((n, source.step), (y, source.row), (x, source.block))
            source_at = displaced(entry, first, terms, source.scalar)
            target_at = displaced(entry, entry["scratch"], ((t, source.blocks * lanes),), left)
            entry.invoke(variant("before", seen, tiles), [source_at, target_at])

    def multiply(tiles: int, group: int, block: Index, results: Value) -> None:
        inner, outer = _strides(problem, tiles, group)
        depth = _product(problem, tiles).k
        panels = displaced(entry, entry["b"], ((block, depth * lanes),), left)
        with entry.loop(0, points, 1, (NO_UNROLL,)) as i:
            weights = depth * out.blocks * lanes
            pointers = [
                displaced(entry, start, ((i, stride),), scalar)
                for start, stride, scalar in (
                    (entry["scratch"], inner, left),
                    (panels, weights, left),
                    (results, outer, sums),
                )
            ]
            entry.invoke(variant("product", tiles, group), [*pointers, entry["scratch"]])

    def back(n: Index, inside: _Walk, tiles: int, group: int, block: Index, ragged: bool, results: Value) -> None:
        for y, x, t, _, kept in inside.tiles():
            spots = [
                displaced(entry, base[key], tuple(zip((n, block, y, x), place.strides, strict=True)), place.scalar)
                for key, place in places.items()
            ]
            from_ = displaced(entry, results, ((t, group * lanes),), sums)
            entry.invoke(variant("after", kept, tiles, group, ragged), [from_, *spots])

    for _, n in each(entry, [1] * out.batch):
        for count, top in _parts(entry, down, schedule.rows, out.height % tile > 0):
            tiles = count * across
            inside = _Walk(entry, problem, tile, top, count)
            results = entry.gep(entry["scratch"], _strides(problem, tiles, 0)[0] * points, left)
            transformed = entry.variable(constant(0, I1))
            for group, block, ragged in _runs(entry, problem, groups):
                with pieces.one():
                    # A thread transforms the band for itself, when it has its first group of channels to compute.
                    with entry.unless(entry.get(transformed)) if len(groups) > 1 else nullcontext():
                        transform(n, inside, tiles)
                        entry.set(transformed, constant(1, I1))
                    multiply(tiles, group, block, results)
                    back(n, inside, tiles, group, block, ragged, results)
    return [*(function for functions in made.values() for function in functions), entry]


def cycles_at_best(problem: Conv, target: Target, tile: int) -> float:
    """What the products alone take."""
    tiles = -(-problem.out.height // tile) * -(-problem.out.width // tile) * problem.out.batch
    products = tiles * (tile + TAPS - 1) ** 2 * problem.source.channels * problem.out.channels
    return products / vector_products(target, _left(problem))


def _groups(problem: Conv, schedule: Schedule, bands: int) -> list[int]:
    """Blocks of output channels that are computed one after another: as the schedule has it, or fewer, so that there
    are pieces enough with so many bands."""
    vectors = schedule.product.vectors
    panels = -(-problem.out.blocks // vectors)
    most = min(schedule.group // vectors, panels // -(-PIECES // bands))
    return _cut(problem.out.blocks, [size * vectors for size in balanced(panels, max(1, most))])


def _cut(extent: int, parts: Sequence[int]) -> list[int]:
    """The parts, the last of them cut so that they add up to the extent."""
    return [*parts[:-1], extent - sum(parts[:-1])]


def _runs(f: Function, problem: Conv, groups: Sequence[int]) -> Iterator[tuple[int, Index, bool]]:
    """Emit code for each group: how many blocks of channels, the first, and whether the last of them is cut."""
    ragged = problem.out.channels % problem.out.block > 0
    for size, block in each(f, groups[:-1] if ragged else groups):
        yield size, block, False
    if ragged:
        yield groups[-1], sum(groups[:-1]), True


def scratch_bytes(problem: Conv, schedule: Schedule) -> int:
    """The working memory that the kernel wants: a band's tiles, transformed, and their products."""
    tiles = schedule.rows * -(-problem.out.width // schedule.tile)
    points = (schedule.tile + TAPS - 1) ** 2
    return points * sum(_held_bytes(problem, tiles, min(schedule.group, problem.out.blocks)))


def pack(weights: NDArray[Any], problem: Conv, target: Target, schedule: Schedule) -> NDArray[Any]:
    """Weights of [outputs, inputs, 3, 3] transformed (floats in double precision), a packed matrix for each point."""
    exact = np.float64 if problem.source.scalar.floating else np.int64
    matrix = np.array([[exact(entry) for entry in row] for row in _filtering(problem, schedule.tile).weights])
    size, inputs, outputs = matrix.shape[0], weights.shape[1], weights.shape[0]
    # On the left and on the right at once: the Kronecker square of the matrix, times each filter as a vector.
    filters = weights.astype(exact).transpose(2, 3, 1, 0).reshape(TAPS * TAPS, inputs * outputs)
    transformed = (np.kron(matrix, matrix) @ filters).reshape(size * size, inputs, outputs)
    kind = weights.dtype if problem.source.scalar.floating else np.dtype(np.int16)
    product = _product(problem, 1)
    filled = np.zeros((size * size, inputs, problem.out.blocks * problem.out.block), kind)
    filled[:, :, :outputs] = transformed
    return np.concatenate([gemm.pack(point, product, target, schedule.product) for point in filled])


@cache
def default(problem: Conv, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers."""
    cuts = [(tile, rows) for tile in tiles(problem) for rows in range(1, -(-problem.out.height // tile) + 1)]
    return min((_schedule(problem, target, *cut) for cut in cuts), key=lambda plan: _cycles(problem, target, plan))


def _schedule(problem: Conv, target: Target, tile: int, rows: int) -> Schedule:
    """Bands of so many rows of tiles; as many blocks of channels at a time as leave the second cache to the tiles."""
    count, points = rows * -(-problem.out.width // tile), (tile + TAPS - 1) ** 2
    product = gemm.default(_product(problem, count), target)
    if _weights_bytes(problem, tile) > target.l2 // 2:
        product = replace(product, prefetch=AHEAD)
    _, results = _held_bytes(problem, count, 1)
    panels = target.l2 // 4 // (points * results * product.vectors)
    return Schedule(tile, rows, product, max(1, panels) * product.vectors)


def _weights_bytes(problem: Conv, tile: int) -> int:
    product = _product(problem, 1)
    return (tile + TAPS - 1) ** 2 * product.k * product.n * product.scalar.bits // 8


@cache
def cycles(problem: Conv, target: Target) -> float:
    """What the model of the machine expects of the default schedule."""
    return _cycles(problem, target, default(problem, target))


def candidates(problem: Conv, target: Target) -> list[Schedule]:
    """The schedules worth measuring, the default first."""
    first = default(problem, target)
    found = [first]
    for tile in tiles(problem):
        down = -(-problem.out.height // tile)
        for rows in sorted({1, 2, 3, 4, down // 2, down}):
            if 0 < rows <= down:
                plan = _schedule(problem, target, tile, rows)
                found += [replace(plan, product=replace(plan.product, prefetch=ahead)) for ahead in (0, AHEAD)]
    return list(dict.fromkeys(found))


def _cycles(problem: Conv, target: Target, schedule: Schedule) -> float:
    source, out, tile = problem.source, problem.out, schedule.tile
    down, across = -(-out.height // tile), -(-out.width // tile)
    points, depth = (tile + TAPS - 1) ** 2, arithmetic_of(target, _left(problem)).depth
    weights = _weights_bytes(problem, tile)
    total = 0.0
    for band, rows in enumerate(chunks(down, schedule.rows)):
        tiles = rows * across
        product = _product(problem, tiles)
        widths = chunks(out.blocks, schedule.product.vectors)
        work = block_cycles(target, balanced(tiles, schedule.product.rows), widths, product.k // depth) * points
        # The first band has the weights from memory, the others from where they are kept.
        if not band:
            streamed = weights / MEMORY_BYTES_PER_CYCLE
        else:
            streamed = weights / L3_BYTES_PER_CYCLE if weights > target.l2 // 2 else 0.0
        held, results = (points * size for size in _held_bytes(problem, tiles, min(schedule.group, out.blocks)))
        spilled = 2 * held / L3_BYTES_PER_CYCLE if held + results > target.l2 else 0.0
        transforms = tiles * (source.blocks + out.blocks) * points * 6
        total += max(work, streamed) + spilled + transforms
    return total * out.batch


def _product(problem: Conv, tiles: int, group: int = 0) -> gemm.Gemm:
    """The product of one point: its tiles by its weights, or by those of a group of blocks of output channels."""
    block = problem.out.block
    width = problem.out.blocks * block
    channels = problem.source.channels
    depth = channels if problem.source.scalar.floating else -(-channels // 2) * 2
    strides, left = (problem.source.blocks * block, 1), _left(problem)
    place = Place((group * block or width,), scalar=_sums(problem))
    return gemm.Gemm(tiles, group * block or width, depth, strides, place, scalar=left)


def _left(problem: Conv) -> Type:
    """What transformed tiles and weights are held in."""
    return problem.source.scalar if problem.source.scalar.floating else I16


def _sums(problem: Conv) -> Type:
    """What their products are held in."""
    return problem.source.scalar if problem.source.scalar.floating else I32


def _held_bytes(problem: Conv, tiles: int, group: int) -> tuple[int, int]:
    """The bytes of one point of a band's tiles, and of their products with a group's weights."""
    inner, outer = _strides(problem, tiles, group)
    return inner * _left(problem).bits // 8, outer * _sums(problem).bits // 8


def _filtering(problem: Conv, tile: int) -> Filtering:
    return filtering(tile, TAPS) if problem.source.scalar.floating else whole_filtering(tile, TAPS)


def _strides(problem: Conv, tiles: int, group: int) -> tuple[int, int]:
    """Elements from one point to the next, before and after the products with a group of blocks of output channels; a
    vector more keeps them apart in caches."""
    lanes = problem.source.block
    return tiles * problem.source.blocks * lanes + lanes, tiles * group * lanes + lanes


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


def _multiply(
    name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail, tiles: int, group: int
) -> list[Function]:
    """`(v, weights, m, scratch)`: the products of one point, for a group of blocks of output channels."""
    return gemm.gemm(name, target, _product(problem, tiles, group), schedule.product, whole=True)


def _before(
    name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail, seen: tuple[int, int], tiles: int
) -> list[Function]:
    """`(a, v)`: transform one tile of every block of input channels; what lies beyond `seen` counts as zero."""
    tile, stride = schedule.tile, _strides(problem, tiles, 0)[0]
    source, lanes, matrix = problem.source, problem.source.block, _filtering(problem, tile).before
    f = _leaf(name, target, ["a", "v"])
    size, left = tile + TAPS - 1, _left(problem)
    # A vector of words takes two blocks.
    for blocks, c in each(f, chunks(source.blocks, 32 // left.bits)):
        a = displaced(f, f["a"], ((c, source.plane),), source.scalar)
        v = displaced(f, f["v"], ((c, lanes),), left)

        def pixel(y: int, x: int, a: Value = a, blocks: int = blocks) -> Value:
            if y >= seen[0] or x >= seen[1]:
                return Value("zeroinitializer", left.of(blocks * lanes))
            at = [b * source.plane + y * source.row + x * lanes for b in range(blocks)]
            parts = [f.load(source.scalar.of(lanes), f.gep(a, start, source.scalar)) for start in at]
            return f.convert("zext", parts[0] if blocks == 1 else f.shuffle(parts[0], parts[1], range(2 * lanes)), left)

        columns = [apply(f, matrix, [pixel(y, x) for y in range(size)]) for x in range(size)]
        for i in range(size):
            for j, value in enumerate(apply(f, matrix, [columns[x][i] for x in range(size)])):
                f.store(value, f.gep(v, (i * size + j) * stride, left))
    return [f]


def _after(
    name: str,
    target: Target,
    problem: Conv,
    schedule: Schedule,
    tail: Tail,
    kept: tuple[int, int],
    tiles: int,
    group: int,
    ragged: bool,
) -> list[Function]:
    """`(m, out, operands...)`: transform one tile of a group of output channels back and store `kept` of it.

    `ragged`: of the last block only the lanes that are channels.
    """
    tile, stride = schedule.tile, _strides(problem, tiles, group)[1]
    out, form, sums = problem.out, _filtering(problem, tile), _sums(problem)
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    f = _leaf(name, target, ["m", *places])
    vector, size, lanes = sums.of(out.block), tile + TAPS - 1, out.block
    pixels = [(y, x) for y in range(kept[0]) for x in range(kept[1])]
    spots = [
        Spot(tuple(y * p.strides[2] + x * p.strides[3] for y, x in pixels), 0, p.lane, p.scalar)
        for p in places.values()
    ]

    def block(c: Index, used: int) -> None:
        m = displaced(f, f["m"], ((c, lanes),), sums)
        rows = []
        for j in range(size):
            column = [f.load(vector, f.gep(m, (i * size + j) * stride, sums)) for i in range(size)]
            rows.append(apply(f, form.after, column))
        square = [apply(f, form.after, [rows[j][y] for j in range(size)]) for y in range(kept[0])]
        if form.divisor > 1:
            square = [[quotient(f, value, form.divisor**2) for value in row] for row in square]
        pointers = [displaced(f, f[key], ((c, place.strides[1]),), place.scalar) for key, place in places.items()]
        store(f, tail, spots, pointers, [[square[y][x]] for y, x in pixels], used, masked=False)

    for _, c in each(f, [1] * (group - ragged)):
        block(c, lanes)
    if ragged:
        block(group - 1, out.channels % lanes)
    return [f]


def _leaf(name: str, target: Target, pointers: Sequence[str]) -> Function:
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    # The output, which is second, may take an operand's place.
    alone = "ptr noalias" if len(pointers) == 2 else "ptr"
    parameters = [(pointers[0], "ptr noalias"), (pointers[1], alone)] + [(key, "ptr readonly") for key in pointers[2:]]
    return Function(name, parameters, internal=True, attributes=attributes)
