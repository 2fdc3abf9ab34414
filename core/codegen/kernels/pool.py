"""Pooling over blocked images: maximum and average over windows, which never read the halo, and over whole images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from heddle.core.codegen.kernels.blocking import balanced, each
from heddle.core.codegen.kernels.gemm import displaced
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.llvm import NO_UNROLL, Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Value, constant

Kind = Literal["max", "average"]
ABREAST = 8


@dataclass(frozen=True)
class Pool:
    """`out[n, c, y, x]` over the part of the window that lies within `source`. An average is divided by the number of
    those elements, or with `padded` (the padding after the image, as (y, x)) by those within the padded image."""

    source: Image
    out: Image
    window: Window
    kind: Kind
    padded: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Run:
    """Neighbouring outputs along an axis that use the same taps; `inside` counts taps within the padded image."""

    start: int
    count: int
    taps: tuple[int, ...]
    inside: int


def pool(name: str, target: Target, problem: Pool, tail: Tail = NOTHING, *, internal: bool = True) -> list[Function]:
    """The kernel `(a, out, operands...)`; the places of operands have strides along (batch, channel block, y, x)."""
    source, out, window = problem.source, problem.out, problem.window
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    f = entry_of(name, target, list(places), internal)
    pieces = Pieces(f, out.batch * out.blocks * out.height * out.width * window.taps)
    vector = source.scalar.of(source.block)
    base = {key: f.gep(f[key], place.origin, place.scalar) for key, place in places.items()}
    first = f.gep(f["a"], source.origin, source.scalar)
    down, across = _runs(problem, 0), _runs(problem, 1)

    def tile(a: Value, at: list[Value], row: _Run, column: _Run, width: int, used: int) -> None:
        """Outputs side by side; `a` is at the window's corner, which may lie outside of the image."""
        loaded: dict[tuple[int, int], Value] = {}

        def element(y: int, x: int) -> Value:
            if (y, x) not in loaded:
                loaded[y, x] = f.load(vector, f.gep(a, y * source.row + x * source.block, source.scalar))
            return loaded[y, x]

        results = []
        for i in range(width):
            values = [
                element(ky * window.dilation[0], i * window.stride[1] + kx * window.dilation[1])
                for ky in row.taps
                for kx in column.taps
            ]
            results.append([_reduced(f, problem.kind, values, row.inside * column.inside)])
        spots = [Spot(tuple(i * p.strides[3] for i in range(width)), 0, p.lane, p.scalar) for p in places.values()]
        store(f, tail, spots, at, results, used, masked=False)

    ragged = source.channels % source.block
    channels = [([1] * (source.blocks - bool(ragged)), 0, source.block)]
    channels += [([1], source.blocks - 1, ragged)] if ragged else []
    for _, n in each(f, [1] * source.batch):
        for blocks, offset, used in channels:
            for _, i in each(f, blocks):
                c = f.plus(i, offset)
                for row in down:
                    for _, down_by in each(f, [1] * row.count):
                        y = f.plus(down_by, row.start)
                        with pieces.one():
                            for column in across:
                                for width, across_by in each(f, balanced(column.count, ABREAST)):
                                    x = f.plus(across_by, column.start)
                                    corner_y = f.plus(f.times(y, window.stride[0]), -window.pads[0])
                                    corner_x = f.plus(f.times(x, window.stride[1]), -window.pads[1])
                                    terms = ((corner_y, source.row), (corner_x, source.block))
                                    channel = ((n, source.step), (c, source.plane))
                                    spots = [
                                        displaced(
                                            f, base[key], tuple(zip((n, c, y, x), p.strides, strict=True)), p.scalar
                                        )
                                        for key, p in places.items()
                                    ]
                                    a = displaced(f, first, (*channel, *terms), source.scalar)
                                    tile(a, spots, row, column, width, used)
    return [f]


