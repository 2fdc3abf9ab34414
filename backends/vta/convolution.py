"""Convolutions as steps: tiles of output rows and columns, chunks of input channels, blocks of output channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import numpy as np
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Conv, block_of
from heddle.backends.vta.pipeline import unit_size
from heddle.backends.vta.steps import Addresses, Chunk, Step
from heddle.backends.vta.windows import (
    LONGEST,
    Place,
    Tile,
    Window,
    drain,
    load_flat,
    load_window,
    parameter_ranges,
    tiles,
    uops_chunk,
    window,
)
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tiling:
    """How a convolution is cut: output rows and columns of a tile, input blocks of a chunk, output blocks of a group.

    `groups_outside`: output groups are the outer loop and tiles the inner one, else the other way round.
    """

    rows: int
    columns: int
    chunk: int
    group: int
    groups_outside: bool


@dataclass(frozen=True)
class _Blocks:
    """The weights of one block of bo output channels: which input blocks they read, and their tiles for each."""

    inputs: tuple[int, ...]
    tiles: NDArray[np.int8]  # [input][part][kernel height][kernel width][bo][bi]


def _weight_blocks(config: Config, layer: Conv) -> list[_Blocks]:
    """The weights cut into blocks; input blocks that a block of a grouped convolution does not read are left out."""
    weights, memory = layer.weights, block_of(config)
    outputs, per_group, *kernel = weights.shape
    outputs_per_group = outputs // layer.groups
    blocks = []
    for first in range(0, outputs, config.bo):
        rows = weights[first : first + config.bo]
        starts = [(first + o) // outputs_per_group * per_group for o in range(len(rows))]
        low, high = min(starts) // memory, -(-(max(starts) + per_group) // memory)
        dense = np.zeros((config.bo, (high - low) * memory, *kernel), np.int8)
        for o, start in enumerate(starts):
            dense[o, start - low * memory : start - low * memory + per_group] = rows[o]
        parts = dense.reshape(config.bo, high - low, memory // config.bi, config.bi, *kernel)
        blocks.append(_Blocks(tuple(range(low, high)), np.ascontiguousarray(parts.transpose(1, 2, 4, 5, 0, 3))))
    return blocks


@dataclass(frozen=True)
class _Maker:
    """Makes the steps of a convolution; what several steps read is made once."""

    config: Config
    images: Images
    place: Place
    layer: Conv
    tiling: Tiling

    @cached_property
    def blocks(self) -> list[_Blocks]:
        return _weight_blocks(self.config, self.layer)

    @property
    def parts(self) -> int:
        """The input vectors of a block in memory."""
        return block_of(self.config) // self.config.bi

    @cached_property
    def kernel(self) -> tuple[int, int]:
        return self.layer.weights.shape[2], self.layer.weights.shape[3]

    @cached_property
    def weights(self) -> Callable[[int, int], Chunk]:
        """The tiles of a block for a chunk of its inputs."""

        def load(block: int, chunk: int) -> Chunk:
            first = chunk * self.tiling.chunk
            cut = self.blocks[block].tiles[first : first + self.tiling.chunk]
            offset, count = self.images.add(cut.tobytes()), math.prod(cut.shape[:-2])
            return Chunk(("wgt", offset), "wgt", count, load_flat(self.config, self.place, "wgt", offset, count), True)

        return cache(load)

    @cached_property
    def uops(self) -> Callable[[int, int, int], Chunk]:
        """The micro-ops over so many blocks of a window, whose rows and blocks are so many vectors apart."""
        layer, parts, (rows, columns) = self.layer, self.parts, self.kernel

        def walk(count: int, pitch: int, plane: int) -> Chunk:
            taps = [
                (b, part, y, x)
                for b in range(count)
                for part in range(parts)
                for y in range(rows)
                for x in range(columns)
            ]
            return uops_chunk(self.config, self.images, self.place, [
                (0, b * plane + y * layer.dilations[0] * pitch + x * layer.dilations[1] * parts + part,
                 (b * parts + part) * rows * columns + y * columns + x)
                for b, part, y, x in taps
            ])  # fmt: skip

        return cache(walk)

    @cached_property
    def activations(self) -> Callable[[int, Tile, tuple[int, ...]], tuple[Window, Chunk]]:
        """The window of some input blocks under a tile."""
        layer = self.layer

        def load(image: int, tile: Tile, inputs: tuple[int, ...]) -> tuple[Window, Chunk]:
            view = window(tile, layer.input, self.kernel, layer.strides, layer.pads, layer.dilations)
            bring = load_window(
                self.config, self.images, self.place, layer.input, image, inputs, view, layer.input.zero_point
            )
            size = view.height * view.width * self.parts * len(inputs)
            return view, Chunk(("inp", layer.name, image, tile, inputs), "inp", size, bring)

        return cache(load)

    def step(self, image: int, tile: Tile, block: int, chunk: int, last: bool, parameters: Chunk, index: int) -> Step:
        """One tile of one block of output channels, over a chunk of the input blocks."""
        config, layer = self.config, self.layer
        first = chunk * self.tiling.chunk
        inputs = self.blocks[block].inputs[first : first + self.tiling.chunk]
        view, activations = self.activations(image, tile, inputs)
        weights = self.weights(block, chunk)
        pitch = view.width * self.parts
        uops = self.uops(len(inputs), pitch, view.height * pitch)

        def compute(at: Addresses, acc: int) -> list[Instruction]:
            down, across = layer.strides[0] * pitch, layer.strides[1] * self.parts
            begin = at[uops.key] * config.uops_per_beat
            return [make("LOOP", dst1=tile.columns, dst2=1, src1=down, src2=across), make(
                "GEMM", dst=acc, src=at[activations.key], wgt=at[weights.key], begin=begin,
                count=weights.size, n1=tile.rows, n2=tile.columns, overwrite=int(chunk == 0),
                unsigned=int(layer.input.unsigned),
            )]  # fmt: skip

        store = None
        if last:
            store = drain(
                config, self.place, layer.output, image, tile, block, layer.residual, layer.scaling, parameters, index
            )
        # Micro-ops are few and wanted first; parameters are wanted last.
        reads = (uops, activations, weights, parameters) if last else (uops, activations, weights)
        return Step(reads, (layer.name, image, tile, block), tile.rows * tile.columns, compute, store)


def conv_steps(config: Config, images: Images, place: Place, layer: Conv, tiling: Tiling) -> Iterator[Step]:
    """The steps of a convolution under a tiling."""
    maker = _Maker(config, images, place, layer, tiling)
    blocks = maker.blocks
    rectangles = list(tiles(layer.output, tiling.rows, tiling.columns))
    for here, parameters in parameter_ranges(config, images, place, layer.name, layer.scaling):
        groups = [here[at : at + tiling.group] for at in range(0, len(here), tiling.group)]
        order = (
            [(group, tile) for group in groups for tile in rectangles]
            if tiling.groups_outside
            else [(group, tile) for tile in rectangles for group in groups]
        )
        for image, (group, tile) in product(range(layer.input.batch), order):
            chunks = -(-max(len(blocks[block].inputs) for block in group) // tiling.chunk)
            for chunk, block in product(range(chunks), group):
                last = -(-len(blocks[block].inputs) // tiling.chunk) - 1
                if chunk <= last:
                    yield maker.step(image, tile, block, chunk, chunk == last, parameters, block - here[0])


def tilings(config: Config, layer: Conv) -> list[Tiling]:
    """The tilings of a convolution whose steps fit the memories with room for the next step's data, best first."""
    blocks = _weight_blocks(config, layer)
    parts = block_of(config) // config.bi
    inputs, outputs = max(len(block.inputs) for block in blocks), len(blocks)
    taps = layer.weights.shape[2] * layer.weights.shape[3] * parts
    height, width = layer.output.height, layer.output.width
    shapes = [(rows, width) for rows in _divisions(height)] + [(1, columns) for columns in _divisions(width)[1:]]
    for room in (2, 1):  # twice what a step needs, so that the next step's data can come meanwhile; else just that
        found: list[tuple[float, Tiling]] = []
        for rows, columns in shapes:
            extent = _extent(layer, 0, rows), _extent(layer, 1, columns)
            if max(extent) > LONGEST:
                continue
            pixels, plane = rows * columns, extent[0] * extent[1] * parts
            for chunk in _divisions(inputs):
                if chunk * plane * room > config.inp_depth or chunk * taps * room > min(
                    config.wgt_depth, config.uop_depth
                ):
                    continue
                for group in _divisions(outputs):
                    active = 1 if chunk >= inputs else group
                    if active * unit_size(config, pixels) * room > config.acc_depth:
                        continue
                    for outside in (False, True) if group < outputs and pixels < height * width else (False,):
                        tiling = Tiling(rows, columns, chunk, group, outside)
                        found.append((_guess(config, layer, tiling, inputs, outputs, plane, taps), tiling))
        if found:
            return [tiling for _, tiling in sorted(found, key=lambda entry: entry[0])]
    return []


