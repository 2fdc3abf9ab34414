"""Poolings as steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Pool
from heddle.backends.vta.maker import Maker, Shape, Store, loop
from heddle.backends.vta.steps import Addresses, Chunk, Step
from heddle.backends.vta.windows import Place, Tile, uops_chunk, window
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make


def pool_steps(config: Config, images: Images, place: Place, layer: Pool) -> Iterator[Step]:
    """The steps of a pooling; rows of a window that is too large for the memory are taken in turn."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling)
    maximum = layer.kind == "max"
    planes = maker.parts if maximum else 1
    shape = Shape(layer.kernel, layer.strides, layer.pads, layer.dilations, planes)
    rows = layer.kernel[0]
    room = config.inp_depth // 2 // maker.parts // ((layer.kernel[1] - 1) * layer.dilations[1] + 1)
    rows = max(1, min(rows, (room - 1) // layer.dilations[0] + 1, config.uop_depth // 2 // layer.kernel[1]))
    cuts = [(at, min(rows, layer.kernel[0] - at)) for at in range(0, layer.kernel[0], rows)]
    fill = layer.input.low if maximum else layer.input.zero_point
    rectangles = maker.tiles(layer.input, shape.rows_from(*cuts[0]))
    for here, parameters in maker.ranges():
        for image, block, tile in product(range(layer.input.batch), here, rectangles):
            for first, count in cuts:
                part = shape.rows_from(first, count)
                store = None
                if first + count == layer.kernel[0]:
                    store = maker.drain(image, tile, block, parameters, block - here[0])
                yield _pool_step(maker, layer, part, image, block, tile, first == 0, store, fill, parameters)


def _pool_step(
    maker: Maker, layer: Pool, shape: Shape, image: int, block: int, tile: Tile, first: bool, store: Store | None,
    fill: int, parameters: Chunk,
) -> Step:  # fmt: skip
    config, parts, maximum = maker.config, maker.parts, layer.kind == "max"
    view = window(tile, layer.input, shape.kernel, shape.strides, shape.pads, shape.dilations)
    pitch, pixels = view.width * parts, tile.rows * tile.columns
    activations = maker.inputs(layer.input, image, block, view, fill)
    passing = maker.passing(block)
    taps = [
        y * shape.dilations[0] * pitch + x * shape.dilations[1] * parts
        for y in range(shape.kernel[0])
        for x in range(shape.kernel[1])
    ]
    order = [[(0, tap + part, part) for tap in taps] for part in range(parts)]
    lists = order if maximum else [[uop for uops in order for uop in uops]]
    chunks = [uops_chunk(config, maker.images, maker.place, uops) for uops in lists]
    nothing = uops_chunk(config, maker.images, maker.place, [(0, 0, 0)])

    def compute(at: Addresses, acc: int) -> list[Instruction]:
        program = [loop(tile, shape, pitch, parts)]
        for plane, (chunk, uops) in enumerate(zip(chunks, lists, strict=True)):
            program.append(make(
                "GEMM", dst=acc + plane * pixels, src=at[activations.key], wgt=at[passing.key],
                begin=at[chunk.key] * config.uops_per_beat, count=len(uops), n1=tile.rows, n2=tile.columns,
                op="max" if maximum else "add", overwrite=int(first), unsigned=int(layer.input.unsigned),
            ))  # fmt: skip
        if store is not None and len(chunks) > 1:  # each plane has the lanes of one part and zeros elsewhere
            program.append(make("LOOP", dst2=1, src2=1))
            program += [
                make("ALU", dst=acc, src=acc + plane * pixels, begin=at[nothing.key] * config.uops_per_beat, n2=pixels)
                for plane in range(1, len(chunks))
            ]
        return program

    reads = (*chunks, nothing, activations, passing, *((parameters,) if store is not None else ()))
    unit = (layer.name, image, block, tile)
    return Step(reads, unit, pixels * len(chunks), compute, store)
