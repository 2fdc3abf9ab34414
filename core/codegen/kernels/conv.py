"""Direct convolution over blocked images, of floats and of bytes: any window and groups, with packed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from typing import Any

import numpy as np
from heddle.core.codegen.kernels.arithmetic import Arithmetic, arithmetic_of
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.gemm import displaced, entry_function
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.micro import Block, Loop, Nest, micro
from heddle.core.codegen.kernels.shapes import block_cycles, register_blocks
from heddle.core.codegen.kernels.store import Spot
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I16, Index, Value
from numpy.typing import NDArray

WHOLE = 1 << 30
LINE = 64


@dataclass(frozen=True)
class Conv:
    """`out[n, o, y, x] = tail(sum of source[n, i, y', x'] * weights[o, i, ky, kx])`, in `groups` of channels.

    `source` may have any block (1 for NCHW, its channels for NHWC) and must have the halo that `window.reach` tells;
    `out` has a block of one vector. A source of bytes is held as `integers` has it, in blocks of a multiple of four
    channels, and its weights are signed bytes; sums are 32-bit integers then, of which the tail makes what is stored.
    They are `small` if none of them can reach 2^25.
    """

    source: Image
    out: Image
    window: Window
    groups: int = 1
    small: bool = False


@dataclass(frozen=True)
class Schedule:
    """A block of `height` x `width` pixels by `vectors` of output channels, steps unrolled by `unroll`.

    Input channels are cut to `split` blocks, and the output to `band` rows (pixels where the image is one row), so that
    operands stay in a cache; weights are prefetched `prefetch` steps ahead (0: left to the machine).
    """

    height: int
    width: int
    vectors: int
    unroll: int = 4
    split: int = WHOLE
    band: int = WHOLE
    prefetch: int = 0


@dataclass(frozen=True)
class _Grouping:
    """Groups merged until each merged group fills whole blocks of channels, its weights block-diagonal."""

    count: int
    inputs: int
    outputs: int


def conv(
    name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The places of the tail's operands have strides along (batch, channel block, y, x). With a `split` below the input's
    blocks, partial sums wait in the output: its scalar must be the source's, and no operand may share its memory.
    """
    lanes = _arithmetic(problem, target).lanes
    assert problem.out.block == lanes, f"{name}: the output's block {problem.out.block} is no vector of {lanes}"
    places = {"out": problem.out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    if is_linear(problem, tail):
        problem, places = as_one_row(problem), {key: row_of(place) for key, place in places.items()}
    tail = replace(tail, operands=tuple(places.values())[1:])
    source, out, window, grouping = problem.source, problem.out, problem.window, _grouping(problem)
    entry = entry_function(name, target, list(places), internal)
    pieces = Pieces(entry, _cycles_at_best(problem, target))
    blocks = _Blocks(name, target, problem, schedule, tail)
    scalar = source.scalar
    weight = _arithmetic(problem, target).b
    inputs = _filled(grouping.inputs, problem, target)
    group_blocks = -(-grouping.outputs // lanes)
    depth = -(-inputs // source.block)
    splits = balanced(depth, schedule.split)
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], window.start(source), scalar)
    one_row = out.height == 1

    def tiles(
        a: Value, b: Value, at: Mapping[str, Value], rows: int, columns: int, panel: tuple[int, int, int, int]
    ) -> None:
        """All blocks of pixels of a band, for one panel of output channels and one cut of the input's."""
        for height, y in each(entry, chunks(rows, schedule.height)):
            for width, x in each(entry, balanced(columns, schedule.width)):
                terms = ((y, window.stride[0] * source.row), (x, window.stride[1] * source.block))
                spots = [
                    displaced(entry, at[key], ((y, place.strides[2]), (x, place.strides[3])), place.scalar)
                    for key, place in places.items()
                ]
                callee = blocks.make(height, width, *panel)
                with nullcontext() if len(splits) > 1 else pieces.one():
                    entry.invoke(callee, [displaced(entry, a, terms, scalar), b, *spots[: len(callee.parameters) - 2]])

    def band(n: Index, group: Index, rows: int, y: Index, columns: int, x: Index) -> None:
        begin = 0
        for split in splits:
            for size, block, used in _panels(entry, grouping, lanes, schedule.vectors):
                channel = entry.plus(entry.times(group, group_blocks), block)
                a_terms = (
                    (n, source.step),
                    (group, grouping.inputs // source.block * source.plane),
                    (begin, source.plane),
                    (y, window.stride[0] * source.row),
                    (x, window.stride[1] * source.block),
                )
                steps = inputs * window.taps * lanes
                b_terms = (
                    (entry.plus(entry.times(group, group_blocks), block), steps),
                    (begin, window.taps * source.block * size * lanes),
                )
                at = {
                    key: displaced(
                        entry, base[key], tuple(zip((n, channel, y, x), place.strides, strict=True)), place.scalar
                    )
                    for key, place in places.items()
                }
                a, b = displaced(entry, first, a_terms, scalar), displaced(entry, entry["b"], b_terms, weight)
                tiles(a, b, at, rows, columns, (size, used, begin, begin + split))
            begin += split

    for _, n in each(entry, [1] * out.batch):
        for _, group in each(entry, [1] * grouping.count):
            for extent, start in each(entry, chunks(out.width if one_row else out.height, schedule.band)):
                # Partial sums wait in the output, so that all splits of a band are one thread's.
                with pieces.one() if len(splits) > 1 else nullcontext():
                    if one_row:
                        band(n, group, 1, 0, extent, start)
                    else:
                        band(n, group, extent, start, out.width, 0)
    return [*blocks.made.values(), entry]


def _cycles_at_best(problem: Conv, target: Target) -> float:
    """What the products alone take."""
    grouping, arithmetic = _grouping(problem), _arithmetic(problem, target)
    steps = _filled(grouping.inputs, problem, target) // arithmetic.depth * problem.window.taps
    blocks = -(-grouping.outputs // arithmetic.lanes) * grouping.count
    return problem.out.batch * problem.out.height * problem.out.width * steps * blocks / target.multiplies_per_cycle


def pack(weights: NDArray[Any], problem: Conv, target: Target, schedule: Schedule) -> NDArray[Any]:
    """Weights of [outputs, inputs / groups, y, x] in the order in which the kernel reads them, filled up with zeros:
    [group][panel of outputs][input block][y][x][input in block][output in panel]."""
    arithmetic = _arithmetic(problem, target)
    lanes, step = arithmetic.lanes, arithmetic.depth
    kind = np.dtype(np.int16) if arithmetic.b == I16 else weights.dtype
    grouping, block = _grouping(problem), problem.source.block
    filled = _filled(grouping.inputs, problem, target)
    outputs, inputs = problem.out.channels // problem.groups, problem.source.channels // problem.groups
    merged = problem.groups // grouping.count
    panels = []
    for group in range(grouping.count):
        dense = np.zeros((-(-grouping.outputs // lanes) * lanes, filled, *problem.window.kernel), kind)
        for i in range(merged):
            rows, columns = slice(i * outputs, (i + 1) * outputs), slice(i * inputs, (i + 1) * inputs)
            start = (group * merged + i) * outputs
            dense[rows, columns] = weights[start : start + outputs]
        left = 0
        for vectors in chunks(dense.shape[0] // lanes, schedule.vectors):
            panel = dense[left * lanes : (left + vectors) * lanes]
            for begin in range(0, filled, block):
                part = panel[:, begin : begin + block]
                steps = part.reshape(part.shape[0], -1, step, *part.shape[2:])
                panels.append(steps.transpose(3, 4, 1, 0, 2).ravel())
            left += vectors
    return np.concatenate(panels)


@cache
def default(problem: Conv, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers."""
    lanes = problem.out.block
    grouping, window = _grouping(problem), problem.window
    steps = _filled(grouping.inputs, problem, target) * window.taps // _arithmetic(problem, target).depth
    shaped = as_one_row(problem) if is_linear(problem, NOTHING) else problem
    out, source = shaped.out, shaped.source

    def tile(rows: int) -> tuple[int, int]:
        """Height and width of a block of at most so many pixels: whole rows where they are short."""
        width = balanced(out.width, rows)[0]
        return max(1, min(out.height, rows // width)) if width == out.width else 1, width

    def cost(block: tuple[int, int]) -> float:
        height, width = tile(block[0])
        parts = [h * w for h in chunks(out.height, height) for w in balanced(out.width, width)]
        return block_cycles(target, parts, chunks(-(-grouping.outputs // lanes), block[1]), steps)

    rows, vectors = min(register_blocks(target, _arithmetic(problem, target).between), key=cost)
    height, width = tile(rows)
    size = source.scalar.bits // 8
    weights = grouping.inputs * window.taps * grouping.outputs * size
    line = grouping.inputs * (window.stride[1] if out.height == 1 else window.stride[0] * out.width * window.stride[1])
    unit = width if out.height == 1 else height
    band = WHOLE
    if weights <= target.l2 // 2:
        band = max(1, target.l2 // 4 // (line * size) // unit) * unit
    whole = out.width if out.height == 1 else out.height
    return Schedule(height, width, vectors, unroll=_unroll(problem, target), band=band if band < whole else WHOLE)


@cache
def cycles(problem: Conv, target: Target) -> float:
    """What the model of the machine expects of the default schedule."""
    schedule = default(problem, target)
    shaped = as_one_row(problem) if is_linear(problem, NOTHING) else problem
    grouping = _grouping(problem)
    parts = [
        height * width
        for height in chunks(shaped.out.height, schedule.height)
        for width in balanced(shaped.out.width, schedule.width)
    ]
    panels = chunks(-(-grouping.outputs // problem.out.block), schedule.vectors)
    steps = grouping.inputs * problem.window.taps // _arithmetic(problem, target).depth
    return block_cycles(target, parts, panels, steps) * grouping.count * problem.out.batch


def candidates(problem: Conv, target: Target) -> list[Schedule]:
    """The schedules worth measuring, the default first."""
    first = default(problem, target)
    shaped = as_one_row(problem) if is_linear(problem, NOTHING) else problem
    found = [first, replace(first, prefetch=16), replace(first, band=WHOLE)]
    for rows, vectors in register_blocks(target, _arithmetic(problem, target).between)[:8]:
        width = balanced(shaped.out.width, rows)[0]
        height = max(1, min(shaped.out.height, rows // width)) if width == shaped.out.width else 1
        found += [replace(first, height=height, width=width, vectors=vectors, prefetch=p) for p in (0, 16)]
    depth = -(-_grouping(problem).inputs // problem.source.block)
    if problem.out.scalar == problem.source.scalar and problem.source.scalar.floating and depth >= 16:
        found += [replace(first, split=depth // 2), replace(first, split=depth // 4)]
    return list(dict.fromkeys(found))


class _Blocks:
    """The microkernels of one convolution, each made when it is first called for."""

    def __init__(self, name: str, target: Target, problem: Conv, schedule: Schedule, tail: Tail) -> None:
        self.name, self.target, self.problem, self.schedule, self.tail = name, target, problem, schedule, tail
        self.arithmetic = _arithmetic(problem, target)
        self.grouping = _grouping(problem)
        self.made: dict[Block, Function] = {}

    def make(self, height: int, width: int, vectors: int, used: int, begin: int, end: int) -> Function:
        source, window = self.problem.source, self.problem.window
        lanes = self.arithmetic.lanes
        inputs = _filled(self.grouping.inputs, self.problem, self.target)
        last = end * source.block >= inputs
        step_y, step_x = window.stride[0] * source.row, window.stride[1] * source.block
        pixels = [(y, x) for y in range(height) for x in range(width)]
        spots = tuple(
            Spot(
                tuple(y * place.strides[2] + x * place.strides[3] for y, x in pixels),
                place.strides[1],
                place.lane,
                place.scalar,
            )
            for place in (self.problem.out.place(), *(self.tail.operands if last else ()))
        )
        key = Block(
            rows=tuple(y * step_y + x * step_x for y, x in pixels),
            vectors=vectors,
            nests=_nests(source, window, inputs, begin, end, vectors * lanes, self.arithmetic.depth),
            b=vectors * lanes * self.arithmetic.depth,
            b_vector=lanes * self.arithmetic.depth,
            unroll=self.schedule.unroll,
            spots=spots,
            lanes=used,
            masked=False,
            first=begin == 0,
            last=last,
            prefetch=self.schedule.prefetch,
            ahead=_ahead(source, [y * step_y + x * step_x for y, x in pixels], width * step_x),
        )
        if key not in self.made:
            label = f"{self.name}.block{len(self.made)}"
            self.made[key] = micro(label, self.target, self.arithmetic, key, self.tail if last else NOTHING)
        return self.made[key]


def _ahead(source: Image, rows: Sequence[int], step: int) -> tuple[int, ...]:
    """Where the next block of pixels to the right reads its first channels, once for each line of memory."""
    line = LINE * 8 // source.scalar.bits
    return tuple(sorted({(row + step) // line * line for row in rows}))


def _nests(source: Image, window: Window, inputs: int, begin: int, end: int, width: int, step: int) -> tuple[Nest, ...]:
    """The reduction over input blocks `begin` to `end`, `step` channels a step: whole blocks, then the rest of a
    block that is filled up."""
    (down, across), (below, beside) = window.kernel, window.dilation
    block = source.block
    whole, rest = min(end, inputs // block) - begin, inputs % block if end * block > inputs else 0
    tap = block * width
    nests = []
    if whole > 0:
        outer = (Loop(whole, source.plane, window.taps * tap), Loop(down, below * source.row, across * tap))
        if beside == 1:
            nests.append(Nest(outer, across * block // step, step))
        else:
            nests.append(Nest((*outer, Loop(across, beside * block, tap)), block // step, step))
    if rest:
        taps = (
            Loop(down, below * source.row, across * rest * width),
            Loop(across, beside * block, rest * width),
        )
        start = max(whole, 0)
        nests.append(Nest(taps, rest // step, step, start * source.plane, start * window.taps * tap))
    return tuple(nests)


def _panels(f: Function, grouping: _Grouping, lanes: int, vectors: int) -> Iterator[tuple[int, Index, int]]:
    """Emit code for each panel of output channels: (vectors, first block, lanes used of the last vector)."""
    panels = chunks(-(-grouping.outputs // lanes), vectors)
    ragged = [panels.pop()] if grouping.outputs % lanes else []
    for size, block in each(f, panels):
        yield size, block, lanes
    for size in ragged:
        yield size, sum(panels), grouping.outputs % lanes


def _grouping(problem: Conv) -> _Grouping:
    groups = problem.groups
    inputs, outputs = problem.source.channels // groups, problem.out.channels // groups
    if groups == 1:
        return _Grouping(1, inputs, outputs)
    merged = _lcm_count(inputs, problem.source.block, outputs, problem.out.block)
    if groups % merged:
        merged = groups
    return _Grouping(groups // merged, merged * inputs, merged * outputs)


def _lcm_count(inputs: int, source_block: int, outputs: int, out_block: int) -> int:
    """The least number of groups that together fill whole blocks on both sides."""
    a, b = source_block // gcd(source_block, inputs), out_block // gcd(out_block, outputs)
    return a * b // gcd(a, b)


def _arithmetic(problem: Conv, target: Target) -> Arithmetic:
    return arithmetic_of(target, problem.source.scalar)


def _filled(inputs: int, problem: Conv, target: Target) -> int:
    """Input channels filled up to whole steps."""
    step = _arithmetic(problem, target).depth
    return -(-inputs // step) * step


def _unroll(problem: Conv, target: Target) -> int:
    arithmetic = _arithmetic(problem, target)
    if arithmetic.unroll < 4:
        return arithmetic.unroll
    block = problem.source.block // arithmetic.depth
    steps = block * problem.window.kernel[1] if problem.window.dilation[1] == 1 else block
    return next((unroll for unroll in (4, 3, 5, 7) if steps % unroll == 0), 4)


def is_linear(problem: Conv, tail: Tail) -> bool:
    """Whether the pixels of an image can be walked as one row: one tap, no stride, and no halo anywhere."""
    plain = (0, 0, 0, 0)
    width = problem.out.width
    return (
        problem.window.taps == 1
        and problem.window.stride == (1, 1)
        and problem.source.halo == problem.out.halo == plain
        and all(place.strides[2] == width * place.strides[3] for place in tail.operands)
    )


def as_one_row(problem: Conv) -> Conv:
    """The same convolution over images of a single row."""
    pixels = problem.out.height * problem.out.width
    return replace(
        problem,
        source=replace(problem.source, height=1, width=pixels),
        out=replace(problem.out, height=1, width=pixels),
    )


def row_of(place: Place) -> Place:
    """Where an operand lies beside such an image."""
    return replace(place, strides=(*place.strides[:2], 0, place.strides[3]))
