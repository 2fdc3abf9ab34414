"""Layers that keep channels apart, as steps: pooling, copies, sums, products, depthwise convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np
from heddle.backends.vta.images import Images, tile_image
from heddle.backends.vta.layers import Concat, Conv, Copy, Leaky, Pool, Product, Residual, Scaling, Tensor, block_of
from heddle.backends.vta.pipeline import Addresses, Chunk, Step
from heddle.backends.vta.windows import (
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
from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make
from numpy.typing import NDArray

Store = Callable[[Addresses, int], list[Instruction]]


@dataclass(frozen=True)
class _Shape:
    """How an output is read off its input, and how many accumulators each of its vectors needs."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    accumulators: int = 1
    inputs: int = 1

    def rows_from(self, first: int, rows: int) -> _Shape:
        """The same with only some rows of the kernel."""
        top, left, bottom, right = self.pads
        down = self.dilations[0]
        pads = (top - first * down, left, bottom - (self.kernel[0] - first - rows) * down, right)
        return _Shape((rows, self.kernel[1]), self.strides, pads, self.dilations, self.accumulators, self.inputs)


@dataclass(frozen=True)
class _Maker:
    """What is needed to make the steps of one layer."""

    config: Config
    images: Images
    place: Place
    name: str
    output: Tensor
    scaling: Scaling
    first_block: int = 0
    residual: Residual | None = None

    @property
    def parts(self) -> int:
        """The input vectors of a block in memory."""
        return block_of(self.config) // self.config.bi

    @property
    def pieces(self) -> int:
        """The output vectors of a block in memory."""
        return block_of(self.config) // self.config.bo

    def ranges(self) -> list[tuple[range, Chunk]]:
        return parameter_ranges(self.config, self.images, self.place, self.name, self.scaling)

    def weights(self, tiles_: NDArray[np.int8]) -> Chunk:
        offset = self.images.add(tile_image(self.config, tiles_))
        load = load_flat(self.config, self.place, "wgt", offset, len(tiles_))
        return Chunk(("wgt", offset, len(tiles_)), "wgt", len(tiles_), load, True)

    def passing(self, block: int) -> Chunk:
        """The tiles that pass the lanes of a block's input vectors to the lanes of its output vector, one for each."""
        config = self.config
        tiles_ = np.zeros((self.parts, config.bo, config.bi), np.int8)
        for lane in range(config.bo):
            part, source = divmod(block % self.pieces * config.bo + lane, config.bi)
            tiles_[part, lane, source] = 1
        return self.weights(tiles_)

    def inputs(self, source: Tensor, image: int, block: int, view: Window, fill: int) -> Chunk:
        inner = block // self.pieces
        load = load_window(self.config, self.images, self.place, source, image, [inner], view, fill)
        key = ("inp", self.name, source.name, image, inner, view)
        return Chunk(key, "inp", view.height * view.width * self.parts, load)

    def drain(self, image: int, tile: Tile, block: int, parameters: Chunk, index: int) -> Store:
        return drain(
            self.config, self.place, self.output, image, tile, self.first_block + block, self.residual, self.scaling,
            parameters, index,
        )  # fmt: skip

    def tiles(self, source: Tensor, shape: _Shape) -> list[Tile]:
        """The largest rectangles of output that leave room for the next step's data."""
        config = self.config
        rows, columns = self.output.height, self.output.width
        while True:
            height = (rows - 1) * shape.strides[0] + (shape.kernel[0] - 1) * shape.dilations[0] + 1
            width = (columns - 1) * shape.strides[1] + (shape.kernel[1] - 1) * shape.dilations[1] + 1
            room = (
                1 if rows == columns == 1 else 2
            )  # a single output may fill the memory, larger tiles leave half of it
            if (
                room * shape.inputs * height * width * self.parts <= config.inp_depth
                and room * rows * columns * shape.accumulators <= config.acc_depth
            ):
                return list(tiles(self.output, rows, columns))
            if rows > 1:
                rows = -(-rows // 2)
            elif columns > 1:
                columns = -(-columns // 2)
            else:
                raise BackendError(f"vta: {self.name}: one output of a {shape.kernel} window does not fit the memories")


def _loop(tile: Tile, shape: _Shape, pitch: int, parts: int) -> Instruction:
    return make("LOOP", dst1=tile.columns, dst2=1, src1=shape.strides[0] * pitch, src2=shape.strides[1] * parts)


def pool_steps(config: Config, images: Images, place: Place, layer: Pool) -> Iterator[Step]:
    """The steps of a pooling; rows of a window that is too large for the memory are taken in turn."""
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling)
    maximum = layer.kind == "max"
    planes = maker.parts if maximum else 1
    shape = _Shape(layer.kernel, layer.strides, layer.pads, layer.dilations, planes)
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
    maker: _Maker, layer: Pool, shape: _Shape, image: int, block: int, tile: Tile, first: bool, store: Store | None,
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
        program = [_loop(tile, shape, pitch, parts)]
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


def copy_steps(config: Config, images: Images, place: Place, layer: Copy) -> Iterator[Step]:
    """The steps of a copy, with or without another tensor added by the drain."""
    if layer.offset % config.bo:
        raise BackendError(f"vta: {layer.name}: channel {layer.offset} does not start a vector of {config.bo}")
    first = layer.offset // config.bo
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling, first, layer.residual)
    return _mapped(maker, (layer.input,), 1, lambda alu: [])


def product_steps(config: Config, images: Images, place: Place, layer: Product) -> Iterator[Step]:
    """The steps of an elementwise product."""
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling)

    def finish(alu: _Alu) -> list[Instruction]:
        return [
            alu(0, "add", imm=-layer.input.zero_point),
            alu(1, "add", imm=-layer.other.zero_point),
            alu(0, "mul", source=1),
        ]

    return _mapped(maker, (layer.input, layer.other), 2, finish)


