"""Matrix products of bytes on AMX's tiles, with the same tail as other kernels; and tiles played by plain vectors.

A tile is 16 rows of 64 bytes. The weights lie as [columns / 16][depth / 64][16][16 columns][4], so that a tile of them
is one stretch of memory; the left operand is read in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from heddle.core.codegen.kernels.blocking import chunks, each
from heddle.core.codegen.kernels.gemm import displaced, entry_function
from heddle.core.codegen.kernels.store import Spot, store
from heddle.core.codegen.kernels.tail import NOTHING, Place, Tail
from heddle.core.codegen.llvm import NO_UNROLL, Function, Variable
from heddle.core.codegen.target import Target
from heddle.core.codegen.values import I8, I32, I64, Value, constant
from numpy.typing import NDArray

ROWS, COLUMNS, DEPTH = 16, 16, 64
TILE = ROWS * DEPTH
LANES = I32.of(COLUMNS)


@dataclass(frozen=True)
class TileGemm:
    """`out[i, j] = tail(sum over k of A[i, k] * B[k, j])` of unsigned and signed bytes, summed in 32 bits.

    `a` is A's stride along i in bytes; elements along k are neighbours, and `k` is a multiple of 64. `n` is a multiple
    of 16; `out` has a stride along i, and its elements along j are neighbours.
    """

    m: int
    n: int
    k: int
    a: int
    out: Place


class Tiles(Protocol):
    """What a processor's tiles can do, by their numbers."""

    def configure(self, f: Function, rows: list[int]) -> None: ...

    def zero(self, f: Function, tile: int) -> None: ...

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None: ...

    def dot(self, f: Function, total: int, a: int, b: int) -> None: ...

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None: ...

    def release(self, f: Function) -> None: ...


class Amx:
    """The processor's own tiles. The process must have been given leave to use them."""

    def configure(self, f: Function, rows: list[int]) -> None:
        """Palette 1: bytes to a row as 16-bit numbers from byte 16 on, rows as bytes from byte 48 on."""
        table = [0] * 64
        table[0] = 1
        for tile, count in enumerate(rows):
            table[16 + 2 * tile], table[48 + tile] = DEPTH, count
        f.call("llvm.x86.ldtilecfg", None, (f.table(table, I8),))

    def zero(self, f: Function, tile: int) -> None:
        f.call("llvm.x86.tilezero", None, (constant(tile, I8),))

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None:
        f.call("llvm.x86.tileloadd64", None, (constant(tile, I8), address, constant(stride, I64)))

    def dot(self, f: Function, total: int, a: int, b: int) -> None:
        f.call("llvm.x86.tdpbusd", None, (constant(total, I8), constant(a, I8), constant(b, I8)))

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None:
        f.call("llvm.x86.tilestored64", None, (constant(tile, I8), address, constant(stride, I64)))

    def release(self, f: Function) -> None:
        f.call("llvm.x86.tilerelease", None, ())


