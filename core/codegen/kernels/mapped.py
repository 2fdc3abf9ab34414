"""Elementwise work over blocked images: whatever tail, applied to one image and stored as another."""

from __future__ import annotations

from heddle.core.codegen.kernels.blocking import balanced, each
from heddle.core.codegen.kernels.gemm import displaced
from heddle.core.codegen.kernels.image import Image
from heddle.core.codegen.kernels.pool import entry_of
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.pieces import Pieces
from heddle.core.codegen.target import Target

ABREAST = 8


def mapped(
    name: str, target: Target, source: Image, out: Image, tail: Tail, *, internal: bool = True
) -> list[Function]:
    """The kernel `(a, out, operands...)`: `tail` of every element of `source`, in the place of `out`.

    The places of operands have strides along (batch, channel block, y, x).
    """
    places = {"out": out.place(), **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    f = entry_of(name, target, list(places), internal)
    pieces = Pieces(f, source.batch * source.blocks * source.height * source.width * 2)
    vector = source.scalar.of(source.block)
    base = {key: f.gep(f[key], place.origin, place.scalar) for key, place in places.items()}
    first = f.gep(f["a"], source.origin, source.scalar)
    ragged = source.channels % source.block
    channels = [([1] * (source.blocks - bool(ragged)), 0, source.block)]
    channels += [([1], source.blocks - 1, ragged)] if ragged else []
    for _, n in each(f, [1] * source.batch):
        for blocks, offset, used in channels:
            for _, i in each(f, blocks):
                c = f.plus(i, offset)
                for _, y in each(f, [1] * source.height):
                    with pieces.one():
                        for width, x in each(f, balanced(source.width, ABREAST)):
                            at = tuple(zip((n, c, y, x), source.place().strides, strict=True))
                            a = displaced(f, first, at, source.scalar)
                            pointers = [
                                displaced(f, base[key], tuple(zip((n, c, y, x), p.strides, strict=True)), p.scalar)
                                for key, p in places.items()
                            ]
                            spots = [
                                Spot(tuple(q * p.strides[3] for q in range(width)), 0, p.lane, p.scalar)
                                for p in places.values()
                            ]
                            values = [[f.load(vector, f.gep(a, q * source.block, source.scalar))] for q in range(width)]
                            store(f, tail, spots, pointers, values, used, masked=False)
    return [f]
