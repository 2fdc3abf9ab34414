"""Depthwise convolution of floats over blocked images: every channel by itself, a vector of them at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from heddle.core.codegen.kernels.blocking import balanced, chunks, each
from heddle.core.codegen.kernels.gemm import displaced, entry_function
from heddle.core.codegen.kernels.image import Image, Window
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import Value
from numpy.typing import NDArray


@dataclass(frozen=True)
class Depthwise:
    """`out[n, c, y, x] = tail(sum of source[n, c, y', x'] * weights[c, ky, kx])`, both images in blocks of a vector."""

    source: Image
    out: Image
    window: Window


@dataclass(frozen=True)
class Schedule:
    """A block of `height` x `width` pixels is computed at once, so that each input vector is loaded once for it."""

    height: int
    width: int


def depthwise(
    name: str, target: Target, problem: Depthwise, schedule: Schedule, tail: Tail = NOTHING, *, internal: bool = True
) -> list[Function]:
    """The kernel `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The places of the tail's operands have strides along (batch, channel block, y, x).
    """
    source, out, window = problem.source, problem.out, problem.window
    vector = source.scalar.of(source.block)
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    outputs = out.batch * out.blocks * out.height * out.width
    pieces = Pieces(entry, outputs * window.taps / target.multiplies_per_cycle)
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    first = entry.gep(entry["a"], window.start(source), source.scalar)

    def tile(a: Value, weights: list[Value], at: list[Value], height: int, width: int, used: int) -> None:
        sums: dict[tuple[int, int], Value] = {}
        for y in range((height - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] + 1):
            for x in range((width - 1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1):
                loaded: Value | None = None
                for row, column, tap in _uses(window, y, x, height, width):
                    if loaded is None:
                        loaded = entry.load(vector, entry.gep(a, y * source.row + x * source.block, source.scalar))
                    product = sums.get((row, column))
                    if product is None:
                        sums[row, column] = entry.mul(loaded, weights[tap])
                    else:
                        sums[row, column] = entry.intrinsic("fmuladd", loaded, weights[tap], product)
        pixels = [(y, x) for y in range(height) for x in range(width)]
        spots = [
            Spot(tuple(y * p.strides[2] + x * p.strides[3] for y, x in pixels), 0, p.lane, p.scalar)
            for p in places.values()
        ]
        store(entry, tail, spots, at, [[sums[pixel]] for pixel in pixels], used, masked=False)

    ragged = source.channels % source.block
    runs = [([1] * (source.blocks - bool(ragged)), 0, source.block)]
    runs += [([1], source.blocks - 1, ragged)] if ragged else []
    for _, n in each(entry, [1] * out.batch):
        for blocks, offset, used in runs:
            for _, i in each(entry, blocks):
                c = entry.plus(i, offset)
                a = displaced(entry, first, ((n, source.step), (c, source.plane)), source.scalar)
                b = displaced(entry, entry["b"], ((c, window.taps * source.block),), source.scalar)
                taps = [entry.load(vector, entry.gep(b, t * source.block, source.scalar)) for t in range(window.taps)]
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


def _uses(window: Window, y: int, x: int, height: int, width: int) -> list[tuple[int, int, int]]:
    """The outputs (row, column) of a block that read the input at (y, x), with the tap that they read it by."""
    found = []
    for ky in range(window.kernel[0]):
        row, off_y = divmod(y - ky * window.dilation[0], window.stride[0])
        for kx in range(window.kernel[1]):
            column, off_x = divmod(x - kx * window.dilation[1], window.stride[1])
            if not off_y and not off_x and 0 <= row < height and 0 <= column < width:
                found.append((row, column, ky * window.kernel[1] + kx))
    return found


def pack(weights: NDArray[Any], problem: Depthwise) -> NDArray[Any]:
    """Weights of [channels, 1, y, x] as [block][y][x][channel in block], filled up with zeros."""
    source, taps = problem.source, problem.window.taps
    filled = np.zeros((source.blocks * source.block, taps), weights.dtype)
    filled[: source.channels] = weights.reshape(source.channels, taps)
    return np.ascontiguousarray(filled.reshape(source.blocks, source.block, taps).transpose(0, 2, 1)).ravel()


@cache
def default(problem: Depthwise, target: Target) -> Schedule:
    """The schedule that the model of the machine prefers: as many sums as fit beside the taps."""
    room = max(4, target.vector_registers - min(problem.window.taps, 10) - 2)
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
