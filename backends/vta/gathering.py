"""Channels gathered from one tensor or several as steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, product

import numpy as np
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Concat, Tensor
from heddle.backends.vta.maker import Maker, Shape
from heddle.backends.vta.steps import Addresses, Chunk, Step
from heddle.backends.vta.windows import Place, Tile, uops_chunk, window
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make
from numpy.typing import NDArray


def concat_steps(config: Config, images: Images, place: Place, layer: Concat) -> Iterator[Step]:
    """The steps of a concatenation: each output vector gathers its lanes from the vectors that hold them."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling)
    found = {block: _gathered(config, layer, block) for here, _ in maker.ranges() for block in here}
    # The slots of `inp` are of one size, so that all blocks have the tiles of the one that gathers most.
    most = max(len({(number, vector // maker.parts) for number, vector, _ in each}) for each in found.values())
    shape = Shape((1, 1), inputs=most)
    rectangles = maker.tiles(layer.output, shape)
    for here, parameters in maker.ranges():
        for image, block, tile in product(range(layer.output.batch), here, rectangles):
            gathered = [(layer.inputs[number], vector, taken) for number, vector, taken in found[block]]
            yield _concat_step(maker, shape, gathered, image, block, tile, parameters, block - here[0])


def _gathered(config: Config, layer: Concat, block: int) -> list[tuple[int, int, NDArray[np.int8]]]:
    """The vectors that an output vector gathers: the tensor's number, its vector, and a tile that takes its lanes."""
    found = []
    first, last = block * config.bo, min((block + 1) * config.bo, layer.output.channels)
    starts = accumulate((tensor.channels for tensor in layer.inputs), initial=-layer.first)
    for number, (tensor, start) in enumerate(zip(layer.inputs, starts, strict=False)):
        for vector in range(-(-tensor.channels // config.bi)):
            taken = np.zeros((1, config.bo, config.bi), np.int8)
            low, high = max(first - start, vector * config.bi), min(last - start, (vector + 1) * config.bi)
            for channel in range(low, min(high, tensor.channels)):
                taken[0, start + channel - first, channel - vector * config.bi] = 1
            if taken.any():
                found.append((number, vector, taken))
    return found


def _concat_step(
    maker: Maker, shape: Shape, gathered: Sequence[tuple[Tensor, int, NDArray[np.int8]]], image: int, block: int,
    tile: Tile, parameters: Chunk, index: int,
) -> Step:  # fmt: skip
    config, pixels = maker.config, tile.rows * tile.columns
    nothing = uops_chunk(config, maker.images, maker.place, [(0, 0, 0)])
    brought: list[tuple[Chunk, int, Chunk, bool]] = []
    for tensor, vector, taken in gathered:
        view = window(tile, tensor, shape.kernel, shape.strides, shape.pads, shape.dilations)
        inner, part = divmod(vector, maker.parts)
        chunk = maker.inputs(tensor, image, inner * maker.pieces, view, tensor.zero_point)
        brought.append((chunk, part, maker.weights(taken), tensor.unsigned))

    def compute(at: Addresses, acc: int) -> list[Instruction]:
        return [make("LOOP", dst2=1, src2=maker.parts)] + [
            make(
                "GEMM", dst=acc, src=at[chunk.key] + part, wgt=at[weights.key],
                begin=at[nothing.key] * config.uops_per_beat, n2=pixels, overwrite=int(number == 0),
                unsigned=int(unsigned),
            )
            for number, (chunk, part, weights, unsigned) in enumerate(brought)
        ]  # fmt: skip

    chunks = {chunk.key: chunk for each in brought for chunk in (each[0], each[2])}
    reads = (nothing, *chunks.values(), parameters)
    return Step(
        reads, (maker.name, image, block, tile), pixels, compute, maker.drain(image, tile, block, parameters, index)
    )
