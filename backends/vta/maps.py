"""Layers that work on each element by itself as steps: copies, sums, products, leaky rectifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from heddle.backends.vta.images import Images
from heddle.backends.vta.layers import Copy, Leaky, Product, Tensor
from heddle.backends.vta.maker import Maker, Shape
from heddle.backends.vta.steps import Addresses, Chunk, Step
from heddle.backends.vta.windows import Place, Tile, uops_chunk, window
from heddle.hw.vta.config import Config
from heddle.hw.vta.isa import Instruction, make


def copy_steps(config: Config, images: Images, place: Place, layer: Copy) -> Iterator[Step]:
    """The steps of a copy, with or without another tensor added by the drain."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling, layer.residual)
    return _mapped(maker, (layer.input,), 1, lambda alu: [])


def product_steps(config: Config, images: Images, place: Place, layer: Product) -> Iterator[Step]:
    """The steps of an elementwise product."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling)

    def finish(alu: _Alu) -> list[Instruction]:
        return [
            alu(0, "add", imm=-layer.input.zero_point),
            alu(1, "add", imm=-layer.other.zero_point),
            alu(0, "mul", source=1),
        ]

    return _mapped(maker, (layer.input, layer.other), 2, finish)


def leaky_steps(config: Config, images: Images, place: Place, layer: Leaky) -> Iterator[Step]:
    """The steps of a leaky rectifier: the greater of the value and of its share, both scaled up to stay whole."""
    maker = Maker(config, images, place, layer.name, layer.output, layer.scaling)

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
    maker: Maker, sources: Sequence[Tensor], planes: int, finish: Callable[[_Alu], list[Instruction]]
) -> Iterator[Step]:
    """Steps that bring each source into a plane of accumulators and then compute on those."""
    config, parts = maker.config, maker.parts
    shape = Shape((1, 1), accumulators=planes, inputs=len(sources))
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
