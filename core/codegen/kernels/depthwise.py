"""Depthwise convolution over blocked images: every channel by itself, a vector of them at a time.

Floats are multiplied and added one by one, integers exactly, in 32 bits. The instruction of x86 that multiplies words
adds pairs of products: there the rows of the source are woven in twos, and one weight of a pair is 0 where an output
reads one of the rows only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from heddle.core.codegen.kernels.arithmetic import pairs_of_products
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.gemm import displaced, entry_function
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import F32, I8, I16, I32, Value, constant
from numpy.typing import NDArray


@dataclass(frozen=True)
class Depthwise:
    """`out[n, c, y, x] = tail(sum of source[n, c, y', x'] * weights[c, ky, kx])`, both images in blocks of a vector.

    A source of integers holds unsigned bytes or signed words; its weights are signed bytes, its sums are of 32 bits.
    """

    source: Image
    out: Image
    window: Window


@dataclass(frozen=True)
class Schedule:
    """A block of `height` x `width` pixels is computed at once, so that each input vector is loaded once for it."""

    height: int
    width: int


Pair = tuple[int | None, int | None]
"""Rows of the window whose weights lie side by side; None stands for a weight of 0."""


@dataclass(frozen=True)
class _Step:
    """Input vectors of a block that are read at one column, from `rows`, and how each output (row, column) of the block
    uses them: by the weights of this number."""

    rows: tuple[int, ...]
    column: int
    uses: tuple[tuple[tuple[int, int], int], ...]


def depthwise(
    name: str, target: Target, problem: Depthwise, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The kernel `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The places of the tail's operands have strides along (batch, channel block, y, x).
    """
    source, out, window = problem.source, problem.out, problem.window
    arithmetic = _Arithmetic(problem, target)
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    outputs = out.batch * out.blocks * out.height * out.width
    pieces = Pieces(entry, outputs * window.taps / target.multiplies_per_cycle)
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], window.start(source), source.scalar)

    def tile(a: Value, weights: list[Value], at: list[Value], height: int, width: int, used: int) -> None:
        sums: dict[tuple[int, int], Value] = {}
        for step in _steps(problem, schedule, arithmetic.paired, height, width):
            factor = arithmetic.read(entry, a, step)
            for pixel, number in step.uses:
                sums[pixel] = arithmetic.add(entry, sums.get(pixel), factor, weights[number])
        pixels = [(y, x) for y in range(height) for x in range(width)]
        spots = [
            Spot(tuple(y * p.strides[2] + x * p.strides[3] for y, x in pixels), 0, p.lane, p.scalar)
            for p in places.values()
        ]
        store(entry, tail, spots, at, [[sums[pixel]] for pixel in pixels], used, masked=False)

    ragged = source.channels % source.block
    runs = [([1] * (source.blocks - bool(ragged)), 0, source.block)]
    runs += [([1], source.blocks - 1, ragged)] if ragged else []
    count = len(_vectors(problem, schedule, arithmetic.paired))
    for _, n in each(entry, [1] * out.batch):
        for blocks, offset, used in runs:
            for _, i in each(entry, blocks):
                c = entry.plus(i, offset)
                a = displaced(entry, first, ((n, source.step), (c, source.plane)), source.scalar)
                b = displaced(entry, entry["b"], ((c, count),), arithmetic.weights)
                taps = [arithmetic.weight(entry, b, number) for number in range(count)]
                at = {
                    key: displaced(entry, base[key], ((n, p.strides[0]), (c, p.strides[1])), p.scalar)
                    for key, p in places.items()
                }
                for height, y in each(entry, chunks(out.height, schedule.height)):
                    with pieces.one():
                        for width, x in each(entry, balanced(out.width, schedule.width)):
                            terms = ((y, window.stride[0] * source.row), (x, window.stride[1] * source.block))
                            spots = [
                                displaced(entry, at[key], ((y, p.strides[2]), (x, p.strides[3])), p.scalar)
                                for key, p in places.items()
                            ]
                            tile(displaced(entry, a, terms, source.scalar), taps, spots, height, width, used)
    return [entry]


class _Arithmetic:
    """How vectors of an image are read, multiplied by vectors of weights and added up."""

    def __init__(self, problem: Depthwise, target: Target) -> None:
        self.source = problem.source
        self.lanes, scalar = problem.source.block, problem.source.scalar
        self.paired = _is_paired(problem, target)
        self.weights = F32.of(self.lanes) if scalar.floating else I16.of(self.lanes * (2 if self.paired else 1))

    def read(self, f: Function, a: Value, step: _Step) -> Value:
        """What the weights of a step are multiplied by."""
        first, *second = (self._row(f, a, row, step.column) for row in step.rows)
        if not self.paired:
            return first
        for row in second:
            first = f.binary("or", first, f.binary("shl", row, constant(16, row.type)))
        return f.bitcast(first, I16.of(2 * self.lanes))

    def _row(self, f: Function, a: Value, row: int, column: int) -> Value:
        address = f.gep(a, row * self.source.row + column * self.source.block, self.source.scalar)
        read = f.load(self.source.scalar.of(self.lanes), address)
        if read.type.floating:
            return read
        return f.convert("zext" if self.paired or self.source.scalar == I8 else "sext", read, I32)

    def weight(self, f: Function, b: Value, number: int) -> Value:
        read = f.load(self.weights, f.gep(b, number, self.weights))
        return read if self.paired or read.type.floating else f.convert("sext", read, I32)

    def add(self, f: Function, total: Value | None, factor: Value, weight: Value) -> Value:
        """The sum with one more product (or pair of products); the first has none before it."""
        if factor.type.floating and total is not None:
            return f.intrinsic("fmuladd", factor, weight, total)
        product = pairs_of_products(f, factor, weight) if self.paired else f.mul(factor, weight)
        return product if total is None else f.add(total, product)