class Played:
    """Tiles kept on the stack and multiplied by vectors: what the processor's do, on any processor."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.places: dict[int, Variable] = {}

    def configure(self, f: Function, rows: list[int]) -> None:
        self.rows = rows
        self.places = {tile: f.slot(I8, TILE) for tile in range(len(rows))}

    def zero(self, f: Function, tile: int) -> None:
        f.fill(self.places[tile].address, 0, TILE)

    def load(self, f: Function, tile: int, address: Value, stride: int) -> None:
        with f.loop(0, self.rows[tile], 1, (NO_UNROLL,)) as row:
            to = f.gep(self.places[tile].address, f.times(row, DEPTH), I8)
            f.copy(to, f.gep(address, f.times(row, stride), I8), DEPTH)

    def dot(self, f: Function, total: int, a: int, b: int) -> None:
        with f.loop(0, self.rows[total], 1, (NO_UNROLL,)) as row:
            at = f.gep(self.places[total].address, f.times(row, DEPTH), I8)
            elements = f.gep(self.places[a].address, f.times(row, DEPTH), I8)
            with f.loop(0, DEPTH // 4, 1, (NO_UNROLL,)) as k:
                result = f.load(LANES, at)
                weights = f.load(I8.of(DEPTH), f.gep(self.places[b].address, f.times(k, DEPTH), I8), 1)
                for part in range(4):
                    element = f.load(I8, f.gep(elements, f.plus(f.times(k, 4), part), I8))
                    column = f.convert("sext", f.shuffle(weights, None, range(part, DEPTH, 4)), I32)
                    result = f.add(result, f.mul(f.splat(f.convert("zext", element, I32), COLUMNS), column))
                f.store(result, at)

    def save(self, f: Function, tile: int, address: Value, stride: int) -> None:
        with f.loop(0, self.rows[tile], 1, (NO_UNROLL,)) as row:
            from_ = f.gep(self.places[tile].address, f.times(row, DEPTH), I8)
            f.copy(f.gep(address, f.times(row, stride), I8), from_, DEPTH)

    def release(self, f: Function) -> None:
        pass


def tile_gemm(
    name: str, target: Target, problem: TileGemm, tail: Tail = NOTHING, *, tiles: Tiles | None = None,
    internal: bool = True,
) -> list[Function]:  # fmt: skip
    """The functions of the kernel, its entry last: `(a, b, out, operands..., scratch)`, of which scratch is not used.

    The places of the tail's operands have strides along (i,). Blocks are of 2 x 2 tiles.
    """
    if tiles is None:
        assert target.amx_int8, f"{name}: {target.cpu} has no tiles of bytes"
        tiles = Amx()
    assert problem.k % DEPTH == 0 == problem.n % COLUMNS, f"{name}: {problem} does not fill tiles"
    places = {"out": problem.out, **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    entry = entry_function(name, target, list(places), internal)
    base = {key: entry.gep(entry[key], place.origin, place.scalar) for key, place in places.items()}
    made: dict[tuple[int, int], Function] = {}
    for rows, i in each(entry, chunks(problem.m, 2 * ROWS)):
        for width, j in each(entry, chunks(problem.n, 2 * COLUMNS)):
            if (rows, width) not in made:
                label = f"{name}.block{len(made)}"
                made[rows, width] = _block(label, target, problem, tail, tiles, rows, width)
            a = displaced(entry, entry["a"], ((i, problem.a),), I8)
            b = displaced(entry, entry["b"], ((j, problem.k),), I8)
            spots = [
                displaced(entry, base[key], ((i, place.strides[0]), (j, place.lane)), place.scalar)
                for key, place in places.items()
            ]
            entry.invoke(made[rows, width], [a, b, *spots])
    return [*made.values(), entry]


def pack(b: NDArray[Any]) -> NDArray[Any]:
    """A constant B of [k, n], signed bytes, tile after tile."""
    k, n = b.shape
    parts = b.reshape(k // DEPTH, ROWS, 4, n // COLUMNS, COLUMNS)
    return np.ascontiguousarray(parts.transpose(3, 0, 1, 4, 2)).ravel()


def _block(name: str, target: Target, problem: TileGemm, tail: Tail, tiles: Tiles, rows: int, width: int) -> Function:
    """`(a, b, out, operands...)`: one block of up to 2 x 2 tiles: totals first, then those of A, then those of B."""
    places = {"out": problem.out, **{f"x{i}": place for i, place in enumerate(tail.operands)}}
    parameters = [("a", "ptr readonly"), ("b", "ptr readonly"), *((key, "ptr") for key in places)]
    attributes = f'noinline nounwind "prefer-vector-width"="{target.vector_bytes * 8}"'
    f = Function(name, parameters, internal=True, attributes=attributes)
    heights = chunks(rows, ROWS)
    down, across = len(heights), width // COLUMNS
    first_a, first_b = down * across, down * across + down
    tiles.configure(f, [*(h for h in heights for _ in range(across)), *heights, *[ROWS] * across])
    for total in range(first_a):
        tiles.zero(f, total)
    with f.loop(0, problem.k // DEPTH, 1, (NO_UNROLL,)) as k:
        b = f.gep(f["b"], f.times(k, TILE), I8)
        for j in range(across):
            tiles.load(f, first_b + j, f.gep(b, j * COLUMNS * problem.k, I8), DEPTH)
        for i in range(down):
            at = f.gep(f["a"], f.plus(f.times(k, DEPTH), i * ROWS * problem.a), I8)
            tiles.load(f, first_a + i, at, problem.a)
            for j in range(across):
                tiles.dot(f, i * across + j, first_a + i, first_b + j)
    totals = f.slot(I32, rows * width)
    for i in range(down):
        for j in range(across):
            at = f.gep(totals.address, i * ROWS * width + j * COLUMNS, I32)
            tiles.save(f, i * across + j, at, width * 4)
    tiles.release(f)
    with f.loop(0, rows, 1, (NO_UNROLL,)) as row:
        at = f.gep(totals.address, f.times(row, width), I32)
        results = [f.load(LANES, f.gep(at, j * COLUMNS, I32)) for j in range(across)]
        pointers = [displaced(f, f[key], ((row, place.strides[0]),), place.scalar) for key, place in places.items()]
        spots = [Spot((0,), COLUMNS * place.lane, place.lane, place.scalar) for place in places.values()]
        store(f, tail, spots, pointers, [results], COLUMNS, masked=True)
    return f
