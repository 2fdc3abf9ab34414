"""Products of two computed matrices, and turned matrices, as steps: pixels of a tensor are loaded as weights.

Where a block of channels is as wide as the array, BO pixels behind one another in memory are one weight tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from heddle.backends.vta.convolution import Tiling
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import MatMul, Scaling, Tensor, Turn, block_of
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
    uops_chunk,
)
from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make


def loads_pixels_as_weights(config: Config) -> bool:
    """Whether pixels of a tensor can be weight tiles."""
    return config.bi >= config.bo


def _pixels_as_weights(
    config: Config, place: Place, name: str, source: Tensor, image: int, row: int, first: int, blocks: Sequence[int]
) -> Chunk:
    """The tiles of BO pixels from number `first` of a row on, one for each block of channels.

    Beyond the last pixel a tile holds whatever is behind it in memory.
    """
    at, beats = source.pitch(config), block_of(config) // config.beat_bytes
    base, offset = place(source.name)
    start = at.offset + image * at.image + blocks[0] * at.block + row * at.row + first
    stride = make("STRIDE", mem="wgt", y=at.block * beats)
    box = {"base": base, "offset": offset + start * beats, "y": len(blocks)}
    key = ("pixels", name, source.name, image, row, first, tuple(blocks))
    return Chunk(key, "wgt", len(blocks), lambda sram: [stride, make("LOAD", mem="wgt", sram=sram, **box)])


def _whole_bytes(value: int) -> list[int]:
    """A number as a sum of signed bytes, as few as can be."""
    found = []
    while value:
        found.append(min(max(value, -128), 127))
        value -= found[-1]
    return found


def matmul_tiling(config: Config, layer: MatMul) -> Tiling:
    """A tiling that leaves room for constant elements and the next step's data: of each memory a quarter."""
    blocks, outputs = layer.input.blocks(config), -(-layer.output.channels // config.bo)
    chunk = min(blocks, config.inp_depth // 4, config.wgt_depth // 4, config.uop_depth // 8)
    columns = min(layer.output.width, config.inp_depth // 4 // chunk, config.acc_depth // 4, LONGEST)
    group = outputs if chunk == blocks else min(outputs, config.acc_depth // 2 // unit_size(config, columns))
    return Tiling(1, columns, chunk, group, False)


def matmul_steps(config: Config, images: Images, place: Place, layer: MatMul, tiling: Tiling) -> Iterator[Step]:
    """The steps of a product of matrices, tiled as a 1x1 convolution whose weights are the other matrix would be.

    With zero points a and b, the sum of (x - a) * (w - b) over c channels is the array's sum of x * w, of x times a
    tile of -b, of a vector of -a times w, and c * a * b, which is in the bias.
    """
    x, y = layer.input, layer.output
    inner = range(x.blocks(config))
    chunks = [inner[at : at + tiling.chunk] for at in range(0, len(inner), tiling.chunk)]
    tiles = [Tile(0, at, 1, min(tiling.columns, y.width - at)) for at in range(0, y.width, tiling.columns)]
    for here, parameters in parameter_ranges(config, images, place, layer.name, layer.scaling):
        groups = [here[at : at + tiling.group] for at in range(0, len(here), tiling.group)]
        order = product(groups, tiles) if tiling.groups_outside else ((g, t) for t in tiles for g in groups)
        for (image, row), (group, tile) in product(product(range(y.batch), range(y.height)), list(order)):
            for chunk, block in product(chunks, group):
                yield _matmul_step(
                    config, images, place, layer, image, Tile(row, tile.column, 1, tile.columns), block, chunk,
                    chunk[-1] == inner[-1], parameters, block - here[0],
                )  # fmt: skip


def _matmul_step(
    config: Config, images: Images, place: Place, layer: MatMul, image: int, tile: Tile, block: int, chunk: range,
    last: bool, parameters: Chunk, index: int,
) -> Step:  # fmt: skip
    x = layer.input
    view = Window(tile.row, tile.column, 1, tile.columns, 0, 0, 0, 0)
    activations = Chunk(
        ("inp", layer.name, image, tile, chunk), "inp", tile.columns * len(chunk),
        load_window(config, images, place, x, image, chunk, view, x.zero_point),
    )  # fmt: skip
    wanted = _pixels_as_weights(config, place, layer.name, layer.other, image, tile.row, block * config.bo, chunk)
    vectors = [_constant(config, images, place, "inp", part) for part in _whole_bytes(-x.zero_point)]
    matrices = [_constant(config, images, place, "wgt", part) for part in _whole_bytes(-layer.other.zero_point)]
    count = len(chunk)
    both = uops_chunk(config, images, place, [(0, b * tile.columns, b) for b in range(count)])
    tiles_only = uops_chunk(config, images, place, [(0, 0, b) for b in range(count)])
    vectors_only = uops_chunk(config, images, place, [(0, b * tile.columns, 0) for b in range(count)])

    def compute(at: Addresses, acc: int) -> list[Instruction]:
        def gemm(source: Chunk, weights: Chunk, uops: Chunk, unsigned: bool, overwrite: bool = False) -> Instruction:
            return make(
                "GEMM", dst=acc, src=at[source.key], wgt=at[weights.key], begin=at[uops.key] * config.uops_per_beat,
                count=count, n2=tile.columns, overwrite=int(overwrite), unsigned=int(unsigned),
            )  # fmt: skip

        program = [make("LOOP", dst2=1, src2=1)]
        program.append(gemm(activations, wanted, both, x.unsigned, chunk[0] == 0))
        program += [gemm(activations, matrix, vectors_only, x.unsigned) for matrix in matrices]
        if vectors:
            program.append(make("LOOP", dst2=1))
            program += [gemm(vector, wanted, tiles_only, False) for vector in vectors]
        return program

    store = None
    if last:
        store = drain(config, place, layer.output, image, tile, block, None, layer.scaling, parameters, index)
    uops = [both, *([vectors_only] if matrices else []), *([tiles_only] if vectors else [])]
    reads = {chunk.key: chunk for chunk in (*uops, *vectors, activations, *matrices, wanted)}
    if last:
        reads[parameters.key] = parameters
    return Step(tuple(reads.values()), (layer.name, image, tile, block), tile.columns, compute, store)


def _constant(config: Config, images: Images, place: Place, memory: str, value: int) -> Chunk:
    """One element that holds the same byte everywhere."""
    offset = images.add(bytes([value & 0xFF]) * config.element_bytes(memory))
    return Chunk(("constant", memory, value), memory, 1, load_flat(config, place, memory, offset, 1), True)


def turn_steps(config: Config, images: Images, place: Place, layer: Turn) -> Iterator[Step]:
    """The steps of turned matrices: unit vectors times tiles of pixels pick the pixels' lanes."""
    x, y = layer.input, layer.output
    units = images.add(np.eye(config.bi, dtype=np.int8).tobytes())
    vectors = Chunk(("units",), "inp", config.bi, load_flat(config, place, "inp", units, config.bi), True)
    uops = uops_chunk(config, images, place, [(0, 0, 0)])
    same = _bytes_as_they_are(y)
    most = min(config.acc_depth, 2 * config.wgt_depth, LONGEST) // 2 // config.bi
    if not most:
        raise BackendError(f"vta: {layer.name}: {config.bi} accumulators and tiles do not fit the memories twice")
    outer = range(x.blocks(config))
    for here, parameters in parameter_ranges(config, images, place, layer.name, same):
        for image, row, block in product(range(y.batch), range(y.height), here):
            for first in range(0, len(outer), most):
                blocks = outer[first : first + most]
                yield _turn_step(config, place, layer, image, row, block, blocks, vectors, uops, parameters,
                                 block - here[0], same)  # fmt: skip


def _turn_step(
    config: Config, place: Place, layer: Turn, image: int, row: int, block: int, blocks: range, vectors: Chunk,
    uops: Chunk, parameters: Chunk, index: int, same: Scaling,
) -> Step:  # fmt: skip
    wanted = _pixels_as_weights(config, place, layer.name, layer.input, image, row, block * config.bo, blocks)
    first = blocks[0] * config.bi
    pixels = min(blocks[-1] * config.bi + config.bi, layer.output.width) - first
    tile = Tile(row, first, 1, pixels)

    def compute(at: Addresses, acc: int) -> list[Instruction]:
        return [make("LOOP", dst1=config.bi, dst2=1, src2=1, wgt1=1), make(
            "GEMM", dst=acc, src=at[vectors.key], wgt=at[wanted.key], begin=at[uops.key] * config.uops_per_beat,
            n1=len(blocks), n2=config.bi, overwrite=1,
        )]  # fmt: skip

    store = drain(config, place, layer.output, image, tile, block, None, same, parameters, index)
    reads = (uops, vectors, wanted, parameters)
    return Step(reads, (layer.name, image, tile, block), len(blocks) * config.bi, compute, store)


def _bytes_as_they_are(tensor: Tensor) -> Scaling:
    """A drain that changes nothing: weights are signed, and so are the same bytes here."""
    channels = tensor.channels
    return Scaling(
        np.zeros(channels, np.int32), np.full(channels, 1 << 30, np.int64), np.full(channels, 30, np.int64),
        0, -128, 127,
    )  # fmt: skip