def whole_pool(
    name: str, target: Target, source: Image, out: Place, kind: Kind, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The kernel `(a, out, operands...)` that reduces every channel to one element.

    `out` and the operands' places have strides along (batch, channel block); channels beyond the last are not stored.
    """
    places = {"out": out, **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    f = entry_of(name, target, list(places), internal)
    pieces = Pieces(f, source.batch * source.blocks * source.height * source.width)
    vector = source.scalar.of(source.block)
    base = {key: f.gep(f[key], place.origin, place.scalar) for key, place in places.items()}
    first = f.gep(f["a"], source.origin, source.scalar)
    ragged = source.channels % source.block
    channels = [([1] * (source.blocks - bool(ragged)), 0, source.block)]
    channels += [([1], source.blocks - 1, ragged)] if ragged else []
    width = min(ABREAST, source.width)
    for _, n in each(f, [1] * source.batch):
        for blocks, offset, used in channels:
            for _, i in each(f, blocks):
                c = f.plus(i, offset)
                with pieces.one():
                    a = displaced(f, first, ((n, source.step), (c, source.plane)), source.scalar)
                    sums = [
                        f.variable(f.load(vector, f.gep(a, x * source.block, source.scalar)))
                        if kind == "max"
                        else f.variable(constant(0.0, vector))
                        for x in range(width)
                    ]
                    with f.loop(0, source.height, 1, (NO_UNROLL,)) as y:
                        for size, x in each(f, balanced(source.width, width)):
                            at = displaced(f, a, ((y, source.row), (x, source.block)), source.scalar)
                            for q in range(size):
                                element = f.load(vector, f.gep(at, q * source.block, source.scalar))
                                f.set(sums[q], _join(f, kind, f.get(sums[q]), element))
                    result = _reduced(f, kind, [f.get(total) for total in sums], source.height * source.width)
                    pointers = [
                        displaced(f, base[key], tuple(zip((n, c), p.strides, strict=True)), p.scalar)
                        for key, p in places.items()
                    ]
                    spots = [Spot((0,), 0, p.lane, p.scalar) for p in places.values()]
                    store(f, tail, spots, pointers, [[result]], used, masked=True)
    return [f]


def entry_of(name: str, target: Target, outputs: list[str], internal: bool) -> Function:
    """The beginning of a kernel that takes `(a, outputs...)`."""
    parameters = [("a", "ptr noalias readonly"), (outputs[0], "ptr"), *((key, "ptr readonly") for key in outputs[1:])]
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    return Function(name, parameters, internal=internal, attributes=attributes)


def _join(f: Function, kind: Kind, a: Value, b: Value) -> Value:
    """The greater of two, NaN where either is (bytes are unsigned, words are signed); or the sum."""
    if kind == "max":
        return f.intrinsic("maximum" if a.type.floating else "umax" if a.type.bits == 8 else "smax", a, b)
    return f.add(a, b)


def _reduced(f: Function, kind: Kind, values: list[Value], divisor: int) -> Value:
    """All values joined pairwise; a sum divided."""
    while len(values) > 1:
        pairs = [_join(f, kind, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(values) - len(values) % 2 :]
    return values[0] if kind == "max" else f.div(values[0], constant(float(divisor), values[0].type))


def _runs(problem: Pool, axis: int) -> list[_Run]:
    """The outputs along an axis, grouped by the taps that fall within the source."""
    window = problem.window
    size = (problem.source.height, problem.source.width)[axis]
    extent = (problem.out.height, problem.out.width)[axis]
    after = problem.padded[axis] if problem.padded else 0

    def taps(i: int) -> tuple[tuple[int, ...], int]:
        positions = [
            i * window.stride[axis] - window.pads[axis] + k * window.dilation[axis] for k in range(window.kernel[axis])
        ]
        within = tuple(k for k, position in enumerate(positions) if 0 <= position < size)
        inside = sum(position < size + after for position in positions) if problem.padded else len(within)
        return within, inside

    runs, start = [], 0
    for (within, inside), group in groupby(taps(i) for i in range(extent)):
        count = len(list(group))
        assert within, f"a window of {window} lies wholly outside of {size} elements"
        runs.append(_Run(start, count, within, inside))
        start += count
    return runs
