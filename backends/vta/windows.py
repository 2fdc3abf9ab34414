"""Pieces of steps that all layers share: tiles of output, windows of input, loads of images, the drain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from heddle.backends.vta.images import Images, Uop, parameter_image, uop_image
from heddle.backends.vta.layers import Residual, Scaling, Tensor, block_of
from heddle.backends.vta.steps import Addresses, Chunk
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make

Place = Callable[[str], tuple[int, int]]
"""The base register and the offset in beats of a tensor, by name; `IMAGES` is the block of images."""

IMAGES = "(images)"

LONGEST = 1023
"""The most rows, and columns, of a window: LOAD and STORE count planes, and rows, in ten bits."""


@dataclass(frozen=True)
class Window:
    """The rows and columns of input that a tile of output reads, and the padding around what exists of them."""

    top: int
    left: int
    rows: int
    columns: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @property
    def height(self) -> int:
        return self.pad_top + self.rows + self.pad_bottom

    @property
    def width(self) -> int:
        return self.pad_left + self.columns + self.pad_right


@dataclass(frozen=True)
class Tile:
    """A rectangle of output."""

    row: int
    column: int
    rows: int
    columns: int


def tiles(output: Tensor, rows: int, columns: int) -> Iterator[Tile]:
    """The rectangles of an output, row by row."""
    for row in range(0, output.height, rows):
        for column in range(0, output.width, columns):
            yield Tile(row, column, min(rows, output.height - row), min(columns, output.width - column))


def window(
    tile: Tile,
    source: Tensor,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
) -> Window:
    """What a tile reads of its input."""
    top = tile.row * strides[0] - pads[0]
    left = tile.column * strides[1] - pads[1]
    bottom = top + (tile.rows - 1) * strides[0] + (kernel[0] - 1) * dilations[0] + 1
    right = left + (tile.columns - 1) * strides[1] + (kernel[1] - 1) * dilations[1] + 1
    first_row, last_row = min(max(top, 0), source.height), max(min(bottom, source.height), 0)
    first_column, last_column = min(max(left, 0), source.width), max(min(right, source.width), 0)
    rows, columns = max(last_row - first_row, 0), max(last_column - first_column, 0)
    above, before = min(max(first_row - top, 0), bottom - top), min(max(first_column - left, 0), right - left)
    return Window(
        first_row, first_column, rows, columns,
        above, bottom - top - rows - above, before, right - left - columns - before,
    )  # fmt: skip


def load_window(
    config: Config,
    images: Images,
    place: Place,
    source: Tensor,
    image: int,
    blocks: Sequence[int],
    view: Window,
    fill: int,
) -> Callable[[int], list[Instruction]]:
    """The instructions that bring consecutive channel blocks of a window into `inp`."""
    block, beat = block_of(config), config.beat_bytes
    parts = block // config.bi
    if not view.rows or not view.columns:  # nothing but padding: LOAD takes no empty box
        elements = view.height * view.width * parts * len(blocks)
        flat = load_flat(config, place, "inp", images.add(bytes([fill & 0xFF]) * (elements * config.bi)), elements)
        return lambda sram: [make("PAD"), *flat(sram)]
    base, offset = place(source.name)
    at, beats = source.pitch(config), block // beat
    corner = at.offset + image * at.image + blocks[0] * at.block + view.top * at.row + view.left * at.pixel
    start = offset + corner * beats
    if at.pixel == 1:
        pad = make(
            "PAD", x_before=view.pad_left * parts, x_after=view.pad_right * parts, y_before=view.pad_top,
            y_after=view.pad_bottom, value=fill & 0xFF,
        )  # fmt: skip
        stride = make("STRIDE", mem="inp", y=at.row * beats, z=at.block * beats)
        box = {"x": view.columns * parts, "y": view.rows, "z": len(blocks)}
        return lambda sram: [pad, stride, make("LOAD", mem="inp", sram=sram, base=base, offset=start, **box)]
    pad = make(
        "PAD", y_before=view.pad_left, y_after=view.pad_right, z_before=view.pad_top, z_after=view.pad_bottom,
        value=fill & 0xFF,
    )  # fmt: skip
    stride = make("STRIDE", mem="inp", y=at.pixel * beats, z=at.row * beats)
    size = view.height * view.width * parts
    return lambda sram: [pad, stride] + [
        make("LOAD", mem="inp", sram=sram + number * size, base=base, offset=start + number * at.block * beats,
             x=parts, y=view.columns, z=view.rows)
        for number in range(len(blocks))
    ]  # fmt: skip


def load_flat(
    config: Config, place: Place, memory: str, offset: int, elements: int
) -> Callable[[int], list[Instruction]]:
    """The instructions that bring consecutive elements of the block of images."""
    base, start = place(IMAGES)
    beats = config.element_bytes(memory) // config.beat_bytes
    most = 4095

    def load(sram: int) -> list[Instruction]:
        return [
            make("LOAD", mem=memory, sram=sram + at, base=base, offset=start + offset + at * beats,
                 x=min(most, elements - at))
            for at in range(0, elements, most)
        ]  # fmt: skip

    return load


def uops_chunk(config: Config, images: Images, place: Place, uops: Sequence[Uop]) -> Chunk:
    """A list of micro-ops, which all layers that need the same one share."""
    data = uop_image(config, tuple(uops))
    offset, beats = images.add(data), -(-len(data) // config.beat_bytes)
    return Chunk(("uop", offset, beats), "uop", beats, load_flat(config, place, "uop", offset, beats), True)


def parameter_ranges(
    config: Config, images: Images, place: Place, name: str, scaling: Scaling
) -> list[tuple[range, Chunk]]:
    """The blocks of bo output channels, as many at a time as the memory of drain parameters holds, and its content."""
    blocks = -(-len(scaling.bias) // config.bo)
    ranges = []
    for first in range(0, blocks, config.prm_depth):
        here = range(first, min(first + config.prm_depth, blocks))
        data = b"".join(parameter_image(config, scaling, block) for block in here)
        load = load_flat(config, place, "prm", images.add(data), len(here))
        ranges.append((here, Chunk(("prm", name, first), "prm", len(here), load, True)))
    return ranges


def drain(
    config: Config, place: Place, output: Tensor, image: int, tile: Tile, block: int, residual: Residual | None,
    scaling: Scaling, parameters: Chunk, index: int,
) -> Callable[[Addresses, int], list[Instruction]]:  # fmt: skip
    """The instructions that store a tile of the `block`-th bo channels; their parameters have an index in a chunk."""
    memory, beat = block_of(config), config.beat_bytes
    parts = memory // config.bo
    beats = memory // beat
    tensors = [output] if residual is None else [output, residual.tensor]

    def corner(tensor: Tensor) -> tuple[int, int]:
        base, offset = place(tensor.name)
        outer, part = divmod(block, parts)
        at = tensor.pitch(config)
        first = at.offset + image * at.image + outer * at.block + tile.row * at.row + tile.column * at.pixel
        return base, offset + first * beats + part * config.bo // beat

    together = parts == 1 and all(tensor.pitch(config).pixel == 1 for tensor in tensors)
    whole = together and all(tensor.pitch(config).row == tile.columns or tile.rows == 1 for tensor in tensors)
    box: dict[str, int]
    if whole and tile.rows * tile.columns <= 4095:
        box, walk = {"x": tile.rows * tile.columns}, {"acc_x": 1}
    elif together:
        box, walk = {"x": tile.columns, "y": tile.rows}, {"acc_x": 1, "acc_y": tile.columns}
    else:
        box, walk = {"y": tile.columns, "z": tile.rows}, {"acc_y": 1, "acc_z": tile.columns}

    def strides(tensor: Tensor) -> dict[str, int]:
        at = tensor.pitch(config)
        pitches = {"y": at.row, "z": 0} if "x" in box else {"y": at.pixel, "z": at.row}
        return {name: pitches[name] * beats for name in "yz" if name in box}

    def store(at: Addresses, acc: int) -> list[Instruction]:
        base, offset = corner(output)
        first = {"z1": scaling.zero_point, "lo1": scaling.low, "hi1": scaling.high}
        if residual is None:
            quant, extra = make("QUANT", **first), []
        else:
            quant = make(
                "QUANT", **first, ma=residual.result_multiplier, mr=residual.tensor_multiplier, shift=residual.shift,
                zr=residual.tensor.zero_point, z2=residual.zero_point, lo2=residual.low, hi2=residual.high,
                unsigned=int(residual.tensor.unsigned),
            )  # fmt: skip
            rbase, roffset = corner(residual.tensor)
            extra = [make("RESIDUAL", base=rbase, offset=roffset, **strides(residual.tensor))]
        return [
            quant, make("WALK", **walk, **strides(output)), *extra,
            make("STORE", acc=acc, prm=at[parameters.key] + index, residual=int(residual is not None), base=base,
                 offset=offset, **box),
        ]  # fmt: skip

    return store
