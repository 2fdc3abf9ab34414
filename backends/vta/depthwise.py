"""Depthwise convolutions as steps of the depthwise unit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Conv
from heddle.backends.vta.maker import Maker, Shape, Store, loop
from heddle.backends.vta.steps import Addresses, Chunk, Step
from heddle.backends.vta.windows import Place, Tile, uops_chunk, window
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make


def is_depthwise(config: Config, layer: Conv) -> bool:
    """Whether the depthwise unit can run a convolution: one output for each input channel, a row within its history."""
    return (
        config.depthwise
        and layer.groups == layer.input.channels == layer.output.channels
        and _history_columns(layer) <= config.bi
    )


def _warm(layer: Conv) -> int:
    extent = (int(layer.weights.shape[3]) - 1) * layer.dilations[1] + 1
    return -(-extent // layer.strides[1]) - 1


def _history_columns(layer: Conv) -> int:
    return (_warm(layer) + 1) * layer.strides[1]


def depthwise_steps(config: Config, images: Images, place: Place, layer: Conv) -> Iterator[Step]:
    """The steps of a depthwise convolution: as many rows of the kernel at a time as the unit's history holds."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling, residual=layer.residual)
    height = layer.weights.shape[2]
    warm = _warm(layer)
    rows = min(height, config.bi // _history_columns(layer))
    cuts = [(at, min(rows, height - at)) for at in range(0, height, rows)]
    wide = (warm + 1) * layer.strides[1]  # columns of input under one column of output
    shape = Shape((height, wide), layer.strides, layer.pads, (layer.dilations[0], 1))
    rectangles = maker.tiles(layer.input, shape.rows_from(*cuts[0]))
    for here, parameters in maker.ranges():
        for image, block, tile in product(range(layer.input.batch), here, rectangles):
            for first, count in cuts:
                part = shape.rows_from(first, count)
                store = None
                if first + count == height:
                    store = maker.drain(image, tile, block, parameters, block - here[0])
                yield _depthwise_step(maker, layer, part, first, image, block, tile, store, parameters)


def _depthwise_step(
    maker: Maker, layer: Conv, shape: Shape, row: int, image: int, block: int, tile: Tile, store: Store | None,
    parameters: Chunk,
) -> Step:  # fmt: skip
    config, warm, stride = maker.config, _warm(layer), layer.strides[1]
    rows = shape.kernel[0]
    view = window(tile, layer.input, shape.kernel, shape.strides, shape.pads, shape.dilations)
    pitch, pixels = view.width, tile.rows * tile.columns
    activations = maker.inputs(layer.input, image, block, view, layer.input.zero_point)
    channels = layer.weights[block * config.bo : (block + 1) * config.bo, 0]
    history = np.zeros((1, config.bo, config.bi), np.int8)
    for y in range(rows):
        for x in range(channels.shape[2]):
            back = (warm + 1) * stride - 1 - x * layer.dilations[1]
            history[0, : len(channels), back * rows + rows - 1 - y] = channels[:, row + y, x]
    weights = maker.weights(history)
    order = [(0, x + y * layer.dilations[0] * pitch, 0) for x in range(stride) for y in range(rows)]
    uops = uops_chunk(config, maker.images, maker.place, order)

    def compute(at: Addresses, acc: int) -> list[Instruction]:
        return [loop(tile, shape, pitch, 1), make(
            "GEMM", dst=acc, src=at[activations.key], wgt=at[weights.key],
            begin=at[uops.key] * config.uops_per_beat, count=len(order), n1=tile.rows, n2=tile.columns,
            overwrite=int(row == 0), unsigned=int(layer.input.unsigned), depthwise=1, warm=warm,
        )]  # fmt: skip

    reads = (uops, activations, weights, *((parameters,) if store is not None else ()))
    return Step(reads, (layer.name, image, block, tile), pixels, compute, store)