def _is_paired(problem: Depthwise, target: Target) -> bool:
    return target.x86 and not problem.source.scalar.floating


def _steps(problem: Depthwise, schedule: Schedule, paired: bool, height: int, width: int) -> Iterator[_Step]:
    """The steps of a block, in the order in which they are done."""
    window = problem.window
    number = {vector: i for i, vector in enumerate(_vectors(problem, schedule, paired))}
    for rows, uses in _rows(window, height, paired):
        for x in range((width - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1):
            found = []
            for kx in range(window.kernel[1]):
                column, off = divmod(x - kx * window.dilation[1], window.stride[1])
                if not off and 0 <= column < width:
                    found += [((row, column), number[pair, kx]) for row, pair in uses]
            if found:
                yield _Step(rows, x, tuple(found))


def _rows(window: Window, height: int, paired: bool) -> list[tuple[tuple[int, ...], list[tuple[int, Pair]]]]:
    """The rows of the source that are read together for so many rows of the output, and by which weights each of those
    uses them."""
    reached = {y * window.stride[0] + k * window.dilation[0] for y in range(height) for k in range(window.kernel[0])}
    ordered, found = sorted(reached), []
    for rows in (tuple(ordered[i : i + 1 + paired]) for i in range(0, len(ordered), 1 + paired)):
        uses: list[tuple[int, Pair]] = []
        for y in range(height):
            first, second = (_tap(window, row, y) for row in (*rows, -1)[:2])
            if (first, second) != (None, None):
                uses.append((y, (first, second)))
        found.append((rows, uses))
    return found


def _tap(window: Window, row: int, y: int) -> int | None:
    """The row of the window by which the output's row `y` reads a row of the source."""
    tap, off = divmod(row - y * window.stride[0], window.dilation[0])
    return None if off or not 0 <= tap < window.kernel[0] else tap


def _vectors(problem: Depthwise, schedule: Schedule, paired: bool) -> list[tuple[Pair, int]]:
    """The vectors of weights of a block of channels, by the rows and the column of the window."""
    heights = dict.fromkeys(chunks(problem.out.height, schedule.height))
    rows = [pair for height in heights for _, uses in _rows(problem.window, height, paired) for _, pair in uses]
    return [(pair, kx) for pair in dict.fromkeys(rows) for kx in range(problem.window.kernel[1])]


def pack(weights: NDArray[Any], problem: Depthwise, target: Target, schedule: Schedule) -> NDArray[Any]:
    """Weights of [channels, 1, y, x] as [block][vector][channel in block][weight of a pair], filled up with zeros."""
    source, paired = problem.source, _is_paired(problem, target)
    kind = weights.dtype if source.scalar.floating else np.dtype(np.int16)
    filled = np.zeros((source.blocks * source.block, problem.window.kernel[0] + 1, problem.window.kernel[1]), kind)
    filled[: source.channels, :-1] = weights.reshape(source.channels, *problem.window.kernel)
    # The row behind the last is of zeros.
    chosen = [
        filled[:, [-1 if row is None else row for row in pair[: 1 + paired]], kx]
        for pair, kx in _vectors(problem, schedule, paired)
    ]
    blocks = np.stack(chosen).reshape(len(chosen), source.blocks, source.block, 1 + paired)
    return np.ascontiguousarray(blocks.transpose(1, 0, 2, 3)).ravel()


@cache
def default(problem: Depthwise, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers: as many sums as fit beside the taps, or beside what weaving
    takes, with weights read from memory."""
    taken = min(problem.window.taps, 10) if problem.source.scalar.floating else 1
    room = max(4, target.vector_registers - taken - 2)
    width = balanced(problem.out.width, min(room, 8))[0]
    return Schedule(max(1, min(problem.out.height, room // width, 2)), width)


def candidates(problem: Depthwise, target: Target) -> list[Schedule]:
    """The schedules worth measuring, the default first."""
    first = default(problem, target)
    found = [first]
    for width in (4, 7, 8, 14, 16):
        fitted = balanced(problem.out.width, width)[0]
        found += [replace(first, height=min(height, problem.out.height), width=fitted) for height in (1, 2, 3)]
    return list(dict.fromkeys(found))