def _extent(layer: Conv, axis: int, size: int) -> int:
    """The rows or columns of input under so many rows or columns of output."""
    kernel = int(layer.weights.shape[2 + axis])
    return (size - 1) * layer.strides[axis] + (kernel - 1) * layer.dilations[axis] + 1


def _guess(config: Config, layer: Conv, tiling: Tiling, inputs: int, outputs: int, plane: int, taps: int) -> float:
    """A first estimate of the cycles of a tiling, in closed form."""
    chunks, groups = -(-inputs // tiling.chunk), -(-outputs // tiling.group)
    rectangles = -(-layer.output.height // tiling.rows) * -(-layer.output.width // tiling.columns)
    pixels = tiling.rows * tiling.columns
    inp_beat, wgt_beat = config.inp_bytes / config.beat_bytes, config.wgt_bytes / config.beat_bytes
    again = groups if chunks * tiling.chunk * plane > config.inp_depth or tiling.groups_outside else 1
    if tiling.groups_outside and rectangles * inputs * plane <= config.inp_depth:
        again = 1
    activations = again * rectangles * inputs * plane * inp_beat
    fits = tiling.group * inputs * taps if tiling.groups_outside else outputs * inputs * taps
    weights = (1 if fits <= config.wgt_depth else rectangles) * outputs * inputs * taps * wgt_beat
    compute = rectangles * pixels * outputs * inputs * taps
    start = tiling.chunk * (plane * inp_beat + taps * wgt_beat)
    stored = layer.output.height * layer.output.width * outputs * config.out_bytes / config.beat_bytes
    steps = rectangles * outputs * chunks
    busy = max(compute, activations + weights + steps, stored)
    return layer.input.batch * busy + start + pixels * config.out_bytes / config.beat_bytes + 4 * steps


def _divisions(total: int) -> list[int]:
    """The sizes of the parts when something is cut into 1, 2, 3, ... parts as equal as can be; each size once."""
    return sorted({-(-total // parts) for parts in range(1, total + 1)}, reverse=True)
