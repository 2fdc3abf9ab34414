"""Matrix products and convolutions on matrix tiles, of bytes and of bfloat16, with the same tails as other kernels.

A block of the output is a few tiles down by a few across. Its rows lie evenly apart in the left operand, which is read
in place: rows of a matrix, or pixels of an image that holds its channels side by side. The weights lie as
[columns / 16][depth / step][16 columns][step], where a step is four bytes: so a tile of them is one stretch of memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, TypeVar

import numpy as np
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.conv import Conv, as_one_row, is_linear, row_of
from heddle.core.codegen.kernels.gemm import Gemm, batched, displaced, entry_function
from heddle.core.codegen.kernels.played import Played
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.kernels.tiles import COLUMNS, DEPTH, ROWS, Amx, Form, Tiles, form_of
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import BF16, I8, Index, Type, Value
from numpy.typing import NDArray

R = TypeVar("R")
C = TypeVar("C")

DOT, LOAD, SAVE = 16, 8, 16
"""Cycles between the beginnings of two such instructions."""
BLOCK, VECTOR, REPACKED = 80, 4, 8
"""Cycles to set tiles up for a block; to make a vector of results of sums; bytes repacked in a cycle."""


@dataclass(frozen=True)
class Schedule:
    """Blocks of `down` x `across` tiles; those of a panel of columns are done one after the other, or, if not
    `by_columns`, those of a band of rows."""

    down: int = 2
    across: int = 2
    by_columns: bool = True


SHAPES = ((2, 2), (1, 3), (3, 1), (1, 1))
"""Tiles down and across: with those of both operands they are eight at most."""


def applies(problem: Gemm | Conv, target: Target) -> bool:
    """Whether a product can be done on tiles: its weights are constant and its elements bytes or bfloat16."""
    if isinstance(problem, Gemm):
        scalar, fits = problem.scalar, problem.b is None and problem.a[1] == 1
        fits = fits and problem.k % form_of(scalar).step == 0
    else:
        scalar, fits = problem.source.scalar, problem.groups == 1
    return fits and ((scalar == I8 and target.tiles_of_bytes) or (scalar == BF16 and target.tiles_of_bf16))


@dataclass(frozen=True)
class _Reduction:
    """Loops of so many turns with so many elements between them in the left operand, and within them `count` pieces of
    `size` neighbours, each a row of a tile."""

    loops: tuple[tuple[int, int], ...]
    count: int
    size: int

    @property
    def length(self) -> int:
        """All elements that are summed."""
        return prod(extent for extent, _ in self.loops) * self.count * self.size

    @property
    def pieces(self) -> int:
        return self.length // self.size


def _reduction(loops: Sequence[tuple[int, int]], run: int, form: Form) -> _Reduction:
    """Runs of so many neighbours, each cut into as few equal pieces as rows of tiles hold."""
    count = next(c for c in range(-(-run // form.most), run + 1) if run % (c * form.step) == 0)
    return _Reduction(tuple(loops), count, run // count)


@dataclass(frozen=True)
class _Rows:
    """The rows of a block: `height` stretches of `width` rows each, `apart` rows from one stretch to the next."""

    height: int
    width: int
    apart: int = 0

    @property
    def count(self) -> int:
        """With those between the stretches, which are computed and not stored."""
        return (self.height - 1) * self.apart + self.width


@dataclass(frozen=True)
class _Steps:
    """From one stretch, row and vector of a block to the next, in the output or in an operand of the tail."""

    stretch: int
    row: int
    vector: int
    place: Place


def gemm(
    name: str, target: Target, problem: Gemm, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The places of the tail's operands have strides along (*batch, i).
    """
    places = {"out": problem.out, **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    pieces = Pieces(entry, cycles(problem, target, schedule))
    form, lanes = form_of(problem.scalar, problem.signed), target.lanes(4)
    blocks = _Blocks(name, target, form, _reduction_of(problem), problem.a[0], tail, masked=True)
    spots = tuple(_Steps(0, place.strides[-1], lanes * place.lane, place) for place in places.values())

    def one(base: Mapping[str, Value]) -> None:
        rows, columns = _row_parts(problem, schedule), chunks(problem.n, schedule.across * COLUMNS)
        for (height, i), (used, j) in _walk(
            schedule, lambda: each(entry, [r.width for r in rows]), lambda: each(entry, columns)
        ):
            callee = blocks.make(_Rows(1, height), used, spots)
            at = [
                displaced(entry, base[key], ((i, place.strides[-1]), (j, place.lane)), place.scalar)
                for key, place in places.items()
            ]
            a = displaced(entry, base["a"], ((i, problem.a[0]),), problem.scalar)
            with pieces.one():
                entry.invoke(callee, [a, displaced(entry, base["b"], ((j, problem.k),), problem.scalar), *at])

    batched(entry, problem, places, one)
    return [*blocks.made.values(), entry]


def conv(
    name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The source holds its channels side by side, see `interleaved`. The places of the tail's operands have strides along
    (batch, channel block, y, x).
    """
    lanes = target.lanes(4)
    assert problem.source.blocks == 1, f"{name}: the source's channels do not lie side by side"
    assert problem.out.block == lanes, f"{name}: the output's block {problem.out.block} is no vector of {lanes}"
    places = {"out": problem.out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    if is_linear(problem, tail):
        problem, places = as_one_row(problem), {key: row_of(place) for key, place in places.items()}
    source, out, window = problem.source, problem.out, problem.window
    reduction, scalar = _reduction_of(problem), source.scalar
    entry = entry_function(name, target, list(places), internal)
    pieces = Pieces(entry, cycles(problem, target, schedule))
    tail = replace(tail, operands=tuple(places.values())[1:])
    blocks = _Blocks(name, target, form_of(scalar), reduction, window.stride[1] * source.block, tail, masked=False)
    spots = tuple(_Steps(p.strides[2], p.strides[3], p.strides[1], p) for p in places.values())
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], window.start(source), scalar)
    parts = _row_parts(problem, schedule)
    apart = parts[0].apart

    def pixels() -> Iterator[tuple[_Rows, Index, Index]]:
        for height, y in each(entry, [part.height for part in parts]):
            for width, x in each(entry, _widths(problem, schedule)):
                yield _Rows(height, width, apart), y, x

    def panels() -> Iterator[tuple[int, Index]]:
        return each(entry, chunks(out.channels, schedule.across * COLUMNS))

    for _, n in each(entry, [1] * out.batch):
        for (rows, y, x), (used, j) in _walk(schedule, pixels, panels):
            callee = blocks.make(rows, used, spots)
            terms = ((n, source.step), (y, window.stride[0] * source.row), (x, window.stride[1] * source.block))
            b = displaced(entry, entry["b"], ((j, reduction.length),), scalar)
            at = [
                displaced(
                    entry,
                    base[key],
                    ((n, place.strides[0]), (_divided(entry, j, lanes), place.strides[1]), (y, place.strides[2]),
                     (x, place.strides[3])),
                    place.scalar,
                )
                for key, place in places.items()
            ]  # fmt: skip
            with pieces.one():
                entry.invoke(callee, [displaced(entry, first, terms, scalar), b, *at])
    return [*blocks.made.values(), entry]


def _walk(
    schedule: Schedule, rows: Callable[[], Iterator[R]], columns: Callable[[], Iterator[C]]
) -> Iterator[tuple[R, C]]:
    """Emit code for every block, in the schedule's order."""
    if schedule.by_columns:
        for column in columns():
            for row in rows():
                yield row, column
    else:
        for row in rows():
            for column in columns():
                yield row, column


def pack(weights: NDArray[Any], problem: Gemm | Conv) -> NDArray[Any]:
    """Weights as the kernels read them: a product's B of [k, n], a convolution's filters of [outputs, inputs, y, x]."""
    if isinstance(problem, Conv):
        filled = np.zeros((*problem.window.kernel, problem.source.block, problem.out.channels), weights.dtype)
        filled[:, :, : weights.shape[1]] = weights.transpose(2, 3, 1, 0)
        weights = filled.reshape(-1, problem.out.channels)
    step = form_of(_scalar(problem)).step
    k, n = weights.shape
    whole = np.zeros((k, -(-n // COLUMNS) * COLUMNS), weights.dtype)
    whole[:, :n] = weights
    return np.ascontiguousarray(whole.reshape(k // step, step, -1, COLUMNS).transpose(2, 0, 3, 1)).ravel()


def interleaved(problem: Conv) -> Conv:
    """The convolution of a source that holds all channels of a pixel side by side, filled up to whole blocks."""
    source = problem.source
    if source.blocks == 1:
        return problem
    return replace(problem, source=replace(source, block=source.blocks * source.block, outer=0))


@cache
def default(problem: Gemm | Conv, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers."""
    return min(candidates(problem, target), key=lambda schedule: cycles(problem, target, schedule))


def candidates(problem: Gemm | Conv, target: Target) -> list[Schedule]:
    """The schedules worth measuring."""
    return [Schedule(*shape, order) for shape in SHAPES for order in (True, False)]


def cycles(problem: Gemm | Conv, target: Target, schedule: Schedule) -> float:
    """What the model of the machine expects; where a convolution's source is to be repacked, with that."""
    batch, before = 1.0, 0.0
    if isinstance(problem, Conv):
        beside = interleaved(problem)
        before = 0.0 if beside is problem else beside.source.size * beside.source.scalar.bits / 8 / REPACKED
        problem = as_one_row(beside) if is_linear(beside, NOTHING) else beside
        batch, n = problem.out.batch, problem.out.channels
        rows = [replace(p, width=w) for p in _row_parts(problem, schedule) for w in _widths(problem, schedule)]
    else:
        batch, n, rows = prod(problem.batch), problem.n, _row_parts(problem, schedule)
    pieces, lanes, total = _reduction_of(problem).pieces, target.lanes(4), 0.0
    for part, times in Counter(rows).items():
        for used, across in Counter(chunks(n, schedule.across * COLUMNS)).items():
            a, b = -(-part.count // ROWS), -(-used // COLUMNS)
            stored = part.height * part.width * -(-used // lanes) * VECTOR
            block = pieces * max(DOT * a * b, LOAD * (a + b)) + SAVE * a * b + BLOCK + stored
            total += block * times * across
    return total * batch + before


def _scalar(problem: Gemm | Conv) -> Type:
    return problem.scalar if isinstance(problem, Gemm) else problem.source.scalar


def _reduction_of(problem: Gemm | Conv) -> _Reduction:
    form = form_of(_scalar(problem))
    if isinstance(problem, Gemm):
        return _reduction((), problem.k, form)
    source, (down, across), (below, beside) = problem.source, problem.window.kernel, problem.window.dilation
    if beside == 1 or across == 1:
        return _reduction(((down, below * source.row),), across * source.block, form)
    return _reduction(((down, below * source.row), (across, beside * source.block)), source.block, form)


def _row_parts(problem: Gemm | Conv, schedule: Schedule) -> list[_Rows]:
    """The rows of a product in blocks; those of an image by stretches of pixels, which are cut further by `_widths`.

    Where the window makes no steps, rows of pixels follow each other evenly, with the halo between them: so short ones
    share a block.
    """
    most = schedule.down * ROWS
    if isinstance(problem, Gemm):
        return [_Rows(1, width) for width in chunks(problem.m, most)]
    out, source = problem.out, problem.source
    apart = source.row // source.block
    together = 1
    if problem.window.stride == (1, 1) and out.width <= most:
        together = (most - out.width) // apart + 1
    return [_Rows(height, out.width, apart) for height in balanced(out.height, together)]


def _widths(problem: Conv, schedule: Schedule) -> list[int]:
    return chunks(problem.out.width, schedule.down * ROWS)


def _divided(f: Function, index: Index, by: int) -> Index:
    return index // by if isinstance(index, int) else f.binary("udiv", index, f.index(by))


class _Blocks:
    """The functions of one kernel's blocks, each made when it is first called for."""

    def __init__(
        self, name: str, target: Target, form: Form, reduction: _Reduction, apart: int, tail: Tail, *, masked: bool
    ) -> None:
        """Rows lie `apart` elements in the left operand; see `store` for `masked`."""
        self.name, self.target, self.form, self.reduction = name, target, form, reduction
        self.apart, self.tail, self.masked = apart * form.size, tail, masked
        self.tiles: Tiles = Played() if target.played else Amx()
        self.made: dict[tuple[_Rows, int, tuple[_Steps, ...]], Function] = {}

    def make(self, rows: _Rows, used: int, spots: tuple[_Steps, ...]) -> Function:
        """`(a, b, out, operands...)`: a block of which `used` columns are stored."""
        key = (rows, used, spots)
        if key not in self.made:
            self.made[key] = self._block(f"{self.name}.block{len(self.made)}", rows, used, spots)
        return self.made[key]

    def _block(self, name: str, rows: _Rows, used: int, spots: tuple[_Steps, ...]) -> Function:
        names = ["out", *(f"x{i}" for i in range(len(spots) - 1))]
        parameters = [("a", "ptr readonly"), ("b", "ptr readonly"), *((key, "ptr") for key in names)]
        attributes = f'noinline nounwind "prefer-vector-width"="{self.target.vector_bytes * 8}"'
        f = Function(name, parameters, internal=True, attributes=attributes)
        across = -(-used // COLUMNS)
        totals = self._sums(f, chunks(rows.count, ROWS), across)
        lanes = self.target.lanes(4)
        vectors = -(-used // lanes)
        with f.loop(0, rows.height, 1, (NO_UNROLL,)) as y, f.loop(0, rows.width, 1, (NO_UNROLL,)) as x:
            row = f.plus(f.times(y, rows.apart), x)
            at = f.gep(totals, f.times(row, across * COLUMNS), self.form.total)
            results = [f.load(self.form.total.of(lanes), f.gep(at, j * lanes, self.form.total)) for j in range(vectors)]
            pointers = [
                displaced(f, f[key], ((y, spot.stretch), (x, spot.row)), spot.place.scalar)
                for key, spot in zip(names, spots, strict=True)
            ]
            ends = [Spot((0,), spot.vector, spot.place.lane, spot.place.scalar) for spot in spots]
            store(f, self.tail, ends, pointers, [results], used - (vectors - 1) * lanes, masked=self.masked)
        return f

    def _sums(self, f: Function, heights: Sequence[int], across: int) -> Value:
        """The address of the block's sums, row by row: tiles of totals first, then those of A, then those of B."""
        form, tiles, size = self.form, self.tiles, self.reduction.size * self.form.size
        down = len(heights)
        first_a, first_b = down * across, down * across + down
        shapes = [(height, DEPTH) for height in heights for _ in range(across)]
        tiles.configure(f, [*shapes, *((height, size) for height in heights), *[(size // 4, DEPTH)] * across])
        for total in range(first_a):
            tiles.zero(f, total)
        tile = size * COLUMNS

        def pieces(loops: Sequence[tuple[int, int]], a: Value, number: Index) -> None:
            (extent, step), *inner = loops
            with f.loop(0, extent, 1, (NO_UNROLL,)) as i:
                at, turn = f.gep(a, f.times(i, step * form.size), I8), f.plus(f.times(number, extent), i)
                if inner:
                    pieces(inner, at, turn)
                else:
                    one(at, f.gep(f["b"], f.times(turn, tile), I8))

        def one(a: Value, b: Value) -> None:
            for j in range(across):
                tiles.load(f, first_b + j, f.gep(b, j * self.reduction.pieces * tile, I8), DEPTH)
            for i in range(down):
                tiles.load(f, first_a + i, f.gep(a, i * ROWS * self.apart, I8), self.apart)
                for j in range(across):
                    tiles.dot(f, form, i * across + j, first_a + i, first_b + j)

        pieces([*self.reduction.loops, (self.reduction.count, self.reduction.size)], f["a"], 0)
        totals = f.slot(form.total, sum(heights) * across * COLUMNS).address
        for i in range(down):
            for j in range(across):
                at = f.gep(totals, i * ROWS * across * COLUMNS + j * COLUMNS, form.total)
                tiles.save(f, i * across + j, at, across * DEPTH)
        tiles.release(f)
        return totals
