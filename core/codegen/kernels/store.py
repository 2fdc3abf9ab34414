"""Storing a block of results: the tail applied, its operands loaded once each, the last vector cut to size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heddle.core.codegen.kernels.tail import Tail
from heddle.core.codegen.llvm import Function
from heddle.core.codegen.values import Type, Value, prefix_mask


@dataclass(frozen=True)
class Spot:
    """Where a block lies in the output or in an operand of the tail: each row's displacement, the displacement from
    one vector to the next, and whether lanes lie side by side (1) or are all one element (0)."""

    rows: tuple[int, ...]
    vector: int
    lane: int
    scalar: Type


def store(
    f: Function,
    tail: Tail,
    spots: Sequence[Spot],
    pointers: Sequence[Value],
    results: Sequence[Sequence[Value]],
    used: int,
    *,
    masked: bool,
) -> None:
    """Store rows of vectors through the tail. `spots` and `pointers` are those of the output and of each operand.

    Of the last vector of a row only `used` lanes belong to the result: memory of the others is left alone if `masked`,
    else filled with zeros, and operands are then readable to the end of the vector.
    """
    lanes = results[0][0].type.lanes
    mask = prefix_mask(used, lanes)
    loaded: dict[tuple[int, int, bool], Value] = {}

    def operand(number: int, i: int, j: int, partial: bool) -> Value:
        spot = spots[number]
        cut = partial and masked and bool(spot.lane)
        key = (number, spot.rows[i] + j * spot.vector, cut)
        if key not in loaded:
            address = f.gep(pointers[number], key[1], spot.scalar)
            if not spot.lane:
                loaded[key] = f.splat(f.load(spot.scalar, address), lanes)
            elif cut:
                loaded[key] = f.masked_load(spot.scalar.of(lanes), address, mask)
            else:
                loaded[key] = f.load(spot.scalar.of(lanes), address)
        return loaded[key]

    for i, row in enumerate(results):
        for j, result in enumerate(row):
            partial = j == len(row) - 1 and used < lanes
            value = tail.emit(f, result, [operand(number + 1, i, j, partial) for number in range(len(tail.operands))])
            address = f.gep(pointers[0], spots[0].rows[i] + j * spots[0].vector, spots[0].scalar)
            if partial and masked:
                f.masked_store(value, address, mask)
            elif partial:
                f.store(f.select(mask, value, Value("zeroinitializer", value.type)), address)
            else:
                f.store(value, address)
