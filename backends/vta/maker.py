"""What steps of layers that keep channels apart are made with: windows of input, tiles of output, passing weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from heddle.backends.vta.images import Images, tile_image
from heddle.backends.vta.layers import Residual, Scaling, Tensor, block_of
from heddle.backends.vta.steps import Addresses, Chunk
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
)
from heddle.core.errors import BackendError
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make
from numpy.typing import NDArray

Store = Callable[[Addresses, int], list[Instruction]]


@dataclass(frozen=True)
class Shape:
    """How an output is read off its input, and how many accumulators each of its vectors needs."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    accumulators: int = 1
    inputs: int = 1

    def rows_from(self, first: int, rows: int) -> Shape:
        """The same with only some rows of the kernel."""
        top, left, bottom, right = self.pads
        down = self.dilations[0]
        pads = (top - first * down, left, bottom - (self.kernel[0] - first - rows) * down, right)
        return Shape((rows, self.kernel[1]), self.strides, pads, self.dilations, self.accumulators, self.inputs)


@dataclass(frozen=True)
class Maker:
    """What is needed to make the steps of one layer."""

    config: Config
    images: Images
    place: Place
    name: str
    output: Tensor
    scaling: Scaling
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
            self.config, self.place, self.output, image, tile, block, self.residual, self.scaling,
            parameters, index,
        )  # fmt: skip

    def tiles(self, source: Tensor, shape: Shape) -> list[Tile]:
        """The largest rectangles of output that leave room for the next step's data."""
        config = self.config
        rows, columns = self.output.height, self.output.width
        while True:
            height = (rows - 1) * shape.strides[0] + (shape.kernel[0] - 1) * shape.dilations[0] + 1
            width = (columns - 1) * shape.strides[1] + (shape.kernel[1] - 1) * shape.dilations[1] + 1
            # A single output may fill the memory, larger tiles leave half of it.
            room = 1 if rows == columns == 1 else 2
            if (
                max(height, width) <= LONGEST
                and room * shape.inputs * height * width * self.parts <= config.inp_depth
                and room * rows * columns * shape.accumulators <= config.acc_depth
            ):
                return list(tiles(self.output, rows, columns))
            if rows > 1:
                rows = -(-rows // 2)
            elif columns > 1:
                columns = -(-columns // 2)
            else:
                raise BackendError(f"vta: {self.name}: one output of a {shape.kernel} window does not fit the memories")


def loop(tile: Tile, shape: Shape, pitch: int, parts: int) -> Instruction:
    return make("LOOP", dst1=tile.columns, dst2=1, src1=shape.strides[0] * pitch, src2=shape.strides[1] * parts)