def leaky_steps(config: Config, images: Images, place: Place, layer: Leaky) -> Iterator[Step]:
    """The steps of a leaky rectifier: the greater of the value and of its share, both scaled up to stay whole."""
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling)

    def finish(alu: _Alu) -> list[Instruction]:
        return [
            alu(0, "add", imm=-layer.input.zero_point),
            alu(1, "mov", source=0),
            alu(0, "shl", imm=layer.bits),
            alu(1, "mul", imm=layer.slope),
            alu(0, "max", source=1),
        ]

    return _mapped(maker, (layer.input,), 2, finish)


_Alu = Callable[..., Instruction]


def _mapped(
    maker: _Maker, sources: Sequence[Tensor], planes: int, finish: Callable[[_Alu], list[Instruction]]
) -> Iterator[Step]:
    """Steps that bring each source into a plane of accumulators and then compute on those."""
    config, parts = maker.config, maker.parts
    shape = _Shape((1, 1), accumulators=planes, inputs=len(sources))
    uops = uops_chunk(config, maker.images, maker.place, [(0, part, part) for part in range(parts)])
    nothing = uops_chunk(config, maker.images, maker.place, [(0, 0, 0)])
    rectangles = maker.tiles(sources[0], shape)

    def step(image: int, block: int, tile: Tile, parameters: Chunk, index: int) -> Step:
        view = window(tile, sources[0], shape.kernel, shape.strides, shape.pads, shape.dilations)
        pixels = tile.rows * tile.columns
        passing = maker.passing(block)
        brought = [maker.inputs(source, image, block, view, source.zero_point) for source in sources]

        def compute(at: Addresses, acc: int) -> list[Instruction]:
            def alu(plane: int, op: str, source: int | None = None, imm: int = 0) -> Instruction:
                operand = {"use_imm": 1, "imm": imm} if source is None else {"src": acc + source * pixels}
                begin = at[nothing.key] * config.uops_per_beat
                return make("ALU", dst=acc + plane * pixels, begin=begin, n2=pixels, op=op, **operand)

            program = [make("LOOP", dst2=1, src2=parts)]
            program += [
                make(
                    "GEMM", dst=acc + plane * pixels, src=at[chunk.key], wgt=at[passing.key],
                    begin=at[uops.key] * config.uops_per_beat, count=parts, n2=pixels, overwrite=1,
                    unsigned=int(source.unsigned),
                )
                for plane, (chunk, source) in enumerate(zip(brought, sources, strict=True))
            ]  # fmt: skip
            after = finish(alu)
            return [*program, make("LOOP", dst2=1, src2=1), *after] if after else program

        reads = (uops, nothing, *brought, passing, parameters)
        unit = (maker.name, image, block, tile)
        return Step(reads, unit, pixels * planes, compute, maker.drain(image, tile, block, parameters, index))

    for here, parameters in maker.ranges():
        for image, block, tile in product(range(maker.output.batch), here, rectangles):
            yield step(image, block, tile, parameters, block - here[0])


def concat_steps(config: Config, images: Images, place: Place, layer: Concat) -> Iterator[Step]:
    """The steps of a concatenation: each output vector gathers its lanes from the vectors that hold them."""
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling)
    found = {block: _gathered(config, layer, block) for here, _ in maker.ranges() for block in here}
    # The slots of `inp` are of one size, so that all blocks have the tiles of the one that gathers most.
    most = max(len({(number, vector // maker.parts) for number, vector, _ in each}) for each in found.values())
    shape = _Shape((1, 1), inputs=most)
    rectangles = maker.tiles(layer.output, shape)
    for here, parameters in maker.ranges():
        for image, block, tile in product(range(layer.output.batch), here, rectangles):
            gathered = [(layer.inputs[number], vector, taken) for number, vector, taken in found[block]]
            yield _concat_step(maker, shape, gathered, image, block, tile, parameters, block - here[0])


def _gathered(config: Config, layer: Concat, block: int) -> list[tuple[int, int, NDArray[np.int8]]]:
    """The vectors that an output vector gathers: the tensor's number, its vector, and a tile that takes its lanes."""
    found = []
    first, last = block * config.bo, min((block + 1) * config.bo, layer.output.channels)
    starts = accumulate((tensor.channels for tensor in layer.inputs), initial=0)
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
    maker: _Maker, shape: _Shape, gathered: Sequence[tuple[Tensor, int, NDArray[np.int8]]], image: int, block: int,
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


# -- depthwise convolution -----------------------------------------------------------------------------------------


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
    maker = _Maker(config, images, place, layer.name, layer.output, layer.scaling, residual=layer.residual)
    height = layer.weights.shape[2]
    warm = _warm(layer)
    rows = min(height, config.bi // _history_columns(layer))
    cuts = [(at, min(rows, height - at)) for at in range(0, height, rows)]
    wide = (warm + 1) * layer.strides[1]  # columns of input under one column of output
    shape = _Shape((height, wide), layer.strides, layer.pads, (layer.dilations[0], 1))
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
    maker: _Maker, layer: Conv, shape: _Shape, row: int, image: int, block: int, tile: Tile, store: Store | None,
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
        return [_loop(tile, shape, pitch, 1), make(
            "GEMM", dst=acc, src=at[activations.key], wgt=at[weights.key],
            begin=at[uops.key] * config.uops_per_beat, count=len(order), n1=tile.rows, n2=tile.columns,
            overwrite=int(row == 0), unsigned=int(layer.input.unsigned), depthwise=1, warm=warm,
        )]  # fmt: skip

    reads = (uops, activations, weights, *((parameters,) if store is not None else ()))
    return Step(reads, (layer.name, image, block, tile), pixels, compute, store)
